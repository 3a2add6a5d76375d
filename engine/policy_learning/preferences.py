"""Samples compared in pairs by a general preference, which need not come from any score.

The preference is a function `(prompt, first, second)` that says how likely the first is the better one, from
0 to 1: a pairwise model, a judge.  Every pair is asked in both orders, and what depends on the order alone
cancels, so the preference is antisymmetric whatever the function does.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Generator
from dataclasses import dataclass, field

import torch
from torch import Tensor

from engine.objectives.preference import antisymmetric
from engine.policy_learning.preference_function import PreferenceFunction
from engine.policy_learning.rewards.judges import JudgePart, Pair
from engine.policy_learning.rewards.pairwise import PairwiseModel
from engine.policy_learning.rewards.rewards import Rewards
from engine.policy_learning.rollout import Rollout
from engine.protocol.events import Event
from engine.text import Tokeniser


@dataclass(frozen=True)
class Wins:
    """What a preference says of `N` samples."""

    wins: Tensor  # [N, N] P(row ≻ column) within a prompt, ½ between prompts and where nothing was said
    aside: dict[str, Tensor] = field(default_factory=dict)  # by metric what is told beside them, [N]


def compared(
    rollout: Rollout, rewards: Rewards, tokeniser: Tokeniser, *, first: int = 0
) -> Generator[Event, None, Wins]:
    """The samples of each prompt, by the preference model, judge or function among the rewards.

    first: so many of the responses are compared with all the others alone; 0 compares all with all.
    Raises UsageError, naming the function, when it fails or gives no probability, and as judges do.
    """
    if rewards.pairwise is not None:
        return Wins(_by_model(rollout, rewards.pairwise))
    pairs = _pairs(rollout, first)
    if rewards.comparing is not None:
        return (yield from _by_judge(rollout, rewards.comparing, pairs))
    assert rewards.preference is not None
    return Wins(_by_function(rollout, rewards.preference, tokeniser, pairs))


def _pairs(rollout: Rollout, first: int) -> list[Pair]:
    members: dict[int, list[int]] = defaultdict(list)
    for n, one in enumerate(rollout.sampled):
        members[one.prompt_index].append(n)
    every = [(i, j) for own in members.values() for i in own for j in own if i < j]
    return [(i, j) for i, j in every if i < first <= j] if first else every


def _by_model(rollout: Rollout, pairwise: PairwiseModel) -> Tensor:
    groups, wins_N_N = rollout.groups, torch.full((len(rollout.texts),) * 2, 0.5, dtype=torch.float64)
    for index, prompt in enumerate(rollout.prompts):
        own_K = torch.nonzero(groups == index)[:, 0]
        texts = [prompt.conversation(rollout.texts[n], []) for n in own_K.tolist()]
        wins_N_N[own_K[:, None], own_K] = pairwise.wins(texts)
    return wins_N_N.float()


def _by_judge(rollout: Rollout, judge: JudgePart, pairs: list[Pair]) -> Generator[Event, None, Wins]:
    count = len(rollout.texts)
    conversations = [rollout.prompt_of(n).conversation(text, []) for n, text in enumerate(rollout.texts)]
    judged = yield from judge.compared(conversations, pairs)
    wins_N_N = torch.full((count, count), 0.5, dtype=torch.float64)
    for (i, j), win in judged.wins.items():
        if win is not None:
            wins_N_N[i, j], wins_N_N[j, i] = win, 1 - win
    return Wins(wins_N_N.float(), judged.told(judge.metric, count))


def _by_function(
    rollout: Rollout, function: PreferenceFunction, tokeniser: Tokeniser, pairs: list[Pair]
) -> Tensor:
    said_N_N = torch.full((len(rollout.texts),) * 2, 0.5, dtype=torch.float64)
    prompts = [tokeniser.render(prompt.messages, "plain") for prompt in rollout.prompts]
    for i, j in pairs:
        prompt, one, other = prompts[rollout.sampled[i].prompt_index], rollout.texts[i], rollout.texts[j]
        if one != other:
            said_N_N[i, j] = function.said(prompt, one, other)
            said_N_N[j, i] = function.said(prompt, other, one)
    return antisymmetric(said_N_N).float()
