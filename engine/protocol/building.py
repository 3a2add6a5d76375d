"""Configurations from what a person typed or a file says, and the sentence for what they cannot be."""

from __future__ import annotations

import math
from collections.abc import Mapping
from contextlib import suppress
from functools import cache
from typing import Any, get_type_hints

import msgspec

from engine.errors import UsageError
from engine.protocol.configs.applies import always, idle_among
from engine.protocol.configs.common import JobConfig
from engine.protocol.fields import FieldInfo, fields
from engine.protocol.suggest import did_you_mean

_YES_NO = {"yes": True, "y": True, "true": True, "on": True, "1": True} | {
    "no": False, "n": False, "false": False, "off": False, "0": False,
}  # fmt: skip


def build(config_type: type[JobConfig], values: Mapping[str, Any]) -> JobConfig:
    """A configuration from what a person typed.

    Values are strings, or already of the right type.  An empty string leaves a field at its default.
    Raises UsageError naming the field: unknown (with the near match), missing, of the wrong type; or saying
    which fields contradict each other, or would be ignored (`JobConfig.rules`).
    """
    known = {field.name: field for field in fields(config_type)}
    _refuse_unknown(values, known)
    parsed: dict[str, Any] = {}
    for name, value in values.items():
        if value is None or (isinstance(value, str) and not value.strip() and known[name].type != "strings"):
            continue
        parsed[name] = _parse(known[name], value)
    idle = idle_fields(config_type, parsed)
    refuse_idle(
        {name: idle[name] for name, value in parsed.items() if name in idle and value != known[name].default}
    )
    config = build_typed(config_type, parsed)
    config.check_request()
    return config


def idle_fields(config_type: type[JobConfig], values: Mapping[str, Any]) -> dict[str, str]:
    """Fields that mean nothing beside these values, each with why.

    Values may be as typed; one that cannot be read counts as its default, a needed one that is missing as
    empty.
    """
    parsed_values: dict[str, Any] = {}
    hints = _hints(config_type)
    for field in fields(config_type):
        parsed_values[field.name] = "" if field.required else field.default
        value = values.get(field.name)
        if value is not None and not (isinstance(value, str) and not value.strip()):
            with suppress(UsageError):
                parsed = _parse(field, value)
                _check(hints, field, parsed)
                parsed_values[field.name] = parsed
    return idle_among(config_type.rules(), parsed_values)


def never_used(config_type: type[JobConfig]) -> set[str]:
    """Fields that every job has and this one has no use for."""
    return {name for rule in config_type.rules() if rule.where is always for name in rule.fields}


def refuse_idle(idle: Mapping[str, str]) -> None:
    """Refuse settings that were given and mean nothing.  Raises UsageError."""
    if idle:
        why = "; ".join(f"{name} ({reason})" for name, reason in idle.items())
        raise UsageError(f"Leave out what would be ignored: {why}.")


def check_field(config_type: type[JobConfig], name: str, value: Any) -> None:
    """Refuse a value that its field cannot take, whatever the other fields say.  Raises UsageError."""
    known = {field.name: field for field in fields(config_type)}
    _refuse_unknown({name: value}, known)
    if isinstance(value, str) and not value.strip() and known[name].type != "strings":
        return
    hints = _hints(config_type)
    _check(hints, known[name], _parse(known[name], value))


def build_typed(config_type: type[JobConfig], values: Mapping[str, Any]) -> JobConfig:
    """A configuration from values of the right types, as TOML gives them.  Raises as `build` does."""
    known = {field.name: field for field in fields(config_type)}
    _refuse_unknown(values, known)
    missing = [field.name for field in known.values() if field.required and field.name not in values]
    if missing:
        described = "; ".join(f"{name} ({known[name].description.rstrip('.')})" for name in missing)
        raise UsageError(f"Still needed: {described}.")
    hints = _hints(config_type)
    for name, value in values.items():
        _check(hints, known[name], value)
    return msgspec.convert(dict(values), config_type)


@cache
def _hints(config_type: type[JobConfig]) -> Mapping[str, Any]:
    """The type of each field with its bounds, worked out once a class."""
    return get_type_hints(config_type, include_extras=True)


def _refuse_unknown(values: Mapping[str, Any], known: Mapping[str, FieldInfo]) -> None:
    for name in values:
        if name not in known:
            raise UsageError(f"There is no setting “{name}”. {did_you_mean(name, known, limit=40)}")


def _parse(field: FieldInfo, value: Any) -> Any:
    if not isinstance(value, str):
        return value
    text = value.strip()
    try:
        match field.type:
            case "int":
                return int(text.replace("_", ""))
            case "float":
                return float(text.replace("_", ""))
            case "bool":
                return _YES_NO[text.lower()]
            case "strings":
                return _split(value)
    except (ValueError, KeyError):
        raise UsageError(_wrong(field, value)) from None
    return text


def _split(text: str) -> tuple[str, ...]:
    """Texts separated by commas; a backslash writes a line end (\\n), a comma or itself."""
    parts, current, characters = [], "", iter(text)
    for character in characters:
        if character == "\\":
            escaped = next(characters, "\\")
            current += {"n": "\n", "t": "\t"}.get(escaped, escaped)
        elif character == ",":
            parts.append(current)
            current = ""
        else:
            current += character
    return tuple(part for part in [*parts, current] if part)


def _check(hints: Mapping[str, Any], field: FieldInfo, value: Any) -> None:
    if isinstance(value, float) and not math.isfinite(value):
        raise UsageError(_wrong(field, value))
    try:
        msgspec.convert(value, hints[field.name])
    except msgspec.ValidationError:
        raise UsageError(_wrong(field, value)) from None


def _wrong(field: FieldInfo, value: Any) -> str:
    shown = f"{value:g}" if isinstance(value, float) else str(value)
    if isinstance(value, tuple | list):
        shown = ", ".join(map(str, value))
    suggestion = f" {did_you_mean(shown, field.choices)}" if field.choices else ""
    return f"{field.name} must be {field.expects}, not “{shown}”.{suggestion}"
