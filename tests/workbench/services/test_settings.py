"""Settings: which layer wins, and what is said about a wrong file."""

from __future__ import annotations

from pathlib import Path

import pytest

from engine.errors import UsageError
from workbench.settings import Settings, load_settings


def load(tmp_path: Path, *, user: str = "", project: str = "", **more: object) -> Settings:
    files = {}
    for name, text in (("user_file", user), ("project_file", project)):
        files[name] = tmp_path / name / "settings.toml"
        files[name].parent.mkdir(exist_ok=True)
        if text:
            files[name].write_text(text)
    return load_settings(environment=more.pop("environment", {}), **files, **more)  # type: ignore[arg-type]


def test_a_flag_beats_the_environment_beats_the_project_beats_the_user(tmp_path: Path) -> None:
    layers = {"user": 'annotator = "u"', "project": 'annotator = "p"'}
    environment = {"WORKBENCH_ANNOTATOR": "e"}
    assert load(tmp_path, user=layers["user"]).annotator == "u"
    assert load(tmp_path, **layers).annotator == "p"
    assert load(tmp_path, **layers, environment=environment).annotator == "e"
    assert load(tmp_path, **layers, environment=environment, annotator="f").annotator == "f"


def test_runs_lie_beside_the_database(tmp_path: Path) -> None:
    settings = load(tmp_path, db=str(tmp_path / "x" / "study.duckdb"))
    assert settings.runs_root == tmp_path / "x" / "study.runs"
    assert load(tmp_path, db=":memory:").runs_root is None


def test_a_relative_database_is_relative_to_the_file_that_names_it(tmp_path: Path) -> None:
    settings = load(tmp_path, project='db = "study.duckdb"')
    assert settings.db == str(tmp_path / "project_file" / "study.duckdb")


@pytest.mark.parametrize(
    ("text", "sentence"),
    [
        ('anotator = "x"', "unknown key “anotator”. Did you mean “annotator”?"),
        ("annotator = 3", "must be text"),
        ("annotator = ", "not valid TOML"),
    ],
)
def test_a_wrong_file_is_told_with_its_path(tmp_path: Path, text: str, sentence: str) -> None:
    with pytest.raises(UsageError, match="user_file") as told:
        load(tmp_path, user=text)
    assert sentence in str(told.value)
