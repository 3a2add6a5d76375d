"""Proxy and gold score against √KL, with the curves that they are known to follow."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, ClassVar

from textual import work
from textual.app import ComposeResult
from textual.binding import Binding, BindingType
from textual.containers import Vertical
from textual.content import Content
from textual.widgets import Static

from workbench.screens.base import WorkbenchScreen, told
from workbench.widgets.plot import COLOURS, SHAPES, Curve, Plot
from workbench.widgets.safe import safe_line
from workbench.widgets.series import short_number

if TYPE_CHECKING:
    from workbench.services.overoptimisation.fits import Fit, Pairs
    from workbench.services.overoptimisation.ways import Way

REFRESH_SECONDS = 2.0
CURVE_POINTS = 120
MOST_POINTS = 60
"""About so many are drawn of a long run; the curve is fitted to all of them."""
MOST_WAYS = len(SHAPES) // 2
NO_GOLD = (
    "No held-out scorer watched these runs. Give the next one gold, the name of a reward model trained on "
    "other judgements, to see where the proxy stops telling the truth."
)
LAWS = "d = √KL    policy learning: R₀ + d (α − β ln d)    best of n: R₀ + d (α − β d)"
LABEL = 26
"""Columns of a curve's name before its numbers, which fill the rest of 80."""
ROOM = LABEL - len("● , proxy ")
NOTHING = "These runs have measured no KL beside a score yet."


@dataclass(frozen=True)
class Shown:
    """What the keys have switched on."""

    proxy: bool = True
    gold: bool = True
    best_of_n: bool = True
    relative: bool = False
    """Scores counted from the reference policy, as the paper draws them."""


@dataclass(frozen=True)
class Trail:
    """Points and fitted curve of one scorer along one run."""

    label: str
    slot: int
    pairs: Pairs
    fit: Fit | None

    @property
    def origin(self) -> float:
        """The score at the reference policy."""
        return self.fit.origin if self.fit else self.pairs[0][1]


def chosen_ways(ways: Sequence[Way]) -> list[Way]:
    """As many as can be told apart, best of n among them; it stands last."""
    cheap = [way for way in ways if way.method == "best of n"][:1]
    learned = [way for way in ways if way not in cheap]
    return [*learned[: MOST_WAYS - len(cheap)], *cheap]


def is_shown(way: Way, shown: Shown) -> bool:
    """Whether the keys leave a way on the screen."""
    return shown.best_of_n or way.method != "best of n"


def trails(ways: Sequence[Way], shown: Shown) -> list[Trail]:
    """What is drawn, in the order of the legend; shapes stay when others are switched off."""
    curves = []
    for number, way in enumerate(ways):
        if not is_shown(way, shown):
            continue
        name = safe_line(way.name)
        if len(name) > ROOM:  # names of sibling runs differ at the end
            name = "…" + name[1 - ROOM :]
        if shown.proxy and way.proxy:
            curves.append(Trail(f"{name}, proxy", 2 * number, way.proxy, way.proxy_fit))
        if shown.gold and way.gold:
            curves.append(Trail(f"{name}, gold", 2 * number + 1, way.gold, way.gold_fit))
    return curves


