"""An experiment as a TOML file: methods, seeds and settings, and who judges what comes out.

name = "methods"
seeds = [0, 1, 2]
judge = "gold"                  # a reward model that no method learns from; or people, ai:NAME, …

[settings]                      # of every method that has them
policy = "smollm2"
reward_model = "proxy"
steps = 20

[sample]                        # how the policies answer, to be compared
prompts = "held-out.jsonl"
samples = 4

[methods.ppo]

[methods."grpo by others"]
method = "grpo"
baseline = "others"

[methods.dpo.grid]              # one arm for each value
beta = [0.05, 0.1]

Every method is run with every seed.  Where they start is an arm too, which learns nothing.
"""

from __future__ import annotations

import itertools
import re
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import msgspec

from engine.errors import UsageError
from engine.files import write_atomic
from engine.protocol.catalog import JOBS, build, find_job, idle_fields
from engine.protocol.configs import GenerateConfig, JobConfig, ScoreConfig
from engine.protocol.fields import FieldInfo, fields
from engine.protocol.suggest import did_you_mean
from engine.wording import counted
from workbench.services.toml_file import converted, quoted, read_text, refuse_unknown, toml_of

NAME = re.compile(r"\w[\w .+-]{0,39}")
MOST_RUNS = 10_000
OWN = ("name", "seed")
"""Settings that the experiment gives to each run."""
START = "start"


