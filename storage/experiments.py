"""Experiments: which runs belong to one, and what their policies' responses are worth beside each other."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from storage.errors import NotFoundError
from storage.policies import unknown
from storage.sql import block
from storage.store import Store

PEOPLE = ("human", "import")


@dataclass(frozen=True, slots=True)
class ExperimentRow:
    """One experiment, and how far it is."""

    name: str
    text: str
    """Of its run file, as it was last run."""
    judge: str
    created_at: datetime
    arms: int
    runs: int
    done: int
    """Of its runs."""
    waiting: int
    """Runs that are queued or running."""


@dataclass(frozen=True, slots=True)
class ExperimentRun:
    """What a run is to its experiment."""

    arm: str
    seed: int
    role: str
    """train, sample or score."""
    run_id: str
    settings: Mapping[str, Any]
    """As the run file asked for them."""
    kind: str
    status: str
    reason: str | None
    seconds: float | None


@dataclass(frozen=True, slots=True)
class PromptFigures:
    """An arm with one seed on one prompt."""

    arm: str
    seed: int
    prompt_id: str
    tokens: float | None
    """Mean length of its responses."""
    score: float | None
    """Mean score by the judge; None where it has not scored all of them, or is no reward model."""


@dataclass(frozen=True, slots=True)
class ArmsMet:
    """Two arms on one prompt."""

    a: str
    b: str
    seed: int
    """Of both; 0 where the verdicts of annotators are of any seeds."""
    prompt_id: str
    share: float
    """Of the pairs of responses that `a` won, a tie counting one half."""
    pairs: int


def put(store: Store, name: str, text: str, judge: str) -> None:
    """Keep an experiment's run file, in the place of the one before."""
    store.write(block("experiments", "put"), {"experiment": name, "text": text, "judge": judge})


def listed(store: Store) -> list[ExperimentRow]:
    """Every experiment, the newest first."""
    return store.records(ExperimentRow, block("experiments", "list"), {"experiment": None})


def by_name(store: Store, name: str) -> ExperimentRow:
    """The experiment of that name.  Raises NotFoundError with the near match."""
    rows = store.records(ExperimentRow, block("experiments", "list"), {"experiment": name})
    if not rows:
        raise NotFoundError(unknown("experiment", name, [row.name for row in listed(store)]))
    return rows[0]


def add_run(
    store: Store, name: str, arm: str, seed: int, role: str, run_id: str, settings: Mapping[str, Any]
) -> None:
    """Say what a run is to an experiment."""
    values = {"experiment": name, "arm": arm, "seed": seed, "role": role, "run_id": run_id}
    store.write(block("experiments", "add_run"), values | {"settings": json.dumps(settings)})


def runs_of(store: Store, name: str) -> list[ExperimentRun]:
    """The runs of an experiment, in the order in which they were queued."""
    rows = store.rows(block("experiments", "runs"), {"experiment": name})
    return [
        ExperimentRun(arm, seed, role, run_id, json.loads(settings), kind, status, reason, seconds)
        for arm, seed, role, run_id, settings, kind, status, reason, seconds in rows
    ]


def last_metrics(store: Store, name: str, metrics: Sequence[str]) -> list[tuple[str, int, str, float]]:
    """(arm, seed, metric, its last value) of the runs of an experiment."""
    values = {"experiment": name, "names": list(metrics)}
    return [(a, s, n, v) for a, s, n, v in store.rows(block("experiments", "last_metrics"), values)]


def by_prompt(store: Store, name: str, judge: str) -> list[PromptFigures]:
    """Every arm, seed and prompt of an experiment with the judge's mean score."""
    return store.records(PromptFigures, block("experiments", "by_prompt"), _judged(store, name, judge))


def met_by_model(store: Store, name: str, judge: str) -> list[ArmsMet]:
    """Every two arms on every prompt, seed by seed, by the scores of a reward model; a < b."""
    return store.records(ArmsMet, block("experiments", "met_by_model"), _judged(store, name, judge))


def _judged(store: Store, name: str, judge: str) -> dict[str, Any]:
    """What narrows the scores of a judge to the answers of an experiment."""
    policies = [policy for (policy,) in store.rows(block("experiments", "policies"), {"experiment": name})]
    return {"experiment": name, "judge": judge, "policies": policies}


def met_by_annotators(store: Store, name: str, judge: str) -> list[ArmsMet]:
    """The same by the verdicts of an annotator, of a kind of them, or of people (imports included)."""
    kinds = list(PEOPLE) if judge == "people" else [judge]
    return store.records(
        ArmsMet,
        block("experiments", "met_by_annotators"),
        {"experiment": name, "kinds": kinds, "annotator": judge},
    )
