"""What an experiment runs: its arms, and for each of them and each seed training, answers and judgements.

A method that learns a policy is trained, its policy answers, and the judge is asked; best of n answers at
once.  A method that trains a reward model is trained and measured on what it held out, and other methods may
name it: they learn from the model that it makes with the same seed.
"""

from __future__ import annotations

import itertools
import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from engine.errors import UsageError
from engine.protocol.building import build, idle_fields
from engine.protocol.catalog import JOBS, find_job
from engine.protocol.configs import BestOfNConfig, GenerateConfig, JobConfig, JudgeConfig, ScoreConfig
from engine.protocol.fields import FieldInfo, fields
from engine.protocol.suggest import did_you_mean
from engine.wording import counted
from workbench.services.experiments.run_file import (
    MODELS,
    MOST_RUNS,
    NAME,
    OWN,
    START,
    RunFile,
    by_reward_model,
)
from workbench.services.toml_file import quoted

OF_SAMPLE = ("prompts", "limit", "max_new_tokens", "temperature", "template", "batch_sequences")
"""What [sample] says of best of n too, which answers as it chooses."""
ON_SAMPLE = ("samples", *OF_SAMPLE)
"""Of these best of n takes nothing from [settings]: there they are of learning."""
PLACES = ("device", "dtype", "on")


@dataclass(frozen=True)
class Arm:
    """One method with its settings; without a kind it is a policy to start from, which learns nothing."""

    name: str
    kind: str
    policy: str
    """Where it starts."""
    values: Mapping[str, Any]

    @property
    def is_reward_model(self) -> bool:
        """Whether it trains a reward model."""
        return bool(self.kind) and JOBS[self.kind].makes == "reward_model"

    def made(self, experiment: str, seed: int) -> str:
        """The name of what it makes with a seed."""
        return f"{experiment} {self.name} {seed}" if self.kind else self.policy


@dataclass(frozen=True)
class Planned:
    """One run of an experiment."""

    arm: str
    seed: int
    role: str
    """train, sample (responses to be compared), score (by a reward model), judge (pairs, by a model)."""
    kind: str
    config: JobConfig


def arms(file: RunFile) -> list[Arm]:
    """Every arm: where the methods start, then the methods in the file's order, grids unfolded.

    Raises `UsageError` for an unknown method or setting, and for one that a method cannot have.
    """
    made = [
        _arm(file, name, kind, values)
        for label, given in file.methods.items()
        for name, kind, values in _unfolded(label, given)
    ]
    _refuse_useless(file, {arm.kind for arm in made})
    starts = list(dict.fromkeys(arm.policy for arm in made if not arm.is_reward_model))
    if starts and not file.judge.strip():
        raise UsageError(
            f"{file.name}: judge must name a reward model that no method learns from, or people."
        )
    names = [START] if len(starts) == 1 else [f"{START} {_word(policy)}" for policy in starts]
    first = [Arm(name, "", policy, {}) for name, policy in zip(names, starts, strict=True)]
    found = [arm.name for arm in (*first, *made)]
    if twice := next((name for name in found if found.count(name) > 1), None):
        raise UsageError(f"Two arms are called “{twice}”; call one of the methods otherwise.")
    return [*first, *made]


def plan(file: RunFile) -> list[Planned]:
    """Every run: for each seed and arm its training, its responses, and what the judge is asked of them.

    Reward models come first, since others may learn from them.
    """
    every = sorted(arms(file), key=lambda arm: not arm.is_reward_model)
    if (count := 3 * len(every) * len(file.seeds)) > MOST_RUNS:
        raise UsageError(
            f"{file.name} would be {counted(count, 'run')}, more than {MOST_RUNS:,}; shorten the grids."
        )
    models = [arm for arm in every if arm.is_reward_model]
    return [run for seed in file.seeds for arm in every for run in _runs(file, arm, seed, models)]


