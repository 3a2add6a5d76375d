"""F4: score two responses to a prompt as they are typed, token by token, from the ONNX export."""

from __future__ import annotations

import asyncio
import math
import time
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, ClassVar

from textual import on, work
from textual.app import ComposeResult
from textual.binding import Binding, BindingType
from textual.containers import Container, Horizontal, Vertical, VerticalScroll
from textual.content import Content
from textual.timer import Timer
from textual.widgets import Static, TextArea

from workbench.screens.base import WorkbenchScreen, told
from workbench.widgets.choice import Choice
from workbench.widgets.heatline import HeatLegend, HeatLine, Scale
from workbench.widgets.safe import safe_line
from workbench.widgets.typed import SafeTextArea

if TYPE_CHECKING:
    from workbench.services.workspace import Workspace

DEBOUNCE_SECONDS = 0.08
SIDES = ("a", "b")
NO_MODEL = "No reward model yet.\n\nPress t to train one on the judgements of the store."
NO_EXPORT = (
    "{name} has no ONNX export yet.\n\nPress e to export it; scores appear here as soon as that run is done."
)


@dataclass(frozen=True)
class Request:
    """What is to be scored; a newer one makes it worthless."""

    reward_model: str
    precision: str
    prompt: str
    responses: tuple[str, str]


@dataclass(frozen=True)
class Answer:
    """Scores of a request and how they came about."""

    request: Request
    scored: Sequence[Any]
    """One `Scored` a response."""
    provider: str
    milliseconds: float


def preference(first: float, second: float) -> float:
    """σ(first − second): the chance that the first response is preferred (Bradley and Terry, 1952)."""
    difference = first - second
    if difference >= 0:
        return 1 / (1 + math.exp(-difference))
    return math.exp(difference) / (1 + math.exp(difference))


def score_now(workspace: Workspace, request: Request) -> Answer:
    """Open the scorer (slow the first time) and score; called in a thread."""
    scorer = workspace.scoring.scorer(request.reward_model, request.precision)
    begun = time.perf_counter()
    scored = scorer.score([{"role": "user", "content": request.prompt}], list(request.responses))
    return Answer(request, scored, scorer.provider, (time.perf_counter() - begun) * 1000)


