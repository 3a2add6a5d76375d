"""Proximal policy optimisation against a reward model (Schulman et al., arXiv 1707.06347).

The policy answers input-only prompts; the reward model scores the answers; the policy is moved towards
better ones while a KL penalty holds it near the policy it started from.

0. before the first step: scores of reference samples are shifted and scaled to mean 0 and variance 1, and
   the critic's head is scaled to predict them
1. sample K responses to each of B prompts                                     (ppo_rollout.collect)
2. score the cut text; log π, log π_ref, values by the forward pass of training (ppo_rollout.measure)
3. reward −β·(log π − log π_ref) a token, the score at the last one; GAE        (ppo_rollout.aim)
4. some epochs of clipped policy and value losses                               (ppo_update.update)
5. steer β, write rollouts and traces, tell the metrics, checkpoint

Departures from "The N implementation details of RLHF with PPO": old log-probabilities are those of the
training forward pass, not of the sampler; the critic's head is calibrated before the first step; an update
can end early by its KL to the sampling policy.
"""

from __future__ import annotations

import math
import time
from collections.abc import Generator, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from engine.algorithms.checkpoint import load_checkpoint, save_checkpoint, seeded
from engine.algorithms.optimiser import annealed
from engine.algorithms.ppo_models import Models, load_models
from engine.algorithms.ppo_record import (
    keep_batch,
    rollout_metrics,
    update_metrics,
    write_rollouts,
    write_traces,
)
from engine.algorithms.ppo_rollout import (
    Measured,
    Prompts,
    Rollout,
    ScoreScale,
    Targets,
    aim,
    calibration,
    collect,
    measure,
    read_prompts,
)
from engine.algorithms.ppo_update import BrokenUpdateError, UpdateStats, update
from engine.errors import NonFiniteError, WorkbenchError
from engine.models.catalogue import resolving
from engine.models.policy import save_policy
from engine.objectives.kl import AdaptiveKL
from engine.protocol.configs import PPOConfig
from engine.protocol.events import Artifact, Event, Finished, Message, Metrics, Progress
from engine.protocol.rundir import RunDir

REFERENCE_SAMPLES = 32  # responses that the normalisation of scores is taken from


@dataclass
class State:
    """What changes from step to step besides weights; goes into checkpoints."""

    step: int  # finished steps
    beta: float
    scale: ScoreScale
    reference_score: float  # mean score of the policy that the run started from
    last: dict[str, float]  # metrics of the last step

    def to_json(self) -> dict[str, Any]:
        return {
            "step": self.step,
            "beta": self.beta,
            "mean": self.scale.mean,
            "std": self.scale.std,
            "reference_score": self.reference_score,
            "last": self.last,
        }

    @classmethod
    def from_json(cls, saved: dict[str, Any]) -> State:
        scale = ScoreScale(saved["mean"], saved["std"])
        return cls(saved["step"], saved["beta"], scale, saved["reference_score"], saved["last"])


def run(config: PPOConfig, run: RunDir) -> Iterator[Event]:
    """The job.

    Raises UsageError without usable prompts or with a reward model of another tokeniser, NonFiniteError when
    a loss breaks, WorkbenchError when the KL leaves its bound; in the last two cases the batch is kept.
    """
    policy_folder = yield from resolving(run.model("policy").folder)
    reward_folder = yield from resolving(run.model("reward_model").folder)
    yield Progress(stage="loading models", done=0, total=1)
    models = load_models(config, policy_folder, reward_folder)
    positions = getattr(models.policy.config.get_text_config(), "max_position_embeddings", None)
    prompts = read_prompts(run.table("prompts"), models.tokeniser, config, positions)
    yield Progress(stage="loading models", done=1, total=1)
    yield from _words(prompts, models, config)

    if (checkpoint := run.latest_checkpoint()) is not None:
        state = State.from_json(load_checkpoint(checkpoint, optimisers=models.optimisers, generators={}))
    else:
        state = yield from start(models, prompts, config)
    while state.step < config.steps:
        yield from one_step(models, prompts, state, config, run)
        yield Progress(stage="training", done=state.step, total=config.steps, unit="steps")
        due = config.checkpoint_every and state.step % config.checkpoint_every == 0
        if due and state.step < config.steps:
            saved = state.to_json()
            save_checkpoint(run, state.step, optimisers=models.optimisers, generators={}, state=saved)
    yield from finish(models, state, policy_folder, config, run)


def _words(prompts: Prompts, models: Models, config: PPOConfig) -> Iterator[Event]:
    """What the person should know before the training starts."""
    if prompts.too_long:
        yield Message(level="warning", text=f"{prompts.too_long} prompts are too long and were left out.")
    if len(prompts.kept) < config.prompts_per_step:
        yield Message(
            level="warning",
            text=f"There are {len(prompts.kept)} prompts, so a step has that many, "
            f"not {config.prompts_per_step}.",
        )
    if models.policy_trunk.why_not_packed:
        text = f"Samples of a prompt are encoded one by one: {models.policy_trunk.why_not_packed}."
        yield Message(level="info", text=text)


