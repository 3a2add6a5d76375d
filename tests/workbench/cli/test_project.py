"""`workbench project`: the whole way of a project on the command line."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from tests.workbench.services.test_projects import filled
from workbench.cli import run


@pytest.fixture
def store(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    filled(tmp_path).close()
    monkeypatch.setenv("WORKBENCH_DB", str(tmp_path / "study.duckdb"))
    monkeypatch.setenv("WORKBENCH_ANNOTATOR", "ada")
    return tmp_path


def test_a_project_from_its_file_to_its_export(store: Path, capsys: pytest.CaptureFixture[str]) -> None:
    file = store / "own.toml"
    assert run(["project", "init", str(file)]) == 0
    assert run(["project", "apply", str(file), "--dry-run"]) == 0
    assert "4 tasks, 0 gold; 4 new entries would stand" in capsys.readouterr().out
    assert run(["project", "apply", str(file)]) == 0
    assert run(["project", "show", "--json"]) == 0
    overview = json.loads(capsys.readouterr().out.splitlines()[-1])
    assert (overview["name"], overview["progress"][0]["left"]) == ("own", 4)
    assert run(["project", "list"]) == 0
    assert ">  own" in capsys.readouterr().out
    assert run(["project", "export", str(store / "out")]) == 0
    assert (store / "out" / "project.toml").read_text(encoding="utf-8") == file.read_text(encoding="utf-8")
    assert (store / "out" / "own.md").exists()
    assert run(["project", "use", "--none"]) == 0
    capsys.readouterr()
    assert run(["project", "show"]) == 2
    assert "No project is followed" in capsys.readouterr().err
    assert run(["project", "use", "on"]) == 2
    assert "Did you mean “own”?" in capsys.readouterr().err