class ScoreScreen(WorkbenchScreen):
    """A prompt, two responses, their running scores, and which of them is preferred."""

    TITLE_TEXT = "Score"
    LOOP = "Ask a reward model about any text and see which words move its score."
    CSS_PATH = "score.tcss"
    AUTO_FOCUS = ""  # the editors may be hidden: `find_models` focuses one as soon as there is a scorer
    HORIZONTAL_BREAKPOINTS = [(0, "-narrow"), (130, "-wide")]  # noqa: RUF012
    BINDINGS: ClassVar[list[BindingType]] = [
        Binding("ctrl+o", "choose", "Model"),
        Binding("ctrl+t", "precision", "int8/fp32"),
        Binding("ctrl+n", "example", "Next prompt"),
        Binding("e", "launch('export')", "Export to ONNX"),
        Binding("t", "launch('reward')", "Train a reward model"),
    ]

    def __init__(self) -> None:
        super().__init__()
        self._models: list[Any] = []
        self._precision = "int8"
        self._wanted: Request | None = None
        self._shown: Request | None = None
        self._examples = 0
        self._debounce: Timer | None = None

    def compose_body(self) -> ComposeResult:
        with Vertical(id="score"):
            with Horizontal(id="scorer"):
                yield Choice(title="Reward model", id="model")
                yield Static(id="backend", markup=False)
            yield _editor("prompt", "Prompt")
            with Container(id="sides"):
                for side in SIDES:
                    with Vertical(classes="side"):
                        yield _editor(f"text-{side}", f"Response {side.upper()}")
                        with VerticalScroll(classes="heat", can_focus=False):
                            yield HeatLine(id=f"heat-{side}")
            with Horizontal(id="verdict-line"):
                yield Static(id="verdict", markup=False)
                yield HeatLegend(id="legend")
        yield Static(id="nothing", classes="empty", markup=False)

    def on_mount(self) -> None:
        self.add_class("-nothing")
        self.find_models()

    def on_screen_resume(self) -> None:
        self.find_models()

    # -- which reward model ---------------------------------------------------------------------------------

    @work(exclusive=True, group="models")
    @told
    async def find_models(self) -> None:
        """Read the reward models anew: an export may have finished since."""
        self._models = list(await self.ask(lambda workspace: workspace.library.reward_models()))
        usable = [model for model in self._models if model.onnx_folder]
        self.set_class(not usable, "-nothing")
        self.refresh_bindings()
        if not usable:
            self.set_focus(None)  # else a hidden editor takes the keys
            name = safe_line(self._models[0].name, 60) if self._models else ""
            self.query_one("#nothing", Static).update(
                Content(NO_EXPORT.format(name=name) if name else NO_MODEL)
            )
            return
        self.query_one(Choice).offer([model.name for model in usable])
        if not self.query_one("#prompt", TextArea).text and not self._examples:
            await self._load_example()
        if self.focused is None:
            self.query_one("#text-a").focus()
        self.score_soon()

    @property
    def model(self) -> Any | None:
        """The chosen reward model, None when there is none to score with."""
        value = self.query_one(Choice).value
        return next((model for model in self._models if model.onnx_folder and model.name == value), None)

    def check_action(self, action: str, parameters: tuple[object, ...]) -> bool | None:
        if action == "launch":
            wanted = "export" if self._models else "reward"
            return self.has_class("-nothing") and parameters == (wanted,)
        if action in ("precision", "choose", "example"):
            return not self.has_class("-nothing")
        return True

    # -- scoring --------------------------------------------------------------------------------------------

    @on(TextArea.Changed)
    @on(Choice.Changed)
    def score_soon(self) -> None:
        """Score what stands here once the typing pauses."""
        if self._debounce is not None:
            self._debounce.stop()
        self._debounce = self.set_timer(DEBOUNCE_SECONDS, self._ask_for_scores)

    def _ask_for_scores(self) -> None:
        model = self.model
        if model is None:
            return
        if model.precisions and self._precision not in model.precisions:
            self._precision = model.precisions[0]
        texts = [self.query_one(f"#{name}", TextArea).text for name in ("prompt", "text-a", "text-b")]
        request = Request(model.name, self._precision, texts[0], (texts[1], texts[2]))
        if request == self._wanted and request == self._shown:
            return
        self._wanted = request
        if not any(worker.group == "scorer" and worker.is_running for worker in self.workers):
            self._keep_scoring()

    @work(group="scorer")
    @told
    async def _keep_scoring(self) -> None:
        """One computation at a time; always the newest text next; what it overtook is never drawn."""
        workspace = await self.workbench.opened()
        while (request := self._wanted) is not None and request != self._shown:
            if self._shown is None or request.precision != self._shown.precision:
                self.query_one("#backend", Static).update("opening …")
            try:
                answer = await asyncio.to_thread(score_now, workspace, request)
            except Exception:
                self._wanted = None
                self.query_one("#backend", Static).update("")
                raise
            if request == self._wanted:
                self._shown = request
                self.show_answer(answer)

    def show_answer(self, answer: Answer) -> None:
        """Draw the scores of both responses on one scale, and the verdict."""
        scale = Scale.of(*(scored.token_scores for scored in answer.scored))
        for side, scored in zip(SIDES, answer.scored, strict=True):
            self.query_one(f"#heat-{side}", HeatLine).show(scored.tokens, scored.token_scores, scale)
            cut = " · cut on the left" if scored.cut else ""
            self.query_one(f"#text-{side}").border_subtitle = Content.assemble(
                (f"{scored.score:+.3f}", "bold $text-primary"), f" · {len(scored.tokens)} tokens{cut}"
            )
        self.query_one("#legend", HeatLegend).show(scale)
        self.query_one("#verdict", Static).update(verdict(*(scored.score for scored in answer.scored)))
        provider = safe_line(answer.provider.removesuffix("ExecutionProvider"), 20)
        self.query_one("#backend", Static).update(
            Content.assemble(
                (answer.request.precision, "bold"), f" · {provider} · {answer.milliseconds:.0f} ms"
            )
        )

    # -- keys -----------------------------------------------------------------------------------------------

    def action_precision(self) -> None:
        """Switch between the precisions that the export has."""
        model = self.model
        others = [name for name in (model.precisions if model else ()) if name != self._precision]
        if not others:
            self.workbench.tell(f"This export has {self._precision} only.", severity="information")
            return
        self._precision = others[0]
        self.score_soon()

    def action_choose(self) -> None:
        self.query_one(Choice).action_choose()

    def action_launch(self, kind: str) -> None:
        from workbench.screens.launch import LaunchScreen

        values = {"reward_model": self._models[0].name} if kind == "export" and self._models else {}
        self.app.push_screen(LaunchScreen(kind, values))

    @work(exclusive=True, group="example")
    @told
    async def action_example(self) -> None:
        await self._load_example()

    async def _load_example(self) -> None:
        """The next prompt of the store with its first two responses."""
        number = self._examples
        self._examples += 1
        found = await self.ask(lambda workspace: example(workspace, number))
        if found is not None:
            for name, text in zip(("prompt", "text-a", "text-b"), found, strict=True):
                self.query_one(f"#{name}", TextArea).text = text


def example(workspace: Workspace, number: int) -> tuple[str, str, str] | None:
    """Prompt `number` (round the end) with two responses; None when the store has no such prompt."""
    count = workspace.library.count()
    for offset in range(min(count, 50)):
        row = workspace.library.prompts(limit=1, offset=(number + offset) % count)[0]
        if row.responses >= 2:
            first, second = workspace.library.responses(row.prompt_id)[:2]
            return row.text, first.text, second.text
    return None


def verdict(first: float, second: float) -> Content:
    """One line: which response is preferred, with what probability, by what difference."""
    chance = preference(first, second)
    if abs(first - second) < 5e-4:
        return Content.assemble(("A and B score alike", "bold"), ("  P 0.50", "$foreground-muted"))
    better, probability = ("A", chance) if chance > 0.5 else ("B", 1 - chance)
    return Content.assemble(
        (f"{better} is preferred", "bold $text-primary"),
        f"  P {probability:.2f}",
        (f"  by {abs(first - second):.3f}", "$foreground-muted"),
    )


def _editor(name: str, title: str) -> SafeTextArea:
    editor = SafeTextArea(id=name, soft_wrap=True, show_line_numbers=False, tab_behavior="focus")
    editor.border_title = Content(title)
    return editor
