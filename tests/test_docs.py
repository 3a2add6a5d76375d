"""What the documentation shows works: the notebook, the settings page, the files that the tour names."""

from __future__ import annotations

import json
import re
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]


def test_the_notebook_runs(tiny_model: Path, tmp_path: Path) -> None:
    """Every code cell in order, in one process, with a tiny model in place of the real one."""
    pytest.importorskip("torch")
    cells = json.loads((ROOT / "docs/notebook.ipynb").read_text(encoding="utf-8"))["cells"]
    code = ["".join(cell["source"]) for cell in cells if cell["cell_type"] == "code"]
    assert code[0] == 'MODEL = "smollm2"'
    script = tmp_path / "notebook.py"
    script.write_text("\n\n".join([f"MODEL = {str(tiny_model)!r}", *code[1:]]), encoding="utf-8")
    done = subprocess.run(
        [sys.executable, str(script)], cwd=tmp_path, capture_output=True, text=True, check=False, timeout=280
    )
    assert done.returncode == 0, done.stderr[-3000:]
    assert (tmp_path / "study.duckdb").exists()


def test_pages_name_files_that_are_there() -> None:
    """A path in backquotes that begins with a room of the house exists."""
    rooms = ("workbench/", "engine/", "storage/", "tests/", "docs/")
    for page in (ROOT / "CONTRIBUTING.md", ROOT / "docs/tour.md", ROOT / "docs/ARCHITECTURE.md"):
        for name in re.findall(r"`([\w/.-]+)`", page.read_text(encoding="utf-8")):
            if name.startswith(rooms) and "NAME" not in name:
                at = [ROOT / name, ROOT / "tests" / name]
                assert any(path.exists() for path in at), f"{page.name} names {name}"


def test_the_settings_page_has_every_key() -> None:
    from workbench.settings import ENVIRONMENT, KEYS

    page = (ROOT / "docs/settings.md").read_text(encoding="utf-8")
    for key in KEYS:
        assert f"`{key}`" in page
        assert ENVIRONMENT[key] in page