def start(models: Models, prompts: Prompts, config: PPOConfig) -> Generator[Event, None, State]:
    """0. Scale of the scores and of the critic, from samples of the policy before any step."""
    wanted = math.ceil(REFERENCE_SAMPLES / config.samples)
    chosen = prompts.of_step(0, wanted, config.seed + 1)
    generator = seeded("reference samples", config.seed)
    rollout = yield from collect(models, chosen, config, generator, "sampling the reference policy")
    measured = yield from measure(models, rollout, config)
    scale = ScoreScale.of(measured.scores) if config.normalise_score else ScoreScale()
    final = scale.final_scores(measured.scores, rollout.stopped, config.missing_stop_penalty)
    models.calibrate_values(*calibration(measured.values, final, rollout.mask))
    if measured.ratio_max_deviation > 0.2:
        yield Message(
            level="info",
            text="Sampling and training round differently: probabilities of a token differ by up to "
            f"{measured.ratio_max_deviation:.0%}; those of training are used.",
        )
    reference_score = float(measured.scores.mean())
    return State(step=0, beta=config.beta, scale=scale, reference_score=reference_score, last={})


def one_step(
    models: Models, prompts: Prompts, state: State, config: PPOConfig, run: RunDir
) -> Iterator[Event]:
    """Phases 1 to 5; `state` is moved on by one step."""
    number = state.step + 1
    began = time.perf_counter()
    chosen = prompts.of_step(state.step, config.prompts_per_step, config.seed)
    generator = seeded("rollout", config.seed, state.step)
    rollout = yield from collect(models, chosen, config, generator, "sampling")
    sampled = time.perf_counter()
    measured = yield from measure(models, rollout, config)
    targets = aim(rollout, measured, state.scale, state.beta, config)
    metrics = rollout_metrics(rollout, measured, targets, state.beta)
    yield write_rollouts(run, number, rollout, measured, targets)
    _check_bound(run, number, rollout, measured, targets, config)
    stats = yield from _guarded_update(models, rollout, measured, targets, config, run, state.step)
    metrics |= update_metrics(stats, annealed(state.step, config.steps, config.learning_rate))
    metrics |= {
        "ppo/seconds_rollout": sampled - began,
        "ppo/seconds_update": time.perf_counter() - sampled,
    }
    if config.trace_every and (number == 1 or number % config.trace_every == 0):
        yield write_traces(run, number, models, rollout, measured, targets, stats)
    if config.kl == "adaptive":
        control = AdaptiveKL(config.kl_target, config.kl_horizon)
        state.beta = control.updated(state.beta, targets.kl_a_response, len(rollout.sampled))
    state.step, state.last = number, metrics
    yield Metrics(step=number, values=metrics)


def _guarded_update(
    models: Models,
    rollout: Rollout,
    measured: Measured,
    targets: Targets,
    config: PPOConfig,
    run: RunDir,
    step: int,
) -> Generator[Event, None, UpdateStats]:
    """The update; a loss that is not finite keeps the batch and becomes a sentence."""
    try:
        return (yield from update(models, rollout, measured, targets, config, step))
    except BrokenUpdateError as broken:
        where = keep_batch(run, step + 1, rollout, measured, targets, {"reason": str(broken)})
        raise NonFiniteError(
            f"The loss or its gradient is not finite at step {step + 1} ({broken}); the batch is in {where}. "
            "Lower learning_rate, or use dtype float32."
        ) from broken


def _check_bound(
    run: RunDir, step: int, rollout: Rollout, measured: Measured, targets: Targets, config: PPOConfig
) -> None:
    kl = targets.kl_a_response
    if kl <= config.kl_bound:
        return
    where = keep_batch(run, step, rollout, measured, targets, {"reason": f"kl {kl}"})
    raise WorkbenchError(
        f"The policy has left its bound: KL {kl:.1f} nats a response at step {step}, and kl_bound is "
        f"{config.kl_bound:g}; the batch is in {where}. Raise beta, or lower learning_rate or kl_target."
    )


def finish(
    models: Models, state: State, policy_folder: Path, config: PPOConfig, run: RunDir
) -> Iterator[Event]:
    """Save the policy, adapters merged, as plain transformers loads it.

    In float32: steps smaller than a bfloat16 digit of the base weights would be lost.
    """
    yield Progress(stage="saving", done=0, total=1)
    models.optimisers["policy"].to_full_precision(models.policy)
    destination = run.path / "model"
    save_policy(models.policy, policy_folder, destination, dtype="float32")
    yield Progress(stage="saving", done=1, total=1)
    summary: dict[str, float | int | str | bool | None] = {
        "steps": state.step,
        "score_before": state.reference_score,
        "score_after": state.last["ppo/score"],
        "kl": state.last["ppo/kl"],
        "length": state.last["ppo/length"],
        "beta": state.beta,
    }
    parents = {role: run.model(role).name for role in ("policy", "reward_model")}
    yield Artifact(
        kind="policy",
        name=config.name,
        path=run.relative(destination),
        step=state.step,
        details={**summary, **parents},
    )
    yield Finished(summary=summary)
