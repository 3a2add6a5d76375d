"""The loop that PPO, GRPO and RLOO share: sample, score, advantages, update.

0. before the first step: the scale of scores is taken from samples of the policy (score_scale), and a
   critic's head is scaled to predict them
1. sample K responses to each of B prompts                                  (rollout.collect)
2. score the cut text; log π, log π_ref, values by the forward pass of training   (rollout.measure)
3. rewards and advantages, as the algorithm has them                        (Algorithm.advantages)
4. some epochs of its losses                                                (update.Update)
5. steer β and the multipliers of constraints, write rollouts and traces, tell the metrics, checkpoint
"""

from __future__ import annotations

import time
from collections.abc import Generator, Iterator, Mapping
from contextlib import closing
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Protocol

from torch import Tensor

from engine.models.catalogue import resolving
from engine.models.lora import left_out
from engine.objectives.groups import without_variance
from engine.objectives.kl import AdaptiveKL, horizon_of
from engine.objectives.preference import mean_wins
from engine.objectives.rewards import DualAscent
from engine.objectives.value import calibration
from engine.policy_learning.checks import check_bound, check_collapse, tell_cut
from engine.policy_learning.effort import effort_metrics
from engine.policy_learning.heldout import due, evaluate
from engine.policy_learning.importance import weighted
from engine.policy_learning.models import Models, load_models, served_policy
from engine.policy_learning.opponents import against_mixture
from engine.policy_learning.people import WaitingForPeopleError, offered, policy_name, ranked
from engine.policy_learning.preferences import compared
from engine.policy_learning.prompts import REFERENCE_KEY, Prompt, Prompts, read_prompts
from engine.policy_learning.record import (
    keep_batch,
    rollout_metrics,
    update_metrics,
    write_rollouts,
    write_traces,
)
from engine.policy_learning.remote import load_remote
from engine.policy_learning.resampling import Sampling, group_metrics, learned_from, resampled
from engine.policy_learning.rewards.score_scale import ScoreScale
from engine.policy_learning.rollout import (
    Measured,
    Rollout,
    Targets,
    ask_ahead,
    check_sampler,
    collect,
    measure,
    shaped,
)
from engine.policy_learning.state import State
from engine.policy_learning.update import BrokenUpdateError, PolicyLosses, Update, UpdateStats
from engine.protocol.configs import PolicyLearningConfig
from engine.protocol.events import Artifact, Event, Finished, Message, Metrics, Progress
from engine.protocol.rundir import RunDir
from engine.tables import write_splits
from engine.training.broken import not_finite
from engine.training.checkpoint import load_checkpoint, save_checkpoint
from engine.training.guards import pausing
from engine.training.optimiser import annealed
from engine.training.policy import save_trained, told_of_weights
from engine.training.ranks import current
from engine.wording import counted


class Algorithm(PolicyLosses, Protocol):
    """What PPO, GRPO and RLOO do differently: rewards and advantages here, losses in `backward`."""

    @property
    def critic(self) -> str | None:
        """“separate”, “shared”, or None without a critic."""
        ...

    def advantages(self, rollout: Rollout, measured: Measured, final_N: Tensor, beta: float) -> Targets:
        """Phase 3.  final_N: what is maximised of each response (`Rewards.objective`)."""
        ...


def learn(algorithm: Algorithm, config: PolicyLearningConfig, run: RunDir) -> Iterator[Event]:
    """The job.

    Raises UsageError without usable prompts or with a reward that cannot be used, NonFiniteError when a loss
    breaks, WorkbenchError when the KL leaves its bound or the responses collapse; in the last cases the batch
    is kept.
    """
    folders: dict[str, Path] = {}
    for role, model in run.inputs.models.items():
        folders[role] = yield from resolving(model.folder)
    yield Progress(stage="loading models", done=0, total=1)
    load = load_remote if config.remote() else partial(load_models, critic=algorithm.critic)
    models = load(config, folders, run)
    if config.endpoint:
        models.served = served_policy(models, config, run, folders["policy"])
    prompts = read_prompts(run.table("prompts"), models.policy.tokeniser, config, models.positions)
    yield Progress(stage="loading models", done=1, total=1)
    yield from _messages(prompts, models, config)
    with closing(models):
        yield from _train(algorithm, models, prompts, folders["policy"], config, run)


