"""The models and names that a job's configuration speaks of, checked against the store."""

from __future__ import annotations

import re
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import TypeVar

import msgspec

from engine.errors import UsageError, WorkbenchError
from engine.protocol.building import build_typed
from engine.protocol.catalog import JOBS, job_kind
from engine.protocol.configs import JobConfig, RewardedConfig
from engine.protocol.configs.needs import ResponseTable
from engine.protocol.kept_judge import kept_judge
from engine.protocol.launch import is_hub_id
from engine.protocol.reward_judge import judge_models
from engine.protocol.rundir import ModelRef, RunDir
from engine.protocol.suggest import did_you_mean
from storage import artifacts, policies, prompts, runs
from storage.records import RunRow
from storage.store import Store

PACKAGED = "smollm2"
Config = TypeVar("Config", bound=JobConfig)


@dataclass(frozen=True)
class Checked:
    """A configuration whose names are known, and the run that will make what it still lacks."""

    config: JobConfig
    after: str | None


def check(store: Store, config: JobConfig) -> Checked:
    """Refuse names that do not exist or are taken, before anything is queued.

    A name that a queued or running job will register counts as existing; the new job then waits for that one.
    Raises UsageError with the near match.
    """
    pending = [run for run in runs.run_rows(store) if run.status in ("queued", "running")]
    makers = {
        (_makes(run.kind), str(run.config.get("name"))): run.run_id for run in pending if _makes(run.kind)
    }
    after: str | None = None
    inputs = config.inputs()
    if inputs.policy is not None:
        known, maker = _policy(store, inputs.policy, makers)
        config = msgspec.structs.replace(config, policy=known)
        after = maker or after
    if inputs.reference:
        after = _policy(store, inputs.reference, makers)[1] or after
    for wanted in inputs.policies.values():
        after = _policy(store, wanted, makers)[1] or after
    for wanted in inputs.reward_models.values():
        after = _reward_model(store, wanted, makers) or after
    for table in inputs.tables.values():
        if isinstance(table, ResponseTable) and table.policy:
            _check_policy(store, table.policy)
    _refuse_taken(store, config, makers)
    _refuse_other_judge(store, config)
    _check_source(store, inputs.source)
    return Checked(config, after)


def model_refs(store: Store, config: JobConfig, run: RunDir) -> dict[str, ModelRef]:
    """The models that the job reads, as they are now; those of its judges by the run's copies of their files.

    Raises UsageError for a name that has vanished.
    """
    models: dict[str, ModelRef] = {}
    inputs = config.inputs()
    named = {"policy": inputs.policy, "reference": inputs.reference, **inputs.policies}
    if isinstance(config, RewardedConfig):
        named |= judge_models({component: kept_judge(run, component) for component in config.judges()})
    for role, wanted in named.items():
        if wanted:
            name, _ = _policy(store, wanted, {})
            row = policies.find(store, name)
            models[role] = ModelRef(name=name, folder=row.model if row and row.model else name)
    for role, reward_model in inputs.reward_models.items():
        _reward_model(store, reward_model, {})
        model = artifacts.reward_model(store, reward_model)
        models[role] = ModelRef(name=reward_model, folder=model.folder)
    return models


def _makes(kind: str) -> str | None:
    return JOBS[kind].makes if kind in JOBS else None


def _policy(store: Store, name: str, makers: dict[tuple[str | None, str], str]) -> tuple[str, str | None]:
    """The policy's name, folders made absolute, and the run that will make it if it does not exist yet."""
    row = policies.find(store, name)
    if row is not None:
        if row.model is None and name != PACKAGED:
            raise UsageError(f"“{name}” stands for imported responses; there is no model of it to run.")
        return name, None
    if ("policy", name) in makers:
        return name, makers["policy", name]
    folder = Path(name).expanduser()
    if folder.is_dir():
        return str(folder.absolute()), None
    if name == PACKAGED or is_hub_id(name):
        return name, None
    known = [row.name for row in policies.listed(store) if row.model] + [PACKAGED]
    raise UsageError(f"There is no policy or model folder “{name}”. {did_you_mean(name, known)}")


