"""Where the store lies and who is judging: flags over environment over project file over user file.

The user file is `config.toml` in the user's configuration folder, the project file `workbench.toml` in the
current folder.  Both hold the same keys, all optional; an unknown key is an error:

    db = "study.duckdb"             # relative to the file
    annotator = "ada"
    theme = "workbench"
    live_responses = "500"
    guidelines = "guidelines.md"    # what ? shows where one ranks; relative to the file
    reveal = "end"                  # policies' names at the end of a session, or "never"
    keep_traces = "30"              # days that gc leaves token traces of ended runs; all without it

    [criteria]                      # what is rated: the words of each scale, the worst first
    helpfulness = ["useless", "poor", "fair", "good", "excellent"]

    [keys]                          # keys of the rank screen by name
    tie = "equals_sign"

    [hosts.gpu]                     # a machine that jobs may compute on, by SSH
    ssh = "ada@gpu.example.org"

    [presets.ppo.small]             # settings that belong together, which ctrl+r puts into the form of a job
    steps = 10
"""

from __future__ import annotations

import getpass
import os
import tomllib
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import platformdirs

from engine.elsewhere.host import Host, read_hosts
from engine.errors import UsageError
from engine.protocol.suggest import did_you_mean
from workbench.key_names import RANK_KEYS, TAKEN

APP_NAME = "workbench"
MEMORY = ":memory:"
KEYS = ("db", "annotator", "theme", "live_responses", "guidelines", "reveal", "keep_traces")
TABLES = ("criteria", "keys", "hosts", "presets")
REVEALS = ("end", "never")
MOST_CRITERIA, MOST_VALUES = 8, 9
ENVIRONMENT = {
    "db": "WORKBENCH_DB",
    "annotator": "WORKBENCH_ANNOTATOR",
    "theme": "WORKBENCH_THEME",
    "live_responses": "WORKBENCH_LIVE_RESPONSES",
    "guidelines": "WORKBENCH_GUIDELINES",
    "reveal": "WORKBENCH_REVEAL",
    "keep_traces": "WORKBENCH_KEEP_TRACES",
}
DEFAULT_THEME = "workbench"


@dataclass(frozen=True)
class Settings:
    """What one start of the workbench goes by."""

    db: str
    """Path of the DuckDB file, or ':memory:'."""
    annotator: str
    """Name that the judgements of this person are stored under."""
    theme: str = DEFAULT_THEME
    live_responses: int = 500
    """Responses of the label queue whose features the live model may have computed when it is asked for."""
    guidelines: str = ""
    """A Markdown file for those who judge."""
    reveal: str = "end"
    """When policies' names are shown: at the end of a session, or never."""
    keep_traces: int | None = None
    """Days for which `workbench gc` leaves the token traces of ended runs; None: for ever."""
    criteria: Mapping[str, tuple[str, ...]] = field(default_factory=dict)
    """What is rated, each with the words of its scale, the worst first; empty for the workbench's own."""
    keys: Mapping[str, str] = field(default_factory=dict)
    """Keys of the rank screen that are not the usual ones, by their names."""
    hosts: Mapping[str, Host] = field(default_factory=dict)
    """Machines that jobs may compute on, by name."""
    presets: Mapping[str, Mapping[str, Mapping[str, Any]]] = field(default_factory=dict)
    """Settings of jobs that belong together, by kind of job and name."""

    @property
    def in_memory(self) -> bool:
        """Whether the store is to live in memory and vanish with the process."""
        return self.db == MEMORY

    @property
    def runs_root(self) -> Path | None:
        """Folder of the run directories, `<db stem>.runs` beside the database; None for a store in memory."""
        if self.in_memory:
            return None
        path = Path(self.db)
        return path.with_name(f"{path.stem}.runs")


def load_settings(
    *,
    db: str | None = None,
    annotator: str | None = None,
    theme: str | None = None,
    environment: Mapping[str, str] | None = None,
    user_file: Path | None = None,
    project_file: Path | None = None,
) -> Settings:
    """Merge the layers; the arguments `db`, `annotator` and `theme` are the flags.

    Raises `UsageError` for a settings file that is not TOML, has an unknown key or a value that is not text.
    """
    environment = os.environ if environment is None else environment
    merged: dict[str, str] = {}
    tables: dict[str, dict[str, Any]] = {"criteria": {}, "keys": {}, "hosts": {}, "presets": {}}
    for path in (user_file or user_settings_path(), project_file or Path("workbench.toml")):
        values, own = _read_file(path)
        merged |= values
        tables["criteria"] = own.get("criteria") or tables["criteria"]
        for name in ("keys", "hosts"):
            tables[name] |= own.get(name, {})
        for kind, named in own.get("presets", {}).items():
            tables["presets"][kind] = {**tables["presets"].get(kind, {}), **named}
    merged |= {key: environment[name] for key, name in ENVIRONMENT.items() if environment.get(name)}
    flags = {"db": db, "annotator": annotator, "theme": theme}
    merged |= {key: value for key, value in flags.items() if value}
    return Settings(
        db=_absolute(merged.get("db") or str(default_db_path()), Path.cwd()),
        annotator=merged.get("annotator") or _login_name(),
        theme=merged.get("theme") or DEFAULT_THEME,
        live_responses=_count("live_responses", merged.get("live_responses") or "500", "responses"),
        guidelines=merged.get("guidelines", ""),
        reveal=_one_of("reveal", merged.get("reveal") or "end", REVEALS),
        keep_traces=_count("keep_traces", text, "days") if (text := merged.get("keep_traces")) else None,
        criteria=tables["criteria"],
        keys=tables["keys"],
        hosts=tables["hosts"],
        presets=tables["presets"],
    )


