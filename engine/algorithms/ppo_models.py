"""The four models of PPO: policy, reference policy, reward model, critic.

With adapters there are two sets of weights: the reference is the policy without its adapters, and the reward
model is the critic without its adapters.  With full tuning there are four.
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from contextlib import contextmanager, nullcontext
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn
from transformers import PreTrainedModel

from engine.algorithms.optimiser import MasterAdam
from engine.algorithms.parts import Trunk, device_of, grouped, head_scores, make_trainable
from engine.errors import UsageError
from engine.models.lora import without_lora
from engine.models.packing import Row, last_states
from engine.models.parts import output_head
from engine.models.policy import load_policy
from engine.models.reward import load_reward_model
from engine.objectives.logprobs import chosen_logprobs
from engine.protocol.configs import PPOConfig
from engine.text import Chat, Tokeniser

ADAM_EPS = 1e-5  # Blog, "Adam learning rate and epsilon"


@dataclass
class Models:
    """Everything with weights.  Shapes: N responses of the rows given, in order, T tokens of the longest."""

    policy: PreTrainedModel
    policy_trunk: Trunk
    reference: tuple[PreTrainedModel, Trunk] | None  # None: the policy without its adapters
    critic: PreTrainedModel
    critic_trunk: Trunk
    value_head: nn.Linear
    reward: tuple[PreTrainedModel, Trunk] | None  # None: the critic without its adapters
    tokeniser: Tokeniser
    reward_tokeniser: Tokeniser
    temperature: float
    optimisers: dict[str, MasterAdam]

    def logprobs(self, rows: list[Row]) -> tuple[Tensor, Tensor]:
        """log π of every response token and the entropy there, [N, T] float32, 0 beyond the responses."""
        return _logprobs(self.policy, self.policy_trunk, rows, self.temperature)

    def reference_logprobs(self, rows: list[Row]) -> Tensor:
        """log π_ref of every response token, [N, T]."""
        if self.reference is not None:
            return _logprobs(*self.reference, rows, self.temperature)[0]
        with without_lora(self.policy):
            return _logprobs(self.policy, self.policy_trunk, rows, self.temperature)[0]

    def values(self, rows: list[Row]) -> Tensor:
        """Value of the state before every response token, [N, T] float32, 0 beyond the responses."""
        states = self.critic_trunk.states(rows, "before")
        return torch.where(states.mask, head_scores(self.value_head, states.hidden), 0)

    @contextmanager
    def _reward_model(self) -> Iterator[tuple[PreTrainedModel, Trunk]]:
        with without_lora(self.critic) if self.reward is None else nullcontext():
            yield self.reward or (self.critic, self.critic_trunk)

    @torch.no_grad()
    def scores(self, conversations: list[tuple[Chat, str]], sequences: int) -> Tensor:
        """Score of each (prompt, cut text) as the reward model gives it, [N] float32 on the CPU.

        The text is encoded by the reward model's own tokeniser and read at its end of sequence, as in
        training, export and interactive scoring.
        """
        limit = getattr(self.critic.config.get_text_config(), "max_position_embeddings", None)
        pairs = []
        for messages, text in conversations:
            tokens = self.reward_tokeniser.encode_for_score(messages, text, limit, template=None)
            pairs.append((tokens.prompt, tokens.response))
        scores_N = torch.zeros(len(pairs))
        with self._reward_model() as (model, trunk):
            for part in range(0, len(pairs), sequences):
                rows, order = grouped(pairs[part : part + sequences])
                found = head_scores(output_head(model), last_states(trunk.states(rows, "at")))
                scores_N[part + torch.tensor(order)] = found.cpu()
        return scores_N

    @torch.no_grad()
    def calibrate_values(self, scale: float, shift: float) -> None:
        """Turn the value v into scale·v + shift."""
        self.value_head.weight.mul_(scale)
        self.value_head.bias.mul_(scale).add_(shift)


def _logprobs(
    model: PreTrainedModel, trunk: Trunk, rows: list[Row], temperature: float
) -> tuple[Tensor, Tensor]:
    states = trunk.states(rows, "before")
    found = chosen_logprobs(
        output_head(model), states.hidden[states.mask], states.tokens[states.mask], temperature=temperature
    )
    padded = torch.zeros(2, *states.mask.shape, device=states.mask.device)
    logprobs_N_T, entropy_N_T = padded[0].clone(), padded[1]
    logprobs_N_T[states.mask] = found.logprobs
    if found.entropy is not None:
        entropy_N_T[states.mask] = found.entropy
    return logprobs_N_T, entropy_N_T


def load_models(config: PPOConfig, policy_folder: Path, reward_folder: Path) -> Models:
    """Load the models and choose what is trained.

    Raises UsageError when reward model and policy do not share their tokens: the critic, which starts from
    the reward model, reads the policy's tokens.
    """
    tokeniser, reward_tokeniser = map(Tokeniser.from_folder, (policy_folder, reward_folder))
    if _vocabulary(policy_folder) != _vocabulary(reward_folder):
        raise UsageError(
            f"The policy {config.policy} and the reward model {config.reward_model} have different "
            "tokenisers, so the critic could not read the policy's tokens; train a reward model from the "
            "policy's own family."
        )
    device, rank = device_of(config.device), config.lora_rank if config.tuning == "lora" else None
    policy = load_policy(policy_folder, config.dtype, device)
    critic = load_reward_model(reward_folder, config.dtype, device)
    head = output_head(critic)
    value_head = nn.Linear(head.in_features, 1, device=device)
    with torch.no_grad():
        value_head.weight.copy_(head.weight)
        value_head.bias.copy_(torch.zeros(1) if head.bias is None else head.bias)
    reference = reward = None
    if rank is None:
        frozen = load_policy(policy_folder, config.dtype, device).requires_grad_(False)
        reference = (frozen, Trunk.of(frozen, tokeniser.pad_id, device))
        scorer = load_reward_model(reward_folder, config.dtype, device).requires_grad_(False)
        reward = (scorer, Trunk.of(scorer, reward_tokeniser.pad_id, device))
    make_trainable(policy, lora_rank=rank, seed=config.seed)
    make_trainable(critic, lora_rank=rank, seed=config.seed + 1)
    head.requires_grad_(False)  # the reward model's; the critic's is the value head
    return Models(
        policy=policy,
        policy_trunk=Trunk.of(policy, tokeniser.pad_id, device),
        reference=reference,
        critic=critic,
        critic_trunk=Trunk.of(critic, tokeniser.pad_id, device),
        value_head=value_head,
        reward=reward,
        tokeniser=tokeniser,
        reward_tokeniser=reward_tokeniser,
        temperature=config.temperature,
        optimisers={
            "policy": MasterAdam(policy, eps=ADAM_EPS),
            "critic": MasterAdam(nn.ModuleDict({"model": critic, "value": value_head}), eps=ADAM_EPS),
        },
    )


def _vocabulary(folder: Path) -> Any:
    """What decides which text a token id stands for."""
    content = json.loads((folder / "tokenizer.json").read_text(encoding="utf-8"))
    return content["model"].get("vocab"), [(t["id"], t["content"]) for t in content.get("added_tokens", [])]
