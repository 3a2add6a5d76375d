"""What a run reads, frozen as Parquet when it starts."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from storage.file.faults import told
from storage.records import Snapshot
from storage.sql import block
from storage.store import Store

EVERYTHING = 2**62


def write_prompts(
    store: Store,
    path: Path,
    *,
    source: str = "",
    prompt_ids: Sequence[str] | None = None,
    limit: int = 0,
    heldout_by: Sequence[str] | None = None,
) -> Snapshot:
    """Columns prompt_id, messages (JSON text), reference (answer), metadata (JSON text), split.

    split is `heldout` for prompts that one of the runs `heldout_by` held out, else `train`; NULL without.
    `source` keeps those of one source, `prompt_ids` those it names, `limit` the first so many of these.
    """
    wanted = None if prompt_ids is None else list(prompt_ids)
    values: dict[str, Any] = {"source": source, "prompt_ids": wanted, "limit": limit or EVERYTHING}
    values["heldout_by"] = None if heldout_by is None else list(heldout_by)
    return _write(store, path, "prompts", values)


def write_rankings(
    store: Store,
    path: Path,
    *,
    criteria: Sequence[str] | None = ("overall",),
    annotator: str = "",
    source: str = "",
    run_id: str = "",
    kinds: Sequence[str] | None = None,
) -> Snapshot:
    """Columns judgement_id, annotator, annotator_kind, criterion, kind, prompt_id, messages, response_id,
    text, rank, rating, finish_reason, unordered, strength.

    Rank 1 is best, equal ranks tie unless they are unordered; a rating ranks too.  strength is that of pairs
    judged here, 1 slightly … 3 much better: files have units of their own.  `criteria` None takes judgements
    of every criterion, `kinds` None of every kind of annotator; one named as `annotator` always counts.
    `run_id` takes those of responses of that run alone.
    """
    wanted = None if criteria is None else list(criteria)
    values = {
        "criteria": wanted,
        "annotator": annotator,
        "source": source,
        "run_id": run_id,
        "kinds": None if kinds is None else list(kinds),
    }
    return _write(store, path, "rankings", values)


def write_responses(
    store: Store,
    path: Path,
    *,
    policy: str = "",
    source: str = "",
    unscored_by: str = "",
    backend: str = "",
    limit: int = 0,
    shuffle: bool = False,
) -> Snapshot:
    """Columns response_id, prompt_id, messages, text, finish_reason.

    `policy` keeps those of one policy, `source` those to prompts of one source.
    `unscored_by` (a reward model's id) leaves out what that model has scored, with a backend that begins so.
    `shuffle` takes them in an order that has nothing to do with where they come from, the same every time.
    """
    values = {
        "policy": policy,
        "source": source,
        "unscored_by": unscored_by,
        "backend": backend,
        "limit": limit or EVERYTHING,
        "shuffle": shuffle,
    }
    return _write(store, path, "responses", values)


def write_queue(store: Store, path: Path, *, criterion: str, limit: int) -> Snapshot:
    """The first `limit` responses of the label queue, columns as `write_responses`.

    Whole prompts with at least two different responses, those with the fewest judgements first: what may be
    judged next, in the order in which the live model looks at it.
    """
    return _write(store, path, "queue", {"criterion": criterion, "limit": limit})


def write_pairs(
    store: Store,
    path: Path,
    *,
    source: str = "",
    prompt_ids: Sequence[str] | None = None,
    limit: int = 0,
    pairs_a_prompt: int = 0,
    seed: int = 0,
    judged_by_people: bool = False,
    annotator: str = "",
    experiment: str = "",
) -> Snapshot:
    """Columns prompt_id, messages, response_a, text_a, response_b, text_b, judged.

    Pairs of different responses to a prompt, the lesser id first.  `judged` lists the criteria by which
    `annotator` has judged the pair already.  `judged_by_people` keeps pairs with a verdict of a person or an
    imported file, `experiment` those of its different arms with one seed, `pairs_a_prompt` so many, chosen by
    `seed`; `limit` counts prompts.
    """
    values: dict[str, Any] = {
        "source": source,
        "prompt_ids": None if prompt_ids is None else list(prompt_ids),
        "limit": limit or EVERYTHING,
        "most": pairs_a_prompt,
        "seed": seed,
        "judged_by_people": judged_by_people,
        "annotator": annotator,
        "experiment": experiment,
    }
    return _write(store, path, "pairs", values)


def write_steps(
    store: Store, path: Path, *, annotator: str = "", source: str = "", kinds: Sequence[str] | None = None
) -> Snapshot:
    """Columns prompt_id, messages, response_id, text, annotator, ends, labels.

    One row for each response and annotator: where the judged steps end, in characters, and their labels, 1
    good, 0 neutral, -1 bad.  `kinds` None of every kind of annotator; one named as `annotator` always counts.
    """
    values = {"annotator": annotator, "source": source, "kinds": None if kinds is None else list(kinds)}
    return _write(store, path, "steps", values)


def _write(store: Store, path: Path, name: str, values: dict[str, Any]) -> Snapshot:
    path.parent.mkdir(parents=True, exist_ok=True)
    target = str(path).replace("'", "''")
    with told(path):
        row = (
            store.cursor()
            .execute(f"COPY ({block('snapshots', name)}) TO '{target}' (FORMAT parquet)", values)
            .fetchone()
        )
    with path.open("rb") as file:
        digest = hashlib.file_digest(file, "sha256").hexdigest()
    return Snapshot(path, int(row[0]) if row else 0, digest)
