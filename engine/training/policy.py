"""The policy in training, beside the reference that it started as: what every loop that trains one shares."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Literal, NamedTuple

import torch
from torch import Tensor, nn
from transformers import PreTrainedModel

from engine.models.activations import Activations, keep_of_passes
from engine.models.device import resolve_device
from engine.models.four_bit import Base, bytes_of, has_quantised, is_quantised, quantise
from engine.models.head import head_of
from engine.models.lora import without_lora
from engine.models.packing import ResponseStates, Row
from engine.models.parts import place as on_device
from engine.models.policy import load_policy
from engine.models.saving import save_model
from engine.models.sharding import is_sharded, shard
from engine.models.trunk import Trunk, make_trainable
from engine.protocol.events import Event, Message
from engine.text import Tokeniser
from engine.training.optimiser import MasterAdam, WholeMasters
from engine.training.ranks import current

Sharding = Literal["auto", "none", "full"]


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

    def idle(self, *, learning: bool) -> None:
        """What other ranks wait for where weights are divided: a pass that leaves nothing behind."""
        self.trunk.idle(learning=learning)

    def idle_reference(self) -> None:
        """The same of the reference."""
        (self.trunk if self.frozen is None else self.frozen[1]).idle(learning=False)

    @property
    def divided(self) -> bool:
        """Whether its weights are divided among ranks."""
        return is_sharded(self.trunk.module)

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
    sharding: Sharding = "none",
    activations: Activations = "keep",
    base: Base = "whole",
) -> Policy:
    """A policy ready to be trained: adapters of that rank, or (None) every weight, beside a frozen copy.

    base: what is under the adapters, and the reference with them switched off.
    """
    tokeniser, place = Tokeniser.from_folder(folder), resolve_device(device)
    begins = first_place(sharding, place) if base == "whole" else torch.device("cpu")
    model = load_policy(folder, dtype, begins)
    frozen = None
    if lora_rank is None and with_reference:
        copy = load_policy(folder, dtype, begins).requires_grad_(False)
        frozen = (copy, Trunk.of(copy, tokeniser.pad_id, place))
    make_trainable(model, lora_rank=lora_rank, seed=seed)
    if base == "4-bit":
        quantise(model, place)
        on_device(model, place)
    trunk = Trunk.of(model, tokeniser.pad_id, place)
    keep_of_passes(trunk.module, activations, place)
    models = [model] if frozen is None else [model, frozen[0]]
    divide_or_place(sharding, models, place)
    return Policy(model, trunk, frozen, tokeniser, temperature)


def first_place(sharding: Sharding, device: torch.device) -> torch.device:
    """Where a model is loaded: what is to be divided may not fit on a device."""
    return device if current().world == 1 or sharding == "none" else torch.device("cpu")


def divide_or_place(sharding: Sharding, models: Sequence[PreTrainedModel], device: torch.device) -> None:
    """Divide what was loaded in its first place among the ranks, or put it on the device as a whole."""
    divided = _divides(sharding, models, device)
    for model in models:
        if divided:
            shard(model, device)
        else:
            on_device(model, device)


def told_of_weights(module: nn.Module) -> Iterator[Event]:
    """A word to the person where weights are divided, or in 4 bits."""
    if is_sharded(module):
        text = f"Weights, gradients and moments are divided among {current().world} processes."
        yield Message(level="info", text=text)
    small = [p for p in module.parameters() if is_quantised(p)]
    if small:
        rest = sum(p.numel() for p in module.parameters() if not p.requires_grad) - sum(
            map(Tensor.numel, small)
        )
        text = (
            f"{sum(map(Tensor.numel, small)):,} frozen weights are in 4 bits and take "
            f"{sum(map(bytes_of, small)) / 2**20:,.0f} MiB; {rest:,} are as they were."
        )
        yield Message(level="info", text=text)


def _divides(sharding: Sharding, models: Sequence[nn.Module], device: torch.device) -> bool:
    """Whether the weights of a training are divided among its ranks; `auto` where a GPU has no room for all.

    A weight takes what it is stored in, and where it is trained 16 bytes more (gradient, float32 master, two
    moments); activations are left a third of the memory.
    """
    if current().world == 1 or sharding == "none" or any(map(has_quantised, models)):
        return False
    if sharding == "full":
        return True
    if device.type != "cuda":
        return False
    parameters = [p for model in models for p in model.parameters()]
    needed = sum(bytes_of(p) + 16 * p.numel() * p.requires_grad for p in parameters)
    return needed > torch.cuda.get_device_properties(device).total_memory * 2 / 3


def save_trained(policy: Policy, optimiser: MasterAdam, source: Path, destination: Path) -> None:
    """Save the policy, adapters merged, as plain transformers loads it; every rank calls this, one writes.

    In float32: steps smaller than a bfloat16 digit of the base weights would be lost.
    """
    if not current().main and not is_sharded(policy.model):
        return
    masters = WholeMasters(optimiser)
    save_model(policy.model, source, destination, "float32", masters=masters, writes=current().main)