def _reward_model(store: Store, name: str, makers: dict[tuple[str | None, str], str]) -> str | None:
    known = [model.name for model in artifacts.reward_models(store)]
    if name in known:
        return None
    if ("reward_model", name) in makers:
        return makers["reward_model", name]
    raise UsageError(f"There is no reward model “{name}”. {did_you_mean(name, known)}")


def _refuse_taken(store: Store, config: JobConfig, makers: dict[tuple[str | None, str], str]) -> None:
    thing, name = job_kind(config).makes, getattr(config, "name", "")
    if thing is None:
        return
    taken = _registered(store, thing) | {made for kind, made in makers if kind == thing}
    if name in taken:
        raise UsageError(
            f"There is a {thing.replace('_', ' ')} “{name}” already; "
            f"choose another name, such as “{free_name(name, taken)}”."
        )


def _refuse_other_judge(store: Store, config: JobConfig) -> None:
    """One annotator is one judge: the same model, asked by the same rubric in the same way."""
    wanted = config.inputs()
    if not wanted.judge:
        return
    now = _judge_of(config, None)
    for row in runs.run_rows(store):
        if row.kind != job_kind(config).kind or row.status == "failed":
            continue
        try:
            earlier = build_typed(JOBS[row.kind].config, row.config)
            differs = earlier.inputs().judge == wanted.judge and _judge_of(earlier, row) != now
        except WorkbenchError:  # of another version, or its run directory is gone: nothing to compare with
            continue
        if differs:
            raise UsageError(
                f"“{wanted.judge}” was another judge in {row.run_id}; give this one a name of its own."
            )


def _judge_of(config: JobConfig, row: RunRow | None) -> tuple[object, ...]:
    """What makes a judge what it is; `row`: of a run, which has its own copy of the files."""
    files = config.inputs().files
    run = RunDir(Path(row.run_dir)) if row is not None and row.run_dir else None
    paths = [run.file(name) if run else Path(path).expanduser() for name, path in sorted(files.items())]
    return (*config.identity(), *(path.read_bytes() for path in paths))


def _check_policy(store: Store, name: str) -> None:
    known = [row.name for row in policies.listed(store)]
    if name not in known:
        raise UsageError(f"There are no responses of a policy “{name}”. {did_you_mean(name, known)}")


def _check_source(store: Store, source: str) -> None:
    if source:
        known = [name for name, _ in prompts.sources(store) if name]
        if source not in known:
            raise UsageError(f"There are no prompts of the source “{source}”. {did_you_mean(source, known)}")


def _registered(store: Store, thing: str) -> set[str]:
    """Names of the reward models, or of the policies."""
    if thing == "reward_model":
        return {model.name for model in artifacts.reward_models(store)}
    return {row.name for row in policies.listed(store)} | {PACKAGED}


def with_free_name(store: Store, config: Config, known: Iterable[RunRow]) -> Config:
    """The configuration, with `-2`, `-3`, … behind the name of what it makes where that is taken.

    A name is taken by what is registered under it, and by one of the runs `known` that may yet register it.
    """
    thing = job_kind(config).makes
    if thing is None:
        return config
    taken = {str(row.config.get("name")) for row in known if row.status != "failed"}
    name = free_name(config.name, taken | _registered(store, thing))  # type: ignore[attr-defined]
    return msgspec.structs.replace(config, name=name)


def free_name(name: str, taken: set[str]) -> str:
    """`name` if it is free, else with the first number behind it that is not taken."""
    if name not in taken:
        return name
    stem = re.sub(r"-\d+$", "", name)
    number = 2
    while f"{stem}-{number}" in taken:
        number += 1
    return f"{stem}-{number}"
