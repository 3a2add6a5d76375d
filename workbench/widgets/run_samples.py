"""The responses of one step: a slider over the steps, each response beside that of an earlier step."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

from textual.app import ComposeResult
from textual.containers import Vertical, VerticalScroll
from textual.content import Content
from textual.reactive import reactive
from textual.widgets import Static

from engine.wording import counted
from workbench.widgets.safe import safe_line, safe_text
from workbench.widgets.series import short_number

if TYPE_CHECKING:
    from storage.rollouts import StoredRollout
    from workbench.services.policy_learning import Sample, Step
    from workbench.services.text_diff import Piece

SHOWN_CHARACTERS = 2000
ALIKE = 0.2
"""Texts less alike than this share words by chance: marking their differences would mark everything."""
NO_SAMPLES = "This run has no sampled responses."


def slider(steps: Sequence[int], step: int, traced: Sequence[int], cells: int) -> Content:
    """A bar with a knob at `step`; steps with token traces are ┿ on it."""
    span = max(1, len(steps) - 1)
    places = {number: round(index / span * (cells - 1)) for index, number in enumerate(steps)}
    marked = {places[number] for number in traced if number in places}
    bar = ["┿" if cell in marked else "─" for cell in range(cells)]
    knob = places.get(step, 0)
    return Content.assemble(
        ("[ ", "$secondary"), ("".join(bar[:knob]), "$foreground-muted"), ("●", "bold $primary"),
        ("".join(bar[knob + 1 :]), "$foreground-muted"), (" ]", "$secondary"),
    )  # fmt: skip


def pieces_content(pieces: Sequence[Piece], style: str) -> Content:
    """A text whose own words bear `style`."""
    return Content.assemble(*((safe_text(piece.text), style if piece.own else "") for piece in pieces))


def _text(text: str) -> Content:
    return Content(safe_text(text[:SHOWN_CHARACTERS]).strip() or "(empty)")


def figures(row: StoredRollout) -> Content:
    """Score and what else is known of one response, on one line."""
    ended = "stopped" if row.stopped else "cut at the budget"
    parts = [
        f"  reward {short_number(row.reward)}  KL {short_number(row.kl)}  "
        f"{counted(row.tokens or 0, 'token')}, {ended}"
    ]
    parts += [
        f"  {safe_line(name, 30)} {short_number(score)}" for name, score in (row.components or {}).items()
    ]
    return Content.assemble(
        (f"score {short_number(row.score)}", "$text-primary"), ("".join(parts), "$foreground-muted")
    )


def sample_content(sample: Sample, *, with_prompt: bool) -> Content:
    """One response under its prompt and numbers, with the earlier one above it."""
    row, earlier, difference = sample.row, sample.earlier, sample.difference
    lines: list[Content] = []
    if with_prompt:
        lines.append(
            Content.assemble(("▸ ", "$primary"), (safe_line(row.prompt or row.prompt_id, 300), "bold"))
        )
    lines.append(figures(row))
    if earlier is None or difference is None:
        return Content("\n").join([*lines, _text(row.text)])
    head = f"step {earlier.step}, score {short_number(earlier.score)}: "
    alike = difference.likeness >= ALIKE and len(earlier.text) + len(row.text) < 2 * SHOWN_CHARACTERS
    old = pieces_content(difference.old, "$text-error strike") if alike else _text(earlier.text)
    new = pieces_content(difference.new, "bold $text-success") if alike else _text(row.text)
    lines.append(Content.styled(head, "$foreground-muted") + old.stylize_before("$foreground-muted"))
    return Content("\n").join([*lines, new])


class SampleBlock(Static):
    """One response; the one under the cursor bears a bar on its left."""

    DEFAULT_CSS = """
    SampleBlock {
        height: auto; margin-bottom: 1; padding: 0 0 0 1; border-left: blank;
        &.-here { border-left: outer $primary; }
    }
    """


class SamplesView(Vertical):
    """Responses of a step; `here` is the one that keys act on."""

    DEFAULT_CSS = """
    SamplesView {
        #sample-head { height: 1; text-wrap: nowrap; text-overflow: ellipsis; }
        #sample-scroll { height: 1fr; scrollbar-size-vertical: 1; }
    }
    """
    here: reactive[int] = reactive(0, init=False)

    def __init__(self, *, id: str | None = None) -> None:
        super().__init__(id=id)
        self.step: Step | None = None
        self._steps: Sequence[int] = ()
        self._traced: Sequence[int] = ()

    def compose(self) -> ComposeResult:
        yield Static(NO_SAMPLES, id="sample-head", markup=False)
        yield VerticalScroll(id="sample-scroll", can_focus=False)

    @property
    def current(self) -> Sample | None:
        """The response under the cursor."""
        samples = self.step.samples if self.step else ()
        return samples[self.here] if self.here < len(samples) else None

    def know_steps(self, steps: Sequence[int], traced: Sequence[int]) -> None:
        """Which steps there are, and which have token traces."""
        self._steps, self._traced = steps, traced
        self._draw_head()

    def clear(self) -> None:
        """Another run: nothing is known yet."""
        self.step = None
        self.here = 0
        self.query_one("#sample-scroll").remove_children()

    async def show(self, step: Step) -> None:
        """Replace the responses; the cursor stays on the same prompt and sample where it can."""
        before = self.current
        self.step = step
        blocks, last = [], None
        for sample in step.samples:
            content = sample_content(sample, with_prompt=sample.row.prompt_id != last)
            last = sample.row.prompt_id
            blocks.append(SampleBlock(content, markup=False))
        scroll = self.query_one("#sample-scroll", VerticalScroll)
        async with self.batch():
            await scroll.remove_children()
            await scroll.mount_all(blocks)
        keys = [(sample.row.prompt_id, sample.row.sample_index) for sample in step.samples]
        key = (before.row.prompt_id, before.row.sample_index) if before else None
        self.set_reactive(SamplesView.here, keys.index(key) if key in keys else 0)
        self._draw_here()
        self._draw_head()

    def move(self, by: int) -> None:
        """The next or previous response, within those shown."""
        samples = self.step.samples if self.step else ()
        if samples:
            self.here = max(0, min(len(samples) - 1, self.here + by))

    def watch_here(self) -> None:
        self._draw_here()

    def on_resize(self) -> None:
        self._draw_head()

    def _draw_here(self) -> None:
        for index, block in enumerate(self.query(SampleBlock)):
            block.set_class(index == self.here, "-here")
            if index == self.here:
                block.scroll_visible(animate=False)

    def _draw_head(self) -> None:
        head = self.query_one("#sample-head", Static)
        if not self._steps:
            head.update(Content.styled(NO_SAMPLES, "$foreground-muted"))
            return
        step = self.step
        if step is None:
            return
        cells = max(16, min(96, self.size.width - 60))
        beside = {"previous": ", beside the step before", "first": ", beside the first step"}
        head.update(
            Content.assemble(
                slider(self._steps, step.step, self._traced, cells),
                f" step {step.step} of {self._steps[-1]}",
                (
                    f" · {counted(len(step.samples), 'response')}{beside.get(step.against, '')}",
                    "$foreground-muted",
                ),
            )
        )
