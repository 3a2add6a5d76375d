"""Errors as sentences."""

from __future__ import annotations

import typer

from engine.errors import WorkbenchError
from storage.errors import StoreError
from storage.interchange.clean import clean_text


def sentence(error: Exception) -> str:
    """What a person reads on stderr: one line, without control characters."""
    if isinstance(error, typer.TyperException):
        context = getattr(error, "ctx", None)
        hint = f" Try “{context.command_path} --help”." if context is not None else ""
        text = error.format_message().rstrip(".") + "." + hint
    elif isinstance(error, WorkbenchError | StoreError):
        text = str(error)
    elif isinstance(error, FileNotFoundError):
        text = f"There is no file {error.filename}."
    elif isinstance(error, OSError) and error.strerror:
        where = f"{error.filename}: " if error.filename else ""
        text = f"{where}{error.strerror}."
    elif isinstance(error, MemoryError):
        text = "There is not enough memory for this; use a smaller batch or a smaller model."
    else:
        text = f"Something unexpected went wrong ({type(error).__name__}: {error}); --debug shows where."
    return " ".join(clean_text(text).split())
