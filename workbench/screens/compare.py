"""Two policies on the same prompts: how often one wins, and both responses side by side."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, ClassVar

from textual import on, work
from textual.app import ComposeResult
from textual.binding import Binding, BindingType
from textual.containers import Horizontal, Vertical, VerticalScroll
from textual.content import Content
from textual.widgets import Static

from engine.wording import counted
from workbench.keyboard import DIALOG
from workbench.screens.base import WorkbenchScreen, told
from workbench.widgets.choice import ChooseScreen
from workbench.widgets.row_list import RowList
from workbench.widgets.safe import safe_content, safe_line

if TYPE_CHECKING:
    from storage.records import PolicyRow
    from workbench.services.comparing import ComparedItem, PromptOutcome, Side, WinRate

PEOPLE = "people"
PAGE = 50  # prompts with all their responses that are read at once
BAR_CELLS = 12
SHOWN_CHARACTERS = 12_000
FILTERS = ((None, "all"), ("win", "A wins"), ("loss", "B wins"), ("tie", "ties"))
MARKS = {
    "win": ("A", "bold $secondary"),
    "loss": ("B", "bold $accent"),
    "tie": ("=", "bold $foreground-muted"),
    None: ("·", "$foreground-muted"),
}
TOO_FEW = """Comparing needs two policies that have answered the same prompts.