def _train(
    algorithm: Algorithm,
    models: Models,
    prompts: Prompts,
    policy_folder: Path,
    config: PolicyLearningConfig,
    run: RunDir,
) -> Iterator[Event]:
    """From the first step, or the last checkpoint, to the end."""
    evaluates = config.heldout_prompts != "none"
    if (checkpoint := run.latest_checkpoint()) is not None:
        saved = load_checkpoint(checkpoint, optimisers=models.optimisers)
        state = State.from_json(saved, models)
    else:
        state = yield from start(models, prompts, config)
        if evaluates:
            yield write_splits(
                run,
                train=[prompt.prompt_id for prompt in prompts.train],
                heldout=[prompt.prompt_id for prompt in prompts.heldout],
            )
            yield from evaluate(models, prompts, state.scale, state.multipliers, config, run, 0)

    def save() -> None:
        saved = state.to_json(models)
        save_checkpoint(run, state.step, optimisers=models.optimisers, state=saved)

    while state.step < config.steps:
        try:
            yield from one_step(algorithm, models, prompts, state, config, run)
        except WaitingForPeopleError as waiting:
            yield from waiting.pause(save)
            return
        yield Progress(stage="training", done=state.step, total=config.steps, unit="steps")
        if evaluates and due(config, state.step):
            yield from evaluate(models, prompts, state.scale, state.multipliers, config, run, state.step)
        last = state.step == config.steps
        if config.policy_every and not last and state.step % config.policy_every == 0:
            yield from keep_policy(models, state.step, policy_folder, config, run)
        if not last and (yield from pausing(run, save)):
            return
        if config.checkpoint_every and (last or state.step % config.checkpoint_every == 0):
            save()  # the last one too: what a death while saving would lose is resumed from here
    yield from finish(models, state, policy_folder, config, run)


def _messages(prompts: Prompts, models: Models, config: PolicyLearningConfig) -> Iterator[Event]:
    """What the person should know before the training starts."""
    yield from prompts.left_out.messages()
    if config.heldout_prompts != "none":
        few = min(len(prompts.heldout), config.evaluate_prompts)
        yield Message(
            level="info",
            text=f"Learning on {counted(len(prompts.train), 'prompt')}; held out: {len(prompts.heldout)}, of "
            f"which {few} {'is' if few == 1 else 'are'} answered before the first step and every "
            f"{counted(config.evaluate_every, 'step')}.",
        )
    if len(prompts.train) < config.prompts_per_step:
        yield Message(
            level="warning",
            text=f"A step has {counted(len(prompts.train), 'prompt')}, not {config.prompts_per_step}: "
            "there are no more.",
        )
    if models.remote is not None:
        return
    yield from told_of_weights(models.policy.trunk.module)
    if config.tuning == "lora" and (bare := left_out(models.policy.model)) is not None:
        yield Message(level="warning", text=bare)
    if models.policy.trunk.why_not_packed:
        text = f"Samples of a prompt are encoded one by one: {models.policy.trunk.why_not_packed}."
        yield Message(level="info", text=text)


def start(models: Models, prompts: Prompts, config: PolicyLearningConfig) -> Generator[Event, None, State]:
    """0. Scale of the scores and of a critic, from samples of the policy before any step."""
    chosen, samples = prompts.of_reference(config.seed)
    stage, key = "sampling the reference policy", (REFERENCE_KEY, config.seed)
    rollout = yield from collect(models, chosen, config, *key, stage=stage, samples=samples)
    measured = yield from measure(models, rollout)
    check_sampler(models, rollout, measured)
    scale = ScoreScale.of(measured.scored, rollout.groups) if config.normalise_score else ScoreScale()
    yield from scale.messages()
    if models.critic is not None and measured.values is not None:
        final = objective(models, rollout, measured, scale, first_multipliers(models, config), config)
        if measured.step_rewards is not None:
            final = final + measured.step_rewards.sum(dim=1)
        models.critic.calibrate(*calibration(measured.values, final, rollout.mask))
    if measured.ratio_max_deviation > 0.2:
        yield Message(
            level="info",
            text="Sampling and training round differently: probabilities of a token differ by up to "
            f"{measured.ratio_max_deviation:.0%}; those of training are used.",
        )
    first = {
        "score": float(measured.scores.mean()),
        "length": float(rollout.mask.sum(dim=1).float().mean()),
        "entropy": float(measured.entropy[rollout.mask].mean()),
    }
    multipliers = first_multipliers(models, config)
    return State(0, config.beta, config.beta, multipliers, dict(multipliers), scale, first)


