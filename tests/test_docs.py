"""What the documentation shows works: the notebook, the settings page, the files that the tour names."""

from __future__ import annotations

import json
import re
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

ROOT = Path(__file__).parents[1]


@pytest.mark.slow
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


ROOMS = ("workbench", "engine", "storage", "tests", "docs")
DOORS = ("README.md", "CONTRIBUTING.md", "docs/tour.md", "docs/ARCHITECTURE.md", "docs/glossary.md")
"""The pages that a newcomer reads beside the code."""
PLACEHOLDER = re.compile(r"\b[A-Z]+(_DIR)?\b")


def pages() -> list[Path]:
    """What describes the house as it is; decisions and the changelog tell of what was."""
    return [ROOT / "README.md", ROOT / "CONTRIBUTING.md", *sorted((ROOT / "docs").glob("*.md"))]


def spans(page: Path) -> list[str]:
    """What stands in backquotes, outside blocks of code."""
    return re.findall(
        r"`([^`\n]+)`", re.sub(r"```.*?```", "", page.read_text(encoding="utf-8"), flags=re.DOTALL)
    )


def test_pages_name_files_that_are_there() -> None:
    """A path in backquotes that begins with a room of the house exists, and so does `ppo.py` in some room."""
    files = ["/" + str(path.relative_to(ROOT)) for room in ROOMS for path in (ROOT / room).rglob("*.*")]
    for page in [ROOT / name for name in DOORS]:
        for name in spans(page):
            if PLACEHOLDER.search(name.rpartition(".")[0] or name):
                continue
            if name.startswith(tuple(f"{room}/" for room in ROOMS)) and re.fullmatch(r"[\w/.-]+", name):
                at = [ROOT / name, ROOT / "tests" / name]
                assert any(path.exists() for path in at), f"{page.name} names {name}"
            elif re.fullmatch(r"[\w/-]+\.py", name):
                assert any(file.endswith("/" + name) for file in files), f"{page.name} names {name}"


def test_pages_name_things_that_are_there() -> None:
    """`Jobs.submit`, `VERIFIERS`, `response_scores`: each part stands in the code, or in its SQL."""
    texts = [path.read_text(encoding="utf-8") for room in ROOMS[:4] for path in (ROOT / room).rglob("*.py")]
    texts += [path.read_text(encoding="utf-8") for path in (ROOT / "storage").rglob("*.sql")]
    words = {word for text in texts for word in re.findall(r"\w+", text)}
    for page in [ROOT / name for name in DOORS]:
        for name in spans(page):
            if re.fullmatch(r"[A-Za-z]\w*(\.\w+)*(\(\))?", name):
                parts = re.findall(r"\w+", name)  # of `head.safetensors` the end alone may be in the code
                known = (any if name[0].islower() else all)(part in words for part in parts)
                assert known or (ROOT / name).exists(), f"{page.name} names {name}"


def test_pages_lead_somewhere() -> None:
    """A link to another page has it there."""
    for page in [*pages(), *sorted((ROOT / "docs/decisions").glob("*.md"))]:
        for target in re.findall(r"\]\(([^)#\s]+)", page.read_text(encoding="utf-8")):
            assert "://" in target or (page.parent / target).exists(), f"{page.name} leads to {target}"


def test_pages_name_commands_that_are_there() -> None:
    """`workbench train reward`, `make quick`: of all pages, blocks of code too."""
    from typer.main import get_command

    from workbench.cli import app

    targets = set(re.findall(r"^([a-z-]+):", (ROOT / "Makefile").read_text(encoding="utf-8"), re.MULTILINE))
    for page in pages():
        if page.name == "plugins.md":  # its commands are those of the example package
            continue
        blocks = re.findall(r"```.*?```", page.read_text(encoding="utf-8"), re.DOTALL)
        code = "\n".join([*spans(page), *blocks, ""])
        for target in re.findall(r"^make ([a-z-]+)", code, re.MULTILINE):
            assert target in targets, f"{page.name} names make {target}"
        for line in re.findall(r"(?:^|&& |bin/)workbench ([a-z][^\n|#]*)", code, re.MULTILINE):
            command: Any = get_command(app)
            for word in line.split():
                if not hasattr(command, "commands"):
                    break
                if word not in command.commands:
                    assert word.startswith(("-", "…")), f"{page.name}: workbench {line}"
                    break
                command = command.commands[word]


def test_pages_give_benchmarks_options_that_they_have() -> None:
    """`rollouts --peer PYTHON`, `python -m tests.benchmarks.memory --sizes large`: each can be run."""
    shared = (ROOT / "tests/benchmarks/common.py").read_text(encoding="utf-8")
    found = 0
    for page in pages():
        for span in spans(page):
            named = re.match(r"(?:python -m tests\.benchmarks\.)?(\w+) (.*--.*)", span, re.DOTALL)
            module = ROOT / f"tests/benchmarks/{named[1] if named else ''}.py"
            if named is None or not module.exists():
                continue
            own = module.read_text(encoding="utf-8") + shared
            for option in re.findall(r"(?<!\S)--[a-z-]+", named[2]):
                found += 1
                assert f'"{option}"' in own, f"{page.name}: {module.stem} has no {option}"
    assert found > 20


def test_the_settings_page_has_every_key() -> None:
    from workbench.settings import ENVIRONMENT, KEYS

    page = (ROOT / "docs/settings.md").read_text(encoding="utf-8")
    for key in KEYS:
        assert f"`{key}`" in page
        assert ENVIRONMENT[key] in page
