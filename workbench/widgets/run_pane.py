"""One run: head, and one of three views: charts, sampled responses, details."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from textual.app import ComposeResult
from textual.containers import Vertical, VerticalScroll
from textual.content import Content
from textual.reactive import reactive
from textual.widgets import ContentSwitcher, Static

from workbench.widgets.charts import ChartBoard, prepare
from workbench.widgets.run_lines import clock, details_content, head_lines, sample_content
from workbench.widgets.safe import safe_line

if TYPE_CHECKING:
    from workbench.services.workspace import Workspace

VIEWS = {"charts": "c", "samples": "s", "details": "d"}
SHOWN_SAMPLES = 40


@dataclass(frozen=True)
class RunPicture:
    """All that the pane shows of a run, read in a thread."""

    detail: Any
    series: Mapping[str, Sequence[tuple[float, float]]]
    """Decimated metrics by name."""
    steps: Sequence[int] = ()
    """Steps that have sampled responses."""


@dataclass(frozen=True)
class StepSamples:
    """The responses of one step."""

    run_id: str
    step: int
    rows: Sequence[Any]
    prompts: Mapping[str, str]


def read_run(workspace: Workspace, run_id: str) -> RunPicture:
    """Read everything about a run but its samples; takes long for long runs, so call it in a thread."""
    jobs = workspace.jobs
    detail = jobs.show(run_id)
    steps = jobs.rollout_steps(run_id) if detail.kind == "ppo" else ()
    return RunPicture(detail, prepare(jobs.metrics(run_id)), tuple(steps))


def read_samples(workspace: Workspace, run_id: str, step: int) -> StepSamples:
    """The sampled responses of a step with the last turn of each prompt."""
    rows = list(workspace.jobs.rollouts(run_id, step))[:SHOWN_SAMPLES]
    rows.sort(key=lambda row: (row.prompt_id, row.sample_index))
    prompts = {}
    for prompt_id in {row.prompt_id for row in rows}:
        messages = workspace.library.messages(prompt_id)
        prompts[prompt_id] = messages[-1]["content"] if messages else prompt_id
    return StepSamples(run_id, step, rows, prompts)


class RunPane(Vertical):
    """Shows `RunPicture`s; knows nothing of services."""

    DEFAULT_CSS = """
    RunPane {
        height: 1fr;
        #run-head { height: 2; }
        #run-views { height: 1fr; }
        .run-scroll { height: 1fr; scrollbar-size-vertical: 1; }
        .run-scroll Static { height: auto; }
        #sample-head { height: 1; color: $foreground-muted; }
    }
    """
    BORDER_TITLE = "Run"
    view: reactive[str] = reactive("charts", init=False)

    def __init__(self, *, id: str | None = None, classes: str | None = None) -> None:
        super().__init__(id=id, classes=classes)
        self.picture: RunPicture | None = None
        self.samples: StepSamples | None = None
        self.chosen_by_person = False

    def compose(self) -> ComposeResult:
        yield Static(id="run-head", markup=False)
        with ContentSwitcher(initial="charts", id="run-views"):
            yield ChartBoard(id="charts")
            with Vertical(id="samples"):
                yield Static(id="sample-head", markup=False)
                with VerticalScroll(classes="run-scroll", can_focus=False):
                    yield Static(id="sample-text", markup=False)
            with VerticalScroll(id="details", classes="run-scroll", can_focus=False):
                yield Static(id="detail-text", markup=False)

    @property
    def run_id(self) -> str | None:
        """The run that is shown."""
        return self.picture.detail.run_id if self.picture else None

    def show(self, picture: RunPicture) -> None:
        """Replace what is shown; another run starts with the view that says most about it."""
        if picture.detail.run_id != self.run_id:
            self.samples = None
            self.query_one(ChartBoard).chosen = 0
            if not self.chosen_by_person or (self.view == "samples" and not picture.steps):
                self.view = "charts" if picture.series else "details"
        elif picture.series and self.picture and not self.picture.series and not self.chosen_by_person:
            self.view = "charts"
        self.picture = picture
        detail = picture.detail
        self.border_title = Content(safe_line(detail.name or detail.run_id, 60) or "run")
        self.query_one("#run-head", Static).update(head_lines(detail, clock()))
        self.query_one(ChartBoard).show(detail.kind, picture.series)
        self.query_one("#detail-text", Static).update(details_content(detail))
        self._title_views()
        self._sample_head()

    def show_samples(self, samples: StepSamples) -> None:
        """Replace the responses of the samples view."""
        self.samples = samples
        self.query_one("#sample-text", Static).update(sample_content(samples.rows, samples.prompts))
        self.query_one("#samples VerticalScroll", VerticalScroll).scroll_home(animate=False)
        self._sample_head()

    def step_beside(self, by: int) -> int | None:
        """The step `by` places from the one shown, within those there are; the last one at first."""
        steps = self.picture.steps if self.picture else ()
        if not steps:
            return None
        if self.samples is None or self.samples.step not in steps:
            return steps[-1]
        return steps[max(0, min(len(steps) - 1, list(steps).index(self.samples.step) + by))]

    def choose_view(self, view: str) -> None:
        """The person's choice; it stays while other runs are looked at."""
        self.chosen_by_person = True
        self.view = view

    def watch_view(self, view: str) -> None:
        self.query_one(ContentSwitcher).current = view
        self._title_views()

    def scroll_view(self, by: int) -> None:
        """Scroll the text views by lines."""
        for scroll in self.query(VerticalScroll):
            if scroll.is_on_screen:
                scroll.scroll_relative(y=by, animate=False)

    def _title_views(self) -> None:
        parts = []
        for view, key in VIEWS.items():
            style = "bold $text-primary underline" if view == self.view else "$foreground-muted"
            parts.append(Content.assemble((f"{key} ", "$secondary"), (view, style)))
        self.border_subtitle = Content("  ").join(parts)

    def _sample_head(self) -> None:
        steps = self.picture.steps if self.picture else ()
        head = self.query_one("#sample-head", Static)
        if not steps:
            head.update("This run has no sampled responses.")
            self.query_one("#sample-text", Static).update("")
        elif self.samples:
            place = list(steps).index(self.samples.step) if self.samples.step in steps else 0
            width = 24
            dot = round(place / max(1, len(steps) - 1) * (width - 1))
            head.update(
                Content.assemble(
                    ("[ ", "$secondary"), ("─" * dot, ""), ("●", "$primary"), ("─" * (width - 1 - dot), ""),
                    (" ]", "$secondary"), f"  step {self.samples.step} of {steps[-1]}",
                    f"  {len(self.samples.rows)} responses",
                )
            )  # fmt: skip
