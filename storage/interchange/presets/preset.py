"""What a preset is.

A preset fits where every path in `needs` is there and holds what stands behind the colon (see
`mapping.profile.Column.kind`); more than one kind is separated by a bar.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

Row = Mapping[str, Any]


@dataclass(frozen=True)
class Preset:
    """A data set or a tool's layout that is known by its columns, and the mapping that reads it."""

    name: str
    about: str
    source: str  # of the data set or the tool's documentation
    needs: tuple[str, ...]
    mapping: tuple[str, ...]
    unfold: str | None = None  # of presets.unfold, brings rows into a plain form first
    licence: str | None = None
    without: tuple[str, ...] = ()  # columns that tell it apart from a data set with more of them
    marks: tuple[tuple[str, str], ...] = ()  # column and what stands in all of its texts
    holds: Callable[[Sequence[Row]], bool] | None = None  # what rows have to hold beside columns
    shared: bool = False  # others have this layout too, so that it alone says nothing of licence and origin
    checked: str = ""  # what columns, values and licence were last compared with


def hub(name: str) -> str:
    """The page of a data set on the Hugging Face Hub."""
    return f"https://huggingface.co/datasets/{name}"


CARD = "its card, November 2026"
README = "its README, November 2026"
SPOKEN = "text|messages|transcript"
