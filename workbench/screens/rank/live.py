"""The part of the rank screen that follows the live model and the order of the queue."""

from __future__ import annotations

import time
from collections.abc import Mapping
from typing import TYPE_CHECKING

from textual import work
from textual.binding import Binding
from textual.content import Content
from textual.widgets import Static

from workbench.key_names import RANK_KEYS
from workbench.screens.base import WorkbenchScreen, told
from workbench.screens.rank.lines import agreement_line, live_line
from workbench.services.ranking.label_queue import ORDERS

if TYPE_CHECKING:
    from workbench.services.live import Agreement
    from workbench.services.workspace import Workspace

LOOK_SECONDS = 0.5
"""How often the live model is looked at; it never waits."""
AGREEMENT_SECONDS = 6.0
"""How long the model's ranking stands after a judgement, unless a key replaces it."""
LIVE_BINDINGS = (
    Binding(
        RANK_KEYS["order"],
        "next_order",
        "order",
        id="order",
        tooltip="Change the order in which prompts come",
    ),
    Binding(
        RANK_KEYS["features"],
        "features",
        "live",
        id="features",
        tooltip="Compute features for the reward model that learns live",
    ),
    Binding(
        RANK_KEYS["agreement"],
        "agreement",
        "Show after a judgement how the live model ranks, or not",
        id="agreement",
        show=False,
    ),
)


class LiveScreen(WorkbenchScreen):
    """A screen with a line `#live`: what the live model has learned, and the order of the queue.

    Nothing of a model is ever shown about responses that the person has not judged yet.
    """

    def __init__(self) -> None:
        super().__init__()
        self.queue_order = ""
        self.shows_agreement = True
        self._live_line = Content("")
        self._agreement: Content | None = None
        self._agreement_until = 0.0

    @property
    def project(self) -> str:
        """Name of the project that is followed; empty without one."""
        return ""

    def order_changed(self) -> None:
        """The queue has another order from now on."""

    def follow_live(self) -> None:
        """From now on keep the line up to date."""
        self.set_interval(LOOK_SECONDS, self.show_live)
        self.notice()

    @work(exclusive=True, group="live")
    @told
    async def notice(self) -> None:
        """Let the live model see what changed; read what the store remembers for this screen."""

        def look(w: Workspace) -> tuple[str, bool]:
            w.live.notice()
            return w.judging.queue.order, w.judging.queue.shows_agreement

        self.queue_order, self.shows_agreement = await self.ask(look)
        self.show_live()

    def show_live(self) -> None:
        """The line of the live model, from its newest snapshot."""
        if not self.queue_order:
            return  # the store is not open yet
        if self._agreement is not None and time.monotonic() > self._agreement_until:
            self._agreement = None
        order = "the project’s order" if self.project else ORDERS.get(self.queue_order, "")
        line = live_line(self.workspace.live.state, self._agreement, order, self.app.size.width - 4)
        if not line.is_same(self._live_line):  # what stays as it is, colours too, need not be painted
            self._live_line = line
            self.query_one("#live", Static).update(line, layout=False)

    def show_agreement(self, agreement: Agreement | None, letters: Mapping[str, str]) -> None:
        """For a moment, how the model had ranked what was just judged; `letters` by response id."""
        if agreement is not None and self.shows_agreement:
            self._agreement = agreement_line(agreement, letters)
            self._agreement_until = time.monotonic() + AGREEMENT_SECONDS

    def forget_agreement(self) -> None:
        """The next item is being judged."""
        self._agreement = None

    @work(group="features")
    @told
    async def action_features(self) -> None:
        """Start the job that computes features, and an export behind it for the score screen."""
        asked = await self.ask(lambda w: w.estimating.sentence(w.live.features_config()))
        run_id = await self.ask(lambda w: w.live.compute_features(w.jobs))
        self.workbench.tell(
            f"{run_id} computes features; the model then learns as you rank. {asked}", severity="information"
        )
        self.workbench.refresh_status()
        self.notice()

    @work(group="order", exclusive=True)
    @told
    async def action_next_order(self) -> None:
        """The next order of the queue; what stands here is judged first."""
        if self.project:
            self.workbench.tell(f"The project “{self.project}” sets the order.", severity="information")
            return
        names = list(ORDERS)
        here = names.index(self.queue_order) if self.queue_order in names else -1
        order = names[(here + 1) % len(names)]
        await self.ask(lambda w: w.judging.queue.set_order(order))
        self.queue_order = order
        self.show_live()
        self.order_changed()

    @work(group="order", exclusive=True)
    @told
    async def action_agreement(self) -> None:
        """Whether a judgement is followed by the ranking of the model."""
        wanted = not self.shows_agreement
        await self.ask(lambda w: w.judging.queue.set_shows_agreement(wanted))
        self.shows_agreement, self._agreement = wanted, None
        verb = "is shown" if wanted else "is not shown"
        self.workbench.tell(f"The model's ranking {verb} after a judgement.", severity="information")
        self.show_live()
