"""What the commands of one start share: the store they work on, and where they narrate."""

from __future__ import annotations

from typing import TYPE_CHECKING

from engine.errors import UsageError
from workbench.cli.narration import Narrator

if TYPE_CHECKING:
    from workbench.services.sharing import Sharing
    from workbench.services.workspace import Workspace
    from workbench.settings import Settings


class Session:
    """Opens the workspace when a command first asks for it."""

    def __init__(self) -> None:
        self.reset([])

    def reset(self, arguments: list[str], db: str | None = None, debug: bool = False) -> None:
        """Begin anew with these arguments, from which the common options have been taken."""
        if db == "":
            raise UsageError("--db needs the path of a database file.")
        self.arguments, self.db, self.debug = arguments, db, debug
        self.narrator = Narrator()
        self._workspace: Workspace | None = None
        self._sharing: Sharing | None = None

    def settings(self) -> Settings:
        """Settings of files and environment, with the store that `--db` names."""
        from workbench.settings import load_settings

        return load_settings(db=self.db)

    def workspace(self) -> Workspace:
        """The workspace, opened at the first call."""
        if self._workspace is None:
            from workbench.services.workspace import Workspace

            self._workspace = self._told(Workspace.open(self.settings()))
        return self._workspace

    def reading(self) -> Workspace:
        """The workspace for a command that changes nothing: it works beside whoever holds the store."""
        if self._workspace is None:
            from workbench.services.workspace import Workspace

            self._workspace = self._told(Workspace.read(self.settings()))
        return self._workspace

    def _told(self, workspace: Workspace) -> Workspace:
        """Say what came back of a log that was not whole."""
        if workspace.store.recovered is not None:
            self.narrator.say(workspace.store.recovered.sentence)
        return workspace

    def share(self) -> None:
        """Let other processes read the store for as long as this command holds it."""
        if self._sharing is None:
            from workbench.services.sharing import Sharing

            self._sharing = Sharing(self.workspace().store, lambda error: self.narrator.say(str(error)))

    def close(self) -> None:
        """Ends the sharing and closes the store, whichever of them this command has opened."""
        if self._sharing is not None:
            self._sharing.close()
            self._sharing = None
        if self._workspace is not None:
            self._workspace.close()
            self._workspace = None


session = Session()
