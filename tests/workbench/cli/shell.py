"""The command line as a process, for its tests."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

PAIRS = "prompt,chosen,rejected\nSay hi.,Hi.,No.\nSay bye.,Bye.,\x1b[31mNever.\n"
SEVERAL = """
import contextlib, io, json, sys
from workbench.cli import run

def said(arguments):
    out, err = (io.TextIOWrapper(io.BytesIO(), "utf-8", write_through=True) for _ in range(2))
    with contextlib.redirect_stdout(out), contextlib.redirect_stderr(err):
        code = run(arguments)
    return code, out.buffer.getvalue().decode(), err.buffer.getvalue().decode()

print(json.dumps([said(arguments) for arguments in json.load(sys.stdin)]))
"""


class Shell:
    """Runs `workbench` on one store."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.environment = {
            **{k: v for k, v in os.environ.items() if not k.startswith("WORKBENCH_")},
            "WORKBENCH_DB": str(folder / "store.duckdb"),
            "XDG_CONFIG_HOME": str(folder / "config"),
            "XDG_DATA_HOME": str(folder / "data"),
            "COLUMNS": "100",
        }

    def __call__(self, *arguments: str, stdin: str = "") -> subprocess.CompletedProcess[str]:
        return subprocess.run(
            [sys.executable, "-m", "workbench", *arguments],
            capture_output=True,
            text=True,
            input=stdin,
            env=self.environment,
            cwd=self.folder,
            check=False,
        )

    def several(self, commands: list[list[str]]) -> list[tuple[int, str, str]]:
        """Exit code, stdout and stderr of commands that one process runs, one after another."""
        done = subprocess.run(
            [sys.executable, "-c", SEVERAL],
            capture_output=True,
            text=True,
            input=json.dumps(commands),
            env=self.environment,
            cwd=self.folder,
            check=True,
        )
        return [(code, out, err) for code, out, err in json.loads(done.stdout)]

    def json(self, *arguments: str) -> object:
        done = self(*arguments, "--json")
        assert done.returncode == 0, done.stderr
        return json.loads(done.stdout)


def one_sentence(text: str) -> bool:
    lines = [line for line in text.splitlines() if line.strip()]
    return len(lines) == 1 and lines[0].endswith((".", "?")) and "Traceback" not in text
