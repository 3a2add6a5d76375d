"""Policies: what responses come from."""

from __future__ import annotations

import difflib

from storage.errors import NotFoundError
from storage.ids import policy_id
from storage.records import PolicyRow
from storage.sql import block
from storage.store import Store


def listed(store: Store) -> list[PolicyRow]:
    """Every policy, oldest first."""
    return store.records(PolicyRow, block("policies", "list"), {"name": None})


def find(store: Store, name: str) -> PolicyRow | None:
    """The policy of that name, or None."""
    rows = store.records(PolicyRow, block("policies", "list"), {"name": name})
    return rows[0] if rows else None


def by_name(store: Store, name: str) -> PolicyRow:
    """The policy of that name; NotFoundError, with the near match, when there is none."""
    policy = find(store, name)
    if policy is None:
        raise NotFoundError(unknown("policy", name, [p.name for p in listed(store)]))
    return policy


def ensure(
    store: Store, name: str, *, model: str | None = None, parent: str | None = None, run_id: str | None = None
) -> str:
    """Register a policy unless its name is taken; the id that the name has.  `parent` is an id."""
    store.write(
        block("policies", "add"),
        {"policy_id": policy_id(name), "name": name, "model": model, "parent_id": parent, "run_id": run_id},
    )
    return policy_id(name)


def register_trained(store: Store, name: str, *, folder: str, parent: str | None, run_id: str) -> str:
    """Register what a run trained.  A name that is taken gets the run's id added, so neither is lost."""
    policy = find(store, name)
    if policy is not None and policy.run_id != run_id:
        name = f"{name} ({run_id})"
    return ensure(store, name, model=folder, parent=parent, run_id=run_id)


def unknown(what: str, name: str, known: list[str]) -> str:
    """`There is no policy “X”; did you mean “Y”?`"""
    near = difflib.get_close_matches(name, known, n=1)
    if near:
        return f"There is no {what} “{name}”; did you mean “{near[0]}”?"
    if known:
        return f"There is no {what} “{name}”; there are {', '.join(sorted(known)[:8])}."
    return f"There is no {what} “{name}”; none is registered yet."
