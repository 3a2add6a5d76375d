"""Let other processes read the store while the workbench holds the file.

The workbench's own readers ask over a socket in a private folder (`storage.share.answering`).  DuckDB's
command line and others speak Quack, DuckDB's own protocol, to the loopback address
(`storage.share.quack_answers`; there `quack_query(address, sql, token = …)`).  In both a question ends with
its asker.  Addresses and a random token lie in `<database>.share`, a file of mode 0600: whoever may read the
database may ask.  Every statement but SELECT is refused, so a reader cannot change the store; `ATTACH` is
refused with the rest.
"""

from __future__ import annotations

import json
import os
import secrets
from dataclasses import dataclass
from pathlib import Path

from storage.errors import ShareError
from storage.share.answering import Answering
from storage.share.asking import token_path_of
from storage.share.door import Door, behind_a_socket
from storage.share.quack_answers import QuackAnswers
from storage.share.share_folder import ShareFolder, sweep
from storage.store import Store


@dataclass
class Share:
    """A store being served; `close()` stops it and removes the token."""

    store: Store
    address: str
    token: str
    token_path: Path
    _door: Door
    _answering: Answering
    _answers: QuackAnswers
    _socket: Path | None
    _folder: ShareFolder

    def close(self) -> None:
        """Take the token away, close the door, stop the server.  Raises ShareError where it does not stop."""
        self.token_path.unlink(missing_ok=True)
        self._door.close()
        self._answering.close()
        try:
            self._answers.close()
        finally:
            if self._socket is not None:
                self._socket.unlink(missing_ok=True)
            self._folder.close()


def share(store: Store, token_path: Path | None = None) -> Share:
    """Serve `store` to other processes of this machine until `Share.close()` or the end of the process.

    Raises ShareError when the store is in memory and no `token_path` is given, or extensions are missing.
    """
    if token_path is None:
        if store.path is None:
            raise ShareError("A store in memory has no place for the token; give one.")
        token_path = token_path_of(store.path)
    store.lock_down()
    token = secrets.token_urlsafe(32)
    answers = QuackAnswers(store, token)
    sweep()
    folder = ShareFolder.make()
    private = behind_a_socket(answers.port, folder.path)
    door = Door(private or answers.port, answers)
    answering = Answering(store, token, folder.path)
    address = f"quack:localhost:{door.port}"
    shared = {"address": address, "token": token, "pid": os.getpid(), "socket": str(answering.path)}
    _write_private(token_path, json.dumps(shared))
    return Share(store, address, token, token_path, door, answering, answers, private, folder)


def _write_private(path: Path, text: str) -> None:
    path.unlink(missing_ok=True)
    descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
    with os.fdopen(descriptor, "w", encoding="utf-8") as file:
        file.write(text)
