"""The components of a reward: registered reward models and Python functions.

`M` members of an ensemble (1 without one), `N` responses.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NamedTuple, Protocol

import torch
from torch import Tensor

from engine.errors import UsageError
from engine.models.lora import without_lora
from engine.models.reward_model import RewardModel, load_reward_model
from engine.policy_learning.rewards.function_process import TimedFunction
from engine.policy_learning.rewards.functions import Item, RewardFunction
from engine.protocol.rewards import VERIFY, Component
from engine.text import Chat, ScoreTokens, Tokeniser

VERIFIER_SECONDS = 5.0  # that a verifier has for a response, unless function_seconds says otherwise


class Conversation(NamedTuple):
    """A prompt and the cut text of a response to it."""

    messages: Chat
    text: str
    token_ids: Sequence[int] | None = None  # as sampled; None where there are none
    reference: str | None = None  # the prompt's reference answer
    metadata: dict[str, Any] | None = None  # the prompt's


class RewardPart(Protocol):
    """One component of the reward."""

    @property
    def component(self) -> Component:
        """Its name, weight and source in the run's configuration."""

    def members(self, conversations: Sequence[Conversation], budget: int) -> Tensor:
        """Raw scores, [M, N] float32 on the CPU; `budget` bounds the padded tokens of one forward."""
        ...

    def cut(self, conversations: Sequence[Conversation]) -> Tensor:
        """Which conversations are longer than is read of them, [N] bool."""
        ...


@dataclass(frozen=True)
class ModelPart:
    """A reward model, or one criterion of it; each member of its ensemble for itself if wanted."""

    component: Component
    reward_model: RewardModel
    criterion: int
    by_member: bool
    shares_tokens: bool = False  # with the policy

    @torch.no_grad()
    def members(self, conversations: Sequence[Conversation], budget: int) -> Tensor:
        """The text is encoded by the reward model's own tokeniser and read at its end of sequence, as in
        training, export and interactive scoring.  A response with special tokens in it is scored as the
        tokens that were sampled where they are the reward model's own; elsewhere they stand by name.
        """
        pairs = [(tokens.prompt, tokens.response) for tokens in self._encoded(conversations)]
        member_scores: Tensor | None = None
        with without_lora(self.reward_model.trunk.module):  # a critic may have its adapters on this trunk
            for places, scores_n_C, members in self.reward_model.measured(pairs, budget):
                seen = members[:, :, self.criterion] if self.by_member and members is not None else None
                seen = scores_n_C[None, :, self.criterion] if seen is None else seen
                if member_scores is None:
                    member_scores = torch.zeros(len(seen), len(pairs))
                member_scores[:, places] = seen
        return torch.zeros(1, 0) if member_scores is None else member_scores

    def cut(self, conversations: Sequence[Conversation]) -> Tensor:
        """Which conversations are longer than the reward model reads, [N] bool."""
        return torch.tensor([tokens.was_cut for tokens in self._encoded(conversations)], dtype=torch.bool)

    def _encoded(self, conversations: Sequence[Conversation]) -> list[ScoreTokens]:
        return [self._tokens(conversation) for conversation in conversations]

    def _tokens(self, conversation: Conversation) -> ScoreTokens:
        tokeniser, ids = self.reward_model.tokeniser, conversation.token_ids
        if not (self.shares_tokens and ids and tokeniser.has_special(ids[:-1])):
            return tokeniser.encode_for_score(
                conversation.messages, conversation.text, tokeniser.score_tokens
            )
        prompt = tokeniser.encode_prompt(conversation.messages, tokeniser.score_template)
        return tokeniser.join_for_score(prompt, ids, tokeniser.score_tokens)


@dataclass(frozen=True)
class FunctionPart:
    """A Python function of the prompt's text and the response's, and of what is known of the prompt."""

    component: Component
    function: RewardFunction | TimedFunction
    tokeniser: Tokeniser

    def members(self, conversations: Sequence[Conversation], budget: int) -> Tensor:
        """Raises UsageError, naming the function, when it fails, takes too long or gives no finite number.

        A verifier that takes too long has not verified: 0.
        """
        items = [
            Item(self.tokeniser.render(c.messages, "plain"), c.text, c.reference, c.metadata)
            for c in conversations
        ]
        scores: list[float] = []
        for score in self.function.scores(items):
            if score is None and not self.component.source.startswith(f"{VERIFY}:"):
                raise UsageError(
                    f"The reward function {self.component.source} took too long for a response; raise "
                    "function_seconds."
                )
            scores.append(score or 0.0)
        return torch.tensor([scores])

    def cut(self, conversations: Sequence[Conversation]) -> Tensor:
        """None of them, [N] bool: a function sees whole texts."""
        return torch.zeros(len(conversations), dtype=torch.bool)


def function_part(component: Component, seconds: float, tokeniser: Tokeniser) -> FunctionPart:
    """seconds: that a function has for a response, 0 for no limit.  Raises UsageError."""
    if component.source.startswith(f"{VERIFY}:"):
        seconds = seconds or VERIFIER_SECONDS
    untimed = RewardFunction.found(component.source, seconds)
    ended = seconds and not untimed.keeps_time
    function = TimedFunction(component.source, seconds) if ended else untimed
    return FunctionPart(component, function, tokeniser)


def model_part(
    component: Component,
    reward_model: RewardModel,
    *,
    by_member: bool = False,
    policy: Tokeniser | None = None,
) -> ModelPart:
    """policy: the tokeniser of whoever answers.

    Raises UsageError when the reward model has no such criterion."""
    wanted = component.criterion
    if wanted and wanted not in reward_model.criteria:
        raise UsageError(
            f"The reward model {component.model} has no criterion “{wanted}”; it has "
            f"{', '.join(reward_model.criteria)}."
        )
    shares = policy is not None and policy.shares_tokens_with(reward_model.tokeniser)
    return ModelPart(
        component, reward_model, reward_model.criteria.index(wanted) if wanted else 0, by_member, shares
    )


class RewardModels:
    """Reward models by folder, each loaded once."""

    def __init__(self, dtype: str, device: torch.device) -> None:
        self._dtype, self._device = dtype, device
        self._loaded: dict[Path, RewardModel] = {}

    def load(self, folder: Path) -> RewardModel:
        """The model of a folder, frozen; loaded once, however many components read it."""
        folder = Path(folder).resolve()
        if folder not in self._loaded:
            reward_model = load_reward_model(folder, self._dtype, self._device)
            reward_model.model.requires_grad_(False)
            self._loaded[folder] = reward_model
        return self._loaded[folder]
