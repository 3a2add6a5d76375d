"""What a person waits for is not loaded before it is needed."""

from __future__ import annotations

import json
import subprocess
import sys

import pytest

HEAVY = ("torch", "transformers", "peft", "polars", "pyarrow", "onnxruntime", "onnx", "tokenizers", "numpy")


def loaded_by(code: str) -> set[str]:
    """The top-level modules that are there after `code`, in an interpreter of its own."""
    tail = "\nimport json, sys\nprint(json.dumps(sorted({name.split('.')[0] for name in sys.modules})))"
    done = subprocess.run([sys.executable, "-c", code + tail], capture_output=True, text=True, check=True)
    return set(json.loads(done.stdout.splitlines()[-1]))


def test_importing_the_application_loads_nothing_heavy() -> None:
    assert loaded_by("import workbench.app").isdisjoint(HEAVY)


def test_opening_the_services_loads_nothing_heavy() -> None:
    code = (
        "from workbench.services.workspace import Workspace\n"
        "from workbench.settings import Settings\n"
        "with Workspace.open(Settings(db=':memory:', annotator='x')) as w:\n"
        "    w.library.prompts(), w.judging.next_item('x'), w.jobs.pump()\n"
        "    w.comparing, w.scoring, w.sql.tree()\n"
    )
    assert loaded_by(code).isdisjoint(HEAVY)


@pytest.mark.parametrize("command", [[], ["sql"], ["train", "ppo"], ["demo"], ["runs", "list"]], ids=" ".join)
def test_help_loads_neither_the_application_nor_the_database(command: list[str]) -> None:
    loaded = loaded_by(f"from workbench.cli import run\nrun([*{command!r}, '--help'])")
    assert loaded.isdisjoint((*HEAVY, "duckdb", "textual", "rich"))
