"""Errors as sentences."""

from __future__ import annotations

import typer

from storage.interchange.clean import clean_text
from workbench.services import faults


def sentence(error: Exception) -> str:
    """What a person reads on stderr: one line, without control characters."""
    if isinstance(error, typer.TyperException):
        context = getattr(error, "ctx", None)
        hint = f" Try “{context.command_path} --help”." if context is not None else ""
        text = error.format_message().rstrip(".") + "." + hint
    else:
        text = faults.sentence(error, where="--debug shows where")
    return " ".join(clean_text(text).split())
