"""Linear layers whose weights are laid out for oneDNN: on a processor they read some third faster.

The layout is a copy, made once before many tokens are decoded, and once for all where weights are frozen.
Low-rank adapters stay beside the weights and are not added into them: in bfloat16 the sum would be rounded,
and most of what an adapter has learned lost.
"""

from __future__ import annotations

from collections.abc import Sequence
from functools import partial
from typing import Any
from weakref import WeakKeyDictionary

import torch
from torch import Tensor, nn

from engine.models.device import has_onednn_bfloat16
from engine.models.four_bit import is_quantised, put_back
from engine.models.lora import adapter_of, base_linear

ROWS = 32  # the layout is made for products with about this many rows

_onednn: Any = torch.ops.mkldnn
_linear: Any = _onednn._linear_pointwise.default if hasattr(_onednn, "_linear_pointwise") else None
_linear_with: Any = _onednn._linear_pointwise.binary if hasattr(_onednn, "_linear_pointwise") else None


def has_onednn(dtype: torch.dtype) -> bool:
    """Whether this build of torch, on this processor, has such layers for the number format."""
    if not torch.backends.mkldnn.is_available() or _linear is None:
        return False
    if dtype == torch.bfloat16:
        return has_onednn_bfloat16()
    return dtype == torch.float32


class Packed:
    """One linear layer, or several with the same input as one: x ↦ W x + b, plus adapters where there are."""

    def __init__(self, layers: Sequence[nn.Module]) -> None:
        bases = [base_linear(layer) for layer in layers]
        self._weight = _layout(bases)
        self._bias = _joined_bias(bases)
        self.adapter = _joined_adapter(layers, bases)

    def __call__(self, x_N_D: Tensor) -> Tensor:
        """[N, D] → [N, F]"""
        if self.adapter is None:
            output_N_F: Tensor = _linear(x_N_D, self._weight, self._bias, "none", [], "")
            return output_N_F
        return self._plus(x_N_D, self._adapted(x_N_D).to(x_N_D.dtype))

    def plus(self, x_N_D: Tensor, residual_N_F: Tensor) -> Tensor:
        """The layer's output added to `residual_N_F`, in one pass over it."""
        if self.adapter is not None:
            residual_N_F = self._adapted(x_N_D).add_(residual_N_F).to(x_N_D.dtype)
        return self._plus(x_N_D, residual_N_F)

    def gated(self, x_N_D: Tensor) -> Tensor:
        """silu of the layer's output; without adapters in the same pass."""
        if self.adapter is not None:
            return nn.functional.silu(self(x_N_D))
        result: Tensor = _linear(x_N_D, self._weight, self._bias, "swish", [], "")
        return result

    def times(self, x_N_D: Tensor, factor_N_F: Tensor) -> Tensor:
        """The layer's output multiplied with `factor_N_F`; without adapters in the same pass."""
        if self.adapter is not None:
            return self(x_N_D) * factor_N_F
        result: Tensor = _linear_with(x_N_D, factor_N_F, self._weight, self._bias, "mul")
        return result

    def _plus(self, x_N_D: Tensor, other_N_F: Tensor) -> Tensor:
        output_N_F: Tensor = _linear_with(x_N_D, other_N_F, self._weight, self._bias, "add")
        return output_N_F

    def _adapted(self, x_N_D: Tensor) -> Tensor:
        """What the adapters add, [N, F] float32: products this small take a third of bfloat16's time."""
        assert self.adapter is not None
        down, up = self.adapter
        return torch.mm(torch.mm(x_N_D.float(), down), up)


_kept: WeakKeyDictionary[nn.Linear, tuple[list[tuple[int, int]], Tensor]] = WeakKeyDictionary()


def _layout(bases: Sequence[nn.Linear]) -> Tensor:
    """The weights, one below the other, in oneDNN's layout; frozen ones are kept for the next time."""
    weights = [base.weight for base in bases]
    state = [(_place(weight), weight._version) for weight in weights]
    frozen = not any(weight.requires_grad for weight in weights)
    laid_out = _kept.get(bases[0]) if frozen else None
    if laid_out is not None and laid_out[0] == state:
        return laid_out[1]
    plain = [put_back(weight) for weight in weights]
    joined = torch.cat(plain) if len(plain) > 1 else plain[0]
    reordered: Tensor = _onednn._reorder_linear_weight(joined.detach().contiguous(), ROWS)
    if frozen:
        _kept[bases[0]] = (state, reordered)
    return reordered


def _place(weight: Tensor) -> int:
    """Where a weight lies; one in 4 bits lies in several places."""
    return id(weight) if is_quantised(weight) else weight.data_ptr()


def _joined_bias(bases: Sequence[nn.Linear]) -> Tensor | None:
    if all(base.bias is None for base in bases):
        return None
    zeros = partial(torch.zeros, dtype=bases[0].weight.dtype, device=bases[0].weight.device)
    parts = [zeros(base.out_features) if base.bias is None else base.bias for base in bases]
    return torch.cat(tuple(parts)).detach()


def _joined_adapter(layers: Sequence[nn.Module], bases: Sequence[nn.Linear]) -> tuple[Tensor, Tensor] | None:
    """Down [D, R] and up [R, F], the factor α/r in it: ranks side by side, outputs in blocks.

    Float32, rounded as training rounds them, so that both see the same adapters.
    """
    adapters = [adapter_of(layer) for layer in layers]
    if all(adapter is None for adapter in adapters):
        return None
    dtype = bases[0].weight.dtype
    zeros = partial(torch.zeros, dtype=dtype, device=bases[0].weight.device)
    pairs = [
        adapter or (zeros(0, base.in_features), zeros(base.out_features, 0))
        for adapter, base in zip(adapters, bases, strict=True)
    ]
    down_R_D = torch.cat([down for down, _ in pairs]).to(dtype)
    up_F_R = torch.block_diag(*[up for _, up in pairs]).to(dtype)
    return down_R_D.T.float().contiguous(), up_F_R.T.float().contiguous()
