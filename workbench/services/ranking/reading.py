"""How an annotator reads: layout and scrolling, which a store remembers, and the guidelines."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

from engine.errors import UsageError
from storage import remembered
from storage.store import Store

MOST_BYTES = 1_000_000


class Reading:
    """Of one store; `guidelines` is the Markdown file of the settings, `of_project` a project's own text."""

    def __init__(self, store: Store, guidelines: str = "", of_project: Callable[[], str] = str) -> None:
        self._store, self._file, self._of_project = store, guidelines, of_project

    def view(self, terminal: str) -> str:
        """How responses stand in terminals that are `narrow` or `wide`."""
        return remembered.get(self._store, f"layout:{terminal}", "auto")

    @property
    def together(self) -> bool:
        """Whether the responses scroll together."""
        return remembered.get(self._store, "scroll_together", "no") == "yes"

    def remember(self, terminal: str, view: str, together: bool) -> None:
        """Keep how the annotator reads on a terminal of this width, for the next session."""
        with self._store.transaction():
            remembered.put(self._store, f"layout:{terminal}", view)
            remembered.put(self._store, "scroll_together", "yes" if together else "no")

    def guidelines(self) -> str:
        """The guidelines: those of the project that is followed, else of the settings.

        Raises `UsageError` where there are none, or they cannot be read.
        """
        if text := self._of_project():
            return text
        if not self._file:
            raise UsageError(
                "There are no guidelines: name a Markdown file in workbench.toml, as in "
                'guidelines = "guidelines.md".'
            )
        try:
            with Path(self._file).open("rb") as file:
                return file.read(MOST_BYTES).decode("utf-8", "replace")
        except OSError as error:
            raise UsageError(f"The guidelines {self._file} cannot be read: {error.strerror}.") from error
