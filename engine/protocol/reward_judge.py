"""A judge as a reward: one TOML file says who judges, what is asked, and by which rubric.  Torch-free.

    by = "endpoint"
    endpoint = "http://localhost:11434/v1"
    policy = "llama3.2"
    asks = "score"
    reasons = true
    rubric = "cooking.md"      # or a table [rubric] with what such a file says

Its settings are those of `RewardJudgeConfig`; a rubric's path counts from the judge's file.
"""

from __future__ import annotations

import tomllib
from collections.abc import Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from engine.errors import UsageError
from engine.protocol.building import build
from engine.protocol.configs.reward_judge import RewardJudgeConfig
from engine.protocol.rewards import Component
from engine.protocol.rubric import DEFAULT, DEFAULT_SCORING, MOST_BYTES, Rubric, read_rubric, rubric_of

RUBRIC = "rubric of "


@dataclass(frozen=True)
class RewardJudge:
    """Who judges, and by what."""

    config: RewardJudgeConfig
    rubric: Rubric
    rubric_file: Path | None = None  # where the rubric has a file of its own


def read_reward_judge(path: Path, rubric: Path | None = None) -> RewardJudge:
    """The judge in a TOML file.  `rubric`: where its rubric lies now, if it has a file of its own.

    Raises UsageError: what is wrong, where, and what to do.
    """
    where = f"The judge {path}"
    values = _values(path, where)
    told: Any = values.pop("rubric", "")
    try:
        config = build(RewardJudgeConfig, values)
    except UsageError as error:
        raise UsageError(f"{where}: {error}") from None
    assert isinstance(config, RewardJudgeConfig)
    file: Path | None = None
    if isinstance(told, dict):
        found = rubric_of(told, f"{where}, rubric")
    elif not isinstance(told, str):
        raise UsageError(f"{where}: rubric must be the name of a file, or a table.")
    else:
        file = rubric or path.parent / Path(told).expanduser() if told else None
        found = read_rubric(file) if file else (DEFAULT if config.asks == "pairs" else DEFAULT_SCORING)
    found.chosen((config.criterion,))
    return RewardJudge(config, found, file)


def _values(path: Path, where: str) -> dict[str, Any]:
    try:
        if path.stat().st_size > MOST_BYTES:
            raise UsageError(f"{where} is longer than {MOST_BYTES:,} bytes; shorten it.")
        return tomllib.loads(path.read_bytes().decode("utf-8"))
    except OSError as error:
        raise UsageError(f"{where} cannot be read: {error.strerror}.") from None
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
        raise UsageError(f"{where} is not valid TOML: {error}.") from None


def known_judges(components: Sequence[Component]) -> dict[Component, RewardJudge | None]:
    """The judges among the components; None for one whose file cannot be read, or not any more."""
    judges: dict[Component, RewardJudge | None] = {}
    for component in components:
        if component.file:
            judges[component] = None
            with suppress(UsageError):
                judges[component] = read_reward_judge(Path(component.file).expanduser())
    return judges


def judge_files(judges: Mapping[Component, RewardJudge | None]) -> dict[str, str]:
    """The judges' files, by the names under which a run keeps its copies."""
    files: dict[str, str] = {}
    for component, judge in judges.items():
        files[component.role] = component.file
        if judge is not None and judge.rubric_file is not None:
            files[RUBRIC + component.role] = str(judge.rubric_file)
    return files


def judge_models(judges: Mapping[Component, RewardJudge | None]) -> dict[str, str]:
    """The models that judge in the job's own process, by role."""
    return {
        component.role: judge.config.policy
        for component, judge in judges.items()
        if judge is not None and judge.config.by == "model"
    }
