"""Where the store lies and who is judging: flags over environment over project file over user file.

The user file is `config.toml` in the user's configuration folder, the project file `workbench.toml` in the
current folder.  Both hold the same keys (`db`, `annotator`, `theme`, `live_responses`), all optional; an
unknown key is an error.
"""

from __future__ import annotations

import getpass
import os
import tomllib
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import platformdirs

from engine.errors import UsageError
from engine.protocol.suggest import did_you_mean

APP_NAME = "workbench"
MEMORY = ":memory:"
KEYS = ("db", "annotator", "theme", "live_responses")
ENVIRONMENT = {
    "db": "WORKBENCH_DB",
    "annotator": "WORKBENCH_ANNOTATOR",
    "theme": "WORKBENCH_THEME",
    "live_responses": "WORKBENCH_LIVE_RESPONSES",
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

    @property
    def in_memory(self) -> bool:
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
    for path in (user_file or user_settings_path(), project_file or Path("workbench.toml")):
        merged |= _read_file(path)
    merged |= {key: environment[name] for key, name in ENVIRONMENT.items() if environment.get(name)}
    flags = {"db": db, "annotator": annotator, "theme": theme}
    merged |= {key: value for key, value in flags.items() if value}
    return Settings(
        db=_absolute(merged.get("db") or str(default_db_path()), Path.cwd()),
        annotator=merged.get("annotator") or _login_name(),
        theme=merged.get("theme") or DEFAULT_THEME,
        live_responses=_count("live_responses", merged.get("live_responses") or "500"),
    )


def _count(key: str, text: str) -> int:
    if not text.isascii() or not text.isdigit():
        raise UsageError(f'The setting {key} is “{text}”; it must be a number of responses, as in "500".')
    return int(text)


def user_settings_path() -> Path:
    return Path(platformdirs.user_config_dir(APP_NAME, appauthor=False)) / "config.toml"


def default_db_path() -> Path:
    return Path(platformdirs.user_data_dir(APP_NAME, appauthor=False)) / "workbench.duckdb"


def _read_file(path: Path) -> dict[str, str]:
    """Settings of one file, {} when it does not exist; a relative `db` is relative to the file."""
    try:
        content = path.read_bytes()
    except (FileNotFoundError, NotADirectoryError):
        return {}
    except OSError as error:
        raise UsageError(f"The settings file {path} cannot be read: {error.strerror}.") from error
    try:
        values = tomllib.loads(content.decode())
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
        raise UsageError(f"The settings file {path} is not valid TOML: {error}.") from error
    for key, value in values.items():
        if key not in KEYS:
            raise UsageError(
                f"The settings file {path} has an unknown key “{key}”. {did_you_mean(key, KEYS)}"
            )
        if not isinstance(value, str):
            raise UsageError(f"The settings file {path}: “{key}” must be text in quotes.")
    if "db" in values:
        values["db"] = _absolute(values["db"], path.absolute().parent)
    return values


def _absolute(db: str, base: Path) -> str:
    return db if db == MEMORY else str(base / Path(db).expanduser())


def _login_name() -> str:
    try:
        return getpass.getuser()
    except (OSError, KeyError):  # a container may run under a user id without a name
        return "me"
