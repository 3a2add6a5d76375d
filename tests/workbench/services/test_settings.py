"""Settings: which layer wins, and what is said about a wrong file."""

from __future__ import annotations

import re
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


def test_a_project_has_criteria_guidelines_and_keys(tmp_path: Path) -> None:
    settings = load(
        tmp_path,
        user='[keys]\nflag = "f9"\n[criteria]\nold = ["a", "b"]',
        project='guidelines = "g.md"\nreveal = "never"\n[criteria]\nhelp = ["poor", "fair"]\n'
        '[keys]\ntie = "t"\nequal = "slash"',
    )
    assert settings.guidelines == str(tmp_path / "project_file" / "g.md")
    assert (settings.reveal, settings.criteria) == ("never", {"help": ("poor", "fair")})
    assert settings.keys == {"flag": "f9", "tie": "t", "equal": "slash"}


@pytest.mark.parametrize(
    ("text", "sentence"),
    [
        ('reveal = "always"', "must be one of end, never"),
        ('[keys]\nties = "t"', "unknown name “ties”. Did you mean “tie”?"),
        ('[keys]\ntie = "a"', "a places, rates or scrolls"),
        ('[keys]\ntie = "u"', "u would be both"),
        ("[keys]\ntie = 3", "keys in quotes"),
        ('[criteria]\nhelp = ["poor"]', "2 to 9 different words"),
        ('[criteria]\nhelp = ["poor", "poor"]', "2 to 9 different words"),
        ('criteria = "help"', "at most 8 criteria"),
        ("[presets.pop.small]\nsteps = 1", "a job “pop” that there is not. Did you mean"),
        ("[presets.ppo.small]\nstep = 1", "ppo.small: There is no setting “step”"),
        ("[presets.ppo.small]\nsteps = 0", "ppo.small: steps must be a whole number of at least 1"),
        ("[presets.ppo]\nsteps = 1", "must hold tables as in [presets.ppo.small]"),
    ],
)
def test_a_wrong_table_is_told(tmp_path: Path, text: str, sentence: str) -> None:
    with pytest.raises(UsageError, match=re.escape(sentence)):
        load(tmp_path, project=text)


def test_the_names_of_keys_in_the_documentation_are_those_there_are() -> None:
    from workbench.key_names import RANK_KEYS

    text = " ".join((Path(__file__).parents[3] / "docs" / "settings.md").read_text().split())
    for name, keys in RANK_KEYS.items():
        assert f"`{name}` ({keys})" in text
