"""The token inspector: what the loss saw of one response, token by token."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import TYPE_CHECKING, ClassVar

from textual import on, work
from textual.app import ComposeResult
from textual.binding import Binding, BindingType
from textual.containers import Container, Vertical
from textual.content import Content
from textual.widgets import Static

from engine.wording import counted
from workbench.screens.base import WorkbenchScreen, told
from workbench.screens.runs.token_trace import QUANTITIES, TokenTable, TraceHeat, figure
from workbench.widgets.run_samples import slider
from workbench.widgets.safe import safe_line
from workbench.widgets.series import short_number

if TYPE_CHECKING:
    from pathlib import Path

    from workbench.services.policy_learning import Trace
    from workbench.services.workspace import Workspace

SUMMED = ("kl", "reward")
AVERAGED = ("value", "advantage", "ratio")


def no_traces(step: int, traced: Sequence[int]) -> str:
    """Why there is nothing to see, and how to get it."""
    if not traced:
        return (
            "This run has no token traces. A run that learns a policy writes them every trace_every steps: "
            "start the next one with trace_every 1 to have every step."
        )
    steps = ", ".join(map(str, traced[:12])) + (" …" if len(traced) > 12 else "")
    those = f"step {steps} has" if len(traced) == 1 else f"steps {steps} have"
    return (
        f"Step {step} has no token traces; {those}. [ and ] go there. "
        "A run started with trace_every 1 keeps every step."
    )


class TokensScreen(WorkbenchScreen):
    """A table and heat lines that move together."""

    TITLE_TEXT = "Tokens"
    LOOP = "What the loss saw of one response: log π, log π_ref, KL, reward, value, advantage, return, ratio."
    CSS_PATH = "tokens.tcss"
    AUTO_FOCUS = "TokenTable"
    HORIZONTAL_BREAKPOINTS = [(0, "-narrow"), (150, "-wide")]  # noqa: RUF012
    BINDINGS: ClassVar[list[BindingType]] = [
        Binding("escape", "dismiss", "Back"),
        Binding("left_square_bracket", "step(-1)", "Traced step", key_display="[ ]"),
        Binding("right_square_bracket", "step(1)", "Next traced step", show=False),
        Binding("j", "response(1)", "Response", key_display="j k"),
        Binding("k", "response(-1)", "Response before", show=False),
        Binding("o,enter", "sort", "Sort by column", key_display="o"),
        Binding("tab", "app.focus_next", "Table ↔ text", show=False),
    ]

    def __init__(
        self, run_id: str, step: int, prompt_id: str | None = None, sample_index: int | None = None
    ) -> None:
        """Without a prompt the first traced response of the step is shown."""
        super().__init__()
        self.run_id, self.step = run_id, step
        self._wanted = (prompt_id, sample_index)
        self._traced: Sequence[int] = ()
        self._responses: Sequence[tuple[str, int]] = ()
        self.trace: Trace | None = None

    def compose_body(self) -> ComposeResult:
        yield Static(id="token-head", markup=False)
        with Container(id="token-body"):
            with Vertical(id="token-table-pane", classes="pane"):
                yield Static(id="token-columns", markup=False)
                yield TokenTable(id="token-table")
            yield TraceHeat(id="token-heat", classes="pane")
        yield Static(id="no-tokens", classes="empty", markup=False)

    def on_mount(self) -> None:
        self.query_one("#token-table-pane").border_title = "Tokens"
        self.load()

    def on_resize(self) -> None:
        self.call_after_refresh(self._redraw)

    @work(exclusive=True, group="trace")
    @told
    async def load(self) -> None:
        """Read the response that is asked for, or the first of the step."""
        run_id, step, wanted = self.run_id, self.step, self._wanted

        def read(
            workspace: Workspace,
        ) -> tuple[
            Sequence[int], Sequence[tuple[str, int]], tuple[str, int] | None, Trace | None, Sequence[Path]
        ]:
            learning = workspace.policy_learning
            responses = learning.traced(run_id, step)
            known = [response for response in responses if response == wanted]
            chosen = next(iter(known or responses), None)
            trace = learning.trace(run_id, step, *chosen) if chosen else None
            return learning.trace_steps(run_id), responses, chosen, trace, learning.torn(run_id)

        self._traced, self._responses, chosen, self.trace, torn = await self.ask(read)
        if chosen is not None:
            self._wanted = chosen
        self.set_class(self.trace is None, "-nothing")
        self.query_one("#no-tokens", Static).update(Content(no_traces(step, self._traced)))
        if torn:
            names = ", ".join(path.name for path in torn[:3])
            self.workbench.tell(f"Damaged traces are left out: {names}.", severity="warning")
        if self.trace is not None:
            self.query_one(TokenTable).put(self.trace.tokens)
        self._redraw()

    # -- drawing ---------------------------------------------------------------------------------------------

    def _redraw(self) -> None:
        """Everything that depends on the size, the column and the cursor."""
        table, heat, trace = self.query_one(TokenTable), self.query_one(TraceHeat), self.trace
        self.query_one("#token-head", Static).update(self._head())
        if trace is None:
            return
        width = table.scrollable_content_region.width
        self.query_one("#token-columns", Static).update(table.head(width))
        self.query_one("#token-table-pane").border_subtitle = self._totals()
        quantity = QUANTITIES[table.column]
        heat.all_quantities = self.size.width >= 150
        heat.border_title = Content(
            "Over the text" if heat.all_quantities else f"{quantity.head}: {quantity.meaning}"
        )
        here = table.current
        heat.put(trace.tokens, table.column, here.position if here is not None else 0)

    def _head(self) -> Content:
        """Step, prompt, which response, its score."""
        trace = self.trace
        steps = sorted({*self._traced, self.step})
        cells = max(12, min(60, self.size.width - 60))
        first = Content.assemble(
            slider(steps, self.step, self._traced, cells),
            f"  step {self.step}",
            (f"  {safe_line(self.run_id, 24)}", "$foreground-muted"),
        )
        if trace is None:
            return first
        number = list(self._responses).index((trace.prompt_id, trace.sample_index)) + 1
        place = f"  response {number} of {len(self._responses)}, {counted(len(trace.tokens), 'token')}"
        first = Content.assemble(first, (place, "$foreground-muted"))
        second = Content.assemble(
            (f"score {short_number(trace.score)}  ", "$text-primary"), (safe_line(trace.prompt, 300), "bold")
        )
        return Content("\n").join([first, second])

    def _totals(self) -> Content:
        """Sums and means over the response, as many as fit."""
        assert self.trace is not None
        parts: list[str] = []
        room = self.query_one("#token-table-pane").size.width - 4
        for quantity in QUANTITIES:
            numbers = [figure(trace, quantity) for trace in self.trace.tokens]
            numbers = [number for number in numbers if math.isfinite(number)]
            if not numbers or quantity.field not in (*SUMMED, *AVERAGED):
                continue
            total = sum(numbers) if quantity.field in SUMMED else sum(numbers) / len(numbers)
            name = "Σ " if quantity.field in SUMMED else "mean "
            parts.append(f"{name}{quantity.head} {short_number(total)}")
            if sum(len(part) + 2 for part in parts) > room:
                return Content("  ".join(parts[:-1]))
        return Content("  ".join(parts))

    # -- moving ----------------------------------------------------------------------------------------------

    @on(TokenTable.Moved)
    @on(TokenTable.ColumnMoved)
    def moved(self) -> None:
        self._redraw()

    @on(TraceHeat.Moved)
    def heat_moved(self, event: TraceHeat.Moved) -> None:
        """The heat lines move the table, and the table moves them."""
        table, here = self.query_one(TokenTable), self.query_one(TokenTable).current
        if event.quantities:
            table.action_column(event.quantities)
        if event.tokens and here is not None and self.trace is not None:
            last = len(self.trace.tokens) - 1
            table.go_to(max(0, min(last, here.position + event.tokens)))

    @on(TokenTable.Chosen)
    def action_sort(self) -> None:
        """By the column under the cursor: largest first, then smallest first, then as in the text."""
        self.query_one(TokenTable).sort()

    def action_step(self, by: int) -> None:
        """The next or previous step that has traces."""
        beyond = [step for step in self._traced if (step - self.step) * by > 0]
        if beyond:
            self.step = min(beyond, key=lambda step: abs(step - self.step))
            self.load()

    def action_response(self, by: int) -> None:
        """The next or previous traced response of the step, round the end."""
        if self._responses and self.trace is not None:
            place = list(self._responses).index((self.trace.prompt_id, self.trace.sample_index))
            self._wanted = self._responses[(place + by) % len(self._responses)]
            self.load()
