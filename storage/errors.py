"""Everything that can go wrong in the store, as a person should read it.

StoreError
├── LockedError          another process has the file
├── NewerSchemaError     the file was written by a newer workbench
├── NotADatabaseError    the file is something else, or is damaged
├── DiskFullError        nothing more can be written
├── MemoryFullError      a question that needs more memory than DuckDB may use
├── NotFoundError        a name or id that the store does not know
├── NameTakenError       a name that something else already has
├── ImportFileError      a file that cannot be imported
├── FileNameError        a file name that does not say what to write, or a folder that is not there
└── ShareError           reading a store that another process holds
"""

from __future__ import annotations


class StoreError(Exception):
    """One sentence: what is wrong, where, and what to do."""


class LockedError(StoreError):
    """Another process has the file; `pid` and `command` say which, where they are known."""

    def __init__(self, sentence: str, pid: int | None = None, command: str | None = None) -> None:
        super().__init__(sentence)
        self.pid = pid
        self.command = command


class NewerSchemaError(StoreError):
    """The file was written by a newer workbench."""


class NotADatabaseError(StoreError):
    """The file is something else, or is damaged."""


class DiskFullError(StoreError):
    """Nothing more can be written; what was asked for is not stored."""


class MemoryFullError(StoreError):
    """A question that needs more memory than DuckDB may use."""


class NotFoundError(StoreError):
    """A name or id that the store does not know."""


class NameTakenError(StoreError):
    """A name that something else already has."""


class ImportFileError(StoreError):
    """A file that cannot be imported, and the place in it."""


class MappingError(ImportFileError):
    """A statement that cannot be understood, and where."""


class FileNameError(StoreError):
    """A file name that does not say what to write, or a folder that is not there."""

    exit_code = 2


class ShareError(StoreError):
    """Reading a store that another process holds did not work."""