class RunFile(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """What the file of an experiment says."""

    name: str
    judge: str
    methods: dict[str, dict[str, Any]]
    seeds: tuple[int, ...] = (0, 1, 2)
    settings: dict[str, Any] = {}
    sample: dict[str, Any] = {}


@dataclass(frozen=True)
class Arm:
    """One method with its settings; without a kind it is a policy to start from, which learns nothing."""

    name: str
    kind: str
    policy: str
    """Where it starts."""
    values: Mapping[str, Any]

    def policy_of(self, experiment: str, seed: int) -> str:
        """The name of the policy that it makes with a seed."""
        return f"{experiment} {self.name} {seed}" if self.kind else self.policy


@dataclass(frozen=True)
class Planned:
    """One run of an experiment."""

    arm: str
    seed: int
    role: str
    kind: str
    config: JobConfig


def parse(text: str, where: str) -> RunFile:
    """The experiment that a TOML text says; `where` names it in sentences.

    Raises `UsageError` for what is not TOML, an unknown key, or a value that cannot be.
    """
    values = toml_of(text, where)
    refuse_unknown(where, values, RunFile)
    file = converted(values, RunFile, where)
    if not NAME.fullmatch(file.name):
        raise UsageError(f"{where}: name must be up to 40 letters, digits, spaces and . _ + -.")
    if not file.seeds or len(set(file.seeds)) < len(file.seeds) or min(file.seeds) < 0:
        raise UsageError(f"{where}: seeds must be different whole numbers of at least 0, as in [0, 1, 2].")
    if not file.methods:
        raise UsageError(f"{where} has no method; give one, as [methods.ppo].")
    if not file.judge.strip():
        raise UsageError(f"{where}: judge must name a reward model that no method learns from, or people.")
    return file


def read(path: Path) -> tuple[RunFile, str]:
    """The experiment of a file, and its text.  Raises `UsageError` where it cannot be read."""
    where = f"The run file {path}"
    text = read_text(path, where)
    return parse(text, where), text


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
    starts = list(dict.fromkeys(arm.policy for arm in made))
    names = [START] if len(starts) == 1 else [f"{START} {_word(policy)}" for policy in starts]
    first = [Arm(name, "", policy, {}) for name, policy in zip(names, starts, strict=True)]
    found = [arm.name for arm in (*first, *made)]
    if twice := next((name for name in found if found.count(name) > 1), None):
        raise UsageError(f"Two arms are called “{twice}”; call one of the methods otherwise.")
    return [*first, *made]


def plan(file: RunFile) -> list[Planned]:
    """Every run: for each seed and arm its training, its responses, and the judge's scores of them."""
    every = arms(file)
    if (count := 3 * len(every) * len(file.seeds)) > MOST_RUNS:
        raise UsageError(
            f"{file.name} would be {counted(count, 'run')}, more than {MOST_RUNS:,}; shorten the grids."
        )
    runs = []
    for seed in file.seeds:
        for arm in every:
            if arm.kind:
                named = {**arm.values, "name": arm.policy_of(file.name, seed), "seed": seed}
                config = _built(arm.kind, named, f"[methods] {arm.name}")
                _refuse_seen(file, arm, config)
                runs.append(Planned(arm.name, seed, "train", arm.kind, config))
            runs.append(Planned(arm.name, seed, "sample", "generate", _sample(file, arm, seed)))
            if by_model(file.judge):
                values = {"reward_model": file.judge, "prompts": file.sample.get("prompts", "")}
                values |= {k: v for k, v in file.settings.items() if k in ("device", "dtype")}
                runs.append(Planned(arm.name, seed, "score", "score", build(ScoreConfig, values)))
    return runs


def by_model(judge: str) -> bool:
    """Whether a reward model judges, and not people, a kind of annotators or one of them."""
    return judge not in ("people", "human", "import", "rule", "ai") and ":" not in judge


def _unfolded(label: str, given: Mapping[str, Any]) -> list[tuple[str, str, dict[str, Any]]]:
    """(arm, kind, own settings) for each point of a method's grid."""
    kind, grid = given.get("method", label), given.get("grid", {})
    values = {name: value for name, value in given.items() if name not in ("method", "grid")}
    where = f"[methods.{quoted(label)}]"
    if not NAME.fullmatch(label):
        raise UsageError(f"{where}: a method's name must be up to 40 letters, digits, spaces and . _ + -.")
    if not isinstance(kind, str) or kind not in JOBS or JOBS[kind].makes != "policy" or not JOBS[kind].trains:
        known = [name for name, job in JOBS.items() if job.makes == "policy" and job.trains]
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


def _word(value: Any) -> str:
    """A value as a part of a name."""
    text = f"{value:g}" if isinstance(value, float) else str(value)
    return re.sub(r"[^\w .+-]+", "-", text.rstrip("/").rpartition("/")[2])[:24]


def _arm(file: RunFile, name: str, kind: str, own: dict[str, Any]) -> Arm:
    """The arm with what it takes of the shared settings: those that it has, and that mean something to it."""
    known = {field.name: field for field in fields(find_job(kind).config)}
    if reserved := next((key for key in OWN if key in own), None):
        raise UsageError(f"[methods] {name}: {reserved} is given by the experiment; leave it out.")
    shared = {key: value for key, value in file.settings.items() if key in known and key not in own}
    idle = idle_fields(find_job(kind).config, _typed(known, shared | own))
    values = {key: value for key, value in shared.items() if key not in idle} | own
    built = _built(kind, {**values, "name": f"{file.name} {name} 0"}, f"[methods] {name}")
    return Arm(name, kind, str(built.inputs().policy), values)


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
    shared = {key: value for key, value in file.settings.items() if key in ("device", "dtype", "template")}
    values = {**shared, **file.sample, "policy": arm.policy_of(file.name, seed), "seed": seed}
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
    if file.judge in learned.values():
        raise UsageError(
            f"{arm.name} learns from “{file.judge}”, which is to judge; let another reward model judge, or "
            "people."
        )


TEMPLATE = """# An experiment.  workbench experiment run FILE runs what is missing of it, again after a stop.
name = {name}
seeds = [0, 1, 2]               # every method with every seed
judge = "gold"                  # a reward model that no method learns from; or people, ai, ai:NAME

[settings]                      # of every method that has them
policy = "smollm2"
# reward_model = "proxy"
# prompts = "train.jsonl"       # what was imported under this name
# steps = 20

[sample]                        # how the policies answer, to be compared
# prompts = "held-out.jsonl"
samples = 4
max_new_tokens = 64

[methods.ppo]                   # a method by its name, as in workbench train --help

# [methods."grpo by others"]    # or under a name of its own
# method = "grpo"
# baseline = "others"

# [methods.dpo.grid]            # one arm for each value
# beta = [0.05, 0.1]
"""


def write_template(path: Path) -> None:
    """A run file to fill in; nothing that is there is touched."""
    if path.exists():
        raise UsageError(f"{path} is there already; choose another name.")
    write_atomic(path, TEMPLATE.format(name=quoted(re.sub(r"[^\w .+-]+", "-", path.stem)[:40])).encode())
