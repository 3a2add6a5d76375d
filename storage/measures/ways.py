"""What was said and how long it took in each way of judging of a project."""

from __future__ import annotations

from dataclasses import dataclass

from storage.sql import block
from storage.store import Store


@dataclass(frozen=True, slots=True)
class WayVerdict:
    """What an annotator said of two responses in one way of judging."""

    annotator: str
    mode: str
    kind: str
    """label, gold or repeat."""
    prompt_id: str
    response_a: str
    response_b: str
    verdict: int
    """1: the first is better, −1: the second is, 0: equal."""


@dataclass(frozen=True, slots=True)
class WayTime:
    """How long one entry of a queue took, pauses left out."""

    annotator: str
    mode: str
    prompt_id: str
    seconds: float


def verdicts(store: Store, project: str) -> list[WayVerdict]:
    """Every verdict that answers an entry of the project's queues, by the criterion of both ways."""
    return store.records(WayVerdict, block("ways", "verdicts"), {"project": project})


def took(store: Store, project: str) -> list[WayTime]:
    """Every entry that was judged, gold questions left out: they are not the same in both ways."""
    return store.records(WayTime, block("ways", "took"), {"project": project})
