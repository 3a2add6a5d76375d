"""Messages and states that more than one screen knows."""

from __future__ import annotations

from dataclasses import dataclass

from textual.message import Message


class RunsMoved(Message):
    """A pump of the jobs changed something.

    Carries nothing, so that a burst of them collapses into one; the application holds the changes.
    """

    def can_replace(self, message: Message) -> bool:
        """Ten movements of runs are drawn once."""
        return isinstance(message, RunsMoved)


class RankPrompt(Message):
    """To the rank screen: this prompt next."""

    def __init__(self, prompt_id: str) -> None:
        super().__init__()
        self.prompt_id = prompt_id


class ShowQuery(Message):
    """To the SQL screen: this query into the editor."""

    def __init__(self, sql: str) -> None:
        super().__init__()
        self.sql = sql


class ShowRun(Message):
    """To the screen of runs: the cursor onto this run."""

    def __init__(self, run_id: str) -> None:
        super().__init__()
        self.run_id = run_id


@dataclass(frozen=True)
class CurrentJob:
    """The job that the header shows."""

    name: str
    """Run id, as it stands in the store."""
    stage: str
    """What it is doing, in its own words."""
    progress: float | None
    """0 … 1 of the stage; None when nobody knows."""
    waiting: int = 0
    """Jobs queued behind it."""


@dataclass(frozen=True)
class Status:
    """What the header says about the store and its jobs."""

    store: str = ""
    """File name of the store; empty while it is being opened."""
    prompts: int = 0
    responses: int = 0
    judgements: int = 0
    guest: str = ""
    """Who judges in a study that another process serves; its counts are not theirs to see."""
    job: CurrentJob | None = None
    """None while nothing runs."""


OPENING = Status()
"""Before the store is open."""
