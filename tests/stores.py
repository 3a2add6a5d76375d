"""New stores as copies of one: all migrations take a third of a second, and a thousand tests make one."""

from __future__ import annotations

import shutil
from pathlib import Path
from typing import Any

import pytest

from storage import store
from storage.file import migrate
from storage.file.faults import told


class Copies:
    """In the place of the migrations of a new store.  Other processes make theirs as always."""

    def __init__(self, folder: Path) -> None:
        self._file = folder / "made.duckdb"
        self._bring, self._build = migrate.bring_up_to_date, store._build

    def unpatch(self, patch: pytest.MonkeyPatch) -> None:
        """Make new stores as they are made for users."""
        patch.setattr(migrate, "bring_up_to_date", self._bring)
        patch.setattr(store, "_build", self._build)

    def patch(self, patch: pytest.MonkeyPatch) -> None:
        patch.setattr(migrate, "bring_up_to_date", self._bring_up_to_date)
        patch.setattr(store, "_build", self._copy)

    def _made(self) -> Path:
        if not self._file.exists():
            self._build(self._file, self._file)
        return self._file

    def _copy(self, built: Path, file: Path) -> None:
        with told(file):
            shutil.copyfile(self._made(), built)
            built.chmod(0o600)

    def _bring_up_to_date(self, connection: Any, path: Path | None, **options: Any) -> str | None:
        if path is not None or options != {"fresh": True}:
            return self._bring(connection, path, **options)
        connection.execute(f"ATTACH '{self._made()}' AS made (READ_ONLY)")
        connection.execute("COPY FROM DATABASE made TO memory")
        connection.execute("DETACH made")
        return None
