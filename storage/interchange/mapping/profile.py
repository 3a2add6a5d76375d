"""What the columns of a file hold, by a sample of its rows: every path, and what stands there."""

from __future__ import annotations

from collections.abc import Iterable
from collections.abc import Mapping as AnyMapping
from dataclasses import dataclass
from functools import cached_property
from typing import Any

from storage.interchange.mapping.cells import missing, number_of, parsed
from storage.interchange.mapping.conversations import INNER_KEYS, are_turns, is_message, messages_in
from storage.interchange.mapping.language import AnyKey, Each, Path, Step, value_at
from storage.interchange.mapping.transcripts import transcript_of

DEEPEST = 4  # steps of a path
MOST = 0.7  # of the values that are there: what most are, the column is

Row = AnyMapping[str, Any]


@dataclass(frozen=True)
class Column:
    """One path and the values that a sample of rows has there.

    `kind`: text, messages, transcript, texts, chats, numbers, truths, number, truth, objects, object, bytes,
    empty, other.
    """

    path: Path
    values: list[Any]  # of every row of the sample, None where there is none

    @cached_property
    def present(self) -> list[Any]:
        """Values that are there: neither null nor NaN."""
        return [v for v in self.values if v is not None and not (isinstance(v, float) and v != v)]

    @cached_property
    def name(self) -> str:
        """The last key."""
        return next((s for s in reversed(self.path.steps) if isinstance(s, str)), "")

    @cached_property
    def kind(self) -> str:
        """What most values are: text, number, messages, …; `other` without a most, `empty` without any."""
        kinds: dict[str, int] = {}
        for value in self.present:
            kind = _kind(value)
            kinds[kind] = kinds.get(kind, 0) + 1
        kinds.pop("blank", None)
        if not kinds:
            return "text" if self.present else "empty"
        if set(kinds) <= {"text", "number", "messages", "transcript", "texts"} and len(kinds) > 1:
            best = max(kinds, key=lambda k: kinds[k])
            return (
                best
                if kinds[best] >= MOST * sum(kinds.values())
                else "messages"
                if set(kinds) == {"text", "messages"}
                else "text"
            )
        best = max(kinds, key=lambda k: kinds[k])
        return best if kinds[best] >= MOST * sum(kinds.values()) else "other"

    @cached_property
    def spoken(self) -> bool:
        """Whether a prompt or a response can stand here."""
        return self.kind in ("text", "messages", "transcript")

    @cached_property
    def texts(self) -> list[str]:
        """Values that are strings."""
        return [v for v in self.present if isinstance(v, str)]

    @cached_property
    def length(self) -> float:
        """Characters of a text, in the mean."""
        return sum(map(len, self.texts)) / len(self.texts) if self.texts else 0.0

    @cached_property
    def distinct(self) -> int:
        """How many values differ from each other."""
        return len({str(v) for v in self.present})

    @cached_property
    def spaced(self) -> float:
        """The share of texts with a space in them; ids and labels have none."""
        return sum(" " in t.strip() for t in self.texts) / len(self.texts) if self.texts else 0.0

    @cached_property
    def is_id(self) -> bool:
        """Short texts without spaces, or whole numbers, no two alike."""
        if self.kind not in ("text", "number") or not self.present:
            return False
        unique = self.distinct == len(self.present)
        if self.kind == "number":
            return (
                len(self.present) > 1
                and unique
                and all(
                    float(v).is_integer()
                    for v in self.present
                    if number_of(v) is not None and not isinstance(v, bool) and isinstance(v, int | float)
                )
            )
        return unique and self.spaced == 0 and self.length <= 80 and len(self.present) > 1


def profile(rows: Iterable[Row]) -> list[Column]:
    """The columns of a sample, nested ones by their paths, in the order in which they are first seen."""
    sample = list(rows)
    names = dict.fromkeys(key for row in sample for key in row)
    columns: list[Column] = []
    for name in names:
        _explore((name,), sample, columns)
    return columns


