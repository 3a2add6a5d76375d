"""What can be done with a run, wherever one is shown; and the clock that keeps it up to date."""

from __future__ import annotations

import time
from typing import ClassVar

from textual import work
from textual.binding import Binding, BindingType
from textual.timer import Timer

from workbench.screens.base import WorkbenchScreen, told
from workbench.widgets.charts import ChartBoard
from workbench.widgets.run_pane import RunPane, RunPicture, read_run, read_samples

REFRESH_SECONDS = 1.0
RESTS_A_READING = 4
"""A long run is read less often: after a reading the screen rests this many times as long as it took."""
ENDED = ("done", "failed", "stopped")


class RunActions(WorkbenchScreen):
    """A screen with a `RunPane`: polls while it is on top, moves between views, stops and resumes."""

    RUN_BINDINGS: ClassVar[list[BindingType]] = [
        Binding("c", "view('charts')", "Charts", show=False),
        Binding("s", "view('samples')", "Samples", show=False),
        Binding("d", "view('details')", "Details", show=False),
        Binding("left_square_bracket", "step(-1)", "Step", key_display="[ ]"),
        Binding("right_square_bracket", "step(1)", "Step", show=False),
        Binding("left", "chart(-1)", "Chart", key_display="← →", show=False),
        Binding("right", "chart(1)", "Next chart", show=False),
        *(Binding(str(n), f"choose_chart({n - 1})", f"Chart {n}", show=False) for n in range(1, 10)),
        Binding("x", "stop", "Stop"),
        Binding("R", "resume", "Resume"),
        Binding("pagedown,space", "scroll(8)", "Scroll", show=False),
        Binding("pageup", "scroll(-8)", "Scroll up", show=False),
    ]
    _clock: Timer | None = None
    _next_reading = 0.0

    @property
    def run_id(self) -> str | None:
        """The run that keys act on."""
        return None

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
            case "resume":
                return status in ("stopped", "failed")
            case "step":
                return bool(picture and picture.steps)
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
        """Read the run again while it can still change."""
        run_id, shown = self.run_id, self.query_one(RunPane).picture
        if run_id is None or time.monotonic() < self._next_reading:
            return
        if shown is not None and shown.detail.run_id == run_id and shown.detail.status in ENDED:
            runs = await self.ask(lambda workspace: workspace.jobs.list())
            if any(run.run_id == run_id and run.status in ENDED for run in runs):
                return
        begun = time.monotonic()
        picture = await self.ask(lambda workspace: read_run(workspace, run_id))
        self._next_reading = time.monotonic() + RESTS_A_READING * (time.monotonic() - begun)
        if run_id == self.run_id:
            self.show_picture(picture)

    def show_picture(self, picture: RunPicture) -> None:
        """Draw a run; the samples follow the newest step until the person moves."""
        pane = self.query_one(RunPane)
        before = pane.picture.steps[-1:] if pane.picture else ()
        at_end = pane.samples is None or tuple(before) == (pane.samples.step,)
        pane.show(picture)
        self.refresh_bindings()
        if picture.steps and pane.view == "samples" and at_end:
            self.load_samples(picture.steps[-1])

    @work(exclusive=True, group="samples")
    @told
    async def load_samples(self, step: int) -> None:
        run_id = self.run_id
        pane = self.query_one(RunPane)
        if run_id is None or (pane.samples and (pane.samples.run_id, pane.samples.step) == (run_id, step)):
            return
        samples = await self.ask(lambda workspace: read_samples(workspace, run_id, step))
        if run_id == self.run_id:
            pane.show_samples(samples)

    # -- keys -----------------------------------------------------------------------------------------------

    def action_view(self, view: str) -> None:
        pane = self.query_one(RunPane)
        pane.choose_view(view)
        if view == "samples" and pane.samples is None:
            self.action_step(0)

    def action_step(self, by: int) -> None:
        pane = self.query_one(RunPane)
        step = pane.step_beside(by)
        if step is not None:
            pane.choose_view("samples")
            self.load_samples(step)

    def action_chart(self, by: int) -> None:
        self.query_one(RunPane).choose_view("charts")
        self.query_one(ChartBoard).step(by)

    def action_choose_chart(self, index: int) -> None:
        self.query_one(RunPane).choose_view("charts")
        self.query_one(ChartBoard).choose(index)

    def action_scroll(self, by: int) -> None:
        self.query_one(RunPane).scroll_view(by)

    @work
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

    @work
    @told
    async def action_resume(self) -> None:
        """Queue a stopped or failed run again, from its last checkpoint."""
        run_id = self.run_id
        if run_id is not None:
            await self.ask(lambda workspace: workspace.jobs.resume(run_id))
            self.workbench.tell(f"{run_id} goes on from its last checkpoint.", severity="information")
            self.refresh_now()
