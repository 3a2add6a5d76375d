"""Files that people write in TOML: read, checked for unknown keys, and told of in plain words."""

from __future__ import annotations

import json
import tomllib
from collections.abc import Mapping
from pathlib import Path
from typing import Any, TypeVar

import msgspec

from engine.errors import UsageError
from engine.protocol.suggest import did_you_mean

MOST_BYTES = 1_000_000
File = TypeVar("File", bound=msgspec.Struct)


def read_text(path: Path, what: str) -> str:
    """The text of a file, which `what` calls in sentences.  Raises `UsageError` where it cannot be read."""
    try:
        with path.open("rb") as file:
            content = file.read(MOST_BYTES + 1)
        if len(content) > MOST_BYTES:
            raise UsageError(f"{what} {path.name} must be at most {MOST_BYTES:,} bytes.")
        return content.decode()
    except OSError as error:
        raise UsageError(f"{what} cannot be read: {path}: {error.strerror}.") from error
    except UnicodeDecodeError as error:
        raise UsageError(f"{what} must be UTF-8 text: {path}.") from error


def toml_of(text: str, where: str) -> dict[str, Any]:
    """What a TOML text says.  Raises `UsageError`; `where` names it in the sentence."""
    try:
        return tomllib.loads(text)
    except tomllib.TOMLDecodeError as error:
        raise UsageError(f"{where} is not valid TOML: {error}.") from error


def converted(values: Mapping[str, Any], kind: type[File], where: str) -> File:
    """The values as a file of this kind.  Raises `UsageError` for one of another type, with its place."""
    try:
        return msgspec.convert(values, kind)
    except msgspec.ValidationError as error:
        raise UsageError(f"{where}: {_plain(str(error))}.") from error


def refuse_unknown(where: str, values: Mapping[str, Any], kind: type[msgspec.Struct]) -> None:
    """Raises `UsageError` with the near match for a key that a file of this kind does not have."""
    known = kind.__struct_fields__
    for key in values:
        if key not in known:
            raise UsageError(f"{where} has an unknown key “{key}”. {did_you_mean(key, known)}")


def _plain(message: str) -> str:
    """msgspec's words without its marks: `expected int, got str at overlap`."""
    said, _, place = message.partition(" - at `$.")
    said = said.replace("`", "")
    said = said[:1].lower() + said[1:]
    return f"{said} at {place.rstrip('`')}" if place else said


def quoted(text: str) -> str:
    """As a basic string of TOML, which is written as in JSON but for the character that deletes."""
    return json.dumps(text, ensure_ascii=False).replace("\x7f", "\\u007f")
