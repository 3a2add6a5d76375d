"""The fields of a configuration, as forms, options and sentences show them."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cache
from typing import Any, Literal

import msgspec.inspect as types

from engine.protocol.configs.common import JobConfig
from engine.protocol.configs.endpoint import EndpointConfig

FieldType = Literal["int", "float", "bool", "str", "choice", "strings"]


@dataclass(frozen=True)
class FieldInfo:
    """One field of a configuration, as a form or an option shows it."""

    name: str
    type: FieldType
    description: str
    required: bool
    default: Any = None  # None when required
    minimum: float | None = None
    maximum: float | None = None
    exclusive_minimum: bool = False  # the minimum itself is not allowed
    exclusive_maximum: bool = False
    choices: tuple[str, ...] = ()
    form: str = ""  # what a text has to look like, where not every text will do

    @property
    def expects(self) -> str:
        """What the field takes, for help and error sentences: “a whole number of at least 1”."""
        if self.type == "choice":
            return "one of " + ", ".join(self.choices)
        if self.form:
            return self.form
        noun = {
            "int": "a whole number",
            "float": "a number",
            "bool": "yes or no",
            "str": "a text",
            "strings": "texts separated by commas",
        }[self.type]
        bounds = []
        if self.minimum is not None:
            bounds.append(("above" if self.exclusive_minimum else "of at least") + f" {self.minimum:g}")
        if self.maximum is not None:
            bounds.append(("below" if self.exclusive_maximum else "at most") + f" {self.maximum:g}")
        return " ".join([noun, " and ".join(bounds)]) if bounds else noun

    def format(self, value: Any) -> str:
        """`value` as a person would type it; `build` reads it back."""
        if value is None:
            return ""
        if isinstance(value, bool):
            return "yes" if value else "no"
        if isinstance(value, tuple | list):
            return ",".join(
                text.replace("\\", "\\\\").replace("\n", "\\n").replace(",", "\\,") for text in value
            )
        return f"{value:g}" if isinstance(value, float) and float(f"{value:g}") == value else str(value)


@cache
def fields(config_type: type[JobConfig]) -> tuple[FieldInfo, ...]:
    """The fields of a configuration: its own, then those of endpoints, then those that every job has.

    Described once a class: a form asks at every key.
    """
    info = types.type_info(config_type)
    assert isinstance(info, types.StructType)
    places = dict.fromkeys(EndpointConfig.__struct_fields__, 1) | dict.fromkeys(
        JobConfig.__struct_fields__, 2
    )
    described = [_describe(field) for field in info.fields]
    return tuple(sorted(described, key=lambda field: places.get(field.name, 0)))


def _describe(field: types.Field) -> FieldInfo:
    kind = field.type
    notes: dict[str, Any] = {}
    if isinstance(kind, types.Metadata):
        notes = kind.extra_json_schema or {}
        kind = kind.type
    bounds: dict[str, Any] = {}
    if isinstance(kind, types.IntType | types.FloatType):
        bounds = {
            "minimum": kind.ge if kind.ge is not None else kind.gt,
            "maximum": kind.le if kind.le is not None else kind.lt,
            "exclusive_minimum": kind.gt is not None,
            "exclusive_maximum": kind.lt is not None,
        }
    return FieldInfo(
        name=field.name,
        type=_field_type(kind),
        description=notes.get("description", ""),
        form=notes.get("form", ""),
        required=field.required,
        default=None if field.required else field.default,
        choices=tuple(str(value) for value in kind.values) if isinstance(kind, types.LiteralType) else (),
        **bounds,
    )


def _field_type(kind: types.Type) -> FieldType:
    match kind:
        case types.BoolType():
            return "bool"
        case types.IntType():
            return "int"
        case types.FloatType():
            return "float"
        case types.LiteralType():
            return "choice"
        case types.VarTupleType():
            return "strings"
        case types.StrType():
            return "str"
    raise TypeError(f"No form knows how to ask for a {type(kind).__name__}.")
