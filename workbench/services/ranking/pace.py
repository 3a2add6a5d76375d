"""How far and how fast an annotator is."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import UTC, datetime

from storage import judgements
from storage.records import SessionPolicy
from storage.store import Store
from workbench.services.projects.projects import Active, Projects
from workbench.services.ranking.remaining import Remaining


@dataclass(frozen=True)
class Pace:
    """How far an annotator has come."""

    done: int
    remaining: int
    """Prompts (rank mode) or pairs (pair mode) that still wait."""
    today: int
    """Done since midnight, local time."""
    per_hour: float | None
    """From the seconds that recent judgements took; None before the first."""
    project: str = ""
    """The project whose queue this is; empty for the label queue of the store."""
    seconds_left: float | None = None
    """Of a project's queue: what is left, at that pace."""
    resting: int = 0
    """Of what is left, how much opens later only."""
    opens_at: float | None = None
    """When the first of it does, in seconds since 1970."""


@dataclass(frozen=True)
class JudgingSession:
    """What an annotator has judged since a time; `policies` only where names may be shown."""

    judged: int
    skipped: int
    seconds: float
    """How long that took, pauses left out."""
    policies: tuple[SessionPolicy, ...]


def pace_of_store(store: Store, remaining: Remaining, annotator: str, mode: str, criterion: str) -> Pace:
    """Of the label queue of the whole store."""
    left = remaining.left(annotator, criterion, pairs=mode == "pair")
    counts = judgements.pace(store, annotator, mode=mode, criterion=criterion, since=midnight(), left=left)
    return Pace(counts.done, counts.remaining, counts.today, counts.per_hour)


def pace_of_project(projects: Projects, active: Active, annotator: str) -> Pace:
    """Of the annotator's queue in a project."""
    progress = projects.progress(active, annotator)
    if progress is None:
        return Pace(0, 0, 0, None, active.name)
    each = progress.seconds_each
    return Pace(
        progress.done,
        progress.left,
        projects.today(active, annotator, midnight()),
        3600 / each if each else None,
        active.name,
        progress.seconds_left,
        *projects.resting(active, annotator),
    )


def midnight() -> datetime:
    """When today began where the person is, in naive UTC."""
    local = datetime.now().astimezone().replace(hour=0, minute=0, second=0, microsecond=0)
    return local.astimezone(UTC).replace(tzinfo=None)


def utc_now() -> datetime:
    """Now, as the store writes times: UTC without a zone."""
    return datetime.now(UTC).replace(tzinfo=None)