def first_multipliers(models: Models, config: PolicyLearningConfig) -> dict[str, float]:
    """λ of each constraint before the first step."""
    return {constraint.name: config.multiplier for constraint in models.rewards.constraints}


def objective(
    models: Models,
    rollout: Rollout,
    measured: Measured,
    scale: ScoreScale,
    multipliers: Mapping[str, float],
    config: PolicyLearningConfig,
) -> Tensor:
    """[N] what is maximised, before any KL."""
    final_N = models.rewards.objective(
        measured.scored, scale, stopped_N=rollout.stopped, group_N=rollout.groups,
        penalty=config.missing_stop_penalty, multipliers=multipliers,
    )  # fmt: skip
    return shaped(final_N, rollout, config)


def sampled_and_measured(
    models: Models,
    state: State,
    config: PolicyLearningConfig,
    run: RunDir,
    prompts: list[Prompt],
    *key: object,
) -> Generator[Event, None, Sampling]:
    """Phases 1 and 2 of the step behind `state`; what people rank, or a preference says, stands in for
    a reward."""
    number = state.step + 1
    due = number == 1 or number % config.gold_every == 0 or number == config.steps
    judged: Tensor | None = None
    if config.people_rank():
        rollout = yield from offered(models, prompts, number, config, run)
        judged = ranked(rollout, config, run)
    else:
        random = (*key, config.seed, state.step)
        rollout = yield from collect(models, prompts, config, *random, stage="sampling", step=state.step)
    sampled = time.perf_counter()
    measured = yield from measure(models, rollout, with_gold=due)
    check_sampler(models, rollout, measured)
    final = objective(models, rollout, measured, state.scale, state.multipliers, config)
    if config.mixture() is not None:
        worth = partial(objective, models, scale=state.scale, multipliers=state.multipliers, config=config)
        drawn = (config.seed, state.step)
        judged, aside = yield from against_mixture(models, rollout, final, worth, config, *drawn)
        measured = replace(measured, scored=measured.scored.beside(aside))
    elif config.preferred_by():
        said = yield from compared(rollout, models.rewards, models.policy.tokeniser)
        measured = replace(measured, wins=said.wins, scored=measured.scored.beside(said.aside))
        judged = mean_wins(said.wins, rollout.groups)
    return Sampling(rollout, measured, final if judged is None else judged, sampled)


def one_step(
    algorithm: Algorithm,
    models: Models,
    prompts: Prompts,
    state: State,
    config: PolicyLearningConfig,
    run: RunDir,
) -> Iterator[Event]:
    """Phases 1 to 5; `state` is moved on by one step."""
    number = state.step + 1
    began = time.perf_counter()
    chosen = prompts.of_step(state.step, config.prompts_per_step, config.seed)
    ask_ahead(models, prompts, state.step, config)
    phases = partial(sampled_and_measured, models, state, config, run)
    sampling = yield from phases(chosen, "rollout")
    if config.resample:
        sampling = yield from resampled(sampling, prompts, state.step, config, phases)
    rollout, measured, final, sampled = sampling
    scored = time.perf_counter()
    flat = without_variance(final, rollout.groups)
    targets = algorithm.advantages(rollout, measured, final, state.beta)
    metrics = rollout_metrics(rollout, measured, targets, state.beta)
    targets = weighted(models, rollout, measured, targets, config, metrics)
    metrics["policy/objective"] = float(final.mean())
    if config.samples > 1:
        metrics |= group_metrics(rollout, flat)
    yield write_rollouts(run, number, rollout, measured, targets)
    check_bound(run, number, rollout, measured, targets, config)
    yield from tell_cut(state, measured)
    yield from check_collapse(run, state, metrics, rollout, measured, targets, config)
    update = Update(
        algorithm,
        models,
        rollout,
        measured,
        targets,
        state.beta,
        config,
        state.step,
        learned_from(flat, config),
    )
    stats = yield from _guarded(update, run)
    metrics |= update_metrics(stats, annealed(state.step, config.steps, config.peak_learning_rate))
    times = {"rollout": sampled - began, "scoring": scored - sampled, "update": time.perf_counter() - scored}
    metrics |= effort_metrics(models.effort, rollout, stats, config, times, models.device)
    if config.trace_every and (number == 1 or number % config.trace_every == 0):
        yield write_traces(run, number, models, rollout, measured, targets, stats)
    metrics |= update_coefficients(models, state, measured, targets, config)
    state.step, state.last = number, metrics
    yield Metrics(step=number, values=metrics)


