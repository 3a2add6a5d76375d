"""The policy in training, beside the reference that it started as: what every loop that trains one shares."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import NamedTuple

import torch
from torch import Tensor
from transformers import PreTrainedModel

from engine.models.device import resolve_device
from engine.models.head import head_of
from engine.models.lora import without_lora
from engine.models.packing import ResponseStates, Row
from engine.models.policy import load_policy
from engine.models.saving import save_model
from engine.models.trunk import Trunk, make_trainable
from engine.text import Tokeniser
from engine.training.optimiser import MasterAdam


class PolicyOutputs(NamedTuple):
    """What one pass of the policy gives of N responses, T tokens of the longest; 0 beyond their ends."""

    logprobs: Tensor  # [N, T] float32, log π of every response token
    entropy: Tensor  # [N, T] nats; 0 where gradients are taken and nobody asked for it
    states: ResponseStates  # that predict the tokens


@dataclass
class Policy:
    """The policy in training, and the reference that it started as."""

    model: PreTrainedModel
    trunk: Trunk
    frozen: tuple[PreTrainedModel, Trunk] | None  # the reference; None: the policy without its adapters
    tokeniser: Tokeniser
    temperature: float

    def forward(self, rows: list[Row], *, entropy: bool = False) -> PolicyOutputs:
        """log π of every response token of all rows, in order, and the states that it was read from.

        entropy: also its entropy where gradients are taken.
        """
        return _forward(self.model, self.trunk, rows, self.temperature, entropy)

    def reference_logprobs(self, rows: list[Row]) -> Tensor:
        """log π_ref of every response token, [N, T]."""
        if self.frozen is not None:
            return _forward(*self.frozen, rows, self.temperature).logprobs
        with without_lora(self.model):
            return self.forward(rows).logprobs


def _forward(
    model: PreTrainedModel, trunk: Trunk, rows: list[Row], temperature: float, entropy: bool = False
) -> PolicyOutputs:
    states = trunk.states(rows, "before")
    chosen = head_of(model).logprobs(
        states.hidden[states.mask], states.tokens[states.mask], temperature=temperature, entropy=entropy
    )
    logprobs_N_T, entropy_N_T = torch.zeros(2, *states.mask.shape, device=states.mask.device).unbind()
    logprobs_N_T = logprobs_N_T.masked_scatter(states.mask, chosen.logprobs)
    if chosen.entropy is not None:
        entropy_N_T = entropy_N_T.masked_scatter(states.mask, chosen.entropy)
    return PolicyOutputs(logprobs_N_T, entropy_N_T, states)


def load_trainable_policy(
    folder: Path,
    *,
    dtype: str,
    device: str,
    lora_rank: int | None,
    seed: int,
    temperature: float = 1.0,
    with_reference: bool = True,
) -> Policy:
    """A policy ready to be trained: adapters of that rank, or (None) every weight, beside a frozen copy."""
    tokeniser, place = Tokeniser.from_folder(folder), resolve_device(device)
    model = load_policy(folder, dtype, place)
    frozen = None
    if lora_rank is None and with_reference:
        copy = load_policy(folder, dtype, place).requires_grad_(False)
        frozen = (copy, Trunk.of(copy, tokeniser.pad_id, place))
    make_trainable(model, lora_rank=lora_rank, seed=seed)
    return Policy(model, Trunk.of(model, tokeniser.pad_id, place), frozen, tokeniser, temperature)


def save_trained(policy: Policy, optimiser: MasterAdam, source: Path, destination: Path) -> None:
    """Save the policy, adapters merged, as plain transformers loads it.

    In float32: steps smaller than a bfloat16 digit of the base weights would be lost.
    """
    save_model(policy.model, source, destination, "float32", masters=optimiser.masters)
