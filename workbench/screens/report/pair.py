"""One pair that a reward model has wrong: the prompt, both responses, their scores, who judged what."""

from __future__ import annotations

from typing import TYPE_CHECKING, ClassVar

from textual import work
from textual.app import ComposeResult
from textual.binding import Binding, BindingType
from textual.containers import Horizontal, VerticalScroll
from textual.content import Content
from textual.widgets import Static

from engine.wording import counted
from workbench.screens.base import WorkbenchScreen, told
from workbench.widgets.safe import safe_content, safe_line

if TYPE_CHECKING:
    from storage.measures.report_records import PairResponse
    from workbench.services.reports.reports import OpenedPair, RewardReport

SHOWN_CHARACTERS = 12_000


class PairScreen(WorkbenchScreen):
    """People's choice on the left, the model's on the right; [ and ] go through the list."""

    TITLE_TEXT = "Pair"
    LOOP = "Read what people found better and what the reward model prefers."
    CSS_PATH = "screen.tcss"
    AUTO_FOCUS = "#pair-better"
    BINDINGS: ClassVar[list[BindingType]] = [
        Binding("escape", "dismiss", "back", tooltip="Back to the report"),
        Binding("right_square_bracket,n", "go(1)", "next", key_display="]", tooltip="Next pair of the list"),
        Binding("left_square_bracket,p", "go(-1)", "before", key_display="[", tooltip="Pair before"),
        Binding("j", "judge", "judge", tooltip="Judge this prompt's responses yourself"),
    ]

    def __init__(self, report: RewardReport, index: int) -> None:
        super().__init__()
        self.report, self.index = report, index

    def compose_body(self) -> ComposeResult:
        yield Static(id="pair-facts", markup=False)
        with VerticalScroll(id="pair-prompt", classes="pane") as prompt:
            prompt.border_title = "Prompt"
            yield Static(id="pair-prompt-text", markup=False)
        with Horizontal(id="pair-sides"):
            for side in ("better", "worse"):
                with VerticalScroll(id=f"pair-{side}", classes="pane"):
                    yield Static(id=f"pair-{side}-text", markup=False)

    def on_mount(self) -> None:
        self.load()

    @work(exclusive=True, group="pair")
    @told
    async def load(self) -> None:
        """Reads the pair's texts and verdicts."""
        report, wrong = self.report, self.report.wrong[self.index]
        opened = await self.ask(lambda workspace: workspace.reports.pair(report, wrong))
        self._show(opened)

    def _show(self, opened: OpenedPair) -> None:
        wrong = self.report.wrong[self.index]
        sure = f"{1 - wrong.probability:.0%}"
        first = Content.assemble(
            (f"{self.index + 1} of {len(self.report.wrong)}", "$foreground-muted"),
            "   ",
            (
                f"{safe_line(self.report.reward_model, 24)} is {sure} sure of the response on the right",
                "bold",
            ),
        )
        self.query_one("#pair-facts", Static).update(Content("\n").join([first, verdict_line(opened)]))
        turns = [
            Content.assemble(
                (f"{safe_line(turn['role'], 12)}: " if len(opened.messages) > 1 else "", "$foreground-muted"),
                safe_content(turn["content"], SHOWN_CHARACTERS),
            )
            for turn in opened.messages
        ]
        self.query_one("#pair-prompt-text", Static).update(Content("\n").join(turns))
        self._show_side("better", "people's", opened.better)
        self._show_side("worse", "the model's", opened.worse)

    def _show_side(self, side: str, whose: str, response: PairResponse) -> None:
        pane = self.query_one(f"#pair-{side}", VerticalScroll)
        pane.border_title = Content.assemble(f"{whose} · ", (safe_line(response.policy, 24), "bold"))
        score = "" if response.score is None else f"score {response.score:+.2f} · "
        spread = "" if response.uncertainty is None else f"± {response.uncertainty:.2f} · "
        pane.border_subtitle = Content(f"{score}{spread}{counted(len(response.text), 'character')}")
        pane.scroll_home(animate=False)
        text = safe_content(response.text, SHOWN_CHARACTERS)
        if not response.text.strip():
            text = Content.styled("(empty)", "$foreground-muted")
        self.query_one(f"#pair-{side}-text", Static).update(text)

    # -- keys ------------------------------

    def action_go(self, by: int) -> None:
        """The next or previous wrong pair; round at the ends."""
        self.index = (self.index + by) % len(self.report.wrong)
        self.load()

    def action_judge(self) -> None:
        """Goes to the rank screen with the pair's prompt."""
        self.workbench.rank_prompt(self.report.wrong[self.index].prompt_id)


def verdict_line(opened: OpenedPair) -> Content:
    """Who prefers which side."""
    parts: list[Content | str | tuple[str, str]] = []
    for verdict in opened.verdicts:
        said = {1: ("← left", "$secondary"), -1: ("→ right", "$primary")}.get(verdict.verdict, ("= tie", ""))
        parts += [(f"{safe_line(verdict.annotator, 20)} ", "$foreground-muted"), said, "   "]
    return Content.assemble(*parts).rstrip() if parts else Content("")