def update_coefficients(
    models: Models, state: State, measured: Measured, targets: Targets, config: PolicyLearningConfig
) -> dict[str, float]:
    """β and the multipliers of the next step; goal and multipliers of this one as metrics."""
    metrics: dict[str, float] = {}
    if config.kl == "adaptive" and state.step > 0:  # the first responses are the reference policy's own
        episodes = len(measured.scores)
        horizon = config.kl_horizon or horizon_of(episodes, config.steps)
        control = AdaptiveKL(config.kl_target, horizon)
        goal = control.goal(state.step, config.steps)
        metrics["policy/kl_goal"] = goal
        state.beta_level, state.beta = control.updated(
            state.beta_level, targets.kl_a_response, episodes, goal
        )
    ascent, scored = DualAscent(config.ascent_rate), measured.scored
    for name, excess_N in models.rewards.excess(scored, state.scale).items():
        metrics[f"multiplier/{name}"] = state.multipliers[name]
        state.multiplier_levels[name], state.multipliers[name] = ascent.updated(
            state.multiplier_levels[name], float(excess_N.mean())
        )
    return metrics


def _guarded(update: Update, run: RunDir) -> Generator[Event, None, UpdateStats]:
    """The update; a loss that is not finite keeps the batch and becomes a sentence."""
    try:
        return (yield from update.run())
    except BrokenUpdateError as broken:
        number, reason = update.step + 1, {"reason": str(broken)}
        where = keep_batch(run, number, update.rollout, update.measured, update.targets, reason)
        raise not_finite(number, str(broken), where) from broken


def keep_policy(
    models: Models, step: int, policy_folder: Path, config: PolicyLearningConfig, run: RunDir
) -> Iterator[Event]:
    """Save the policy after `step` steps under its own name."""
    yield Progress(stage="saving", done=0, total=1)
    destination = run.artifact_dir("policies") / f"step-{step:06d}"
    save_trained(models.policy, models.optimisers["policy"], policy_folder, destination)
    if not current().main:
        return
    name = policy_name(config, step)
    details = {"policy": run.model("policy").name}
    yield Artifact(kind="policy", name=name, path=run.relative(destination), step=step, details=details)


def finish(
    models: Models, state: State, policy_folder: Path, config: PolicyLearningConfig, run: RunDir
) -> Iterator[Event]:
    """Save the policy and tell how it went."""
    current().check_same(models.optimisers.values())
    if models.served is not None:
        models.served.forget()
    yield Progress(stage="saving", done=0, total=1)
    destination = run.path / "model"
    if models.remote is None:
        save_trained(models.policy, models.optimisers["policy"], policy_folder, destination)
    if not current().main:
        return
    yield Progress(stage="saving", done=1, total=1)
    summary: dict[str, float | int | str | bool | None] = {
        "steps": state.step,
        "score_before": state.first["score"],
        "score_after": state.last["policy/score"],
        "kl": state.last["policy/kl"],
        "length": state.last["policy/length"],
        "beta": state.beta,
    }
    if models.remote is not None:  # its adapters stay where they are
        return (yield Finished(summary=summary | {"weights": models.remote.server.weights}))
    parents = {role: model.name for role, model in run.inputs.models.items()}
    yield Artifact(
        kind="policy",
        name=config.name,
        path=run.relative(destination),
        step=state.step,
        details={**summary, **parents},
    )
    yield Finished(summary=summary)
