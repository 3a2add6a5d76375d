"""One run: head, and one of four views: charts, sampled responses, details, the loss as a formula."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from textual.app import ComposeResult
from textual.containers import Vertical, VerticalScroll
from textual.content import Content
from textual.reactive import reactive
from textual.widgets import ContentSwitcher, Static

from workbench.widgets.charts import MOST_RUNS, ChartBoard, RunSeries, prepare
from workbench.widgets.run_formula import ONE_LINE_CELLS, formula_content
from workbench.widgets.run_lines import clock, details_content, head_lines
from workbench.widgets.run_samples import SamplesView
from workbench.widgets.safe import safe_line
from workbench.widgets.series import finite

if TYPE_CHECKING:
    from workbench.services.formulas.losses import Formula
    from workbench.services.policy_learning import Against, Step
    from workbench.services.runs.jobs import RunDetail
    from workbench.services.workspace import Workspace

VIEWS = {"charts": "c", "samples": "s", "details": "d", "formula": "f"}


@dataclass(frozen=True)
class RunPicture:
    """All that the pane shows of a run, read in a thread."""

    detail: RunDetail
    series: Mapping[str, Sequence[tuple[float, float]]]
    """Decimated metrics by name."""
    steps: Sequence[int] = ()
    """Steps that have sampled responses."""
    full: Mapping[str, Sequence[tuple[float, float]]] | None = None
    """Every finite point of the metrics."""
    traced: Sequence[int] = ()
    """Steps that have token traces."""
    formula: Formula | None = None
    slot: int = 0
    """Shape and colour among the runs drawn over each other."""
    others: Sequence[RunSeries] = ()
    """Marked runs, drawn over this one."""
    time_words: str = ""
    """Where the time of a step goes; empty for a run that does not say."""
    memory_words: str = ""
    """Its memory at the peak and by part; empty likewise."""


def read_series(workspace: Workspace, run_id: str, slot: int) -> RunSeries:
    """The metrics of a run for the chart board."""
    metrics = workspace.jobs.metrics(run_id)
    full = {name: finite(points) for name, points in metrics.items()}
    row = workspace.jobs.show(run_id)
    return RunSeries(row.name or run_id, prepare(metrics), full, slot)


def read_run(workspace: Workspace, run_id: str, marked: Sequence[str] = ()) -> RunPicture:
    """Read everything about a run but its samples; takes long for long runs, so call it in a thread.

    `marked` are the runs to draw over it, in the order of their shapes.
    """
    from workbench.services.formulas.losses import formula
    from workbench.services.runs.bottleneck import memory_sentence, step_time

    jobs = workspace.jobs
    detail = jobs.show(run_id)
    metrics = jobs.metrics(run_id)
    steps = tuple(jobs.rollout_steps(run_id))
    times = step_time(detail.config, metrics)
    return RunPicture(
        detail,
        prepare(metrics),
        steps,
        full={name: finite(points) for name, points in metrics.items()},
        traced=tuple(workspace.policy_learning.trace_steps(run_id)) if steps else (),
        formula=formula(detail.kind, detail.config, metrics),
        time_words=times.sentence if times else "",
        memory_words=memory_sentence(detail, metrics),
        slot=marked.index(run_id) + 1 if run_id in marked else 0,
        others=tuple(
            read_series(workspace, other, slot)
            for slot, other in enumerate(marked[: MOST_RUNS - 1], start=1)
            if other != run_id
        ),
    )


def read_samples(workspace: Workspace, run_id: str, step: int, against: Against) -> Step:
    """The sampled responses of a step, set beside earlier ones."""
    return workspace.policy_learning.step(run_id, step, against=against)


class RunPane(Vertical):
    """Shows `RunPicture`s; knows nothing of services."""

    DEFAULT_CSS = """
    RunPane {
        height: 1fr;
        #run-head { height: 2; }
        #run-views { height: 1fr; }
        .run-scroll { height: 1fr; scrollbar-size-vertical: 1; }
        .run-scroll Static { height: auto; }
        #formula-below { height: auto; max-height: 9; padding: 0 1; display: none; }
        &.-roomy #formula-below { display: block; }
    }
    """
    BORDER_TITLE = "Run"
    view: reactive[str] = reactive("charts", init=False)

    def __init__(self, *, id: str | None = None, classes: str | None = None) -> None:
        super().__init__(id=id, classes=classes)
        self.picture: RunPicture | None = None
        self.against: Against = "previous"
        self.chosen_by_person = False

    def compose(self) -> ComposeResult:
        yield Static(id="run-head", markup=False)
        with ContentSwitcher(initial="charts", id="run-views"):
            with Vertical(id="charts"):
                yield ChartBoard(id="board")
                yield Static(id="formula-below", markup=False)
            yield SamplesView(id="samples")
            with VerticalScroll(id="details", classes="run-scroll", can_focus=False):
                yield Static(id="detail-text", markup=False)
            with VerticalScroll(id="formula", classes="run-scroll", can_focus=False):
                yield Static(id="formula-text", markup=False)

    @property
    def run_id(self) -> str | None:
        """The run that is shown."""
        return self.picture.detail.run_id if self.picture else None

    @property
    def samples(self) -> Step | None:
        """The responses that are shown."""
        return self.query_one(SamplesView).step

    def show(self, picture: RunPicture) -> None:
        """Replace what is shown; another run starts with the view that says most about it."""
        view = self.query_one(SamplesView)
        if picture.detail.run_id != self.run_id:
            view.clear()
            self.query_one(ChartBoard).chosen = 0
            lacks = (self.view == "samples" and not picture.steps) or (
                self.view == "formula" and picture.formula is None
            )
            if not self.chosen_by_person or lacks:
                self.view = "charts" if picture.series else "details"
        elif picture.series and self.picture and not self.picture.series and not self.chosen_by_person:
            self.view = "charts"
        self.picture = picture
        detail = picture.detail
        self.border_title = Content(safe_line(detail.name or detail.run_id, 60) or "run")
        self.query_one("#run-head", Static).update(head_lines(detail, clock()))
        full = picture.full if picture.full is not None else picture.series
        own = RunSeries(detail.name or detail.run_id, picture.series, full, picture.slot)
        self.query_one(ChartBoard).show(detail.kind, [own, *picture.others])
        self.query_one("#detail-text", Static).update(
            details_content(detail, picture.time_words, picture.memory_words)
        )
        view.know_steps(picture.steps, picture.traced)
        self._draw_formula()
        self._title_views()

    async def show_samples(self, step: Step) -> None:
        """Replace the responses of the samples view."""
        await self.query_one(SamplesView).show(step)

    def step_beside(self, by: int, here: int | None) -> int | None:
        """The step `by` places from `here`, within those there are; the last one at first."""
        steps = self.picture.steps if self.picture else ()
        if not steps:
            return None
        if here is None or here not in steps:
            return steps[-1]
        return steps[max(0, min(len(steps) - 1, list(steps).index(here) + by))]

    def on_resize(self) -> None:
        self.set_class(self.size.width >= ONE_LINE_CELLS and self.size.height >= 30, "-roomy")
        self._draw_formula()

    def _draw_formula(self) -> None:
        formula = self.picture.formula if self.picture else None
        width = self.size.width - 4
        self.query_one("#formula-text", Static).update(
            formula_content(formula, min(width, ONE_LINE_CELLS - 1))
        )
        below = self.query_one("#formula-below", Static)
        below.update(formula_content(formula, width) if formula else "")

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
