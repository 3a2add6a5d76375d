"""Frozen weights in 4 bits under adapters: QLoRA's NF4 with scales that are quantised too (arXiv 2305.14314).

What is quantised is put back whenever it multiplies, in the number format of what it multiplies, forward and
backward; adapters, embeddings, norms and heads stay as they are.  4.13 bits a weight.  The quantising is
torchao's (`pip install torchao`, the extra `four-bit`), which is imported when it is asked for.
"""

from __future__ import annotations

import math
from typing import Any, Literal

import torch
from torch import Tensor, nn
from transformers import PreTrainedModel

from engine.errors import UsageError
from engine.models.parts import backbone
from engine.models.sharding import layers_of

Base = Literal["whole", "4-bit"]
BLOCK, SCALE_BLOCK = 64, 256
"""Weights that share a scale, and scales that share one: the paper's section 3."""


@torch.no_grad()
def quantise(model: PreTrainedModel, device: torch.device) -> float:
    """Put the frozen linear layers of a transformer's blocks into 4 bits on the device, in place.

    The model may lie on the processor: a weight at a time goes to the device.  Returns the share of the
    blocks' weights that are quantised now.  Raises UsageError without the library, and where no layer fits.
    """
    to_nf4 = _library()
    layers = layers_of(backbone(model), "they cannot be quantised; set base to whole")
    every = [weight for layer in layers for weight in layer.parameters() if not weight.requires_grad]
    whole, quantised = sum(weight.numel() for weight in every), 0
    for linear in (part for layer in layers for part in layer.modules() if type(part) is nn.Linear):
        weight = linear.weight
        if weight.requires_grad or weight.numel() % BLOCK or is_quantised(weight):
            continue
        blocks = weight.numel() // BLOCK
        small = to_nf4(weight.detach().to(device).contiguous(), BLOCK, math.gcd(blocks, SCALE_BLOCK))
        linear.weight = nn.Parameter(small, requires_grad=False)
        quantised += weight.numel()
    if not quantised:
        raise UsageError(
            f"{model.config.model_type} has no plain linear layers in its blocks that 4 bits fit; set base "
            "to whole."
        )
    return quantised / max(1, whole)


def is_quantised(weight: Tensor) -> bool:
    """Whether a weight is in 4 bits; the library is not imported to find out."""
    return hasattr(weight, "get_original_weight")


def has_quantised(model: nn.Module) -> bool:
    """Whether any weight of the model is."""
    return any(map(is_quantised, model.parameters()))


def put_back(weight: Tensor) -> Tensor:
    """A weight as numbers that can be multiplied; one that is not quantised as it is."""
    if not is_quantised(weight):
        return weight
    quantised: Any = weight.detach()
    numbers: Tensor = quantised.get_original_weight()
    return numbers


def bytes_of(weight: Tensor) -> int:
    """What a weight takes of memory."""
    if not is_quantised(weight):
        return weight.numel() * weight.element_size()
    quantised: Any = weight.detach()
    parts = [getattr(quantised, name) for name in quantised.__tensor_flatten__()[0]]
    return sum(part.numel() * part.element_size() for part in parts)


def _library() -> Any:
    try:
        from torchao.quantization import to_nf4
    except ImportError as error:
        raise UsageError(
            "base 4-bit needs the package torchao, which is not installed: pip install torchao, or set base "
            "to whole."
        ) from error
    return to_nf4
