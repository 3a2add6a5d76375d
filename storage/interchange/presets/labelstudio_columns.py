"""Tasks of Label Studio as its CSV and JSON_MIN exports write them: one column a control."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from storage.interchange.mapping.cells import parsed
from storage.interchange.presets.tools import Plain

SET = ("selected", "rating", "number", "ranker", "choices", "text")  # keys of what a control has set


def has_controls(rows: Sequence[Mapping[str, Any]]) -> bool:
    """Whether a column holds what a control has set, as a structure."""
    return any(_set_in(value) is not None for row in rows for value in row.values())


def labelstudio_columns(row: Mapping[str, Any]) -> Iterator[Plain]:
    """Each control's column as the plain value that was set; a ranker's order as a rank of each item."""
    made = dict(row)
    for name, value in row.items():
        found = _set_in(value)
        if found is None:
            continue
        key, said = found
        if isinstance(said, list) and len(said) == 1:
            said = said[0]
        if key != "ranker" or not _rank(made, said):
            made[name] = said
        else:
            del made[name]
    yield made


def _set_in(value: Any) -> tuple[str, Any] | None:
    """Key and value of what one control has set: `[{"rating": 4}]`, also as text."""
    if isinstance(value, str):
        value = parsed(value) if value[:1] in ("[", "{") else None
    if isinstance(value, list) and len(value) == 1:
        value = value[0]
    if not isinstance(value, dict):
        return None
    said = [(k, v) for k, v in value.items() if k in SET]
    return said[0] if len(said) == 1 and set(value) <= {*SET, "type"} else None


def _rank(made: Plain, ranker: Any) -> bool:
    """Puts the rank of each item into the list of items that a ranker with one bucket has ordered."""
    buckets = [v for v in ranker.values() if v] if isinstance(ranker, dict) else [ranker]
    order = buckets[0] if len(buckets) == 1 and isinstance(buckets[0], list) else []
    place = {str(item): rank for rank, item in enumerate(order, 1)}
    for name, value in made.items():
        items = parsed(value) if isinstance(value, str) else value
        if not isinstance(items, list) or not all(isinstance(i, dict) and "id" in i for i in items):
            continue
        if place and place.keys() <= {str(i["id"]) for i in items}:
            made[name] = [{**i, "rank": place.get(str(i["id"]))} for i in items]
            return True
    return False
