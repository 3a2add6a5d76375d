"""Policies by strength with intervals, and how often each beats each."""

from __future__ import annotations

from typing import TYPE_CHECKING, ClassVar

from textual import work
from textual.app import ComposeResult
from textual.binding import Binding, BindingType
from textual.containers import VerticalScroll
from textual.content import Content
from textual.widgets import Static

from workbench.keyboard import DIALOG
from workbench.screens.base import WorkbenchScreen, told
from workbench.widgets.choice import ChooseScreen
from workbench.widgets.safe import safe_line

if TYPE_CHECKING:
    from workbench.services.labels.leaderboard import Leaderboard, Standing

NAME_WIDTH, BAR_CELLS = 24, 30
SHOWN_COLUMNS = 8


def interval_bar(low: float, value: float, high: float) -> Content:
    """The chance to beat the average policy between 0 and 1, with its interval."""
    at = [min(BAR_CELLS - 1, int(x * BAR_CELLS)) for x in (low, value, high)]
    cells = ["·"] * BAR_CELLS
    cells[BAR_CELLS // 2] = "┊"
    cells[at[0] : at[2] + 1] = ["─"] * (at[2] - at[0] + 1)
    return Content.assemble(
        ("".join(cells[: at[1]]), "$foreground-muted"),
        ("█", "bold $primary"),
        ("".join(cells[at[1] + 1 :]), "$foreground-muted"),
    )


def standing_line(row: Standing) -> Content:
    """Place, policy, chances with their interval, and what they rest on."""
    from workbench.services.labels.leaderboard import chances_text, evidence

    value, low, high = row.chances
    return Content.assemble(
        f"{row.place:>3}  ",
        (safe_line(row.policy, NAME_WIDTH).ljust(NAME_WIDTH), "bold"),
        interval_bar(low, value, high),
        f"  {chances_text(row):<16}",
        (evidence(row), "$foreground-muted"),
    )


def matrix_lines(board: Leaderboard) -> list[Content]:
    """How often the policy of the row beat that of the column, in per cent of so many prompts."""
    names = [row.policy for row in board.standings[:SHOWN_COLUMNS]]
    head = " " * NAME_WIDTH + "".join(safe_line(name, 10).rjust(12) for name in names)
    lines = [Content.styled(head, "$foreground-muted")]
    for row in board.standings:
        cells = [Content(safe_line(row.policy, NAME_WIDTH).ljust(NAME_WIDTH))]
        for name in names:
            met = board.meeting(row.policy, name)
            text = "·" if met is None else f"{100 * met.rate:.0f}% ({met.prompts})"
            sure = met is not None and (met.low > 0.5 or met.high < 0.5)
            cells.append(Content.styled(text.rjust(12), "bold" if sure else ""))
        lines.append(Content.assemble(*cells))
    return lines


class LeaderboardScreen(WorkbenchScreen):
    """All policies that somebody has compared."""

    TITLE_TEXT = "Leaderboard"
    LOOP = "Which policy is preferred, and how sure is that?"
    CSS_PATH = "leaderboard.tcss"
    AUTO_FOCUS = "#board"
    BINDINGS: ClassVar[list[BindingType]] = [
        Binding("escape", "back", "back", tooltip="Back to where this was opened"),
        Binding(
            "j", "judge", "judge", tooltip="Choose who decides: people, a kind of annotators, a reward model"
        ),
        Binding("l", "length", "length", tooltip="Control for the length of responses, or do not"),
    ]

    def __init__(self, judge: str = "people") -> None:
        super().__init__()
        self.judge, self.control = judge, True

    def compose_body(self) -> ComposeResult:
        with VerticalScroll(id="board", classes="pane"):
            yield Static(id="standings")
            yield Static(id="matrix")

    def on_mount(self) -> None:
        self.query_one("#board").border_title = "Leaderboard"
        self.load()

    @work(exclusive=True, group="leaderboard")
    @told
    async def load(self) -> None:
        """Fit in a thread, then draw."""
        judge, control = self.judge, self.control
        self.query_one("#standings", Static).update(Content.styled("…", "$foreground-muted"))
        board = await self.ask(lambda w: w.leaderboards.board(judge, control=control))
        self.show_board(board)

    def show_board(self, board: Leaderboard) -> None:
        """The standings with what must be known of them, and below them who beats whom."""
        from workbench.services.labels.leaderboard import notes

        said = [Content.styled(safe_line(note, 200), "$foreground-muted") for note in notes(board)]
        lines = [standing_line(row) for row in board.standings]
        self.query_one("#standings", Static).update(Content("\n").join([*said, Content(""), *lines]))
        matrix = matrix_lines(board) if board.standings else []
        title = Content.styled(
            "\nrow beats column, ties one half (prompts); bold where 95% sure", "$foreground-muted"
        )
        self.query_one("#matrix", Static).update(
            Content("\n").join([title, *matrix]) if matrix else Content("")
        )

    @work(group=DIALOG, exclusive=True)
    @told
    async def action_judge(self) -> None:
        """Asks whose judgements count: people's, an annotator's, a reward model's."""
        judges = await self.ask(lambda w: w.leaderboards.judges())
        chosen = await self.app.push_screen_wait(ChooseScreen("Judged by", judges, self.judge))
        if chosen is not None and chosen != self.judge:
            self.judge = chosen
            self.load()

    def action_length(self) -> None:
        """Counts with or without the advantage that length gives."""
        self.control = not self.control
        self.load()

    def action_back(self) -> None:
        self.dismiss()
