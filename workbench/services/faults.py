"""What went wrong, as one sentence for the person; what nobody foresaw, in full in a log beside the runs.

Errors are told by kind: one with a sentence of its own says that, a file's says which file, and any other is
a fault of the program, which is logged with its traceback.  There is no list of errors to forget one in.
"""

from __future__ import annotations

import logging
import os
from pathlib import Path

from engine.errors import WorkbenchError
from storage.errors import StoreError

LOG_NAME = "workbench.log"
LOG_BYTES = 1_000_000
logger = logging.getLogger("workbench.faults")


def is_foreseen(error: BaseException) -> bool:
    """Whether the error says by itself what is wrong; any other is a fault of the program."""
    return isinstance(error, WorkbenchError | StoreError | OSError | MemoryError)


def sentence(error: BaseException, where: str = "") -> str:
    """One line; whoever shows it makes it safe.  `where` says where the details of a fault are."""
    if isinstance(error, WorkbenchError | StoreError):
        text = str(error)
    elif isinstance(error, FileNotFoundError) and error.filename:
        text = f"There is no file {error.filename}."
    elif isinstance(error, OSError) and error.strerror:
        named = f"{error.filename}: " if error.filename else ""
        text = f"{named}{error.strerror}."
    elif isinstance(error, MemoryError):
        text = "There is not enough memory for this; use a smaller batch or a smaller model."
    else:
        said = str(error).strip()
        what = f"{type(error).__name__}: {said}" if said else type(error).__name__
        text = f"Something unexpected went wrong ({what})" + (f"; {where}." if where else ".")
    return " ".join(text.split())


def log(error: BaseException, folder: Path | None) -> Path | None:
    """Append the traceback of a fault to the log in `folder`; the log's path, None without a folder.

    A log that cannot be written is no second fault.
    """
    path = folder / LOG_NAME if folder is not None else None
    handler = _handler(path) if path is not None else logging.NullHandler()
    logger.addHandler(handler)
    try:
        logger.error("%s", sentence(error), exc_info=error)
    finally:
        logger.removeHandler(handler)
        handler.close()
    return path


def _handler(path: Path) -> logging.Handler:
    from logging.handlers import RotatingFileHandler

    class Private(RotatingFileHandler):
        """Readable for its owner alone, since an error may quote a prompt; silent when it cannot write."""

        def _open(self):  # type: ignore[no-untyped-def]
            private = os.open(self.baseFilename, os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o600)
            return os.fdopen(private, "a", encoding="utf-8", errors="replace")

        def handleError(self, record: logging.LogRecord) -> None:  # noqa: N802
            pass

    handler = Private(path, maxBytes=LOG_BYTES, backupCount=1, delay=True)
    handler.setFormatter(logging.Formatter("%(asctime)s %(message)s"))
    return handler
