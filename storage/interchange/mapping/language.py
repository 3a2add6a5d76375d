"""The language that says what the columns of a file are: `ROLE=PATH`, one statement a role.

    prompt=info.post                      a key of an object
    responses=summaries[].text            each element of a list
    criterion.*=ratings.*.Rating          each key of an object; the key becomes the criterion's name
    chosen=chosen[0]                      one element, counted from 0, or from the end: [-1]
    policy='gpt-4'                        a constant for the whole file
    winner=label{1:a, 0:b, 2:tie}         what the values of a verdict mean
    winner=label{reversed}                they mean the other side than they are taken for
    prompt=text as transcript             how a value is read: text, transcript, messages, turns, after_prompt

A key with other characters than letters, digits, `_`, `-`, spaces and `/` stands in double quotation marks:
`prompt="a.b"`.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterable
from collections.abc import Mapping as AnyMapping
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any

from storage.errors import MappingError
from storage.interchange.mapping.roles import check_role

EACH = "[]"
ANY = "*"
REVERSED = {"*": "reversed"}
FORMS = ("text", "transcript", "messages", "turns", "after_prompt")
_KEY = re.compile(r"[^\W][\w\-/ ]*|_[\w\-/ ]*", re.UNICODE)
_INDEX = re.compile(r"\[(-?\d*)\]")
_QUOTED = re.compile(r'"(?:[^"\\]|\\.)*"')


@dataclass(frozen=True, slots=True)
class Each:
    """`[]`: every element of a list."""


@dataclass(frozen=True, slots=True)
class AnyKey:
    """`*`: every key of an object."""


Step = str | int | Each | AnyKey


@dataclass(frozen=True)
class Path:
    """The way to a value inside a row; `constant` instead of steps where the file holds no such value."""

    steps: tuple[Step, ...] = ()
    constant: str | None = None

    @cached_property
    def column(self) -> str:
        """The column that the path starts in; empty for a constant."""
        return self.steps[0] if self.steps and isinstance(self.steps[0], str) else ""

    @cached_property
    def listed(self) -> bool:
        """Whether the path runs over the elements of a list."""
        return any(isinstance(step, Each) for step in self.steps)

    @cached_property
    def list_prefix(self) -> tuple[Step, ...]:
        """The steps up to the first list; paths that share it run over the same elements."""
        for place, step in enumerate(self.steps):
            if isinstance(step, Each):
                return self.steps[:place]
        return ()

    @cached_property
    def wild(self) -> bool:
        """Whether the path runs over every key of an object."""
        return any(isinstance(step, AnyKey) for step in self.steps)

    def named(self, key: str) -> Path:
        """The path with `key` in the place of its `*`."""
        return Path(tuple(key if isinstance(step, AnyKey) else step for step in self.steps))

    def __str__(self) -> str:
        if self.constant is not None:
            return "'" + self.constant.replace("\\", "\\\\").replace("'", "\\'") + "'"
        text = ""
        for step in self.steps:
            if isinstance(step, Each):
                text += EACH
            elif isinstance(step, int):
                text += f"[{step}]"
            else:
                text += ("." if text else "") + (ANY if isinstance(step, AnyKey) else _key_text(step))
        return text


@dataclass(frozen=True)
class Statement:
    """`role=path{coding} as form`.  The coding is what each value of a verdict means, by value."""

    role: str
    path: Path
    coding: AnyMapping[str, str] | None = None
    form: str | None = None

    def __str__(self) -> str:
        text = f"{self.role}={self.path}"
        if self.coding == REVERSED:
            text += "{reversed}"
        elif self.coding is not None:
            text += "{" + ", ".join(f"{_code_text(k)}:{v}" for k, v in self.coding.items()) + "}"
        return text + (f" as {self.form}" if self.form else "")


@dataclass(frozen=True)
class Mapping:
    """What the columns of a file are.  A role may stand several times where several columns say it."""

    statements: tuple[Statement, ...] = ()
    _by_role: dict[str, list[Statement]] = field(default_factory=dict, repr=False, compare=False)

    def __post_init__(self) -> None:
        for statement in self.statements:
            self._by_role.setdefault(statement.role, []).append(statement)

    def has(self, role: str) -> bool:
        """Whether anything has this role."""
        return role in self._by_role

    def get(self, role: str) -> Statement | None:
        """The first statement of a role; None without one."""
        return self._by_role.get(role, [None])[0]

    def all(self, role: str) -> list[Statement]:
        """Every statement of a role, in the order given."""
        return self._by_role.get(role, [])

    def under(self, prefix: str) -> dict[str, list[Statement]]:
        """The statements of roles `prefix.NAME`, by NAME."""
        start = prefix + "."
        return {
            role[len(start) :]: statements
            for role, statements in self._by_role.items()
            if role.startswith(start)
        }

    def columns(self) -> set[str]:
        """Columns of the file that are read at all."""
        return {s.path.column for s in self.statements if s.path.column}

    def with_statements(self, new: Iterable[Statement]) -> Mapping:
        """The new statements in the place of those of the same roles or the same paths."""
        new = tuple(new)
        roles = {s.role for s in new}
        paths = {s.path for s in new if s.path.constant is None}
        others = [s for s in self.statements if s.role not in roles and s.path not in paths]
        return Mapping((*others, *new))

    def without(self, role: str) -> Mapping:
        """The mapping with a role given up."""
        return Mapping(tuple(s for s in self.statements if s.role != role))

    def __str__(self) -> str:
        return "\n".join(str(s) for s in self.statements)


def parse_statement(text: str) -> Statement:
    """One statement.  Raises MappingError with what is wrong and what is expected there."""
    role, equals, rest = text.partition("=")
    role = role.strip()
    if not equals or not role or not rest.strip():
        raise MappingError(
            f"“{_short(text)}” says no column; write ROLE=COLUMN, for instance prompt=question."
        )
    check_role(role)
    path, place = _path(rest.lstrip(), text)
    rest = rest.lstrip()[place:].strip()
    coding = None
    if rest.startswith("{"):
        coding, rest = _coding(rest, text)
    form = None
    if rest.startswith("as "):
        form = rest[3:].strip()
        if form not in FORMS:
            raise MappingError(
                f"“{_short(text)}”: “{form}” is not a way to read a value; there are {', '.join(FORMS)}."
            )
        rest = ""
    if rest:
        raise MappingError(f"“{_short(text)}”: “{_short(rest)}” after the column cannot be understood.")
    if path.wild and not role.endswith(".*"):
        raise MappingError(
            f"“{_short(text)}”: a * in the column needs a role that ends in .*, as criterion.*"
        )
    if role.endswith(".*") and not path.wild:
        raise MappingError(f"“{_short(text)}”: the role ends in .* and the column has no *.")
    return Statement(role, path, coding, form)


def parse_path(text: str) -> Path:
    """The path that a person has written.  Raises MappingError with the place that is not understood."""
    path, place = _path(text, text)
    if place != len(text):
        raise MappingError(f"“{_short(text)}”: “{_short(text[place:])}” cannot be understood as a column.")
    return path


def _path(text: str, whole: str) -> tuple[Path, int]:
    """The path at the start of `text`, and where it ends."""
    if text.startswith("'"):
        return _constant(text, whole)
    steps: list[Step] = []
    place = 0
    while place < len(text):
        if index := _INDEX.match(text, place):
            steps.append(int(index[1]) if index[1] not in ("", "-") else Each())
            place = index.end()
            continue
        if steps:
            if text[place] != ".":
                break
            place += 1
        if quoted := _QUOTED.match(text, place):
            try:
                steps.append(json.loads(quoted[0]))
            except ValueError:
                raise MappingError(f"“{_short(whole)}”: the name in quotation marks is broken.") from None
            place = quoted.end()
        elif text.startswith(ANY, place):
            steps.append(AnyKey())
            place += 1
        elif key := _KEY.match(text, place):
            name = re.split(r" as (?=\w+$)", key[0])[0].rstrip()
            steps.append(name)
            place += len(name)
            while place < len(text) and text[place] == " ":
                place += 1
            if name != key[0].rstrip():
                break
        else:
            raise MappingError(f"“{_short(whole)}”: a column is expected at “{_short(text[place:])}”.")
    if not steps or isinstance(steps[0], int | Each):
        raise MappingError(f"“{_short(whole)}” names no column; write ROLE=COLUMN.")
    return Path(tuple(steps)), place


def _constant(text: str, whole: str) -> tuple[Path, int]:
    match = re.match(r"'((?:[^'\\]|\\.)*)'", text)
    if match is None:
        raise MappingError(f"“{_short(whole)}”: the quotation mark is never closed.")
    return Path(constant=re.sub(r"\\(.)", r"\1", match[1])), match.end()


def _coding(text: str, whole: str) -> tuple[dict[str, str], str]:
    from storage.interchange.mapping.verdict_words import MEANINGS

    end = text.find("}")
    if end < 0:
        raise MappingError(f"“{_short(whole)}”: the brace is never closed.")
    if text[1:end].strip() == "reversed":
        return dict(REVERSED), text[end + 1 :].strip()
    coding = {}
    for part in text[1:end].split(","):
        value, colon, meaning = part.rpartition(":")
        value, meaning = value.strip().strip('"'), meaning.strip()
        if not colon or meaning not in MEANINGS:
            raise MappingError(
                f"“{_short(whole)}”: {_short(part.strip())!r} is neither VALUE:MEANING nor reversed; meanings"
                f" are {', '.join(MEANINGS)}."
            )
        coding[value] = meaning
    return coding, text[end + 1 :].strip()


def _key_text(key: str) -> str:
    plain_key = _KEY.fullmatch(key)
    return (
        key if plain_key and key == key.strip() and " as " not in key else json.dumps(key, ensure_ascii=False)
    )


def _code_text(value: str) -> str:
    return value


def _short(text: str) -> str:
    return text if len(text) <= 60 else text[:59] + "…"


def value_at(row: Any, steps: tuple[Step, ...]) -> Any:
    """The value that `steps` lead to; None where a key is missing; a list where the steps run over one."""
    for place, step in enumerate(steps):
        if isinstance(row, str) and row[:1] in "[{":
            row = structure(row)
        if isinstance(step, str):
            if not isinstance(row, dict):
                return None
            row = row.get(step)
        elif isinstance(step, int):
            if not isinstance(row, list) or not -len(row) <= step < len(row):
                return None
            row = row[step]
        elif isinstance(step, Each):
            if isinstance(row, dict):  # a list spread over keys: {"0": …, "1": …}
                row = list(row.values())
            if not isinstance(row, list):
                return None
            rest = steps[place + 1 :]
            return [value_at(element, rest) for element in row] if rest else row
        else:
            return None
        if row is None:
            return None
    return row


def structure(text: str) -> Any:
    """The list or object that a cell of text holds, as JSON or as Python prints it; else the text."""
    from storage.interchange.mapping.cells import parsed

    inner = parsed(text)
    return text if inner is None else inner


def keys_at(row: Any, steps: tuple[Step, ...]) -> list[str]:
    """The keys that stand in the place of the `*` in `steps`."""
    place = next(n for n, step in enumerate(steps) if isinstance(step, AnyKey))
    inner = value_at(row, steps[:place])
    values = inner if isinstance(inner, list) else [inner]
    keys: dict[str, None] = {}
    for value in values:
        if isinstance(value, str):
            value = structure(value)
        if isinstance(value, dict):
            keys.update(dict.fromkeys(value))
    return list(keys)


def expanded(mapping: Mapping, rows: list[Any]) -> Mapping:
    """The mapping with every `criterion.*` written out, by the keys that the rows have."""
    statements: list[Statement] = []
    for statement in mapping.statements:
        if not statement.role.endswith(".*"):
            statements.append(statement)
            continue
        keys = dict.fromkeys(key for row in rows for key in keys_at(row, statement.path.steps))
        stem = statement.role[:-1]
        statements += [
            Statement(stem + key, statement.path.named(key), statement.coding, statement.form) for key in keys
        ]
    return Mapping(tuple(statements))
