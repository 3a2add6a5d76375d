"""What screens and widgets may ask of the application around them; `workbench.app` is that application."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import TYPE_CHECKING, Any, ClassVar, NamedTuple

from textual.reactive import var

from workbench.messages import OPENING, Status
from workbench.sturdy import SturdyApp

if TYPE_CHECKING:
    from collections.abc import Callable

    from textual.screen import Screen

    from workbench.services.workspace import Workspace


class Place(NamedTuple):
    """A screen with a function key."""

    mode: str
    key: str
    title: str
    path: str
    purpose: str


class Command(NamedTuple):
    """One line of the command palette."""

    title: str
    help: str
    run: Callable[[], Any]
    goes_somewhere: bool = True
    """Only opens a place, a form or a question.  What acts at once on the data needs its words typed."""


class Shell(SturdyApp):
    """The application as its screens know it."""

    PLACES: ClassVar[tuple[Place, ...]]
    # followed by the header; a `reactive` of the application would paint the whole screen anew
    status: var[Status] = var(OPENING)
    demo_line: var[str] = var("")

    @property
    def workspace(self) -> Workspace:
        """The open workspace.  Screens that may be shown before it is open await `opened` instead."""
        raise NotImplementedError

    async def opened(self) -> Workspace:
        """The workspace, as soon as it is open."""
        raise NotImplementedError

    def first_painted(self) -> None:
        """The first screen's first content stands on the terminal: now start what may take time."""
        raise NotImplementedError

    def refresh_status(self) -> Any:
        """Read counts and the running job anew; screens call this after they changed the store."""
        raise NotImplementedError

    def show_demo(self, line: str) -> None:
        """How far the demo is, in the header."""
        raise NotImplementedError

    def action_go(self, mode: str) -> None:
        """Go to the screen of that mode."""
        raise NotImplementedError

    def rank_prompt(self, prompt_id: str) -> None:
        """Go to the rank screen with this prompt first."""
        raise NotImplementedError

    def show_query(self, sql: str) -> None:
        """Go to the SQL screen with this query in its editor."""
        raise NotImplementedError

    def show_run(self, run_id: str) -> None:
        """Go to the runs, with the cursor on this one as soon as it is listed."""
        raise NotImplementedError

    def action_launch(self, kind: str = "", values: Mapping[str, Any] | None = None) -> None:
        """The form of a job, `values` in its fields; without a kind, the list of jobs first."""
        raise NotImplementedError

    def action_import(self) -> None:
        """Ask for a file and import it."""
        raise NotImplementedError

    def action_report(self, reward_model: str = "") -> Any:
        """The report of a reward model; without a name, the list of them first."""
        raise NotImplementedError

    def action_project(self) -> Any:
        """The labelling project: its queues and how far everybody is."""
        raise NotImplementedError

    def commands(self, screen: Screen[Any]) -> Iterator[Command]:
        """Every capability, for ctrl+p."""
        raise NotImplementedError
