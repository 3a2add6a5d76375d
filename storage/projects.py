"""Projects: their versions, the queues of their annotators, gold answers, and how far everybody is."""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime

from storage import judgements
from storage.ids import annotator_id, content_id
from storage.sql import block
from storage.store import Store

COLUMNS = (
    "assignment_id", "project_id", "annotator_id", "position", "kind", "prompt_id", "responses", "mode",
    "behind", "days",
)  # fmt: skip


@dataclass(frozen=True, slots=True)
class ProjectRow:
    """A labelling project, as a list shows it: places of its queues, and how many of them are done."""

    name: str
    mode: str
    annotators: int
    entries: int
    done: int


@dataclass(frozen=True, slots=True)
class ProjectVersion:
    """A project's file as it was applied."""

    version: int
    source: str
    """The TOML text."""
    guidelines: str
    folder: str
    """What paths in the text are relative to; empty where there is none."""


@dataclass(frozen=True, slots=True)
class QueueEntry:
    """One place of an annotator's queue, as it is planned and read back."""

    annotator: str
    kind: str
    prompt_id: str
    responses: tuple[str, ...]
    position: int = 0
    done: bool = False
    mode: str | None = None
    """The way of judging; None: the project's."""
    behind: str | None = None
    """The entry that the same annotator must have answered before."""
    days: float | None = None
    """And for so many days."""


@dataclass(frozen=True, slots=True)
class Assignment:
    """What waits for an annotator."""

    assignment_id: str
    kind: str
    prompt_id: str
    responses: list[str]
    mode: str | None = None
    """The way of judging; None: the project's."""


@dataclass(frozen=True, slots=True)
class QueueProgress:
    """How far an annotator has come; seconds leave pauses out."""

    annotator: str
    entries: int
    done: int
    skipped: int
    left: int
    seconds: float
    seconds_each: float | None
    """Of the last 20; None before the first."""
    seconds_left: float | None


@dataclass(frozen=True, slots=True)
class Check:
    """Pairs of an annotator's gold questions or repeats, and on how many they agreed with that."""

    annotator: str
    what: str
    """gold or repeat."""
    questions: int
    pairs: int
    agreed: int


def project_id(name: str) -> str:
    """Of its name."""
    return content_id("w", name)


def listed(store: Store) -> list[ProjectRow]:
    """Every project, oldest first."""
    return store.records(ProjectRow, block("projects", "list"))


def version(store: Store, name: str) -> ProjectVersion | None:
    """The version of a project that counts; None where there is no such project."""
    row = store.row(block("projects", "version"), {"project_id": project_id(name)})
    return None if row is None else ProjectVersion(*row)


def put(store: Store, name: str, mode: str, criterion: str, overlap: int) -> None:
    """Register a project, or what it is by now."""
    values = {"name": name, "mode": mode, "criterion": criterion, "overlap": overlap}
    store.write(block("projects", "add"), values | {"project_id": project_id(name)})


def add_version(store: Store, name: str, source: str, guidelines: str, folder: str) -> None:
    """Keep the text of a project's file; the same text as the last version is a new one all the same."""
    values = {"source": source, "guidelines": guidelines, "folder": folder or None}
    store.write(block("projects", "add_version"), values | {"project_id": project_id(name)})


def entries(store: Store, name: str) -> list[QueueEntry]:
    """All entries of all queues, by annotator and place."""
    rows = store.rows(block("projects", "entries"), {"project": name})
    return [
        QueueEntry(who, kind, prompt, tuple(responses), place, done, mode)
        for who, kind, prompt, responses, place, done, mode in rows
    ]


def drop_open(store: Store, name: str) -> int:
    """Forget what nobody has judged; how many entries that were."""
    return store.write(block("projects", "drop_open"), {"project_id": project_id(name), "project": name})


def add_entries(store: Store, name: str, new: Iterable[QueueEntry]) -> None:
    """Put entries into queues; annotators that are new are registered."""
    project, known = project_id(name), {}
    rows = []
    with store.transaction():
        for entry in new:
            if entry.annotator not in known:
                known[entry.annotator] = judgements.ensure_annotator(store, entry.annotator)
            key, who = assignment_id(name, entry), known[entry.annotator]
            place = (entry.position, entry.kind, entry.prompt_id)
            way = (entry.mode, entry.behind, entry.days)
            rows.append((key, project, who, *place, json.dumps(entry.responses), *way))
        types = {"mode": "string", "behind": "string", "days": "double"}  # columns that may be all empty
        store.write_many(block("projects", "load"), COLUMNS, rows, types)


