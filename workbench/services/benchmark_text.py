"""A reward model's figures on benchmarks in words and numbers, at any width from 44 cells."""

from __future__ import annotations

from collections.abc import Sequence

from engine.wording import counted
from storage.benchmark_records import Benchmark, BenchmarkFigure
from workbench.services.report_lines import ROOMY, Line, fit, interval, number, one_line, prose

SHOWN_REASONS = 6
COLUMNS = (("longer", "longer"), ("longer_loses", "it loses"), ("length_balanced", "balanced"))
"""Figures beside accuracy, with the heads of their columns."""


def benchmark_title(found: Benchmark) -> str:
    """Name, and what of it: split, criterion, number format."""
    parts = [found.name, *([found.split] if found.split else [])]
    parts += [found.criterion] if found.criterion != "overall" else []
    return one_line(" · ".join([*parts, found.backend]))


def benchmark_lines(found: Benchmark, width: int) -> list[Line]:
    """One benchmark: the whole, the mean of its parts, sections and subsets, and what to know beside them."""
    rows = [("all comparisons", "all", "")]
    sections, subsets = found.parts("section"), found.parts("subset")
    if found.figure("accuracy", "mean"):
        of = "sections" if sections else "subsets"
        rows.append((f"mean of {len(sections or subsets)} {of}", "mean", ""))
    rows += [(name, "section", name) for name in sections]
    rows += [(f"  {name}" if sections else name, "subset", name) for name in subsets]
    lines = [_head("accuracy, ties ½", width)]
    lines += [_row(found, label, level, part, width) for label, level, part in rows]
    chance = found.figure("chance")
    if chance is not None and abs(chance.value - 0.5) > 1e-9:
        pairs = found.figure("pairs")
        lines.append(
            (
                (f"by chance {number(chance.value)}", "baseline"),
                (f", pairs alone {number(pairs.value)}" if pairs else "", "model"),
            )
        )
    for text, role in [against_longer(found), *_warnings(found)]:
        lines += prose(text, width, role)
    return lines


def benchmarks(found: Sequence[Benchmark], width: int) -> list[Line]:
    """One line a benchmark, as a reward model's report shows them; the whole table is a command away."""
    lines = [_head("accuracy, ties ½", width)]
    for each in found:
        level = "mean" if each.figure("accuracy", "mean") else "all"
        lines.append(_row(each, " ".join(filter(None, (each.name, each.split))), level, "", width))
    behind = [each.name for each in found if against_longer(each)[1] == "warning"]
    if behind:
        told = f"Not shown to be better than always taking the longer response: {', '.join(behind)}."
        lines += prose(told, width, "warning")
    for each in found:
        if each.learned:
            lines += prose(f"{each.name}: {_learned(each)}", width, "warning")
    return lines


def against_longer(found: Benchmark) -> tuple[str, str]:
    """A plain sentence on the model beside always taking the longer response, and its role."""
    over = found.figure("over_longer")
    if over is None:
        return "", "muted"
    shown = number(over.value, signed=True)
    between = interval(over.low, over.high, signed=True)
    if over.low is not None and over.low > 0:
        return f"Better than always taking the longer response: {shown} ({between}).", "muted"
    word = "worse" if over.high is not None and over.high < 0 else "not shown to be better"
    return f"It is {word} than always taking the longer response: {shown} ({between}).", "warning"


def _warnings(found: Benchmark) -> list[tuple[str, str]]:
    lines = []
    if found.learned:
        lines.append((_learned(found), "warning"))
    if found.cut:
        lines.append(
            (
                "A response is longer than the model reads, and is scored by a part: "
                f"{counted(found.cut, 'comparison')}.",
                "warning",
            )
        )
    for reason, count in list(found.left_out.items())[:SHOWN_REASONS]:
        lines.append((f"left out {count:,}: {reason}", "muted"))
    rest = list(found.left_out.values())[SHOWN_REASONS:]
    if rest:
        lines.append((f"left out {sum(rest):,} more for {counted(len(rest), 'other reason')}", "muted"))
    return lines


def _learned(found: Benchmark) -> str:
    return (
        f"{found.learned:,} of {found.comparisons:,} comparisons are on prompts that the reward model "
        "learned from: the figure flatters it."
    )


def _head(label: str, width: int) -> Line:
    room = _label_room(width)
    heads = "".join(f"{head:>9}" for _, head in _columns(width))
    return ((fit(label, room) + "     n  right" + (" " * 15 if width >= ROOMY else "") + heads, "muted"),)


def _row(found: Benchmark, label: str, level: str, part: str, width: int) -> Line:
    accuracy = found.figure("accuracy", level, part)
    assert accuracy is not None
    between = f"  {interval(accuracy.low, accuracy.high):<13}" if width >= ROOMY else ""
    beside = [found.figure(name, level, part) for name, _ in _columns(width)]
    return (
        (fit(label, _label_room(width)), "strong" if level in ("all", "mean", "section") else ""),
        (f"{accuracy.n:6,}", "muted"),
        (f"{number(accuracy.value):>7}", "model"),
        (between, "muted"),
        *(
            (f"{_shown(each):>9}", "baseline" if name == "longer" else "")
            for each, (name, _) in zip(beside, _columns(width), strict=True)
        ),
    )


def _shown(found: BenchmarkFigure | None) -> str:
    return number(found.value if found else None)


def _columns(width: int) -> tuple[tuple[str, str], ...]:
    return COLUMNS if width >= ROOMY + 10 else COLUMNS[:2] if width >= ROOMY else COLUMNS[:1]


def _label_room(width: int) -> int:
    return width - 13 - (15 if width >= ROOMY else 0) - 9 * len(_columns(width))
