from __future__ import annotations

import os
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

from storage.share.sharing import Share, share
from storage.store import Store
from tests.storage.builders import add_prompt


@pytest.fixture
def store() -> Iterator[Store]:
    with Store.open(":memory:") as opened:
        yield opened


@pytest.fixture
def shared(tmp_path: Path) -> Iterator[Share]:
    """A store with one prompt, shared."""
    with Store.open(tmp_path / "a.duckdb") as store:
        add_prompt(store, "shared")
        serving = share(store)
        yield serving
        serving.close()


@pytest.fixture
def small_disk(tmp_path: Path) -> Iterator[Path]:
    """A file system of 6 MB; needs the right to mount."""
    folder = tmp_path / "disk"
    folder.mkdir()
    command = ["mount", "-t", "tmpfs", "-o", "size=6m", "tmpfs", str(folder)]
    try:
        mounted = os.geteuid() == 0 and subprocess.run(command, capture_output=True).returncode == 0
    except OSError:
        mounted = False
    if not mounted:
        pytest.skip("a small file system cannot be mounted here (needs root and mount)")
    yield folder
    subprocess.run(["umount", str(folder)], check=True)