def _runs(file: RunFile, arm: Arm, seed: int, models: list[Arm]) -> Iterator[Planned]:
    """The runs of an arm with a seed, each of which waits for the one before."""
    if arm.kind:
        named = {**arm.values, "name": arm.made(file.name, seed), "seed": seed}
        named |= _from_experiment(named, {model.name: model.made(file.name, seed) for model in models})
        config = _built(arm.kind, named, f"[methods] {arm.name}")
        _refuse_seen(file, arm, config)
        yield Planned(arm.name, seed, "train" if JOBS[arm.kind].trains else "sample", arm.kind, config)
    if arm.is_reward_model:
        return
    if not arm.kind or JOBS[arm.kind].trains:
        yield Planned(arm.name, seed, "sample", "generate", _sample(file, arm, seed))
    shared = {key: value for key, value in file.settings.items() if key in PLACES}
    source = file.sample.get("prompts", "")
    if by_reward_model(file.judge):
        values = {"reward_model": file.judge, "prompts": source} | shared
        yield Planned(arm.name, seed, "score", "score", build(ScoreConfig, values))
    elif file.judging and file.judge.startswith(MODELS) and arm.kind:
        if reserved := next(
            (k for k in ("name", "prompts", "experiment", "seed") if k in file.judging), None
        ):
            raise UsageError(f"[judging]: {reserved} is given by the experiment; leave it out.")
        own = {"name": file.judge.removeprefix(MODELS), "prompts": source, "experiment": file.name}
        values = _meant(JudgeConfig, shared, file.judging) | file.judging | own
        yield Planned(arm.name, seed, "judge", "judge", _built("judge", values, "[judging]"))


def _from_experiment(values: Mapping[str, Any], models: Mapping[str, str]) -> dict[str, Any]:
    """Settings that name a reward model of the experiment, with the name that it has with this seed."""

    def known(text: str) -> str:
        """NAME, NAME/CRITERION, NAME*WEIGHT or NAME <= BOUND."""
        name = re.split(r"\s*[/*<>]", text)[0]
        return models[name.strip()] + text[len(name) :] if name.strip() in models else text

    changed: dict[str, Any] = {
        key: known(values[key])
        for key in ("reward_model", "gold", "constraint", "process_reward", "preference")
        if isinstance(values.get(key), str)
    }
    for key in ("rewards", "constraints"):
        if isinstance(values.get(key), list | tuple):
            changed[key] = tuple(known(str(one)) for one in values[key])
    return changed


def _unfolded(label: str, given: Mapping[str, Any]) -> list[tuple[str, str, dict[str, Any]]]:
    """(arm, kind, own settings) for each point of a method's grid."""
    kind, grid = given.get("method", label), given.get("grid", {})
    values = {name: value for name, value in given.items() if name not in ("method", "grid")}
    where = f"[methods.{quoted(label)}]"
    if not NAME.fullmatch(label):
        raise UsageError(f"{where}: a method's name must be up to 40 letters, digits, spaces and . _ + -.")
    if not isinstance(kind, str) or kind not in JOBS or not _is_method(kind):
        known = [name for name in JOBS if _is_method(name)]
        raise UsageError(f"{where}: there is no method “{kind}”. {did_you_mean(str(kind), known)}")
    if not isinstance(grid, dict) or not all(isinstance(some, list) and some for some in grid.values()):
        raise UsageError(f"{where}: grid must hold a list of values for each setting, as beta = [0.05, 0.1].")
    if both := next((name for name in grid if name in values), None):
        raise UsageError(f"{where}: {both} stands in the grid and beside it; leave one out.")
    points = []
    for point in itertools.product(*grid.values()):
        chosen = dict(zip(grid, point, strict=True))
        name = " ".join([label, *(f"{key} {_word(value)}" for key, value in chosen.items())])
        points.append((name[:50].strip(), kind, values | chosen))
    return points


def _is_method(kind: str) -> bool:
    """Whether a job makes something that can be compared with others."""
    return JOBS[kind].makes is not None and (JOBS[kind].trains or JOBS[kind].config is BestOfNConfig)


def _word(value: Any) -> str:
    """A value as a part of a name."""
    text = f"{value:g}" if isinstance(value, float) else str(value)
    return re.sub(r"[^\w .+-]+", "-", text.rstrip("/").rpartition("/")[2])[:24]


