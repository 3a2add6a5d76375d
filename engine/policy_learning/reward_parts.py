"""The components of a reward: registered reward models and plain Python functions.

`M` members of an ensemble (1 without one), `N` responses.
"""

from __future__ import annotations

import importlib
import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import NamedTuple, Protocol

import torch
from torch import Tensor

from engine.errors import UsageError
from engine.models.lora import without_lora
from engine.models.reward_model import RewardModel, load_reward_model
from engine.protocol.plugins import load, plugged
from engine.protocol.rewards import PLUGIN, Component
from engine.protocol.suggest import did_you_mean
from engine.text import Chat, ScoreTokens, Tokeniser


class Conversation(NamedTuple):
    """A prompt and the cut text of a response to it."""

    messages: Chat
    text: str
    token_ids: Sequence[int] | None = None  # as sampled; None where there are none


class RewardPart(Protocol):
    """One component of the reward."""

    @property
    def component(self) -> Component: ...

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
    """A plain Python function of the prompt's text and the response's."""

    component: Component
    function: Callable[[str, str], float]
    tokeniser: Tokeniser

    def members(self, conversations: Sequence[Conversation], budget: int) -> Tensor:
        """Raises UsageError, naming the function, when it fails or gives no finite number."""
        where = f"The reward function {self.component.source}"
        member_scores = []
        for messages, text, _ in conversations:
            try:
                score = float(self.function(self.tokeniser.render(messages, "plain"), text))
            except (Exception, SystemExit) as error:  # the person's own code may raise anything
                raise UsageError(f"{where} failed ({type(error).__name__}: {_line(error)}).") from error
            if not math.isfinite(score):
                raise UsageError(f"{where} gave {score}; it must give a finite number for every response.")
            member_scores.append(score)
        return torch.tensor([member_scores])

    def cut(self, conversations: Sequence[Conversation]) -> Tensor:
        return torch.zeros(len(conversations), dtype=torch.bool)


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


def import_function(path: str) -> Callable[[str, str], float]:
    """The function `package.module:function` of an installed package or one on PYTHONPATH, or `plugin:NAME`.

    Raises UsageError naming the path.
    """
    module_name, _, name = path.partition(":")
    if module_name == PLUGIN:
        return _plugged_function(name)
    try:
        module = importlib.import_module(module_name)
    except (Exception, SystemExit) as error:  # the module's own code may raise anything
        raise UsageError(
            f"The reward function {path} cannot be imported ({type(error).__name__}: {_line(error)}); "
            "install its package, or put its folder on PYTHONPATH."
        ) from error
    function = getattr(module, name, None)
    if not callable(function):
        raise UsageError(f"The reward function {path} does not exist: {module_name} has no function {name}.")
    reward: Callable[[str, str], float] = function
    return reward


def _plugged_function(name: str) -> Callable[[str, str], float]:
    known = plugged("rewards")
    if name not in known:
        raise UsageError(f"There is no plugin with a reward “{name}”. {did_you_mean(name, known)}")
    function: Callable[[str, str], float] = load("rewards", name)
    if not callable(function):
        raise UsageError(f"The reward “{name}” of a plugin is no function; correct its entry point.")
    return function


def _line(error: BaseException) -> str:
    text = str(error).strip()
    return text.splitlines()[0][:200] if text else "no reason given"


class RewardModels:
    """Reward models by folder, each loaded once."""

    def __init__(self, dtype: str, device: torch.device) -> None:
        self._dtype, self._device = dtype, device
        self._loaded: dict[Path, RewardModel] = {}

    def load(self, folder: Path) -> RewardModel:
        folder = Path(folder).resolve()
        if folder not in self._loaded:
            reward_model = load_reward_model(folder, self._dtype, self._device)
            reward_model.model.requires_grad_(False)
            self._loaded[folder] = reward_model
        return self._loaded[folder]
