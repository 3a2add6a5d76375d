"""Every kind of job, and what its configuration asks for.

The launch form, the command line and the worker read this one dictionary.  To add a job: its configuration in
`configs/`, its generator in the room of its subject (`engine/policy_learning/`, `engine/offline_learning/`,
`engine/reward_learning/`, `engine/jobs/`), and one line here; or a plugin (`engine.protocol.plugins`).
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import dataclass
from functools import cache
from typing import Any, Literal, get_type_hints

import msgspec

from engine.errors import UsageError
from engine.protocol.configs import (
    BestOfNConfig,
    CPOConfig,
    DPOConfig,
    ExportConfig,
    GenerateConfig,
    GRPOConfig,
    JobConfig,
    JudgeConfig,
    KTOConfig,
    NashMDConfig,
    OnlineDPOConfig,
    ORPOConfig,
    OveroptimiseConfig,
    PPOConfig,
    ProcessRewardConfig,
    RegisterConfig,
    RewardConfig,
    RLOOConfig,
    ScoreConfig,
    SFTConfig,
    SimPOConfig,
)
from engine.protocol.configs.applies import always, idle_among
from engine.protocol.fields import FieldInfo, fields
from engine.protocol.plugins import Plugged
from engine.protocol.suggest import did_you_mean

TRAIN_EXTRA = ("torch", "transformers", "peft", "safetensors")
EXPORT_EXTRA = (*TRAIN_EXTRA, "onnx", "onnxscript")


@dataclass(frozen=True)
class JobKind:
    """One kind of job."""

    kind: str
    title: str
    config: type[JobConfig]
    module: str  # imported by the worker only
    function: str = "run"  # (config, RunDir) -> Iterator[Event]
    heavy: bool = True  # one heavy job a device at a time
    trains: bool = False  # steps after the checkpoint are repeated when it resumes
    makes: Literal["policy", "reward_model"] | None = None  # what is registered under the field `name`
    needs: tuple[str, ...] = TRAIN_EXTRA  # packages of the `train` extra
    dtype: str | None = None  # the number format of a job that has no choice of it


def _policy(kind: str, title: str, config: type[JobConfig], room: str) -> JobKind:
    """A training loop of a policy: the file of its name in its room."""
    return JobKind(kind, title, config, f"engine.{room}.{kind}", trains=True, makes="policy")


def _scorer(kind: str, title: str, config: type[JobConfig], module: str) -> JobKind:
    """A training of a reward model."""
    place = f"engine.reward_learning.{module}"
    return JobKind(kind, title, config, place, trains=True, makes="reward_model")


BUILT_IN: dict[str, JobKind] = {
    job.kind: job
    for job in (
        JobKind("generate", "Generate responses", GenerateConfig, "engine.jobs.generate_anywhere"),
        _scorer("reward", "Train a reward model", RewardConfig, "job"),
        _policy("ppo", "Optimise a policy with PPO", PPOConfig, "policy_learning"),
        _policy("grpo", "Optimise a policy with GRPO", GRPOConfig, "policy_learning"),
        _policy("rloo", "Optimise a policy with RLOO", RLOOConfig, "policy_learning"),
        _policy("online_dpo", "Compare samples and learn (online DPO)", OnlineDPOConfig, "policy_learning"),
        _policy("nash_md", "Play against a mixture (Nash-MD)", NashMDConfig, "policy_learning"),
        _policy("dpo", "Learn from preference pairs (DPO)", DPOConfig, "offline_learning"),
        _policy("simpo", "Learn from pairs without a reference (SimPO)", SimPOConfig, "offline_learning"),
        _policy("cpo", "Learn from pairs and imitate winners (CPO)", CPOConfig, "offline_learning"),
        _policy("orpo", "Imitate and prefer at once (ORPO)", ORPOConfig, "offline_learning"),
        _policy("kto", "Learn from good and bad responses (KTO)", KTOConfig, "offline_learning"),
        _policy("sft", "Imitate good responses (SFT)", SFTConfig, "offline_learning"),
        _scorer("process_reward", "Train a process reward model", ProcessRewardConfig, "steps.job"),
        JobKind(
            "best_of_n",
            "Keep the best of N responses",
            BestOfNConfig,
            "engine.policy_learning.best_of_n",
            makes="policy",
        ),
        JobKind(
            "overoptimise",
            "Over-optimise proxies of a gold reward model",
            OveroptimiseConfig,
            "engine.jobs.overoptimise",
        ),
        JobKind(
            "export",
            "Export to ONNX",
            ExportConfig,
            "engine.jobs.export_onnx",
            needs=EXPORT_EXTRA,
            dtype="float32",  # what it writes is held against torch in float32
        ),
        JobKind(
            "register",
            "Register a reward model",
            RegisterConfig,
            "engine.jobs.register",
            makes="reward_model",
            dtype="float32",  # its scores are held against transformers' own
        ),
        JobKind("score", "Score stored responses", ScoreConfig, "engine.jobs.score"),
        JobKind("judge", "Judge pairs with a model", JudgeConfig, "engine.jobs.judge"),
    )
}


def _plugged_job(name: str, value: Any) -> JobKind:
    """The job kind of a plugin.  Raises UsageError for anything else."""
    if not isinstance(value, JobKind) or value.kind != name:
        raise UsageError(f"The plugin “{name}” is no JobKind of the kind “{name}”; correct its entry point.")
    return value


JOBS: Plugged[JobKind] = Plugged("jobs", BUILT_IN, _plugged_job)
"""Every job: what is built in, then those of plugins."""


def find_job(kind: str) -> JobKind:
    """The job kind of that name.  Raises UsageError with the near match."""
    if kind not in JOBS:
        raise UsageError(f"There is no job kind “{kind}”. {did_you_mean(kind, JOBS)}")
    return JOBS[kind]


def job_kind(config: JobConfig) -> JobKind:
    """The job kind that `config` belongs to."""
    for job in (*JOBS.own(), *JOBS.values()):
        if type(config) is job.config:
            return job
    raise UsageError(f"{type(config).__name__} is not the configuration of any job.")


_YES_NO = {"yes": True, "y": True, "true": True, "on": True, "1": True} | {
    "no": False, "n": False, "false": False, "off": False, "0": False,
}  # fmt: skip


def build(config_type: type[JobConfig], values: Mapping[str, Any]) -> JobConfig:
    """A configuration from what a person typed.

    Values are strings, or already of the right type.  An empty string leaves a field at its default.
    Raises UsageError naming the field: unknown (with the near match), missing, of the wrong type; or saying
    which fields contradict each other, or would be ignored (`JobConfig.rules`).
    """
    known = {field.name: field for field in fields(config_type)}
    _refuse_unknown(values, known)
    parsed: dict[str, Any] = {}
    for name, value in values.items():
        if value is None or (isinstance(value, str) and not value.strip() and known[name].type != "strings"):
            continue
        parsed[name] = _parse(known[name], value)
    idle = idle_fields(config_type, parsed)
    refuse_idle(
        {name: idle[name] for name, value in parsed.items() if name in idle and value != known[name].default}
    )
    config = build_typed(config_type, parsed)
    config.check_request()
    return config


def idle_fields(config_type: type[JobConfig], values: Mapping[str, Any]) -> dict[str, str]:
    """Fields that mean nothing beside these values, each with why.

    Values may be as typed; one that cannot be read counts as its default, a needed one that is missing as
    empty.
    """
    parsed_values: dict[str, Any] = {}
    hints = _hints(config_type)
    for field in fields(config_type):
        parsed_values[field.name] = "" if field.required else field.default
        value = values.get(field.name)
        if value is not None and not (isinstance(value, str) and not value.strip()):
            with suppress(UsageError):
                parsed = _parse(field, value)
                _check(hints, field, parsed)
                parsed_values[field.name] = parsed
    return idle_among(config_type.rules(), parsed_values)


def never_used(config_type: type[JobConfig]) -> set[str]:
    """Fields that every job has and this one has no use for."""
    return {name for rule in config_type.rules() if rule.where is always for name in rule.fields}


def refuse_idle(idle: Mapping[str, str]) -> None:
    """Refuse settings that were given and mean nothing.  Raises UsageError."""
    if idle:
        why = "; ".join(f"{name} ({reason})" for name, reason in idle.items())
        raise UsageError(f"Leave out what would be ignored: {why}.")


def check_field(config_type: type[JobConfig], name: str, value: Any) -> None:
    """Refuse a value that its field cannot take, whatever the other fields say.  Raises UsageError."""
    known = {field.name: field for field in fields(config_type)}
    _refuse_unknown({name: value}, known)
    if isinstance(value, str) and not value.strip() and known[name].type != "strings":
        return
    hints = _hints(config_type)
    _check(hints, known[name], _parse(known[name], value))


def build_typed(config_type: type[JobConfig], values: Mapping[str, Any]) -> JobConfig:
    """A configuration from values of the right types, as TOML gives them.  Raises as `build` does."""
    known = {field.name: field for field in fields(config_type)}
    _refuse_unknown(values, known)
    missing = [field.name for field in known.values() if field.required and field.name not in values]
    if missing:
        described = "; ".join(f"{name} ({known[name].description.rstrip('.')})" for name in missing)
        raise UsageError(f"Still needed: {described}.")
    hints = _hints(config_type)
    for name, value in values.items():
        _check(hints, known[name], value)
    return msgspec.convert(dict(values), config_type)


@cache
def _hints(config_type: type[JobConfig]) -> Mapping[str, Any]:
    """The type of each field with its bounds, worked out once a class."""
    return get_type_hints(config_type, include_extras=True)


def _refuse_unknown(values: Mapping[str, Any], known: Mapping[str, FieldInfo]) -> None:
    for name in values:
        if name not in known:
            raise UsageError(f"There is no setting “{name}”. {did_you_mean(name, known, limit=40)}")


def _parse(field: FieldInfo, value: Any) -> Any:
    if not isinstance(value, str):
        return value
    text = value.strip()
    try:
        match field.type:
            case "int":
                return int(text.replace("_", ""))
            case "float":
                return float(text.replace("_", ""))
            case "bool":
                return _YES_NO[text.lower()]
            case "strings":
                return _split(value)
    except (ValueError, KeyError):
        raise UsageError(_wrong(field, value)) from None
    return text


def _split(text: str) -> tuple[str, ...]:
    """Texts separated by commas; a backslash writes a line end (\\n), a comma or itself."""
    parts, current, characters = [], "", iter(text)
    for character in characters:
        if character == "\\":
            escaped = next(characters, "\\")
            current += {"n": "\n", "t": "\t"}.get(escaped, escaped)
        elif character == ",":
            parts.append(current)
            current = ""
        else:
            current += character
    return tuple(part for part in [*parts, current] if part)


def _check(hints: Mapping[str, Any], field: FieldInfo, value: Any) -> None:
    if isinstance(value, float) and not math.isfinite(value):
        raise UsageError(_wrong(field, value))
    try:
        msgspec.convert(value, hints[field.name])
    except msgspec.ValidationError:
        raise UsageError(_wrong(field, value)) from None


def _wrong(field: FieldInfo, value: Any) -> str:
    shown = f"{value:g}" if isinstance(value, float) else str(value)
    if isinstance(value, tuple | list):
        shown = ", ".join(map(str, value))
    suggestion = f" {did_you_mean(shown, field.choices)}" if field.choices else ""
    return f"{field.name} must be {field.expects}, not “{shown}”.{suggestion}"
