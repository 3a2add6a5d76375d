"""Another machine for tests: an `ssh` that leads to a second home folder of this one, with real processes."""

from __future__ import annotations

import os
import shlex
import sys
from pathlib import Path

from engine.elsewhere.host import Host
from engine.protocol import launch

ROOT = Path(__file__).resolve().parents[3]
SSH = """#!/bin/sh
while [ "$1" != "--" ]; do shift; done
shift
host=$1
shift
echo "Welcome to $host, where everything is printed at each login"
if [ -e {home}/down ]; then
  echo "ssh: connect to host $host port 22: No route to host" >&2
  exit 255
fi
cd {home} && HOME={home} exec sh -c "$*"
"""
AGENT = """import sys
sys.path.insert(0, {root!r})
from engine.elsewhere.agent import main
sys.exit(main({worker!r}))
"""


class Machine:
    """Its home folder, and `ssh` to it in a folder that stands first on PATH."""

    def __init__(self, folder: Path, worker: tuple[str, ...] = launch.WORKER) -> None:
        self.home, self.bin = folder / "there", folder / "bin"
        for each in (self.home, self.bin):
            each.mkdir(parents=True)
        self._script("ssh", SSH.format(home=shlex.quote(str(self.home))))
        (self.home / "agent.py").write_text(AGENT.format(root=str(ROOT), worker=worker))
        self.python = self._script(
            "python-there", f"#!/bin/sh\nexec {shlex.quote(sys.executable)} {self.home / 'agent.py'}\n"
        )

    def host(self, **changes: str) -> Host:
        """As the settings name it."""
        return Host(**{"ssh": "ada@there", "python": str(self.python)} | changes)

    @property
    def path(self) -> str:
        """PATH with this machine's `ssh` first."""
        return f"{self.bin}{os.pathsep}{os.environ['PATH']}"

    @property
    def runs(self) -> Path:
        """Where its run directories lie."""
        return self.home / ".workbench-elsewhere"

    def down(self, *, lies: bool = True) -> None:
        """Nobody reaches it, or again."""
        if lies:
            (self.home / "down").touch()
        else:
            (self.home / "down").unlink()

    def _script(self, name: str, text: str) -> Path:
        path = self.bin / name
        path.write_text(text)
        path.chmod(0o700)
        return path
