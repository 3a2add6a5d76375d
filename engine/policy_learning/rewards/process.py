"""Rewards at the ends of steps, by a process reward model: credit where it was earned.

Each step of a response earns w·(2σ(s) − 1) at its last token, s being the model's log-odds that it is good
(Uesato et al., arXiv 2211.14275, §2; Lightman et al., arXiv 2305.20050).  What the whole response earns
stands at its last token beside them.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from engine.errors import UsageError
from engine.models.lora import without_lora
from engine.models.reward_model import RewardModel
from engine.models.step_scores import step_scores, stepped
from engine.objectives.steps import placed, step_worth
from engine.policy_learning.rewards.parts import Conversation
from engine.steps import token_ends
from engine.text import Tokeniser


@dataclass(frozen=True)
class StepRewards:
    """A process reward model that pays at each step's end."""

    reward_model: RewardModel
    weight: float
    tokeniser: Tokeniser  # of the policy, whose tokens the rewards stand at

    @torch.no_grad()
    def of(self, conversations: Sequence[Conversation], mask_N_T: Tensor, budget: int) -> Tensor:
        """[N, T] rewards of the responses of `mask_N_T`; 0 where no step ends.

        The text is cut into steps and read by the reward model's own tokeniser; `budget` bounds the padded
        tokens of one forward.
        """
        model, tokeniser = self.reward_model, self.reward_model.tokeniser
        assert model.steps is not None
        texts = [
            stepped(tokeniser, one.messages, one.text, tokeniser.score_tokens, separator=model.steps)
            for one in conversations
        ]
        with without_lora(model.trunk.module):  # a critic may have its adapters on this trunk
            scores = step_scores(model, texts, budget=budget)
        ends = [
            token_ends(self.tokeniser.pieces(list(one.token_ids or ())), text.ends)
            for one, text in zip(conversations, texts, strict=True)
        ]
        return placed([self.weight * step_worth(score_S) for score_S in scores], ends, mask_N_T)


def step_rewards(name: str, reward_model: RewardModel, weight: float, tokeniser: Tokeniser) -> StepRewards:
    """Raises UsageError where the reward model knows no steps."""
    if reward_model.steps is None:
        raise UsageError(
            f"The reward model {name} scores whole responses, not steps; train a process reward model for "
            "process_reward."
        )
    return StepRewards(reward_model, weight, tokeniser)
