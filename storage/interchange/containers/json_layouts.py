"""In which layouts one JSON object holds rows: lists in it, splits, columns, a header, rows by name."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from storage.interchange.containers.twice import error_of, made
from storage.interchange.mapping.cells import RowError
from storage.interchange.mapping.conversations import is_message
from storage.interchange.mapping.names import named, plain
from storage.wording import counted

WRAPPERS = (
    "data",
    "rows",
    "examples",
    "items",
    "instances",
    "records",
    "results",
    "samples",
    "dataset",
    "entries",
    "annotations",
    "questions",
    "comparisons",
    "pairs",
    "preferences",
    "tasks",
    "conversations",
    "train",
    "test",
    "validation",
)
OF_A_ROW = ("prompt", "question", "instruction", "id", "chosen")  # an object with one of these is a row
OF_COLUMNS = ("features", "schema", "columns", "fields")  # lists of what columns are, not of rows
OF_ROWS_TOO = ("annotations", "questions", "comparisons", "pairs", "preferences", "conversations")
SPLITS = ("train", "test", "validation", "valid", "val", "dev", "eval")


def rows_of(value: dict[str, Any], notes: list[str]) -> Iterator[Any]:
    """The rows that one JSON object holds, in whichever layout; the object itself where it is a row."""
    rows = value.get("rows")
    if (
        isinstance(rows, list)
        and rows
        and all(isinstance(r, dict) and isinstance(r.get("row"), dict) for r in rows)
    ):
        cut = sum(bool(r.get("truncated_cells")) for r in rows)
        if cut:
            notes.append(f"the viewer has cut cells in {counted(cut, 'row')}")
        yield from (r["row"] for r in rows)
        return
    names = value.get("columns") or value.get("header") or value.get("fields")
    table = value.get("data") or rows
    if isinstance(names, list) and isinstance(table, list) and all(isinstance(r, list) for r in table):
        yield from (_of_cells(names, cells) for cells in table)
        return
    lists = {
        k: v for k, v in value.items() if isinstance(v, list) and v and all(isinstance(e, dict) for e in v)
    }
    parts = parts_in(value)
    if (len(lists) == len(value) and set(value) <= set(SPLITS)) or _are_parts(parts, value):
        for name, part in parts.items():
            yield from belonging(name, iter(part))
        note({k: v for k, v in value.items() if k not in parts}, notes)
        return
    columns = _columns(value)
    if columns is not None:
        yield from columns
        return
    if _is_row(value, lists):
        yield value
        return
    wrapper = next((k for k in WRAPPERS if k in lists and not all(map(is_message, lists[k]))), None)
    if wrapper is None and len(lists) == 1 and not any(key in value for key in OF_A_ROW):
        only = next(iter(lists))
        wrapper = None if all(map(is_message, lists[only])) else only
    if wrapper is not None:
        note({k: v for k, v in value.items() if k != wrapper}, notes)
        yield from belonging(wrapper, iter(lists[wrapper]))
        return
    if (inner := _inner(value)) is not None:
        note({k: v for k, v in value.items() if v is not inner}, notes)
        yield from rows_of(inner, notes)
        return
    yield from _by_name(value)


def _is_row(value: dict[str, Any], lists: dict[str, list[Any]]) -> bool:
    """Whether an object is a row with lists of what is said of it: it asks, and what is in them does not."""
    elements = [e for k, rows in lists.items() if k in OF_ROWS_TOO or k not in WRAPPERS for e in rows[:5]]
    asks = any(_asks(k, v) for k, v in value.items() if k not in lists)
    return bool(elements) and asks and not any(_asks(k, v) for e in elements for k, v in e.items())


def _asks(name: str, value: object) -> bool:
    """Whether a value is a prompt by its name."""
    return bool(value) and isinstance(value, str | list | dict) and named("prompt", plain(name)) >= 0.85


def _of_cells(names: list[Any], cells: list[Any]) -> dict[str, Any] | RowError:
    """The row of a table whose columns are named apart from it."""
    if len(names) != len(cells):
        return RowError(f"it has {counted(len(cells), 'cell')} and the header has {len(names)}")
    row = made([(str(name), cell) for name, cell in zip(names, cells, strict=True)])
    return error_of(row) or row


def parts_in(value: dict[str, Any]) -> dict[str, list[Any]]:
    """The lists of objects that are neither messages nor columns."""
    return {
        k: v
        for k, v in value.items()
        if k not in OF_COLUMNS
        and isinstance(v, list)
        and v
        and all(isinstance(e, dict) for e in v)
        and not all(map(is_message, v))
    }


def _are_parts(parts: dict[str, list[Any]], value: dict[str, Any]) -> bool:
    """`{"helpful": [rows], "harmless": [rows]}`: lists of rows with the same columns."""
    columns = [set(rows[0]) for rows in parts.values()]
    alike = len(columns) > 1 and len(set.intersection(*columns)) > 1
    return alike and not any(key in value for key in OF_A_ROW)


def _inner(value: dict[str, Any]) -> dict[str, Any] | None:
    """`{"meta": …, "payload": {"items": [rows]}}`: the one object inside that holds a list of rows."""
    lists = [
        inner
        for inner in value.values()
        if isinstance(inner, dict)
        and any(
            isinstance(inner.get(k), list) and inner[k] and all(isinstance(e, dict) for e in inner[k])
            for k in ("data", "rows", "examples", "items", "records", "results", "samples", *SPLITS)
        )
    ]
    spoken = any(isinstance(v, str) and " " in v for v in value.values())
    return lists[0] if len(lists) == 1 and not spoken else None


def _columns(value: dict[str, Any]) -> list[dict[str, Any]] | None:
    """`{"prompt": […], "chosen": […]}`, or the same with the rows' numbers as keys."""
    values = list(value.values())
    if len(values) < 1:
        return None
    if all(isinstance(v, dict) for v in values):
        keys = list(values[0])
        if keys and all(k.isdigit() for k in keys) and all(list(v) == keys for v in values):
            return [{name: column[k] for name, column in value.items()} for k in keys]
        return None
    if not all(isinstance(v, list) for v in values) or len({len(v) for v in values}) != 1 or not values[0]:
        return None
    messages = all(all(isinstance(e, dict) and is_message(e) for e in v) for v in values)
    if messages or (len(values) == 1 and isinstance(values[0][0], dict)):
        return None
    return [dict(zip(value, row, strict=True)) for row in zip(*values, strict=True)]


def _by_name(value: dict[str, Any]) -> Iterator[Any]:
    """`{"q1": {…}, "q2": {…}}`: rows by their ids; anything else is one row."""
    rows = list(value.values())
    if len(rows) > 1 and all(isinstance(r, dict) and r for r in rows):
        shared = set.intersection(*(set(r) for r in rows))
        if len(shared) >= 2 and not all(is_message(r) for r in rows):
            yield from ({"id": name, **row} for name, row in value.items())
            return
    yield value


def note(rest: dict[str, Any], notes: list[str]) -> None:
    """Tell what stands beside the rows, and is not kept."""
    shown = {k: v for k, v in rest.items() if isinstance(v, str | int | float)}
    if rest:
        said = ", ".join(f"{k} {str(v)[:30]}" for k, v in list(shown.items())[:4])
        notes.append("beside the rows the file says " + (said or ", ".join(list(rest)[:6])))


def belonging(name: str, rows: Iterator[Any]) -> Iterator[Any]:
    """Rows of a list that is called as a split is, or by the file's own word for a part of itself."""
    column = "split" if name in SPLITS else "subset" if name not in WRAPPERS else None
    for row in rows:
        yield {column: name, **row} if column and isinstance(row, dict) else row
