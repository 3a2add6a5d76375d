"""Two lines on top of every screen: the store, its counts and the running job; and where one is."""

from __future__ import annotations

from typing import TYPE_CHECKING, cast

from textual.app import ComposeResult
from textual.containers import Vertical
from textual.content import Content
from textual.events import Click
from textual.widgets import Static

from engine.wording import counted
from workbench.messages import CurrentJob, Status
from workbench.widgets.safe import cut, safe_line

if TYPE_CHECKING:
    from workbench.shell import Shell

BAR_CELLS, JOB_CELLS = 8, 18
EIGHTHS = " ▏▎▍▌▋▊▉█"


def bar(progress: float, cells: int = BAR_CELLS) -> str:
    """`progress` (0 … 1) as a bar of `cells` characters, an eighth of a cell fine."""
    eighths = round(max(0.0, min(1.0, progress)) * cells * 8)
    full, rest = divmod(eighths, 8)
    return ("█" * full + (EIGHTHS[rest] if rest else "")).ljust(cells)


def job_text(job: CurrentJob | None) -> Content:
    """The running job, its stage, bar and percentage, and how many wait."""
    if job is None:
        return Content.styled("no job running", "$foreground-muted")
    parts: list[Content | str | tuple[str, str]] = [
        (f"{cut(job.name, JOB_CELLS)} ", "bold $secondary"),
        f"{cut(job.stage, JOB_CELLS)} ",
    ]
    if job.progress is not None:
        parts += [(bar(job.progress), "$secondary on $surface-lighten-1"), f" {job.progress:>4.0%}"]
    if job.waiting:
        parts.append((f" +{job.waiting}", "$foreground-muted"))
    return Content.assemble(*parts)


def counts_text(status: Status) -> Content:
    """Store and counts."""
    if not status.store:
        return Content.styled("opening the store …", "$foreground-muted")
    counts = " · ".join(
        (
            counted(status.prompts, "prompt"),
            counted(status.responses, "response"),
            f"{status.judgements:,} judged",
        )
    )
    if status.guest:
        counts = f"you judge as {safe_line(status.guest, 24)}"
    return Content.assemble(
        (safe_line(status.store, 24), "bold $primary"), ("  " + counts, "$foreground-muted")
    )


class StatusLine(Static):
    """Left: store and counts.  Right: the running job.  What does not fit is cut on the left side."""

    def show(self, status: Status) -> None:
        """Counts on the left, the running job on the right; the counts give way where both do not fit."""
        width = self.app.size.width - 2
        job = job_text(status.job)
        left = counts_text(status).truncate(max(10, width - job.cell_length - 2), ellipsis=True)
        gap = " " * max(1, width - left.cell_length - job.cell_length)
        self.update(Content.assemble(left, gap, job), layout=False)  # the whole screen would be painted anew


class Tabs(Static):
    """The screens and their function keys, the current one lit; on the right how far the demo is."""

    def show(self, current: str, note: str = "") -> None:
        """The places with their keys, this one marked; the note stands on the right where there is room."""
        app = cast("Shell", self.app)
        parts: list[Content | str | tuple[str, str]] = []
        for place in app.PLACES:
            key = place.key.upper()
            if place.mode == current:
                parts.append((f" {key} {place.title} ", "bold $primary on $primary-muted"))
            else:
                parts += [(f" {key}", "$foreground-muted"), f" {place.title} "]
        line = Content.assemble(*parts)
        room = app.size.width - line.cell_length - 1
        if note and room > 8:
            right = Content(safe_line(note)).truncate(room - 1, ellipsis=True)
            line += Content(" " * (room - right.cell_length)) + right.stylize("$secondary")
        self.update(line, layout=False)

    def on_click(self, event: Click) -> None:
        """A click on a screen's name goes there."""
        app = cast("Shell", self.app)
        left = 0
        for place in app.PLACES:
            right = left + len(f" {place.key} {place.title} ")
            if left <= event.x < right:
                app.action_go(place.mode)
            left = right


class Header(Vertical):
    """Status line and tabs; follows the application's status by itself."""

    def compose(self) -> ComposeResult:
        yield StatusLine()
        yield Tabs()

    def on_mount(self) -> None:
        app = cast("Shell", self.app)
        self._mode = app.current_mode
        self.watch(app, "status", self.show)
        self.watch(app, "demo_line", self.show_demo)

    def on_resize(self) -> None:
        app = cast("Shell", self.app)
        self.show(app.status)
        self.show_demo(app.demo_line)

    def show_demo(self, line: str) -> None:
        """Where the demo stands, beside the places."""
        self.query_one(Tabs).show(self._mode, line)

    def show(self, status: Status) -> None:
        self.query_one(StatusLine).show(status)
