"""What other packages add by entry points: jobs, rewards, rules, judges.

Nothing is looked for before something is asked for that is not built in, or everything is listed, so that a
start does not wait for it.  What is built in is never replaced.  A plugin that breaks says so when it is
asked for by name, and is missing from lists.  `storage.plugins` does the same for files.
"""

from __future__ import annotations

from collections.abc import Callable, ItemsView, Iterator, KeysView, Mapping, ValuesView
from functools import cache
from typing import TYPE_CHECKING, Any, Literal, TypeVar

from engine.errors import UsageError

if TYPE_CHECKING:
    from importlib.metadata import EntryPoint

Group = Literal["jobs", "rewards", "rules", "judges"]
GROUPS: tuple[Group, ...] = ("jobs", "rewards", "rules", "judges")
T = TypeVar("T")


@cache
def plugged(group: Group) -> Mapping[str, EntryPoint]:
    """The entry points of the group `workbench.GROUP` in installed packages, by name."""
    from importlib.metadata import entry_points  # 15 ms that a start need not wait for

    return {point.name: point for point in entry_points(group=f"workbench.{group}")}


def load(group: Group, name: str) -> Any:
    """What the entry point names.  Raises KeyError without one, UsageError when it cannot be imported."""
    point = plugged(group)[name]
    try:
        return point.load()
    except (Exception, SystemExit) as error:  # a package of somebody else may raise anything
        text = str(error).strip().split("\n", 1)[0]
        raise UsageError(
            f"The plugin “{name}” ({point.value}, {group}) cannot be loaded: {type(error).__name__}: {text}."
        ) from error


class Plugged(dict[str, T]):
    """Built-in things by name, and behind them those of plugins, loaded when they are asked for.

    `check` refuses what is not such a thing: it returns what is wanted, or raises UsageError.
    """

    def __init__(self, group: Group, own: Mapping[str, T], check: Callable[[str, Any], T]) -> None:
        super().__init__(own)
        self._group, self._check, self._listed = group, check, False

    def __missing__(self, name: str) -> T:
        self[name] = plugin = self._check(name, load(self._group, name))
        return plugin

    def __contains__(self, name: object) -> bool:
        return super().__contains__(name) or name in plugged(self._group)

    def get(self, name: str, default: Any = None) -> Any:
        """As a dict's, but loads the plugin of that name where there is one."""
        return self[name] if name in self else default  # noqa: SIM401 dict.get knows no plugins

    def own(self) -> ValuesView[T]:
        """What has been loaded; looks for nothing."""
        return super().values()

    def faults(self) -> dict[str, str]:
        """Plugins that cannot be used, each with why."""
        faults = {}
        for name in plugged(self._group):
            try:
                self[name]
            except UsageError as error:
                faults[name] = str(error)
        return faults

    def __iter__(self) -> Iterator[str]:
        self._load_all()
        return super().__iter__()

    def __len__(self) -> int:
        self._load_all()
        return super().__len__()

    def keys(self) -> KeysView[str]:  # type: ignore[override]
        """Every name; loads all plugins."""
        self._load_all()
        return super().keys()

    def values(self) -> ValuesView[T]:  # type: ignore[override]
        """Every thing that can be used; loads all plugins."""
        self._load_all()
        return super().values()

    def items(self) -> ItemsView[str, T]:  # type: ignore[override]
        """Every name with its thing; loads all plugins."""
        self._load_all()
        return super().items()

    def _load_all(self) -> None:
        if not self._listed:
            self._listed = True
            self.faults()
