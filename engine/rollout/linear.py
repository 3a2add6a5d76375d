"""Linear layers whose weights are laid out for oneDNN: on a processor they read some third faster.

The layout is a copy, made once before many tokens are decoded.  Low-rank adapters stay beside the weights and
are not added into them: in bfloat16 the sum would be rounded, and most of what an adapter has learned lost.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor, nn

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
        return bool(_onednn._is_mkldnn_bf16_supported())
    return dtype == torch.float32


class Packed:
    """One linear layer, or several with the same input as one: x ↦ W x + b, plus adapters where there are."""

    def __init__(self, layers: Sequence[nn.Module]) -> None:
        bases = [base_linear(layer) for layer in layers]
        weight = torch.cat([base.weight for base in bases]) if len(bases) > 1 else bases[0].weight
        self._weight = _onednn._reorder_linear_weight(weight.detach().contiguous(), ROWS)
        self._bias = _joined_bias(bases)
        self.adapter = _joined_adapter(layers, bases)

    def __call__(self, x_N_D: Tensor) -> Tensor:
        """[N, D] → [N, F]"""
        y = _linear(x_N_D, self._weight, self._bias, "none", [], "")
        return self._adapted(x_N_D, y)

    def plus(self, x_N_D: Tensor, residual_N_F: Tensor) -> Tensor:
        """The layer's output added to `residual_N_F`, in one pass over it."""
        y = _linear_with(x_N_D, residual_N_F, self._weight, self._bias, "add")
        return self._adapted(x_N_D, y)

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

    def _adapted(self, x_N_D: Tensor, y_N_F: Tensor) -> Tensor:
        if self.adapter is None:
            return y_N_F
        down, up = self.adapter
        return torch.addmm(y_N_F, torch.mm(x_N_D, down), up)


def _joined_bias(bases: Sequence[nn.Linear]) -> Tensor | None:
    if all(base.bias is None for base in bases):
        return None
    parts = [base.weight.new_zeros(base.out_features) if base.bias is None else base.bias for base in bases]
    return torch.cat(tuple(parts)).detach()


def _joined_adapter(layers: Sequence[nn.Module], bases: Sequence[nn.Linear]) -> tuple[Tensor, Tensor] | None:
    """Down [D, R] and up [R, F], the factor α/r in it: ranks side by side, outputs in blocks."""
    found = [adapter_of(layer) for layer in layers]
    if all(adapter is None for adapter in found):
        return None
    dtype = bases[0].weight.dtype
    pairs = [
        adapter or (base.weight.new_zeros(0, base.in_features), base.weight.new_zeros(base.out_features, 0))
        for adapter, base in zip(found, bases, strict=True)
    ]
    down_R_D = torch.cat([down for down, _ in pairs]).to(dtype)
    up_F_R = torch.block_diag(*[up for _, up in pairs]).to(dtype)
    return down_R_D.T.contiguous(), up_F_R.T.contiguous()
