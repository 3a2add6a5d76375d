"""F4: score two responses to a prompt as they are typed, token by token, from the ONNX export."""

from __future__ import annotations

import asyncio
from dataclasses import replace
from typing import TYPE_CHECKING, ClassVar

from textual import on, work
from textual.app import ComposeResult
from textual.binding import Binding, BindingType
from textual.containers import Container, Horizontal, Vertical, VerticalScroll
from textual.content import Content
from textual.timer import Timer
from textual.widgets import Static, TextArea

from engine.wording import counted
from workbench.garbage import keep_loaded
from workbench.messages import Status
from workbench.screens.base import WorkbenchScreen, told
from workbench.screens.score_parts import (
    EDITORS,
    ScoredPair,
    ScoreRequest,
    StoredPair,
    example,
    known_models,
    score_now,
    verdict,
)
from workbench.widgets.choice import Choice
from workbench.widgets.heatline import HeatLegend, HeatLine, Scale
from workbench.widgets.safe import safe_line
from workbench.widgets.typed import SafeTextArea

if TYPE_CHECKING:
    from storage.records import RewardModelRow


DEBOUNCE_SECONDS = 0.08
LOOK_SECONDS = 0.5
"""How often the live model is looked at; it never waits."""
SIDES = ("a", "b")
LIVE = " · live model"
"""Behind the name of a reward model that scores with the head of the live model."""
NO_MODEL = "No reward model yet.\n\nPress t to train one on the judgements of the store."
NO_EXPORT = (
    "{name} has no ONNX export yet.\n\nPress e to export it; scores appear here as soon as that run is done."
)


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
        self._models: list[RewardModelRow] = []
        self._choices: dict[str, tuple[RewardModelRow, bool]] = {}
        self._example = StoredPair()
        self._refits = 0
        self._precision = "int8"
        self._wanted: ScoreRequest | None = None
        self._shown: ScoreRequest | None = None
        self._failed: ScoreRequest | None = None  # told already
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
        self.watch(self.workbench, "status", self._store_changed, init=False)
        self.set_interval(LOOK_SECONDS, self._follow_live)
        self.notice()
        self.find_models()

    def on_screen_resume(self) -> None:
        self.find_models()

    # -- the live model -------------------------------------------------------------------------------------

    def _store_changed(self, status: Status) -> None:
        self.notice()

    @work(exclusive=True, group="live")
    @told
    async def notice(self) -> None:
        """The store changed: the live model may be due for a fit."""
        await self.ask(lambda workspace: workspace.live.notice())

    def _follow_live(self) -> None:
        """Score again when the live model has a new head; offer it when it has its first."""
        if self.has_class("-nothing") or not self._models:
            return
        refits = self.workspace.live.state.refits
        if refits != self._refits:
            self._refits = refits
            self.find_models()

    # -- which reward model ---------------------------------------------------------------------------------

    @work(exclusive=True, group="models")
    @told
    async def find_models(self) -> None:
        """Read the reward models anew: an export may have finished since."""
        self._models, live = await self.ask(known_models)
        self._failed = None  # what was wrong may have been mended
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
        self._choices = {model.name: (model, False) for model in usable}
        self._choices |= {f"{model.name}{LIVE}": (model, True) for model in live}
        self.query_one(Choice).offer(list(self._choices))
        if not self.query_one("#prompt", TextArea).text and not self._examples:
            await self._load_example()
        if self.focused is None:
            self.query_one("#text-a").focus()
        self.score_soon()

    @property
    def model(self) -> RewardModelRow | None:
        """The chosen reward model, None when there is none to score with."""
        return self._choices.get(self.query_one(Choice).value, (None, False))[0]

    @property
    def live(self) -> bool:
        """Whether the chosen model scores with the head of the live model."""
        return self._choices.get(self.query_one(Choice).value, (None, False))[1]

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
        texts = {name: self.query_one(f"#{name}", TextArea).text for name in EDITORS}
        if not texts["prompt"]:
            self._forget_turns()
        messages, responses = self._example.read(texts)
        refit = self.workspace.live.state.refits if self.live else 0
        request = ScoreRequest(model.name, self._precision, messages, responses, refit)
        if request == self._failed or (request == self._wanted and request == self._shown):
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
                self._wanted, self._failed = None, request
                self.query_one("#backend", Static).update("")
                raise
            if self._shown is None:
                keep_loaded()  # onnxruntime and the tokeniser, since the first score
            if request == self._wanted:
                self._shown = request
                self.show_answer(answer)

    def show_answer(self, answer: ScoredPair) -> None:
        """Draw the scores of both responses on one scale, and the verdict."""
        scale = Scale.of(*(scored.token_scores for scored in answer.scored))
        for side, scored in zip(SIDES, answer.scored, strict=True):
            self.query_one(f"#heat-{side}", HeatLine).show(scored.tokens, scored.token_scores, scale)
            cut = " · only a part is read" if scored.cut else ""
            unsure = "" if scored.uncertainty is None else f" ± {scored.uncertainty:.3f}"
            self.query_one(f"#text-{side}").border_subtitle = Content.assemble(
                (f"{scored.score:+.3f}", "bold $text-primary"),
                f"{unsure} · {counted(len(scored.tokens), 'token')}{cut}",
            )
        by_step = any(scored.by_step for scored in answer.scored)
        label = "score of the step" if by_step else "running score"
        self.query_one("#legend", HeatLegend).show(scale, label)
        self.query_one("#verdict", Static).update(verdict(*(scored.score for scored in answer.scored)))
        provider = safe_line(answer.provider.removesuffix("ExecutionProvider"), 20)
        live = (
            f"{counted(self.workspace.live.state.judgements, 'judgement')} · " if answer.request.refit else ""
        )
        self.query_one("#backend", Static).update(
            Content.assemble(
                live, (answer.request.precision, "bold"), f" · {provider} · {answer.milliseconds:.0f} ms"
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
        """Goes to the form of a job; an export's begins with the first reward model."""
        from workbench.screens.launch import LaunchScreen

        values = {"reward_model": self._models[0].name} if kind == "export" and self._models else {}
        self.app.push_screen(LaunchScreen(kind, values))

    @work(exclusive=True, group="example")
    @told
    async def action_example(self) -> None:
        """The next prompt of the store with its first two responses, in the place of what was typed."""
        await self._load_example()

    async def _load_example(self) -> None:
        """The next prompt of the store with its first two responses."""
        number = self._examples
        self._examples += 1
        stored = await self.ask(lambda workspace: example(workspace, number))
        if stored is None:
            return
        for name, text in stored.texts.items():
            self.query_one(f"#{name}", TextArea).text = text
        shown = {name: self.query_one(f"#{name}", TextArea).text for name in EDITORS}
        self._example = replace(stored, shown=shown)
        self._show_turns()

    def _forget_turns(self) -> None:
        """An emptied prompt is a new one: the turns before it go too."""
        if self._example.turns:
            self._example = replace(self._example, turns=())
            self._show_turns()

    def _show_turns(self) -> None:
        """Say above the prompt that turns of a conversation stand before it."""
        before = len(self._example.turns)
        title = f"Prompt · after {counted(before, 'earlier turn')}" if before else "Prompt"
        self.query_one("#prompt").border_title = Content(title)


def _editor(name: str, title: str) -> SafeTextArea:
    editor = SafeTextArea(id=name, soft_wrap=True, show_line_numbers=False, tab_behavior="focus")
    editor.border_title = Content(title)
    return editor