[b]F2[/b]  then [b]g[/b]: generate with another policy
[b]F8[/b]  train a policy with PPO, it can generate at once"""


@dataclass(frozen=True)
class Question:
    """What is compared and who decides."""

    a: str = ""
    b: str = ""
    judge: str = PEOPLE

    @property
    def reward_model(self) -> str | None:
        """The judge where it is a reward model; None for people."""
        return None if self.judge == PEOPLE else self.judge


def rate_content(rate: WinRate) -> Content:
    """Win rate with its 95 % interval, the counts and a bar of wins, ties and losses."""
    if rate.rate is None or rate.low is None or rate.high is None:
        who = "people have" if rate.judge == PEOPLE else f"{safe_line(rate.judge, 30)} has"
        return Content.styled(
            f"No prompt where {who} judged both: press j for another judge.", "$foreground-muted"
        )
    total = max(1e-9, rate.wins + rate.ties + rate.losses)
    won = round(BAR_CELLS * rate.wins / total)
    tied = round(BAR_CELLS * (rate.wins + rate.ties) / total) - won
    return Content.assemble(
        ("A wins ", ""),
        (f"{rate.rate:.0%}", "bold $primary"),
        (f" (95%: {100 * rate.low:.0f}–{100 * rate.high:.0f}%)  ", "$foreground-muted"),
        ("█" * won, "$secondary"),
        ("█" * tied, "$panel"),
        ("█" * (BAR_CELLS - won - tied), "$accent"),
        (f"  pairs: {rate.wins:g} won · {rate.ties:g} tied · {rate.losses:g} lost", "$foreground-muted"),
    )


def proposal(policies: Sequence[PolicyRow]) -> tuple[str, str]:
    """The newest policy that was trained from another, against that one; else the two that came last."""
    names = [policy.name for policy in policies if policy.responses]
    for policy in reversed(policies):
        if policy.name in names and policy.parent in names:
            return policy.name, str(policy.parent)
    return names[-1], names[-2]


def score_text(score: float | None) -> str:
    """A score with its sign; empty where there is none."""
    return "" if score is None else f"{score:+.2f}"


def draw_item(item: ComparedItem, width: int) -> Content:
    """One line: who won, the prompt, both scores."""
    mark, colour = MARKS[item.outcome]
    scores = f"{score_text(item.score_a):>8}{score_text(item.score_b):>8}"
    room = max(8, width - 4 - len(scores))
    text = Content(safe_line(item.text)).truncate(room, ellipsis=True, pad=True)
    return Content.assemble((f" {mark}  ", colour), text, (scores, "$foreground-muted"))


def sides_content(sides: Sequence[Side]) -> Content:
    """All responses of one policy to a prompt, one below the other."""
    parts: list[Content | str | tuple[str, str]] = []
    for number, side in enumerate(sides, 1):
        facts = [f"{number}"] if len(sides) > 1 else []
        facts += [f"score {side.score:+.2f}"] if side.score is not None else []
        facts += [counted(side.tokens, "token")] if side.tokens else []
        if facts:
            parts += [(" · ".join(facts), "$foreground-muted"), "\n"]
        parts += [safe_content(side.text, SHOWN_CHARACTERS), "\n\n"]
    return Content.assemble(*parts).rstrip()


class CompareScreen(WorkbenchScreen):
    """A against B by a reward model or by people."""

    TITLE_TEXT = "Compare"
    LOOP = "Choose two policies and a judge; read where they differ."
    CSS_PATH = "compare.tcss"
    AUTO_FOCUS = "#items"
    BINDINGS: ClassVar[list[BindingType]] = [
        Binding("a", "choose_policy('a')", "policy A", tooltip="Choose policy A"),
        Binding("b", "choose_policy('b')", "policy B", tooltip="Choose policy B"),
        Binding("j", "choose_judge", "judge", tooltip="Choose who decides: a reward model or people"),
        Binding("x", "swap", "swap", tooltip="Swap A and B"),
        Binding("f", "filter", "filter", tooltip="All prompts, where A wins, where B wins, ties"),
        Binding("enter", "read", "read", tooltip="Read the responses; tab goes to the other one"),
        Binding("escape", "back", "Back to the list", show=False),
    ]

    def __init__(self) -> None:
        super().__init__()
        self.question = Question()
        self.items: list[PromptOutcome] = []
        """Who won on each prompt; the responses are read a page at a time."""
        self._chosen: list[PromptOutcome] = []
        self.filter = 0
        self._known: tuple[object, ...] | None = None
        self._policies: list[str] = []
        self._judges: list[str] = [PEOPLE]

    def compose_body(self) -> ComposeResult:
        yield Static(id="question")
        yield Static(id="rate")
        with Vertical(id="found", classes="pane"):
            yield RowList(draw_item, self.fetch, page_rows=PAGE, id="items")
        yield Static(id="compared-prompt")
        with Horizontal(id="sides"):
            for side in ("a", "b"):
                with VerticalScroll(id=f"side-{side}", classes="pane"):
                    yield Static(id=f"text-{side}")
        yield Static(id="too-few", classes="empty")

    def on_mount(self) -> None:
        self.start()

    def on_screen_resume(self) -> None:
        """An import, a job or a judgement may have added policies, models, scores."""
        if self._known is not None:
            self.start()

    # -- what is compared ------------------------------

    @work(exclusive=True, group="compare")
    @told
    async def start(self) -> None:
        """Learn which policies and judges there are; propose the two that were made last."""
        policies, models, overview = await self.ask(
            lambda w: (w.library.policies(), w.library.reward_models(), w.library.overview())
        )
        known, self._known = self._known, (policies, models, overview)
        if known == self._known:
            return
        self._policies = [policy.name for policy in policies if policy.responses]
        self._judges = [*(model.name for model in models), PEOPLE]
        few = len(self._policies) < 2
        self.set_class(few, "-too-few")
        if few:
            self.query_one("#too-few", Static).update(Content.from_markup(TOO_FEW))
            return
        if self.question.a not in self._policies or self.question.b not in self._policies:
            self.question = Question(*proposal(policies), self._judges[0])
        self.compare()

    @work(exclusive=True, group="items")
    @told
    async def compare(self) -> None:
        """Win rate first, then who won where; the list reads the responses that are looked at."""
        question, self.items = self.question, []
        a, b, model = question.a, question.b, question.reward_model
        self._show_question()
        await self._show_items()
        self.query_one("#rate", Static).update(Content.styled("…", "$foreground-muted"))
        rate = await self.ask(lambda w: w.comparing.win_rate(a, b, model))
        self.query_one("#rate", Static).update(rate_content(rate))
        self.items = await self.ask(lambda w: w.comparing.outcomes(a, b, model))
        await self._show_items()
        if not self.items:
            sentence = "No prompt has responses of both: a and b choose other policies."
            self.query_one("#rate", Static).update(Content.styled(sentence, "$foreground-muted"))

    def _show_question(self) -> None:
        question = self.question
        line = Content.assemble(
            ("A ", "bold $secondary"),
            (safe_line(question.a, 24), "bold"),
            ("   B ", "bold $accent"),
            (safe_line(question.b, 24), "bold"),
            ("   judged by ", "$foreground-muted"),
            (safe_line(question.judge, 24), "bold"),
        )
        self.query_one("#question", Static).update(line)
        for side, policy in (("a", question.a), ("b", question.b)):
            title = Content.styled(f"{side.upper()} {safe_line(policy, 30)}", "bold")
            self.query_one(f"#side-{side}").border_title = title

    # -- the list ------------------------------

    async def fetch(self, offset: int, limit: int) -> Sequence[ComparedItem]:
        """Rows for the list, of those that the filter lets through."""
        question, here = self.question, self._chosen[offset : offset + limit]
        if not here:
            return ()
        a, b, model = question.a, question.b, question.reward_model
        return await self.ask(lambda w: w.comparing.items_of(a, b, here, model))

    async def _show_items(self) -> None:
        """Those that the filter lets through, the first page of them with their responses."""
        outcome = FILTERS[self.filter][0]
        chosen = [each for each in self.items if outcome is None or each.outcome == outcome]
        self._chosen = chosen
        first = await self.fetch(0, PAGE)
        if chosen is not self._chosen:
            return  # asked anew meanwhile
        self.query_one(RowList).show(len(chosen), first)
        name = FILTERS[self.filter][1]
        self.query_one("#found").border_title = Content(f"Prompts · {len(chosen):,} · {name}")
        scored = "mean score of A, of B" if self.question.reward_model else ""
        self.query_one("#found").border_subtitle = scored

    @on(RowList.Moved)
    def moved(self, event: RowList.Moved) -> None:
        """Shows the responses of both policies to the prompt under the cursor."""
        item: ComparedItem | None = event.row
        prompt = Content.styled(safe_line(item.text, 2000), "bold") if item else self._nothing()
        self.query_one("#compared-prompt", Static).update(prompt)
        for side, responses in (("a", item.a if item else ()), ("b", item.b if item else ())):
            pane = self.query_one(f"#side-{side}", VerticalScroll)
            pane.scroll_home(animate=False)
            self.query_one(f"#text-{side}", Static).update(sides_content(responses))
            won = item is not None and item.outcome == {"a": "win", "b": "loss"}[side]
            pane.border_subtitle = Content.styled("better", "bold") if won else ""

    def _nothing(self) -> Content:
        """Why the list is empty."""
        if not self.items:
            return Content("")
        return Content.styled(f"No prompt here ({FILTERS[self.filter][1]}): f goes on.", "$foreground-muted")

    @on(RowList.Chosen)
    def chosen(self) -> None:
        self.action_read()

    # -- keys ------------------------------

    @work(group=DIALOG, exclusive=True)
    @told
    async def action_choose_policy(self, side: str) -> None:
        """Asks for the policy of one side, and compares anew."""
        if not self._policies:  # not read yet
            return
        name = await self.app.push_screen_wait(ChooseScreen(f"Policy {side.upper()}", self._policies))
        if name is not None:
            question = self.question
            a, b = (name, question.b) if side == "a" else (question.a, name)
            self._ask(Question(a, b, question.judge))

    @work(group=DIALOG, exclusive=True)
    @told
    async def action_choose_judge(self) -> None:
        """Asks for people or a reward model, and compares anew."""
        name = await self.app.push_screen_wait(ChooseScreen("Judged by", self._judges))
        if name is not None:
            self._ask(Question(self.question.a, self.question.b, name))

    def action_swap(self) -> None:
        """Turns the comparison round."""
        self._ask(Question(self.question.b, self.question.a, self.question.judge))

    def _ask(self, question: Question) -> None:
        if question.a == question.b:
            self.workbench.tell("A and B are the same policy: choose another one.", severity="information")
        elif question != self.question and question.a:
            self.question = question
            self.compare()

    def action_filter(self) -> None:
        """Next of: all prompts, those won, tied, lost."""
        self.filter = (self.filter + 1) % len(FILTERS)
        self._filter_items()

    @work(exclusive=True, group="filter")
    @told
    async def _filter_items(self) -> None:
        await self._show_items()

    def action_read(self) -> None:
        """Goes to the responses, where keys scroll."""
        if self.query_one(RowList).current is not None:
            self.query_one("#side-a").focus()

    def action_back(self) -> None:
        self.query_one(RowList).focus()
