"""Proxies of a gold reward model, and the scales on which they and the gold model are compared."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np
import torch
from torch import Tensor

from engine.models.reward_model import RewardModel
from engine.objectives.groups import group_advantages, spread_within
from engine.policy_learning.prompts import Prompt
from engine.policy_learning.rewards.parts import ModelPart
from engine.policy_learning.rewards.rewards import Rewards
from engine.policy_learning.rewards.score_scale import RewardScores, ScoreScale
from engine.protocol.configs.overoptimise import PLAIN
from engine.protocol.rewards import Component, Ensemble
from engine.rollout import Sampled
from engine.text import Tokeniser


@dataclass(frozen=True)
class Answers:
    """All samples: P prompts, training prompts first, K samples each."""

    prompts: list[Prompt]
    training: int  # how many prompts the proxies may learn from
    sampled: list[Sampled]
    texts: list[str]

    @property
    def groups(self) -> np.ndarray:
        """[N] the prompt of each sample."""
        return np.array([one.prompt_index for one in self.sampled])

    def encoded(self, tokeniser: Tokeniser) -> list[tuple[list[int], list[int]]]:
        """Prompt and response of every sample, as a reward model with this tokeniser reads them."""
        pairs = []
        for one, text in zip(self.sampled, self.texts, strict=True):
            messages = self.prompts[one.prompt_index].messages
            tokens = tokeniser.encode_for_score(messages, text, tokeniser.score_tokens)
            pairs.append((tokens.prompt, tokens.response))
        return pairs


@dataclass(frozen=True)
class ProxyKey:
    """A proxy and how its heads become one score; 0 labels is the gold model itself."""

    labels: int
    replicate: int
    variant: str = PLAIN

    def __str__(self) -> str:
        plain = f"{self.labels}/{self.replicate}"
        return plain if self.variant == PLAIN else f"{plain}/{self.variant}"

    def metric(self, method: str, figure: str) -> str:
        """The name under which a figure is logged, which the view `gold_curves` takes apart.

        method: bon, or rl for a policy that learns.
        """
        name = f"gold_curves/{self.labels}/{self.replicate}/{figure}"
        return name if (method, self.variant) == ("bon", PLAIN) else f"{name}/{method}/{self.variant}"


@dataclass(frozen=True)
class Yardstick:
    """Scores in standard deviations within a prompt, from the mean of the first policy's samples of it."""

    level: dict[str, float]  # by prompt
    spread: float

    @classmethod
    def on(cls, scores_N: np.ndarray, ids: Sequence[str]) -> Yardstick:
        """From the first policy's samples; ids: of the prompt of each."""
        known = list(dict.fromkeys(ids))
        group_N = np.array([known.index(one) for one in ids])
        level = {one: float(scores_N[group_N == place].mean()) for place, one in enumerate(known)}
        spread = within(scores_N, group_N)[1]
        return cls(level, spread if spread > 0 else 1.0)

    def of(self, scores_N: np.ndarray, ids: Sequence[str]) -> Tensor:
        """[N] scores of any policy's samples on this scale."""
        level_N = np.array([self.level[one] for one in ids])
        return torch.from_numpy((scores_N - level_N) / self.spread)


@dataclass(frozen=True)
class Held:
    """The first policy's samples of the held-out prompts, H of them; prompts count from 0."""

    prompts: list[Prompt]
    sampled: list[Sampled]
    texts: list[str]
    ids: list[str]  # of each sample's prompt
    features: np.ndarray  # [H, F]
    gold_scores: np.ndarray  # [H]
    judge_scores: np.ndarray  # [H]
    gold: Yardstick
    wins: Tensor  # [H] how often the judge prefers each sample to another one of its prompt

    @classmethod
    def of(cls, answers: Answers, gold_N: np.ndarray, judge_N: np.ndarray, features_N_F: np.ndarray) -> Held:
        """Those of all answers from which no proxy learns."""
        places = np.flatnonzero(answers.groups >= answers.training)
        sampled = [answers.sampled[n] for n in places]
        ids = [answers.prompts[one.prompt_index].prompt_id for one in sampled]
        moved = [replace(one, prompt_index=one.prompt_index - answers.training) for one in sampled]
        groups = torch.tensor([one.prompt_index for one in moved])
        return cls(
            answers.prompts[answers.training :], moved, [answers.texts[n] for n in places], ids,
            features_N_F[places], gold_N[places], judge_N[places], Yardstick.on(gold_N[places], ids),
            beaten(judge_N[places], groups, judge_N[places], groups, itself=True),
        )  # fmt: skip

    @property
    def groups(self) -> np.ndarray:
        """[H] the prompt of each sample."""
        return np.array([one.prompt_index for one in self.sampled])

    @property
    def lengths(self) -> Tensor:
        """[H] tokens."""
        return torch.tensor([float(len(one.token_ids)) for one in self.sampled])


def beaten(
    scores_N: np.ndarray, group_N: Tensor, others_M: np.ndarray, group_M: Tensor, *, itself: bool = False
) -> Tensor:
    """[N] the share of the others to its prompt that each sample beats, a tie one half.

    itself: the others are the samples themselves, and none is compared with itself.
    """
    score_N, score_M = torch.tensor(scores_N), torch.tensor(others_M)
    won = (score_N[:, None] > score_M).double() + 0.5 * (score_N[:, None] == score_M).double()
    same = group_N[:, None] == group_M
    if itself:
        same &= ~torch.eye(len(score_N), dtype=torch.bool)
    return torch.where(same, won, 0).sum(dim=1) / same.sum(dim=1).clamp_min(1)


@dataclass(frozen=True)
class Proxy:
    """A proxy as a reward, and what it says of the first policy's samples."""

    rewards: Rewards  # the gold model watches
    scale: ScoreScale  # of its heads, on these samples
    scores: np.ndarray  # [H]
    yardstick: Yardstick

    @classmethod
    def of(cls, variant: str, scorer: RewardModel, gold: RewardModel, held: Held) -> Proxy:
        """The proxy that reads the heads of `scorer` as the variant says."""
        ensemble = None if variant == PLAIN else Ensemble.parse(variant)
        part = ModelPart(Component("proxy"), scorer, 0, by_member=ensemble is not None, shares_tokens=True)
        watching = ModelPart(Component("gold"), gold, 0, by_member=False)
        rewards = Rewards([part], ensemble, watching)
        scores_N_C, members = scorer.read(torch.from_numpy(held.features).float())
        heads_M_N = scores_N_C[None, :, 0] if ensemble is None or members is None else members[:, :, 0]
        scored = RewardScores({"proxy": heads_M_N}, {}, heads_M_N.mean(dim=0))
        groups = torch.from_numpy(held.groups)
        scale = ScoreScale.of(scored, groups)
        scores_N = rewards.combined(scored, scale, groups).double().numpy()
        return cls(rewards, scale, scores_N, Yardstick.on(scores_N, held.ids))


def within(scores_N: np.ndarray, group_N: np.ndarray) -> tuple[np.ndarray, float]:
    """Scores less the mean of their prompt, and their standard deviation about it."""
    score_N, groups = torch.from_numpy(scores_N).double(), torch.from_numpy(group_N)
    return group_advantages(score_N, groups, scale=False).numpy(), spread_within(score_N, groups)[0]
