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
CHUNK = 1 << 20
DROPPED_BITS = 16  # of a float32 that a bfloat16 does not have


def generator_for(name: str, seed: int, device: torch.device | str = "cpu") -> torch.Generator:
    """The source of a tensor's noise: the same for the same name and seed."""
    return torch.Generator(device).manual_seed((zlib.crc32(name.encode()) << 20) + seed)


@torch.no_grad()
def to_bfloat16(x: Tensor, generator: torch.Generator, out: Tensor | None = None) -> Tensor:
    """Stochastically rounded copy of a float tensor, E[result] = x; written to `out` if given.

    Infinities and NaN stay what they are: they have no lower bits to carry from.
    """
    out = (
        torch.empty_like(x, dtype=torch.bfloat16, memory_format=torch.contiguous_format)
        if out is None
        else out
    )
    bits, target = x.float().contiguous().view(torch.int32).flatten(), out.view(-1)
    size = min(CHUNK, bits.numel())  # in portions that stay in the processor's cache
    noise = torch.randint(
        0, 1 << DROPPED_BITS, (min(NOISE, size),), generator=generator, dtype=torch.int32, device=x.device
    ).repeat(-(-size // NOISE))[:size]
    scratch = torch.empty_like(noise)
    for start in range(0, bits.numel(), CHUNK):
        part = bits[start : start + CHUNK]
        rounded = torch.add(part, noise[: len(part)], out=scratch[: len(part)])
        rounded &= -(1 << DROPPED_BITS)
        target[start : start + CHUNK] = rounded.view(torch.float32)
    return out


@torch.no_grad()
def round_weights(model: nn.Module) -> None:
    """Turn every parameter into bfloat16, in place and the same way each time."""
    for name, parameter in model.named_parameters():
        if parameter.dtype != torch.bfloat16:
            parameter.data = to_bfloat16(parameter.data, generator_for(name, 0, parameter.device))
