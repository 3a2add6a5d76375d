"""What a project's screen shows, as pure functions of the figures."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from textual.content import Content

from engine.wording import counted
from workbench.screens.rank.lines import duration
from workbench.services.ranking.draft import MODES
from workbench.widgets.header import bar
from workbench.widgets.safe import safe_line

if TYPE_CHECKING:
    from workbench.services.projects.project_file import ProjectFile
    from workbench.services.projects.projects import Applied, Check, ProjectOverview, QueueProgress

NAME = 14
"""Cells of an annotator's name."""


def overview_content(overview: ProjectOverview, project: ProjectFile) -> Content:
    """Project, coverage, and a line an annotator: progress, pace, time left, gold questions, repeats."""
    tasks = sum(overview.tasks.values())
    full = overview.tasks.get(overview.overlap, 0)
    ways = " and ".join(MODES[way] for way in project.ways).lower()
    parts: list[Any] = [
        (safe_line(overview.name, 60), "bold $primary"),
        (
            f"  version {overview.version} · {ways} · order {project.order}",
            "$foreground-muted",
        ),
        f"\n{full:,} of {counted(tasks, 'task')} labelled by {overview.overlap}",
    ]
    partly = sum(count for labels, count in overview.tasks.items() if 0 < labels < overview.overlap)
    if partly:
        parts.append(f", {partly:,} by fewer")
    head = f"{'annotator':{NAME}}  {'':6}  {'done':>11} {'a label':>7} {'to go':>10}"
    parts.append((f"\n\n{head}  {'gold':>9} {'again':>9}", "$foreground-muted"))
    checks = {(check.annotator, check.what): check for check in overview.checks}
    for row in overview.progress:
        gold, again = checks.get((row.annotator, "gold")), checks.get((row.annotator, "repeat"))
        parts += _line(row, gold, again)
    parts.append(
        (
            "\n\ngold: pairs of responses ordered as is known. again: as the first time, of labels that came "
            "twice.\nTimes leave pauses out; to go: at the pace of the last 20.",
            "$foreground-muted",
        )
    )
    return Content.assemble(*parts)


def _line(row: QueueProgress, gold: Check | None, again: Check | None) -> list[Any]:
    each = "" if row.seconds_each is None else f"{row.seconds_each:.0f} s"
    left = "" if not row.seconds_left else duration(row.seconds_left)
    done = f"{row.done:,}/{row.entries:,}"
    return [
        f"\n{safe_line(row.annotator, NAME):{NAME}}  ",
        (bar(row.done / row.entries if row.entries else 0.0, 6), "$secondary on $surface-lighten-1"),
        f"  {done:>11} {each:>7} {left:>10}  {_share(gold):>9} {_share(again):>9}",
        (f"  {row.skipped:,} not rankable" if row.skipped else "", "$foreground-muted"),
    ]


def _share(check: Check | None) -> str:
    """`9 of 12` pairs: so few are no percentage."""
    return "" if check is None else f"{check.agreed} of {check.pairs}"


def applied_sentence(done: Applied) -> str:
    """What applying came to, and that it is followed now."""
    new = sum(done.new.values())
    entries = counted(new, "new entry", "new entries")
    return f"{done.name}, version {done.version}: {counted(done.tasks, 'task')}, {entries}; F3 follows it."
