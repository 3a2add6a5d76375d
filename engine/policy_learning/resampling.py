"""Dynamic sampling: prompts whose samples all score alike teach nothing, and others take their place.

DAPO (arXiv 2503.14476, §3.2) samples until every prompt of a step has samples that differ; here in a bounded
number of rounds, counted in `policy/resampled`, and what was sampled is written whether it is learned from
or not.
"""

from __future__ import annotations

from collections.abc import Callable, Generator
from dataclasses import replace
from typing import NamedTuple

import torch
import torch.nn.functional as F
from torch import Tensor

from engine.objectives.groups import without_variance
from engine.policy_learning.prompts import Prompts
from engine.policy_learning.rewards.score_scale import RewardScores
from engine.policy_learning.rollout import Measured, Rollout
from engine.protocol.configs import PolicyLearningConfig
from engine.protocol.events import Event


class Sampling(NamedTuple):
    """Phases 1 and 2 of a step: responses, what every model says of them, and what is maximised."""

    rollout: Rollout
    measured: Measured
    final: Tensor  # [N]
    sampled: float  # when the last response was there, `time.perf_counter`


Phases = Callable[..., Generator[Event, None, Sampling]]


def resampled(
    sampling: Sampling, prompts: Prompts, step: int, config: PolicyLearningConfig, phases: Phases
) -> Generator[Event, None, Sampling]:
    """`sampling` and further rounds, until as many prompts vary as there were, or no more are to be had."""
    wanted = len(sampling.rollout.prompts)
    for round_ in range(config.resample):
        missing = wanted - _varied(sampling)
        used = {prompt.prompt_id for prompt in sampling.rollout.prompts}
        others = prompts.instead(step, round_, missing, config.seed, used)
        if not others:
            break
        sampling = joined(sampling, (yield from phases(others, "instead", round_)))
    return sampling


def _varied(sampling: Sampling) -> int:
    """Prompts whose samples differ."""
    groups = sampling.rollout.groups
    return len(groups[~without_variance(sampling.final, groups)].unique())


def learned_from(flat_N: Tensor, config: PolicyLearningConfig) -> list[int]:
    """The responses of the update: with `resample` those of prompts that vary, where there are any."""
    if not config.resample or bool(flat_N.all()):
        return list(range(len(flat_N)))
    return torch.nonzero(~flat_N)[:, 0].tolist()


def group_metrics(rollout: Rollout, flat_N: Tensor) -> dict[str, float]:
    """How many prompts were sampled, and how many of them teach nothing."""
    flat = len(rollout.groups[flat_N].unique())
    return {"policy/prompts": float(len(rollout.prompts)), "policy/prompts_alike": float(flat)}


def joined(one: Sampling, other: Sampling) -> Sampling:
    """Both as one rollout, the prompts of the second behind those of the first."""
    a, b = one.rollout, other.rollout
    moved = [replace(s, prompt_index=s.prompt_index + len(a.prompts)) for s in b.sampled]
    rollout = Rollout(
        prompts=a.prompts + b.prompts,
        sampled=a.sampled + moved,
        texts=a.texts + b.texts,
        tokens=_stacked(a.tokens, b.tokens),
        mask=_stacked(a.mask, b.mask),
        sampled_logprobs=_stacked(a.sampled_logprobs, b.sampled_logprobs),
    )
    m, n = one.measured, other.measured
    measured = Measured(
        scored=_scored(m.scored, n.scored),
        gold=None if m.gold is None or n.gold is None else torch.cat([m.gold, n.gold]),
        logprobs=_stacked(m.logprobs, n.logprobs),
        ref_logprobs=_stacked(m.ref_logprobs, n.ref_logprobs),
        entropy=_stacked(m.entropy, n.entropy),
        values=None if m.values is None or n.values is None else _stacked(m.values, n.values),
        ratio_max_deviation=max(m.ratio_max_deviation, n.ratio_max_deviation),
        cut=torch.cat([m.cut, n.cut]),
        step_rewards=None
        if m.step_rewards is None or n.step_rewards is None
        else _stacked(m.step_rewards, n.step_rewards),
    )
    return Sampling(rollout, measured, torch.cat([one.final, other.final]), other.sampled)


def _stacked(a_N_T: Tensor, b_N_T: Tensor) -> Tensor:
    """One under the other, the narrower one padded with 0."""
    width = max(a_N_T.shape[1], b_N_T.shape[1])
    return torch.cat([F.pad(x, (0, width - x.shape[1])) for x in (a_N_T, b_N_T)])


def _scored(a: RewardScores, b: RewardScores) -> RewardScores:
    return RewardScores(
        members={name: torch.cat([scores, b.members[name]], dim=1) for name, scores in a.members.items()},
        components={name: torch.cat([scores, b.components[name]]) for name, scores in a.components.items()},
        scores=torch.cat([a.scores, b.scores]),
        costs={name: torch.cat([cost_N, b.costs[name]]) for name, cost_N in a.costs.items()},
        aside={name: torch.cat([values, b.aside[name]]) for name, values in a.aside.items()},
    )
