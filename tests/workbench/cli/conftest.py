"""Stores for the command line."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.workbench.cli.shell import PAIRS, Shell


@pytest.fixture
def workbench(tmp_path: Path) -> Shell:
    """An empty store."""
    return Shell(tmp_path)


@pytest.fixture(scope="module")
def filled(tmp_path_factory: pytest.TempPathFactory) -> Shell:
    """A store with two prompts of two responses, for commands that do not change it."""
    shell = Shell(tmp_path_factory.mktemp("filled"))
    (shell.folder / "pairs.csv").write_text(PAIRS)
    done = shell("import", "pairs.csv")
    assert done.returncode == 0, done.stderr
    return shell
