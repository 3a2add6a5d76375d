"""What other packages add by entry points: readers of files, formats of exports.

They are looked for when a file or a format is not known, and not before.
"""

from __future__ import annotations

from collections.abc import Mapping
from functools import cache
from typing import TYPE_CHECKING, Any, Literal

from storage.errors import StoreError

if TYPE_CHECKING:
    from importlib.metadata import EntryPoint

Group = Literal["readers", "formats"]
GROUPS: tuple[Group, ...] = ("readers", "formats")


@cache
def plugged(group: Group) -> Mapping[str, EntryPoint]:
    """The entry points of the group `workbench.GROUP` in installed packages, by name."""
    from importlib.metadata import entry_points  # 15 ms that a start need not wait for

    return {point.name: point for point in entry_points(group=f"workbench.{group}")}


def load(group: Group, name: str) -> Any:
    """What the entry point names.  Raises KeyError without one, StoreError when it cannot be imported."""
    point = plugged(group)[name]
    try:
        return point.load()
    except (Exception, SystemExit) as error:  # a package of somebody else may raise anything
        text = str(error).strip().split("\n", 1)[0]
        raise StoreError(
            f"The plugin “{name}” ({point.value}, {group}) cannot be loaded: {type(error).__name__}: {text}."
        ) from error