def curves(trail: Trail, shown: Shown) -> list[Curve]:
    """The points, and the fitted curve through them, or a faint line where there is none."""
    lift = trail.origin if shown.relative else 0.0
    points = tuple((d, score - lift) for d, score in trail.pairs)
    line = Curve(points, trail.slot, faint=True)
    if trail.fit is not None:
        last = points[-1][0]
        ds = [last * index / CURVE_POINTS for index in range(CURVE_POINTS + 1)]
        line = Curve(tuple((d, trail.fit.at(d) - lift) for d in ds), trail.slot)
    thin = max(1, len(points) // MOST_POINTS)
    return [line, Curve(points[::thin], trail.slot, line=False)]


def verdict(ways: Sequence[Way]) -> Content:
    """What the gold scorer says of the furthest run, in a sentence."""
    watched = [way for way in ways if way.peak is not None]
    if not watched:
        return Content.styled(NO_GOLD if ways else NOTHING, "$foreground-muted")
    lines = []
    for way in watched:
        peak = way.peak
        assert peak is not None
        name, score = safe_line(way.name, 24), short_number(peak.score)
        if peak.passed:
            how = "fitted" if peak.fitted else "measured"
            lines.append(
                f"◎ {name}: gold peaks at √KL {short_number(peak.d)} ({score}, {how}); "
                f"the run went on to {short_number(way.farthest)}."
            )
        else:
            far = short_number(way.farthest)
            lines.append(f"◎ {name}: gold still rises at √KL {far}; best so far {score}.")
    return Content("\n").join(map(Content, lines))


def fits_table(shown_trails: Sequence[Trail]) -> Content:
    """α, β and R₀ of every curve."""
    head = f"{'':<{LABEL}}{'α':>8}{'β':>8}{'R₀':>8}{'rms':>8}{'points':>7}{'last':>8}"
    lines = [Content.styled(head, "$foreground-muted")]
    for trail in shown_trails:
        fit = trail.fit
        numbers = (fit.alpha, fit.beta, fit.origin, fit.error) if fit else (None,) * 4
        cells = "".join(f"{short_number(number):>8}" for number in numbers)
        last = f"{len(trail.pairs):>7}{short_number(trail.pairs[-1][1]):>8}"
        label = f"{SHAPES[trail.slot]} {trail.label}"
        lines.append(Content.assemble((f"{label:<{LABEL}}", COLOURS[trail.slot]), cells, last))
    lines.append(Content.styled(LAWS, "$foreground-muted"))
    return Content("\n").join(lines)


class OveroptimisationScreen(WorkbenchScreen):
    """The ways of one or more runs from the reference policy."""

    TITLE_TEXT = "Over-optimisation"
    LOOP = "Where a policy stops getting better by a scorer that it does not maximise."
    CSS_PATH = "overoptimisation.tcss"
    BINDINGS: ClassVar[list[BindingType]] = [
        Binding("escape", "dismiss", "Back"),
        Binding("p", "switch('proxy')", "Proxy"),
        Binding("o", "switch('gold')", "Gold"),
        Binding("b", "switch('best_of_n')", "Best of n"),
        Binding("r", "switch('relative')", "From the reference"),
        Binding("t", "table", "Fits"),
    ]

    def __init__(self, run_ids: Sequence[str]) -> None:
        super().__init__()
        self._run_ids = tuple(dict.fromkeys(run_ids))
        self.shown = Shown()
        self.ways: Sequence[Way] = ()
        self.tabled: bool | None = None  # whether the fits are shown; None leaves it to the room

    def compose_body(self) -> ComposeResult:
        with Vertical(id="ways", classes="pane"):
            yield Static(id="ways-legend", markup=False)
            yield Plot(whole_steps=False, id="ways-plot")
            yield Static(id="ways-fits", markup=False)
            yield Static(id="ways-verdict", markup=False)

    def on_mount(self) -> None:
        self.query_one("#ways").border_title = "Score against √KL"
        self.set_interval(REFRESH_SECONDS, self.load)
        self.load()

    def on_resize(self) -> None:
        self.call_after_refresh(self.redraw)

    @work(exclusive=True, group="ways")
    @told
    async def load(self) -> None:
        """Read the runs again; a run that goes on adds points."""
        ways = await self.ask(lambda workspace: workspace.overoptimisation.ways(self._run_ids))
        if chosen_ways(ways) != self.ways or not ways:
            self.ways = chosen_ways(ways)
            self.redraw()

    def redraw(self) -> None:
        """Draw what is switched on."""
        shown_trails = trails(self.ways, self.shown)
        parts = [(f"{SHAPES[trail.slot]} {trail.label}   ", COLOURS[trail.slot]) for trail in shown_trails]
        self.query_one("#ways-legend", Static).update(Content.assemble(*parts))
        table = self.query_one("#ways-fits", Static)
        table.update(fits_table(shown_trails) if shown_trails else "")
        table.display = (
            self.tabled if self.tabled is not None else self.size.height >= 34 or len(shown_trails) <= 2
        )
        self.query_one("#ways-verdict", Static).update(
            verdict([way for way in self.ways if is_shown(way, self.shown)])
        )
        drawn = [curve for trail in shown_trails for curve in curves(trail, self.shown)]
        self.query_one(Plot).show(drawn, marks=self._peaks(shown_trails))

    def _peaks(self, shown_trails: Sequence[Trail]) -> list[tuple[float, float]]:
        """Where gold is highest, of the curves that are drawn."""
        lifts = {trail.slot: trail.origin if self.shown.relative else 0.0 for trail in shown_trails}
        return [
            (way.peak.d, way.peak.score - lifts[2 * number + 1])
            for number, way in enumerate(self.ways)
            if way.peak is not None and 2 * number + 1 in lifts
        ]

    def action_switch(self, what: str) -> None:
        """Switch one of the fields of `Shown`."""
        from dataclasses import replace

        self.shown = replace(self.shown, **{what: not getattr(self.shown, what)})
        self.redraw()

    def action_table(self) -> None:
        """Show the fits, or leave the room to the curves."""
        self.tabled = not self.query_one("#ways-fits").display
        self.redraw()