def _one_of(key: str, text: str, choices: tuple[str, ...]) -> str:
    if text not in choices:
        raise UsageError(f"The setting {key} is “{text}”; it must be one of {', '.join(choices)}.")
    return text


def _count(key: str, text: str, what: str) -> int:
    if not text.isascii() or not text.isdigit():
        raise UsageError(f'The setting {key} is “{text}”; it must be a number of {what}, as in "500".')
    return int(text)


def user_settings_path() -> Path:
    """The user's settings file, by the custom of the operating system."""
    return Path(platformdirs.user_config_dir(APP_NAME, appauthor=False)) / "config.toml"


def default_db_path() -> Path:
    """The store of somebody who names none, by the custom of the operating system."""
    return Path(platformdirs.user_data_dir(APP_NAME, appauthor=False)) / "workbench.duckdb"


def _read_file(path: Path) -> tuple[dict[str, str], dict[str, dict[str, Any]]]:
    """Settings of one file and its tables, nothing when it does not exist; paths are relative to the file."""
    try:
        content = path.read_bytes()
    except (FileNotFoundError, NotADirectoryError):
        return {}, {}
    except OSError as error:
        raise UsageError(f"The settings file {path} cannot be read: {error.strerror}.") from error
    try:
        values = tomllib.loads(content.decode())
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
        raise UsageError(f"The settings file {path} is not valid TOML: {error}.") from error
    tables = {name: values.pop(name) for name in TABLES if name in values}
    for key, value in values.items():
        if key not in KEYS:
            raise UsageError(
                f"The settings file {path} has an unknown key “{key}”. {did_you_mean(key, (*KEYS, *TABLES))}"
            )
        if not isinstance(value, str):
            raise UsageError(f"The settings file {path}: “{key}” must be text in quotes.")
    base = path.absolute().parent
    for key in ("db", "guidelines"):
        if values.get(key):
            values[key] = _absolute(values[key], base)
    return values, {
        name: _READ_TABLES[name](f"The settings file {path}: [{name}]", value)
        for name, value in tables.items()
    }


def read_criteria(where: str, table: Any) -> dict[str, tuple[str, ...]]:
    """Words of each scale by criterion."""
    example = 'as in helpfulness = ["poor", "fair", "good"]'
    if not isinstance(table, dict) or len(table) > MOST_CRITERIA:
        raise UsageError(f"{where} must name at most {MOST_CRITERIA} criteria, {example}.")
    for name, words in table.items():
        listed = isinstance(words, list) and all(isinstance(word, str) and word.strip() for word in words)
        if not listed or not 2 <= len(words) <= MOST_VALUES or len(set(words)) < len(words):
            raise UsageError(f"{where} “{name}” must be 2 to {MOST_VALUES} different words, {example}.")
    return {name: tuple(words) for name, words in table.items()}


def _read_keys(where: str, table: Any) -> dict[str, str]:
    """Keys by name: none that places or rates, and none for two things."""
    if not isinstance(table, dict) or not all(isinstance(key, str) and key for key in table.values()):
        raise UsageError(f'{where} must give keys in quotes, as in tie = "slash".')
    for name, keys in table.items():
        if name not in RANK_KEYS:
            raise UsageError(
                f"{where} has an unknown name “{name}”. {did_you_mean(name, RANK_KEYS, limit=40)}"
            )
        for key in keys.split(","):
            if key in TAKEN:
                raise UsageError(f"{where} {name}: {key} places, rates or scrolls; choose another key.")
    owners: dict[str, str] = {}
    for name, keys in (dict(RANK_KEYS) | table).items():
        for key in keys.split(","):
            if key in owners:
                raise UsageError(f"{where}: {key} would be both {owners[key]} and {name}.")
            owners[key] = name
    return dict(table)


def _read_presets(where: str, table: Any) -> dict[str, Any]:
    from workbench.services.runs.form_presets import read_presets  # all jobs: not for a start that has none

    return read_presets(where, table)


_READ_TABLES: dict[str, Callable[[str, Any], dict[str, Any]]] = {
    "criteria": read_criteria,
    "keys": _read_keys,
    "hosts": read_hosts,
    "presets": _read_presets,
}


def _absolute(db: str, base: Path) -> str:
    return db if db == MEMORY else str(base / Path(db).expanduser())


def _login_name() -> str:
    try:
        return getpass.getuser()
    except (OSError, KeyError):  # a container may run under a user id without a name
        return "me"
