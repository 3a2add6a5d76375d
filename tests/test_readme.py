"""The README keeps its word: its SQL runs, its commands exist, its pictures are there."""

from __future__ import annotations

import re
import shlex
import subprocess
import sys
from pathlib import Path

import pytest

from storage.store import Store

ROOT = Path(__file__).resolve().parents[1]
README = (ROOT / "README.md").read_text()


def blocks(language: str) -> list[str]:
    return re.findall(rf"```{language}\n(.*?)```", README, re.DOTALL)


@pytest.mark.parametrize("sql", blocks("sql"))
def test_sql_runs(sql: str) -> None:
    store = Store.open(":memory:")
    try:
        store.rows(sql)
    finally:
        store.close()


COMMANDS = sorted(
    {
        line.split("#")[0].strip()
        for block in blocks("sh")
        for line in block.splitlines()
        if "workbench " in line
    }
)


@pytest.mark.parametrize("line", [line for line in COMMANDS if line.startswith("workbench ")])
def test_commands_know_their_options(line: str) -> None:
    """`--help` after the words of the command lists every option that the README uses."""
    words = shlex.split(line)[1:]
    names = [word for word in words[:2] if re.fullmatch(r"[a-z]+", word)]
    names = names if names[0] in {"train", "runs", "export", "report", "judge"} else names[:1]
    command = [sys.executable, "-m", "workbench", *names, "--help"]
    shown = subprocess.run(command, capture_output=True, text=True, check=True, env={"COLUMNS": "200"}).stdout
    for option in [word for word in words if word.startswith("--")]:
        assert option in shown


def test_pictures_are_there() -> None:
    for path in re.findall(r"!\[.*?\]\((.*?)\)", README):
        assert (ROOT / path).exists(), path
