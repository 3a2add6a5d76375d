"""What can be done with a run, wherever one is shown; and the clock that keeps it up to date."""

from __future__ import annotations

import time
from dataclasses import replace
from typing import TYPE_CHECKING, ClassVar

from textual import work
from textual.binding import Binding, BindingType
from textual.timer import Timer

from engine.protocol.catalog import JOBS
from workbench.keyboard import DIALOG
from workbench.screens.base import WorkbenchScreen, told
from workbench.widgets.charts import ChartBoard
from workbench.widgets.run_pane import RunPane, RunPicture, read_run, read_samples
from workbench.widgets.run_samples import SamplesView
from workbench.widgets.series import Lens

if TYPE_CHECKING:
    from workbench.services.policy_learning import Against

REFRESH_SECONDS = 1.0
RESTS_A_READING = 4
"""A long run is read less often: after a reading the screen rests this many times as long as it took."""
ENDED = ("done", "failed", "stopped", "paused")
AGAINST: tuple[Against, ...] = ("previous", "first", "nothing")
JUMP = 10
"""Steps that { and } move by."""


class RunActions(WorkbenchScreen):
    """A screen with a `RunPane`: polls while it is on top, moves between views, stops and resumes."""

    RUN_BINDINGS: ClassVar[list[BindingType]] = [
        Binding("c", "view('charts')", "Charts", show=False),
        Binding("s", "view('samples')", "Samples", show=False),
        Binding("d", "view('details')", "Details", show=False),
        Binding("f", "view('formula')", "Formula of the loss", show=False),
        Binding("left_square_bracket", "step(-1)", "Step", key_display="[ ]"),
        Binding("right_square_bracket", "step(1)", "Next step", show=False),
        Binding("left_curly_bracket", f"step(-{JUMP})", "Ten steps", key_display="{ }", show=False),
        Binding("right_curly_bracket", f"step({JUMP})", "Ten steps on", key_display="}", show=False),
        Binding("j", "response(1)", "Next response", key_display="j k", show=False),
        Binding("k", "response(-1)", "Response before", show=False),
        Binding("b", "against", "Beside the step before, the first, nothing", show=False),
        Binding("t", "tokens", "Tokens"),
        Binding("g", "overoptimisation", "Proxy and gold"),
        Binding("left", "chart(-1)", "Chart", key_display="← →", show=False),
        Binding("right", "chart(1)", "Next chart", show=False),
        *(Binding(str(n), f"choose_chart({n - 1})", f"Chart {n}", show=False) for n in range(1, 10)),
        Binding("plus,equals_sign", "zoom(0.5)", "Look closer", key_display="+", show=False),
        Binding("minus", "zoom(2.0)", "Look from farther", key_display="-", show=False),
        Binding("less_than_sign", "pan(-0.25)", "Earlier steps", key_display="<", show=False),
        Binding("greater_than_sign", "pan(0.25)", "Later steps", key_display=">", show=False),
        Binding("0", "unzoom", "The whole run", show=False),
        Binding("e", "smooth", "Smooth the curves, more each time", show=False),
        Binding("v", "report", "Report", tooltip="How good the reward model is that this run trained"),
        Binding("x", "stop", "Stop"),
        Binding("z", "pause", "Pause"),
        Binding("R", "resume", "Resume"),
        Binding("a", "again", "Again", tooltip="Start a job like this one, its settings in the form"),
        Binding("pagedown", "scroll(8)", "Scroll", show=False),
        Binding("pageup", "scroll(-8)", "Scroll up", show=False),
    ]
    _clock: Timer | None = None
    _next_reading = 0.0
    _asked_step: int | None = None
    """The step whose responses were last asked for; they may still be on their way."""

    @property
    def run_id(self) -> str | None:
        """The run that keys act on."""
        return None

    @property
    def marked(self) -> tuple[str, ...]:
        """Runs to draw over it, in the order of their shapes."""
        return ()

    def on_mount(self) -> None:
        self._clock = self.set_interval(REFRESH_SECONDS, self.refresh_now)
        self.refresh_now()

    def on_screen_suspend(self) -> None:
        if self._clock:
            self._clock.pause()

    def on_screen_resume(self) -> None:
        if self._clock:
            self._clock.resume()
            self.refresh_now()

    def on_resize(self) -> None:
        self.call_after_refresh(self._fit)

    def _fit(self) -> None:
        self.query_one(ChartBoard).wide = self.size.width >= 130 and self.size.height >= 36

    def check_action(self, action: str, parameters: tuple[object, ...]) -> bool | None:
        """Only what the run can take: a finished one is not stopped, a running one not resumed."""
        picture = self.query_one(RunPane).picture if self.is_mounted else None
        status = picture.detail.status if picture else None
        match action:
            case "stop":
                return status in ("running", "queued")
            case "pause":
                trains = (
                    picture is not None and picture.detail.kind in JOBS and JOBS[picture.detail.kind].trains
                )
                return status in ("running", "queued", "paused") and trains
            case "resume":
                return status in ("stopped", "failed", "paused")
            case "step" | "tokens" | "response" | "against":
                return bool(picture and picture.steps)
            case "again":
                return bool(picture and picture.detail.kind in JOBS)
            case "report":
                return bool(picture and picture.detail.kind == "reward" and status == "done")
            case "overoptimisation":
                return bool(picture and {"policy/kl", "bon/kl"} & set(picture.series))
        return True

    def refresh_now(self) -> None:
        """Read what is shown anew; a reading that is still under way is not started twice."""
        if not any(worker.group == "poll" and worker.is_running for worker in self.workers):
            self._poll_once()

    @work(group="poll")
    async def _poll_once(self) -> None:
        await self.poll()

    @told
    async def poll(self) -> None:
        """Read the run again while it, or a marked one, can still change."""
        run_id, shown = self.run_id, self.query_one(RunPane).picture
        if run_id is None or time.monotonic() < self._next_reading:
            return
        if shown is not None and shown.detail.run_id == run_id and shown.detail.status in ENDED:
            runs = await self.ask(lambda workspace: workspace.jobs.list())
            changing = {run.run_id for run in runs if run.status not in ENDED}
            if not changing & {run_id, *self.marked}:
                return
        begun = time.monotonic()
        marked = self.marked
        picture = await self.ask(lambda workspace: read_run(workspace, run_id, marked))
        self._next_reading = time.monotonic() + RESTS_A_READING * (time.monotonic() - begun)
        if run_id == self.run_id and marked == self.marked:
            self.show_picture(picture)

    def show_picture(self, picture: RunPicture) -> None:
        """Draw a run; the samples follow the newest step until the person moves."""
        pane = self.query_one(RunPane)
        if pane.run_id != picture.detail.run_id:
            self._asked_step = None
        before = pane.picture.steps[-1:] if pane.picture else ()
        at_end = self._asked_step is None or tuple(before) == (self._asked_step,)
        pane.show(picture)
        self.refresh_bindings()
        if picture.steps and pane.view == "samples" and at_end:
            self.ask_for(picture.steps[-1])

    def ask_for(self, step: int) -> None:
        """Show the responses of a step as soon as they are read."""
        self._asked_step = step
        self.load_samples(step)

    @work(exclusive=True, group="samples")
    @told
    async def load_samples(self, step: int) -> None:
        """Reads the samples of a step, beside those of the run it is compared with."""
        run_id = self.run_id
        pane = self.query_one(RunPane)
        against, shown = pane.against, pane.samples
        if run_id is None or (shown and (shown.run_id, shown.step, shown.against) == (run_id, step, against)):
            return
        samples = await self.ask(lambda workspace: read_samples(workspace, run_id, step, against))
        if run_id == self.run_id:
            await pane.show_samples(samples)

    # -- moving ---------------------------------------------------------------------------------------------

    def action_view(self, view: str) -> None:
        """Goes to charts, samples or another view; samples are read when they are first seen."""
        pane = self.query_one(RunPane)
        pane.choose_view(view)
        if view == "samples" and pane.samples is None:
            self.action_step(0)

    def action_step(self, by: int) -> None:
        """The samples of the next or previous step that has some."""
        pane = self.query_one(RunPane)
        step = pane.step_beside(by, self._asked_step)
        if step is not None:
            pane.choose_view("samples")
            self.ask_for(step)

    def action_response(self, by: int) -> None:
        """The next or previous sample of the step."""
        pane = self.query_one(RunPane)
        if pane.view == "samples":
            self.query_one(SamplesView).move(by)
        else:
            self.action_view("samples")

    def action_against(self) -> None:
        """Set the responses beside those of the step before, of the first step, or of none."""
        pane = self.query_one(RunPane)
        pane.against = AGAINST[(AGAINST.index(pane.against) + 1) % len(AGAINST)]
        self.action_step(0)

    def action_chart(self, by: int) -> None:
        """The next or previous chart."""
        self.query_one(RunPane).choose_view("charts")
        self.query_one(ChartBoard).step(by)

    def action_choose_chart(self, index: int) -> None:
        """A chart by its number."""
        self.query_one(RunPane).choose_view("charts")
        self.query_one(ChartBoard).choose(index)

    def action_scroll(self, by: int) -> None:
        self.query_one(RunPane).scroll_view(by)

    # -- the lens of the charts ------------------------------------------------------------------------------

    def _look(self, lens: Lens) -> None:
        self.query_one(RunPane).choose_view("charts")
        self.query_one(ChartBoard).lens = lens

    def action_zoom(self, factor: float) -> None:
        self._look(self.query_one(ChartBoard).lens.zoomed(factor))

    def action_pan(self, by: float) -> None:
        self._look(self.query_one(ChartBoard).lens.panned(by))

    def action_unzoom(self) -> None:
        """Shows the whole run again; the smoothing stays."""
        self._look(replace(self.query_one(ChartBoard).lens, low=0.0, high=1.0))

    def action_smooth(self) -> None:
        """More smoothing, and after the most none."""
        self._look(self.query_one(ChartBoard).lens.smoother())

    # -- further screens -------------------------------------------------------------------------------------

    def action_tokens(self) -> None:
        """Every token of the response under the cursor, as the loss saw it."""
        from workbench.screens.runs.tokens import TokensScreen

        pane = self.query_one(RunPane)
        sample = self.query_one(SamplesView).current if pane.view == "samples" else None
        if self.run_id is None or pane.picture is None:
            return
        if sample is None:
            self.app.push_screen(
                TokensScreen(self.run_id, pane.picture.traced[-1] if pane.picture.traced else 0)
            )
        else:
            row = sample.row
            self.app.push_screen(TokensScreen(self.run_id, row.step, row.prompt_id, row.sample_index))

    def action_overoptimisation(self) -> None:
        """Proxy and gold score of this run and the marked ones against √KL."""
        from workbench.screens.runs.overoptimisation import OveroptimisationScreen

        if self.run_id is not None:
            self.app.push_screen(OveroptimisationScreen((self.run_id, *self.marked)))

    # -- the job ---------------------------------------------------------------------------------------------

    @work(group=DIALOG)
    @told
    async def action_stop(self) -> None:
        """Ask, then ask the job to stop."""
        from workbench.widgets.confirm import ConfirmScreen

        run_id, picture = self.run_id, self.query_one(RunPane).picture
        if run_id is None or picture is None:
            return
        question = f"Stop {run_id}? It keeps what it has and can be resumed with R."
        if await self.app.push_screen_wait(ConfirmScreen(question, "Stop it")):
            await self.ask(lambda workspace: workspace.jobs.stop(run_id))
            self.workbench.tell(f"{run_id} was asked to stop.", severity="information")
            self.refresh_now()

    def action_again(self) -> None:
        """The form of such a job with the settings of this run."""
        from workbench.services.runs.form_presets import settings_of

        picture = self.query_one(RunPane).picture
        if picture is not None:
            self.workbench.action_launch(picture.detail.kind, settings_of(picture.detail))

    def action_report(self) -> None:
        """Open the report of the reward model that the run has trained."""
        picture = self.query_one(RunPane).picture
        if picture is not None:
            self.workbench.action_report(picture.detail.name)

    @work
    @told
    async def action_resume(self) -> None:
        """Queue a stopped or failed run again, from its last checkpoint."""
        run_id = self.run_id
        if run_id is not None:
            await self.ask(lambda workspace: workspace.jobs.resume(run_id))
            self.workbench.tell(f"{run_id} goes on from its last checkpoint.", severity="information")
            self.refresh_now()

    @work
    @told
    async def action_pause(self) -> None:
        """Let a run rest at the end of its step, or let a resting one go on."""
        run_id, picture = self.run_id, self.query_one(RunPane).picture
        if run_id is None or picture is None:
            return
        if picture.detail.status == "paused":
            self.action_resume()
            return
        await self.ask(lambda workspace: workspace.jobs.pause(run_id))
        self.workbench.tell(f"{run_id} pauses after its current step; z resumes it.", severity="information")
        self.refresh_now()
