"""The real application in a pseudo-terminal: keys in, the terminal's bytes out."""

from __future__ import annotations

import fcntl
import os
import pty
import re
import select
import signal
import struct
import subprocess
import sys
import termios
import threading
import time
from collections.abc import Callable
from pathlib import Path

ROOT = Path(__file__).parents[3]
SEQUENCE = re.compile(r"\x1b(?:\[[0-9;?>=]*[ -/]*[@-~]|\][^\x07\x1b]*(?:\x07|\x1b\\)?|[@-Z\\^_])")


class Terminal:
    """`python -m workbench ARGUMENTS` on a pseudo-terminal of `columns` × `rows` cells."""

    def __init__(self, *arguments: str, home: Path, columns: int = 80, rows: int = 24) -> None:
        master, slave = pty.openpty()
        fcntl.ioctl(slave, termios.TIOCSWINSZ, struct.pack("HHHH", rows, columns, 0, 0))
        environment = os.environ | {
            "HOME": str(home),
            "XDG_CONFIG_HOME": str(home),
            "XDG_DATA_HOME": str(home),
            "TERM": "xterm-256color",
            "COLORTERM": "truecolor",
            "WORKBENCH_ANNOTATOR": "ada",
            "PYTHONPATH": str(ROOT),
        }
        self.process = subprocess.Popen(
            [sys.executable, "-m", "workbench", *arguments],
            stdin=slave,
            stdout=slave,
            stderr=slave,
            env=environment,
            cwd=home,
            start_new_session=True,
        )
        os.close(slave)
        self._master = master
        self.bytes = bytearray()  # all that was written; a minute of ranking is tens of megabytes
        self._gone, self._closed = threading.Event(), False
        self._reader = threading.Thread(target=self._read, daemon=True)
        self._reader.start()

    def _read(self) -> None:
        while not self._gone.is_set():
            ready, _, _ = select.select([self._master], [], [], 0.1)
            if not ready:
                if self.process.poll() is not None:
                    return
                continue
            try:
                chunk = os.read(self._master, 65536)
            except OSError:  # the other end is gone
                return
            if not chunk:
                return
            self.bytes += chunk

    @property
    def text(self) -> str:
        """Everything written so far, without the sequences that colour and move."""
        return SEQUENCE.sub("", self.bytes.decode("utf-8", "replace"))

    def send(self, keys: str) -> None:
        os.write(self._master, keys.encode())

    def wait(self, condition: Callable[[str], bool], seconds: float = 30.0) -> None:
        """Until `condition(text)` holds; fails when the application ends before."""
        end = time.monotonic() + seconds
        while not condition(self.text):
            assert self.process.poll() is None, f"the application ended early: {self.text[-2000:]}"
            assert time.monotonic() < end, f"it did not come: {self.text[-2000:]}"
            time.sleep(0.02)

    def wait_for(self, text: str, seconds: float = 30.0, *, after: int = 0) -> int:
        """Until `text` has been written after position `after` of `self.text`; the position behind it."""
        self.wait(lambda written: text in written[after:], seconds)
        return self.text.index(text, after) + len(text)

    def kill(self) -> None:
        """`kill -9`, the way a machine loses power for the process."""
        assert self.process.poll() is None, f"the application ended by itself: {self.text[-2000:]}"
        os.killpg(self.process.pid, signal.SIGKILL)
        self.process.wait()

    def quit(self) -> int:
        """Leave by ctrl+q; the exit code."""
        self.send("\x11")
        return self.process.wait(30)

    def hang_up(self) -> None:
        """The terminal goes away, the process is left."""
        self._gone.set()
        self._reader.join()
        os.close(self._master)
        self._closed = True

    def __enter__(self) -> Terminal:
        return self

    def __exit__(self, *_: object) -> None:
        """Nothing of it is left, whatever happened."""
        if self.process.poll() is None:
            os.killpg(self.process.pid, signal.SIGKILL)
            self.process.wait()
        self._gone.set()
        self._reader.join()
        if not self._closed:
            os.close(self._master)


KEYS = {
    "f1": "\x1bOP",
    "f2": "\x1bOQ",
    "f3": "\x1bOR",
    "f6": "\x1b[17~",
    "f8": "\x1b[19~",
    "down": "\x1b[B",
    "tab": "\t",
    "esc": "\x1b",
}
