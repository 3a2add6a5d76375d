"""The socket at which annotators of other terminals ask a desk; one request a connection, one line of JSON.

Who asks is told by the token alone.  Others of this machine who may open the socket get a sentence and
nothing else, within limits on size and time.
"""

from __future__ import annotations

import json
import os
import socketserver
import stat
import threading
from contextlib import suppress
from pathlib import Path
from typing import Any

from engine.errors import UsageError, WorkbenchError
from storage.errors import StoreError
from storage.share.invitations import annotator_of
from storage.store import Store
from workbench.services.serving.desk import Desk

REQUEST_BYTES = 2**20
REQUEST_SECONDS = 10.0
CONNECTIONS = 64
STRANGER = "This token opens nothing here; ask who serves the study for a new one."


class Counter(socketserver.ThreadingMixIn, socketserver.UnixStreamServer):
    """Listens at `path` until `close`.  The socket is for its owner and group: mode 0660."""

    daemon_threads = True
    request_queue_size = 128

    def __init__(self, path: Path, store: Store, desk: Desk) -> None:
        """Raises UsageError where the socket cannot be made."""
        self.path, self.store, self.desk = path, store, desk
        self._room = threading.BoundedSemaphore(CONNECTIONS)
        with suppress(OSError):
            if stat.S_ISSOCK(path.stat().st_mode):
                path.unlink()  # of a process that was killed: the store is held once, and by this one
        before = os.umask(0o117)
        try:
            super().__init__(str(path), _Request)
        except OSError as error:
            raise UsageError(f"No socket can be made at {path}: {error.strerror or error}.") from None
        finally:
            os.umask(before)
        self._thread = threading.Thread(target=self.serve_forever, name="counter", daemon=True)
        self._thread.start()

    def process_request(self, request: Any, client_address: Any) -> None:
        """One thread a request, and no more of them than there is room for."""
        self._room.acquire()
        super().process_request(request, client_address)

    def process_request_thread(self, request: Any, client_address: Any) -> None:
        try:
            super().process_request_thread(request, client_address)
        finally:
            self._room.release()

    def handle_error(self, request: Any, client_address: Any) -> None:
        """Whoever asked has gone; nothing is to be told."""

    def close(self) -> None:
        """Answer nobody any more."""
        self.shutdown()
        self.server_close()
        self.path.unlink(missing_ok=True)


class _Request(socketserver.StreamRequestHandler):
    timeout = REQUEST_SECONDS

    def handle(self) -> None:
        answer = _answered(self.server, self.rfile.readline(REQUEST_BYTES))  # type: ignore[arg-type]
        self.wfile.write(json.dumps(answer).encode() + b"\n")


def _answered(counter: Counter, line: bytes) -> dict[str, Any]:
    """`{"answer": …}`, or `{"error": a sentence, "kind": usage, store or failed}`."""
    try:
        asked = json.loads(line)
        token, terminal, what, values = (asked[key] for key in ("token", "terminal", "ask", "values"))
        texts = all(isinstance(each, str) and len(each) < 200 for each in (token, terminal, what))
        if not texts or not isinstance(values, dict):
            raise TypeError
    except (ValueError, TypeError, KeyError, RecursionError):
        return {"error": "This is no question that is understood here.", "kind": "usage"}
    try:
        annotator = annotator_of(counter.store, token)
        if annotator is None:
            return {"error": STRANGER, "kind": "usage"}
        return {"answer": counter.desk.asked(annotator, terminal, what, values)}
    except UsageError as error:
        return {"error": str(error), "kind": "usage"}
    except StoreError as error:
        return {"error": str(error), "kind": "store"}
    except WorkbenchError as error:
        return {"error": str(error), "kind": "failed"}
