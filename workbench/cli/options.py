"""Options of a job's command, made from the fields of its configuration, so that a new field appears by
itself.
"""

from __future__ import annotations

import inspect
from collections.abc import Callable, Mapping
from typing import Annotated, Any

import typer

from engine.protocol import building
from engine.protocol.configs import JobConfig
from engine.protocol.fields import FieldInfo, fields

METAVARS = {"int": "INT", "float": "NUMBER", "str": "TEXT", "strings": "TEXT"}


def job_command(
    config_type: type[JobConfig],
    function: Callable[..., None],
    *,
    arguments: Mapping[str, str] | None = None,
) -> Callable[..., None]:
    """A command that collects the fields of `config_type` and calls `function(config, **its own options)`.

    `function`'s own keyword parameters become options too.  `arguments` maps the name of a required field
    that should stand without its option to what the usage line calls it.
    """
    arguments = arguments or {}
    never = building.never_used(config_type)
    described = {field.name: field for field in fields(config_type) if field.name not in never}
    own = [p for p in inspect.signature(function, eval_str=True).parameters.values() if p.name != "config"]

    def command(**given: Any) -> None:
        values = {
            name: tuple(value) if isinstance(value, list) else value
            for name in described
            if (value := given.pop(name)) not in (None, [])
        }
        idle = building.idle_fields(config_type, values)
        building.refuse_idle({name: why for name, why in idle.items() if name in values})
        function(building.build(config_type, values), **given)

    parameters = [_parameter(field, arguments.get(field.name)) for field in described.values()]
    parameters += [p.replace(kind=inspect.Parameter.KEYWORD_ONLY) for p in own]
    command.__signature__ = inspect.Signature(parameters)  # type: ignore[attr-defined]
    command.__annotations__ = {parameter.name: parameter.annotation for parameter in parameters}
    command.__doc__ = function.__doc__
    command.__name__ = function.__name__
    return command


def _parameter(field: FieldInfo, argument: str | None) -> inspect.Parameter:
    """Values arrive as text and are read by `building.build`, whose errors name the field and what it
    takes.
    """
    annotation: Any
    help_text = field.description
    if not field.required and field.type != "strings" and field.default not in ("", None):
        help_text += f" [{field.format(field.default)}]"
    elif field.required:
        help_text += " [needed]"
    if argument is not None:
        annotation = Annotated[str | None, typer.Argument(metavar=argument, help=field.description)]
    elif field.type == "bool":
        annotation = Annotated[bool | None, typer.Option(help=help_text, show_default=False)]
    elif field.type == "strings":
        annotation = Annotated[
            list[str] | None, typer.Option(metavar="TEXT", help=f"{help_text} Repeatable.")
        ]
    else:
        metavar = "|".join(field.choices) if field.choices else METAVARS[field.type]
        annotation = Annotated[str | None, typer.Option(metavar=metavar, help=help_text, show_default=False)]
    return inspect.Parameter(field.name, inspect.Parameter.KEYWORD_ONLY, default=None, annotation=annotation)
