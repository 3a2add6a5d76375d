"""Every kind of job, and what its configuration asks for.

The launch form, the command line and the worker read this one dictionary.  To add a job: its configuration in
`configs/`, its generator in the room of its subject (`engine/policy_learning/`, `engine/offline_learning/`,
`engine/reward_learning/`, `engine/jobs/`), and one line here; or a plugin (`engine.protocol.plugins`).
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Literal

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
