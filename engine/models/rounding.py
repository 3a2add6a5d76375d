"""float32 weights as bfloat16, without losing what was learned.

A bfloat16 number has 8 significant bits.  The weights of a published bfloat16 model lie exactly on that
grid, and fine-tuning moves them by less than half a step of it: rounding to the nearest undoes the
training, in the same direction for every weight.  Stochastic rounding (Gupta et al., arXiv 1502.02551) goes
up or down with the probability that makes the expectation exact, and leaves numbers on the grid alone.
"""

from __future__ import annotations

import zlib

import torch
from torch import Tensor, nn

NOISE = 1 << 16  # random numbers a tensor; longer tensors use them again
DROPPED_BITS = 16  # of a float32 that a bfloat16 does not have


def generator_for(name: str, seed: int, device: torch.device | str = "cpu") -> torch.Generator:
    """The source of a tensor's noise: the same for the same name and seed."""
    return torch.Generator(device).manual_seed((zlib.crc32(name.encode()) << 20) + seed)


@torch.no_grad()
def to_bfloat16(x: Tensor, generator: torch.Generator) -> Tensor:
    """Stochastically rounded copy of a float tensor, E[result] = x.  Values that are not finite stay so."""
    exact = x.float().contiguous()
    draws = torch.randint(
        0, 1 << DROPPED_BITS, (min(NOISE, exact.numel()),), generator=generator, dtype=torch.int32,
        device=exact.device,
    )  # fmt: skip
    noise = draws.repeat(-(-exact.numel() // max(1, draws.numel())))[: exact.numel()].view(exact.shape)
    bits = (exact.view(torch.int32) + noise) & -(1 << DROPPED_BITS)
    return torch.where(torch.isfinite(exact), bits.view(torch.float32), exact).to(torch.bfloat16)


@torch.no_grad()
def round_weights(model: nn.Module) -> None:
    """Turn every parameter into bfloat16, in place and the same way each time."""
    for name, parameter in model.named_parameters():
        if parameter.dtype != torch.bfloat16:
            parameter.data = to_bfloat16(parameter.data, generator_for(name, 0, parameter.device))
