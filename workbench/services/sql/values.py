"""The parameters of a query that a person has written, and the values typed for them."""

from __future__ import annotations

from collections.abc import Mapping

from engine.errors import UsageError
from storage import literals


def parameters_of(sql: str) -> list[str]:
    """The names of the parameters (`$name`) of a text, each once, in order."""
    return literals.parameters_of(sql)


def with_values(sql: str, values: Mapping[str, str]) -> str:
    """`sql` with what was typed in the place of its parameters: numbers where they read as such, else text.

    Raises UsageError for a parameter without a value.
    """
    return literals.filled_in(sql, given(sql, values))


def given(sql: str, values: Mapping[str, str]) -> dict[str, int | float | str]:
    """What was typed for the parameters of a text, by name, numbers as such.  Raises as `with_values`."""
    missing = [name for name in parameters_of(sql) if name not in values]
    if missing:
        raise UsageError(f"The query asks for ${missing[0]}; give it with --set {missing[0]}=VALUE.")
    return {name: literals.typed(text) for name, text in values.items()}
