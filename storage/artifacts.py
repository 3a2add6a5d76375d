"""Artifacts: files and folders that runs have made, and the reward models among them."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any

from storage.errors import NotFoundError
from storage.ids import artifact_id
from storage.policies import unknown
from storage.records import ArtifactRow, RewardModelRow
from storage.sql import block
from storage.store import Store


def insert(
    store: Store,
    *,
    run_id: str,
    kind: str,
    name: str,
    path: str,
    parent_id: str | None = None,
    step: int | None = None,
    details: Mapping[str, Any] | None = None,
) -> str:
    """Register an artifact; the same run, kind, name and step again replaces it.  `path` is absolute."""
    artifact = artifact_id(run_id, kind, name, step)
    store.write(
        block("artifacts", "add"),
        {
            "artifact_id": artifact,
            "run_id": run_id,
            "kind": kind,
            "name": name,
            "parent_id": parent_id,
            "path": path,
            "step": step,
            "details": json.dumps(dict(details or {})),
        },
    )
    return artifact


def listed(
    store: Store, *, run_id: str | None = None, kind: str | None = None, name: str | None = None
) -> list[ArtifactRow]:
    """Artifacts, newest first."""
    rows = store.rows(block("artifacts", "list"), {"run_id": run_id, "kind": kind, "name": name})
    return [_artifact([*row[:7], json.loads(row[7] or "{}"), row[8]]) for row in rows]


def of_run(store: Store, run_id: str) -> list[ArtifactRow]:
    """What a run has left, in the order it did."""
    return listed(store, run_id=run_id)


def by_name(store: Store, kind: str, name: str) -> ArtifactRow | None:
    """The newest artifact of that kind and name, or None."""
    rows = listed(store, kind=kind, name=name)
    return rows[0] if rows else None


def reward_models(store: Store) -> list[RewardModelRow]:
    """Reward models in use: of those with one name the newest."""
    return [_reward_model(row) for row in store.rows(block("artifacts", "reward_models"), {"name": None})]


def reward_model(store: Store, name: str) -> RewardModelRow:
    """The reward model of that name; NotFoundError, with the near match, when there is none."""
    rows = store.rows(block("artifacts", "reward_models"), {"name": name})
    if not rows:
        raise NotFoundError(unknown("reward model", name, [m.name for m in reward_models(store)]))
    return _reward_model(rows[0])


def is_registered(store: Store, name: str) -> bool:
    """Whether the reward model of that name was trained elsewhere.  NotFoundError when there is none."""
    row = store.row(block("artifacts", "made_by"), {"run_id": reward_model(store, name).run_id})
    return row is not None and row[0] == "register"


def _artifact(values: list[Any]) -> ArtifactRow:
    return ArtifactRow(*values)


def _reward_model(row: tuple[Any, ...]) -> RewardModelRow:
    values = [*row[:5], tuple(row[5]), *row[6:]]
    return RewardModelRow(*values)
