"""Runs and their parts as lines of text: what the list, the header of a run and its details show."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

from textual.content import Content

from workbench.widgets.safe import cut, safe_line, safe_text
from workbench.widgets.series import short_number

if TYPE_CHECKING:
    from storage.records import RunRow
    from workbench.services.runs.jobs import RunDetail


MARKS = {
    "running": ("●", "$primary"),
    "queued": ("○", "$foreground-muted"),
    "done": ("✓", "$success"),
    "paused": ("‖", "$warning"),
    "stopped": ("■", "$warning"),
    "failed": ("✗", "$error"),
}
Part = tuple[str, str]


def duration(seconds: float | None) -> str:
    """At most six characters: 9s, 4m12s, 3h05m, 2d04h."""
    if seconds is None:
        return ""
    whole = max(0, int(seconds))
    if whole < 60:
        return f"{whole}s"
    if whole < 3600:
        return f"{whole // 60}m{whole % 60:02d}s"
    if whole < 86400:
        return f"{whole // 3600}h{whole % 3600 // 60:02d}m"
    return f"{whole // 86400}d{whole % 86400 // 3600:02d}h"


def clock() -> datetime:
    """Now, as the store gives times: in UTC."""
    return datetime.now(UTC)


def took(run: RunRow, now: datetime) -> float | None:
    """Seconds from the start of a run to its end, or to `now`; None when it has not started."""
    if run.started_at is None:
        return None
    return float(((run.ended_at or now) - run.started_at).total_seconds())


def state_text(run: RunRow) -> str:
    """What a run is doing: “training 62 %”, “done”, “queued”."""
    if run.status != "running":
        return str(run.status)
    stage = safe_line(run.stage or "starting", 24)
    return stage if run.progress is None else f"{stage} {run.progress:.0%}"


def pace_text(run: RunDetail) -> str:
    """How far the stage is and how fast: “24 of 64 responses · 245 tokens/s”; empty when not known."""
    latest = run.latest
    if latest is None:
        return ""
    parts = []
    if latest.total and latest.unit:
        parts.append(f"{latest.done:,.0f} of {latest.total:,.0f} {safe_line(latest.unit, 20)}")
    if latest.rate is not None:
        parts.append(f"{latest.rate:,.1f} {safe_line(latest.rate_unit, 20)}")
    return " · ".join(parts)


def run_line(run: RunRow, now: datetime, width: int, shape: Part | None = None) -> Content:
    """One line of the list of runs, `width` cells; `shape` is how a marked run is drawn, with its colour."""
    mark, colour = MARKS.get(run.status, ("·", "$foreground-muted"))
    time = duration(took(run, now))
    state = state_text(run)
    room = max(6, width - 2 - 10 - 20 - 8)
    name = cut(run.name or run.run_id, room)
    return Content.assemble(
        (mark, colour),
        shape or (" ", ""),
        (name.ljust(room), "bold" if run.status == "running" else ""),
        (f" {cut(run.kind, 9):<9}", "$foreground-muted"),
        (f" {state[:19]:<19}", colour if run.status in ("running", "failed") else "$foreground-muted"),
        (f"{time:>7}", "$foreground-muted"),
    )


def head_lines(run: RunDetail, now: datetime) -> Content:
    """Two lines over a run's views: what it is; what it does, or why it failed."""
    mark, colour = MARKS.get(run.status, ("·", "$foreground-muted"))
    places = [safe_line(place, 30) for place in (run.device, run.dtype) if place]
    device = "".join(f" · {place}" for place in places)
    first: list[Part] = [
        (f"{mark} {safe_line(run.status, 12)}", f"bold {colour}"),
        (f"  {safe_line(run.kind, 20)} · {safe_line(run.run_id, 24)}{device}", "$foreground-muted"),
        (f" · {duration(took(run, now))}" if run.started_at else "", "$foreground-muted"),
    ]
    if run.status == "failed":
        second: Part = (safe_line(run.reason or "It ended without saying why.", 300), "$text-error")
    elif run.status == "running":
        second = ("  ".join(part for part in (state_text(run), pace_text(run)) if part), "")
    elif run.status == "paused":
        second = ("Paused; z or R resumes it where it is.", "$foreground-muted")
    elif run.status == "stopped":
        second = ("Stopped; what it had is kept. R resumes it from the last checkpoint.", "$foreground-muted")
    elif run.status == "queued":
        second = ("Waits for the device, or for the run before it.", "$foreground-muted")
    else:
        second = (summary_line(run), "")
    return Content.assemble(*first, "\n", second)


def summary_line(run: RunDetail) -> str:
    """The figures a finished run ended with, on one line."""
    summary = as_mapping(run.summary)
    return figures_line(summary) or "Done."


def label(key: Any) -> str:
    """A setting or figure as a person names it: `tokens_per_second` is “tokens per second”."""
    return safe_line(str(key), 40).replace("_", " ")


def figures_line(figures: Mapping[str, Any]) -> str:
    """`steps 10  score before -0.774  …`"""
    return "  ".join(f"{label(key)} {value_text(value)}" for key, value in figures.items())


def as_mapping(value: Any) -> Mapping[str, Any]:
    """A mapping from a mapping, JSON text or nothing."""
    if isinstance(value, str):
        try:
            value = json.loads(value)
        except ValueError:
            return {}
    return value if isinstance(value, Mapping) else {}


def value_text(value: Any) -> str:
    """A setting or figure as a person reads it."""
    if isinstance(value, bool):
        return "yes" if value else "no"
    if isinstance(value, float):
        return short_number(value)
    if isinstance(value, list | tuple | dict):
        return safe_line(json.dumps(value, ensure_ascii=False, default=str), 200)
    return safe_line(str(value), 200)


def _section(title: str, lines: Sequence[Content]) -> list[Content]:
    return [Content.styled(title, "bold $primary"), *lines, Content("")] if lines else []


def _table(rows: Mapping[str, Any]) -> list[Content]:
    widest = min(28, max((len(label(key)) for key in rows), default=0))
    return [
        Content.assemble((f"  {label(key):<{widest}}  ", "$foreground-muted"), value_text(value))
        for key, value in rows.items()
    ]


def details_content(detail: RunDetail, time_words: str = "", memory_words: str = "") -> Content:
    """Summary, failure, messages, artifacts and configuration of a run, one below the other.

    time_words: where the time of its steps goes, if that is known; memory_words: what it took of memory.
    """
    messages = [Content.assemble(("  ", ""), safe_text(message.text)) for message in detail.messages]
    stderr = [
        Content.styled(f"  {line}", "$foreground-muted")
        for line in safe_text(detail.stderr_tail or "").splitlines()
    ]
    artifacts = [
        Content.assemble(
            (f"  {safe_line(item.kind, 20):<13} ", "$foreground-muted"),
            safe_line(item.name, 60),
            (
                f"  {figures_line(as_mapping(item.details))}" if as_mapping(item.details) else "",
                "$foreground-muted",
            ),
        )
        for item in detail.artifacts
    ]
    failed = detail.status == "failed"
    parts = [
        *(_section("Last lines of its error output", stderr[-20:]) if failed else []),
        *_section("Result", _table(as_mapping(detail.summary))),
        *_section("Time", [Content(f"  {time_words}")] if time_words else []),
        *_section("Memory", [Content(f"  {memory_words}")] if memory_words else []),
        *_section("Messages", messages[-20:]),
        *_section("Made", artifacts),
        *_section("Settings", _table(as_mapping(detail.config))),
    ]
    return Content("\n").join(parts) if parts else Content.styled("Nothing yet.", "$foreground-muted")