def assignment_id(name: str, entry: QueueEntry) -> str:
    """The same entry of the same project keeps its id when queues are made anew."""
    who = annotator_id(entry.annotator)
    way = () if entry.mode is None else (f"by {entry.mode}",)
    return content_id("s", project_id(name), who, entry.kind, entry.prompt_id, *entry.responses, *way)


def put_gold(store: Store, name: str, answers: Mapping[str, Mapping[str, int]]) -> None:
    """Replace the known answers: ranks by response, by prompt."""
    project = project_id(name)
    rows = [(project, prompt, key, rank) for prompt, ranks in answers.items() for key, rank in ranks.items()]
    with store.transaction():
        store.write(block("projects", "forget_gold"), {"project_id": project})
        store.write_many(
            block("projects", "load_gold"), ("project_id", "prompt_id", "response_id", "rank"), rows
        )


def tasks(
    store: Store,
    *,
    source: str | None = None,
    split: str | None = None,
    subset: str | None = None,
    ids: Sequence[str] | None = None,
    policies: Sequence[str] | None = None,
) -> list[tuple[str, list[str]]]:
    """(prompt, its different responses), oldest prompt first; prompts with fewer than two are left out."""
    values = {
        "source": source,
        "split": split,
        "subset": subset,
        "ids": None if ids is None else json.dumps(list(ids)),
        "policies": None if policies is None else json.dumps(list(policies)),
    }
    return [
        (prompt, list(responses)) for prompt, responses in store.rows(block("projects", "prompts"), values)
    ]


def ranked_by(store: Store, annotator: str, criterion: str) -> dict[str, dict[str, int]]:
    """What an annotator has ranked: ranks by response, by prompt; of several rankings the last."""
    ranks: dict[str, dict[str, int]] = {}
    values = {"annotator": annotator, "criterion": criterion}
    for prompt, response, rank in store.rows(block("projects", "ranked_by"), values):
        ranks.setdefault(prompt, {})[response] = rank
    return ranks


def waiting(store: Store, name: str, annotator: str, limit: int | None = None) -> list[Assignment]:
    """What waits for an annotator, first come first."""
    sql = block("projects", "waiting") + ("" if limit is None else f"\nLIMIT {int(limit)}")
    return store.records(Assignment, sql, _who(name, annotator))


def is_open(store: Store, assignment: Assignment) -> bool:
    """Whether nobody has answered it."""
    values = {"prompt_id": assignment.prompt_id, "assignment_id": assignment.assignment_id}
    row = store.row(block("projects", "is_open"), values)
    return bool(row and row[0])


def open_in(store: Store, name: str, assignment: str) -> bool:
    """Whether a project's queues hold this entry, unanswered."""
    values = {"project_id": project_id(name), "assignment_id": assignment}
    assignments = store.records(Assignment, block("projects", "assignment"), values)
    return bool(assignments) and is_open(store, assignments[0])


def resting(store: Store, name: str, annotator: str) -> tuple[int, datetime | None]:
    """How many entries of a queue open later only, and when the first does (naive UTC)."""
    row = store.row(block("projects", "resting"), {"project": name, "annotator": annotator})
    return (0, None) if row is None else (int(row[0]), row[1])


def progress(store: Store, name: str, annotator: str | None = None) -> list[QueueProgress]:
    """Of one annotator, or of all."""
    return store.records(
        QueueProgress, block("projects", "progress"), {"project": name, "annotator": annotator}
    )


def today(store: Store, name: str, annotator: str, since: datetime) -> int:
    """Judgements of an annotator in a project since then (naive UTC)."""
    row = store.row(block("projects", "today"), _who(name, annotator) | {"since": since})
    return int(row[0]) if row else 0


def checks(store: Store, name: str) -> list[Check]:
    """Gold questions and repeats, by annotator."""
    return store.records(Check, block("projects", "checks"), {"project": name})


def coverage(store: Store, name: str) -> dict[int, int]:
    """How many tasks have been labelled by so many annotators."""
    return dict(store.rows(block("projects", "coverage"), {"project": name}))


def _who(name: str, annotator: str) -> dict[str, str]:
    return {"project_id": project_id(name), "annotator_id": annotator_id(annotator)}
