"""One heavy job a device at a time, whichever store of a user it belongs to.

Who wants to keep a device busy holds the lock of a file in the user's state folder.  The worker inherits it
from the process that starts it and holds it to its end, so nobody takes a device between two looks, and a
holder that is killed lets go of it.  In the file stands who holds it.
"""

from __future__ import annotations

import fcntl
import json
import os
import re
import socket
from pathlib import Path

import platformdirs

NOBODY = -1


class Hold:
    """A device that is held until this is closed here and in every process that has inherited it."""

    def __init__(self, fd: int) -> None:
        self.fd = fd

    def say(self, run_id: str, store: str) -> None:
        """Write down for whom it is held."""
        if self.fd != NOBODY:
            text = json.dumps({"run_id": run_id, "store": store}).encode()
            os.ftruncate(self.fd, 0)
            os.pwrite(self.fd, text, 0)

    @property
    def inherited(self) -> tuple[int, ...]:
        """File descriptors that the worker takes along."""
        return () if self.fd == NOBODY else (self.fd,)

    def close(self) -> None:
        """Let the device go: the next job in the queue may have it."""
        if self.fd != NOBODY:
            os.close(self.fd)
            self.fd = NOBODY


def take(device: str) -> Hold | None:
    """Hold a device; None while somebody else does.

    Where the state folder cannot be written nothing is locked, and jobs of other stores are not seen.
    """
    try:
        path = lock_path(device)
        path.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
        fd = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
    except OSError:
        return Hold(NOBODY)
    try:
        fcntl.flock(fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        os.close(fd)
        return None
    except OSError:  # a file system without locks
        os.close(fd)
        return Hold(NOBODY)
    return Hold(fd)


def holder(device: str) -> str:
    """Who holds a device, as its holder wrote it: `reward-1a2b3c of /home/ada/study.duckdb`."""
    try:
        said = json.loads(lock_path(device).read_text(encoding="utf-8"))
        return f"{said['run_id']} of {said['store']}"
    except (OSError, ValueError, KeyError, TypeError):
        return "a job of another store"


def lock_path(device: str) -> Path:
    """The lock file of a device of this machine; a home folder may be shared by several machines."""
    root = os.environ.get("WORKBENCH_STATE") or platformdirs.user_state_dir("workbench", appauthor=False)
    name = re.sub(r"[^A-Za-z0-9]+", "-", f"{socket.gethostname()}-{_physical(device)}")
    return Path(root).expanduser() / "devices" / f"{name}.lock"


def _physical(device: str) -> str:
    """`cuda:0` as the GPU that it is where CUDA_VISIBLE_DEVICES shows only some."""
    shown = [name.strip() for name in os.environ.get("CUDA_VISIBLE_DEVICES", "").split(",") if name.strip()]
    kind, _, number = device.partition(":")
    if kind == "cuda" and number.isdigit() and int(number) < len(shown):
        return f"cuda:{shown[int(number)]}"
    return device
