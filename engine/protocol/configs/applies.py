"""Settings that mean nothing beside others: a configuration says itself which, and why.

The form hides them, the command line and `building.build` refuse them with the sentence given here.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

Values = Mapping[str, Any]


@dataclass(frozen=True)
class Idle:
    """Some fields are idle where the other values are so."""

    fields: tuple[str, ...]
    where: Callable[[Values], bool]
    why: str  # “a frozen trunk trains no weights”


def always(_: Values) -> bool:
    return True


def equal(field: str, *values: Any) -> Callable[[Values], bool]:
    """Where a field has one of these values."""
    return lambda values_now: values_now[field] in values


def one_process(values: Values) -> bool:
    """Where nothing is shared among processes."""
    return bool(values["devices"] == 1 and values["nodes"] == 1)


def unequal(field: str, *values: Any) -> Callable[[Values], bool]:
    """Where a field has none of these values."""
    return lambda values_now: values_now[field] not in values


def idle_among(rules: tuple[Idle, ...], values: Values) -> dict[str, str]:
    """The idle fields, each with the first reason; `values` has every field."""
    idle: dict[str, str] = {}
    for rule in rules:
        if rule.where(values):
            idle = dict.fromkeys(rule.fields, rule.why) | idle
    return idle