def _explore(steps: tuple[Step, ...], rows: list[Row], columns: list[Column]) -> None:
    column = Column(Path(steps), [value_at(row, steps) for row in rows])
    columns.append(column)
    if len(steps) >= DEEPEST * 2:
        return
    if column.kind == "object":
        objects = [_opened(v) for v in column.present]
        keys = dict.fromkeys(key for o in objects if isinstance(o, dict) for key in o)
        if len(keys) <= 60:
            for key in keys:
                _explore((*steps, key), rows, columns)
    elif column.kind == "objects":
        elements = [e for v in column.present for e in _elements(_opened(v))]
        keys = dict.fromkeys(key for e in elements if isinstance(e, dict) for key in e)
        if len(keys) <= 60:
            for key in keys:
                _explore((*steps, Each(), key), rows, columns)
        _explore_inner(steps, elements, rows, columns)


def _explore_inner(
    steps: tuple[Step, ...], elements: list[Any], rows: list[Row], columns: list[Column]
) -> None:
    """Objects inside the elements of a list: `completions[].annotations.honesty.Rating`."""
    for key in dict.fromkeys(
        k
        for e in elements
        if isinstance(e, dict)
        for k, v in e.items()
        if isinstance(v, dict) and not is_message(v)
    ):
        inner = [e[key] for e in elements if isinstance(e, dict) and isinstance(e.get(key), dict)]
        names = dict.fromkeys(k for o in inner for k in o)
        if len(names) > 30:
            continue
        for name in names:
            path = (*steps, Each(), key, name)
            columns.append(Column(Path(path), [value_at(row, path) for row in rows]))
        leaves = dict.fromkeys(k for o in inner for v in o.values() if isinstance(v, dict) for k in v)
        for leaf in leaves:
            path = (*steps, Each(), key, AnyKey(), leaf)
            columns.append(Column(Path(path), []))


def _opened(value: Any) -> Any:
    return parsed(value) if isinstance(value, str) else value


def _elements(value: Any) -> list[Any]:
    return value if isinstance(value, list) else list(value.values()) if isinstance(value, dict) else []


def _kind(value: Any) -> str:
    if isinstance(value, bool):
        return "truth"
    if isinstance(value, bytes):
        return "bytes"
    if isinstance(value, str):
        return _kind_of_text(value)
    if number_of(value) is not None:
        return "number"
    if isinstance(value, dict):
        if is_message(value) or any(isinstance(value.get(k), list) for k in INNER_KEYS if k != "turns"):
            return "messages" if messages_in(value) else "object"
        return "object"
    if isinstance(value, list):
        return _kind_of_list(value)
    return "other"


def _kind_of_text(value: str) -> str:
    if missing(value):
        return "blank"
    structure = parsed(value)
    if structure is not None:
        kind = _kind(structure)
        return kind if kind in ("messages", "texts", "chats", "objects", "object", "numbers") else "text"
    if number_of(value) is not None:
        return "number"
    return "transcript" if transcript_of(value) is not None else "text"


def _rivals(messages: list[Any]) -> bool:
    """Several answers side by side: candidates, and no conversation."""
    if len(messages) < 2 or not all(isinstance(m, dict) for m in messages):
        return False
    return all(str(m.get("role", m.get("from"))).lower() in ("assistant", "gpt", "model") for m in messages)


def _kind_of_list(value: list[Any]) -> str:
    present = [v for v in value if v is not None]
    if not present:
        return "blank"
    if messages := messages_in(present):
        return "objects" if _rivals(messages) else "messages"
    if all(isinstance(v, bool) for v in present):
        return "truths"
    if all(isinstance(v, dict) for v in present):
        return "messages" if are_turns(present) else "objects"
    if all(isinstance(v, list) and messages_in(v) for v in present):
        return "chats"
    if all(isinstance(v, str) and number_of(v) is None and not missing(v) for v in present):
        return "texts"
    if all(number_of(v) is not None or missing(v) for v in present):
        return "numbers" if any(number_of(v) is not None for v in present) else "blank"
    if all(isinstance(v, str) for v in present):
        return "texts"
    return "other"