def _arm(file: RunFile, name: str, kind: str, own: dict[str, Any]) -> Arm:
    """The arm with what it takes of the shared settings: those that it has, and that mean something to it."""
    if reserved := next((key for key in OWN if key in own), None):
        raise UsageError(f"[methods] {name}: {reserved} is given by the experiment; leave it out.")
    settings: Mapping[str, Any] = file.settings
    if not JOBS[kind].trains:
        if given := next((key for key in OF_SAMPLE if key in own), None):
            raise UsageError(f"[methods] {name}: {given} is that of [sample]; leave it out.")
        settings = {k: v for k, v in settings.items() if k not in ON_SAMPLE}
        settings |= {k: v for k, v in file.sample.items() if k in OF_SAMPLE}
    elif JOBS[kind].makes == "reward_model":  # its own alone: what policies share is not about it
        settings = {k: v for k, v in settings.items() if k in (*PLACES, "policy")}
    config = find_job(kind).config
    values = _meant(config, {k: v for k, v in settings.items() if k not in own}, own) | own
    built = _built(kind, {**values, "name": f"{file.name} {name} 0"}, f"[methods] {name}")
    return Arm(name, kind, str(built.inputs().policy), values)


def _meant(
    config: type[JobConfig], shared: Mapping[str, Any], own: Mapping[str, Any] | None = None
) -> dict[str, Any]:
    """Those of the shared settings that a job has, and that mean something beside its own."""
    known = {field.name: field for field in fields(config)}
    values = {key: value for key, value in shared.items() if key in known}
    idle = idle_fields(config, _typed(known, values | dict(own or {})))
    return {key: value for key, value in values.items() if key not in idle}


def _typed(known: Mapping[str, FieldInfo], values: Mapping[str, Any]) -> dict[str, Any]:
    """Values as a configuration has them: TOML's lists are tuples, its whole numbers numbers."""
    typed = dict(values)
    for key, value in values.items():
        if isinstance(value, list):
            typed[key] = tuple(value)
        elif key in known and known[key].type == "float" and type(value) is int:
            typed[key] = float(value)
    return typed


def _built(kind: str, values: Mapping[str, Any], where: str) -> JobConfig:
    config = find_job(kind).config
    known = {field.name: field for field in fields(config)}
    try:
        return build(config, _typed(known, values))
    except UsageError as error:
        raise UsageError(f"{where}: {error}") from error


def _sample(file: RunFile, arm: Arm, seed: int) -> JobConfig:
    """How an arm's policy answers the prompts; the KL is measured where it means something."""
    for key in ("policy", "seed", "kl_to"):
        if key in file.sample:
            raise UsageError(f"[sample]: {key} is given by the experiment; leave it out.")
    shared = {key: value for key, value in file.settings.items() if key in (*PLACES, "template")}
    values = {**shared, **file.sample, "policy": arm.made(file.name, seed), "seed": seed}
    plain = values.get("temperature", 1) == 1 and values.get("top_p", 1) == 1
    if plain and not values.get("endpoint"):
        values["kl_to"] = arm.policy
    config = _built("generate", values, "[sample]")
    assert isinstance(config, GenerateConfig)
    return config


def _refuse_useless(file: RunFile, kinds: set[str]) -> None:
    """A shared setting is one of some method."""
    known = {field.name for kind in kinds for field in fields(find_job(kind).config)} - set(OWN)
    for key in file.settings:
        if key not in known:
            raise UsageError(f"[settings]: no method here has “{key}”. {did_you_mean(key, sorted(known))}")


def _refuse_seen(file: RunFile, arm: Arm, config: JobConfig) -> None:
    """The judge is one that no method learned from; a gold model that only watches is none of these."""
    learned = {role: name for role, name in config.inputs().reward_models.items() if role != "gold"}
    judges = (file.judge, file.judging.get("reward_model"))
    if seen := next((name for name in learned.values() if name in judges), None):
        raise UsageError(
            f"{arm.name} learns from “{seen}”, which is to judge; let another reward model judge, or people."
        )
