"""Samples compared by a pairwise preference model (`engine.scoring.preference`)."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import torch
from torch import Tensor

from engine.models.features import FEATURE_TOKENS
from engine.models.reward_model import RewardModel
from engine.policy_learning.rewards.parts import Conversation
from engine.scoring.preference import PreferenceHead, load_preference


@dataclass(frozen=True)
class PairwiseModel:
    """The preference model beside a reward model, and the trunk that both read."""

    head: PreferenceHead
    reward_model: RewardModel

    @classmethod
    def load(cls, name: str, folder: Path, reward_model: RewardModel) -> PairwiseModel:
        """Raises UsageError where there is no preference model beside the reward model."""
        return cls(load_preference(folder, name), reward_model)

    @torch.no_grad()
    def wins(self, conversations: Sequence[Conversation], budget: int = FEATURE_TOKENS) -> Tensor:
        """P(row ≻ column) of responses to one prompt, [K, K] float64; with its transpose it adds up to 1."""
        tokeniser = self.reward_model.tokeniser
        encoded = [
            tokeniser.encode_for_score(one.messages, one.text, tokeniser.score_tokens)
            for one in conversations
        ]
        features = self.reward_model.features_of([(one.prompt, one.response) for one in encoded], budget)
        return torch.sigmoid(torch.from_numpy(self.head.logits(features.numpy())))
