"""What a shape of file is, and how its columns are found.

A shape names roles (`prompt`, `chosen`, …); a file's columns fill them by their own name, by a usual other
name, or by what the user says.
"""

from __future__ import annotations

import difflib
from collections import Counter
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

from storage.interchange.rows import Table, listed, wrong
from storage.interchange.staging import Staging

ALIASES: dict[str, tuple[str, ...]] = {
    "prompt": ("prompt", "messages", "instruction", "question"),
    "response": ("response", "completion", "answer"),
    "responses": ("responses", "completions", "answers"),
    "rank": ("rank",),
    "ranks": ("ranks",),
    "rating": ("rating",),
    "ratings": ("ratings",),
    "policy": ("policy", "model"),
    "policies": ("policies", "models"),
    "annotator": ("annotator",),
    "group": ("judgement_id", "group"),
    "chosen": ("chosen",),
    "rejected": ("rejected",),
    "chosen_policy": ("chosen_policy", "chosen_model"),
    "rejected_policy": ("rejected_policy", "rejected_model"),
    "response_a": ("response_a",),
    "response_b": ("response_b",),
    "policy_a": ("model_a", "policy_a"),
    "policy_b": ("model_b", "policy_b"),
    "verdict": ("winner", "preference", "label"),
    "source": ("source",),
}


@dataclass(frozen=True)
class Options:
    """What the user says about a whole file."""

    policy: str = "imported"  # of responses whose file names none
    annotator: str = "imported"  # of judgements whose file names none
    annotator_prefix: str = ""  # before the names of columns that are one annotator each


@dataclass
class Job:
    """One file on its way in: what a shape's `take` needs beside the row."""

    staging: Staging
    columns: Mapping[str, str]  # column by role
    options: Options
    extra: tuple[str, ...]  # columns that fill no role
    skipped: Counter[str] = field(default_factory=Counter)

    def has(self, role: str) -> bool:
        return role in self.columns

    def name(self, values: Mapping[str, Any], role: str, default: str) -> str:
        """A name in a column, or `default` where there is no column or the cell is empty."""
        from storage.interchange.rows import text_of

        column = self.columns.get(role)
        if column is None or values.get(column) in (None, ""):
            return default
        return text_of(values, column)


@dataclass(frozen=True)
class Shape:
    """`needs`: alternatives of roles that must be there; `take` stages one row."""

    name: str
    needs: tuple[tuple[str, ...], ...]
    may: tuple[str, ...]
    take: Callable[[Job, Mapping[str, Any], int], None]

    @property
    def roles(self) -> set[str]:
        return {role for group in self.needs for role in group} | set(self.may)


def find_columns(table: Table, given: Mapping[str, str] | None) -> dict[str, str]:
    """The column of every role that the file fills; `given` says so for some of them (role → column)."""
    found: dict[str, str] = {}
    for role, names in ALIASES.items():
        fitting = next((name for name in names if name in table.columns), None)
        if fitting is not None:
            found[role] = fitting
    for role, column in (given or {}).items():
        if role not in ALIASES:
            raise wrong(table.path, f'"{role}" is no role of a column' + _near(role, list(ALIASES)))
        if column not in table.columns:
            raise wrong(table.path, f'there is no column "{column}"' + _near(column, list(table.columns)))
        found = {r: c for r, c in found.items() if c != column}
        found[role] = column
    return found


def choose(table: Table, columns: Mapping[str, str], shapes: tuple[Shape, ...]) -> Shape:
    """The first shape whose needs the columns fill; not where a misspelt column would make it another."""
    for shape in shapes:
        if any(set(group) <= set(columns) for group in shape.needs):
            return shape
        for role, column in _misspelt(table, columns, shape).items():
            if any(set(group) <= {*columns, role} for group in shape.needs):
                raise wrong(table.path, _meant(role, column))
    raise wrong(table.path, _no_shape(table, shapes))


def require(table: Table, columns: Mapping[str, str], shape: Shape) -> None:
    """Raise, with the near match, when a file lacks what the shape that the user named needs."""
    if any(set(group) <= set(columns) for group in shape.needs):
        return
    nearest = min(shape.needs, key=lambda group: len(set(group) - set(columns)))
    missing = [role for role in nearest if role not in columns]
    free = [c for c in table.columns if c not in columns.values()]
    raise wrong(table.path, f'there is no column "{missing[0]}"' + _near(missing[0], free))


def _no_shape(table: Table, shapes: tuple[Shape, ...]) -> str:
    roles = ["prompt", "response", "responses", "chosen", "rejected", "response_a", "response_b", "messages"]
    for column in table.columns:
        near = difflib.get_close_matches(column.lower(), roles, n=1, cutoff=0.7)
        if near and column not in roles:
            return _meant(near[0], column)
    shown = listed([f'"{c[:40]}"' for c in table.columns[:8]])
    return (
        f"its columns ({shown}) fit no shape; prompts need prompt, pairs need chosen and rejected, "
        "rankings need prompt, response and rank"
    )


def _misspelt(table: Table, columns: Mapping[str, str], shape: Shape) -> dict[str, str]:
    """Columns that fill no role and are nearly called as one that the shape needs, by that role."""
    free = {column.lower(): column for column in table.columns if column not in columns.values()}
    missing = {role for group in shape.needs for role in group} - set(columns)
    near = {role: difflib.get_close_matches(role, list(free), n=1, cutoff=0.8) for role in sorted(missing)}
    return {role: free[found[0]] for role, found in near.items() if found}


def _meant(role: str, column: str) -> str:
    return (
        f'there is no column "{role}"; if "{column}" is meant, rename it or import with '
        f"--column {role}={column}, if not, say with --kind what the rows are"
    )


def _near(name: str, known: list[str]) -> str:
    near = difflib.get_close_matches(name.lower(), known, n=1, cutoff=0.6)
    if near:
        return f'; did you mean "{near[0]}"?'
    return f"; there are {listed([c[:40] for c in known[:8]])}" if known else ""
