"""What is left of a column of which the mapping reads a part, so that it can be kept beside."""

from __future__ import annotations

from collections.abc import Mapping as AnyMapping
from typing import Any

from storage.interchange.mapping.language import EACH, AnyKey, Each, Mapping, Step, structure

Tree = dict[Any, Any]  # the steps that are read, under each other; a step with nothing under it is read whole


class Unread:
    """The unread parts of a row's columns.

    The rest of the elements of a list of responses, or of annotators, is kept with each of them by whoever
    reads the list, and counts as read here.
    """

    def __init__(self, mapping: Mapping) -> None:
        together = {
            s.path.list_prefix
            for s in mapping.statements
            if s.path.listed and s.role.partition(".")[0] in ("responses", "winner", "winner_by")
        }
        whole = mapping.columns() & {s.path.column for s in mapping.statements if len(s.path.steps) == 1}
        self._trees: dict[str, Tree] = {}
        for statement in mapping.statements:
            steps = statement.path.steps
            if statement.path.listed and statement.path.list_prefix in together:
                steps = (*statement.path.list_prefix, Each())
            if len(steps) > 1 and statement.path.column not in whole:
                _grow(self._trees.setdefault(statement.path.column, {}), steps[1:])

    @property
    def columns(self) -> frozenset[str]:
        """The columns that are read in part."""
        return frozenset(self._trees)

    def of(self, row: AnyMapping[str, Any]) -> dict[str, Any]:
        """By column, what of it nothing reads; columns of which nothing is left are not there."""
        unread = {}
        for column, tree in self._trees.items():
            rest = _left(row.get(column), tree)
            if rest is not None:
                unread[column] = rest
        return unread


def _grow(tree: Tree, steps: tuple[Step, ...]) -> None:
    """Adds one path; one that is read whole stays so."""
    for step in steps[:-1]:
        key = _key(step)
        if tree.get(key, None) == {}:
            return
        tree = tree.setdefault(key, {})
    tree[_key(steps[-1])] = {}


def _key(step: Step) -> str | int:
    return EACH if isinstance(step, Each) else "*" if isinstance(step, AnyKey) else step


def _left(value: Any, tree: Tree) -> Any:
    """The value without what is read, None where nothing is left."""
    if isinstance(value, str):
        value = structure(value)
    if isinstance(value, dict):
        rest = {}
        for key, inner in value.items():
            below = tree.get(key, tree.get("*", tree.get(EACH)))
            left = inner if below is None else None if below == {} else _left(inner, below)
            if left not in (None, "", [], {}):
                rest[key] = left
        return rest or None
    if isinstance(value, list):
        if EACH not in tree:
            return [v for n, v in enumerate(value) if n not in tree and n - len(value) not in tree] or None
        below = tree[EACH]
        left = [None if below == {} else _left(element, below) for element in value]
        return left if any(k is not None for k in left) else None
    return None


def item_keys(mapping: Mapping) -> tuple[tuple[Any, ...], set[str]] | None:
    """The list that the responses stand in, and the keys of its objects that the mapping reads whole."""
    statement = mapping.get("responses")
    if statement is None or not statement.path.listed:
        return None
    prefix = statement.path.list_prefix
    used = {
        str(s.path.steps[len(prefix) + 1])
        for s in mapping.statements
        if s.path.list_prefix == prefix and s.path.listed and len(s.path.steps) == len(prefix) + 2
    }
    return prefix, used
