"""Parts of a model as single ONNX operators: rotary embedding and RMS norm, tried on numbers first."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor, nn
from torch.onnx.ops import symbolic

OPSET = 23


def flat(x_N_H_T_d: Tensor) -> Tensor:
    """Heads side by side again.  [N, H, T, d] → [N, T, H·d]"""
    return x_N_H_T_d.transpose(1, 2).reshape(x_N_H_T_d.shape[0], x_N_H_T_d.shape[2], -1)


_Rotary = Callable[..., tuple[Tensor, Tensor]]


def rotary_of(code: Any, size: int) -> _Rotary:
    """What takes the place of a model's rotary embedding; its own where that does something else."""
    own: _Rotary = code.apply_rotary_pos_emb
    parts = {part for part in range(2, size + 1, 2) if rotates_halves(own, size, part)}

    def rotary(query: Tensor, key: Tensor, cos: Tensor, sin: Tensor, *rest: Any, **options: Any) -> Any:
        if cos.shape[2] not in parts:
            return own(query, key, cos, sin, *rest, **options)
        return _rotated(query, cos, sin), _rotated(key, cos, sin)

    rotary.is_operator = True  # type: ignore[attr-defined]
    return rotary


def _rotated(x: Tensor, cos: Tensor, sin: Tensor) -> Tensor:
    """RotaryEmbedding of [N, H, T, d]; cos and sin [N, T, r] are two equal halves, for the first r ≤ d."""
    (N, H, T, size), part = x.shape, cos.shape[2]
    x_N_T_D = flat(x)
    y = symbolic(
        "RotaryEmbedding",
        (x_N_T_D, cos[:, :, : part // 2], sin[:, :, : part // 2]),
        {"num_heads": H, **({"rotary_embedding_dim": part} if part != size else {})},
        dtype=x.dtype,
        shape=x_N_T_D.shape,
        version=OPSET,
    )
    return y.view(N, T, H, size).transpose(1, 2)


def rotates_halves(code: Any, size: int, part: int) -> bool:
    """Whether `apply_rotary_pos_emb` is x·cos + rotate_half(x)·sin over the first `part` of `size`."""
    function = getattr(code, "apply_rotary_pos_emb", code if callable(code) else None)
    if function is None or hasattr(function, "is_operator"):
        return False
    generator = torch.Generator().manual_seed(0)
    query, key = torch.randn(2, 2, 3, 5, size, generator=generator)
    angles = torch.randn(2, 5, part // 2, generator=generator).repeat(1, 1, 2)
    cos, sin = angles.cos(), angles.sin()
    try:
        rotated = function(query, key, cos, sin)[0]
    except Exception:  # another signature: exported as it stands
        return False
    turned, rest = query[..., :part], query[..., part:]
    first, second = turned.chunk(2, dim=-1)
    half = torch.cat([-second, first], dim=-1)
    expected = torch.cat([turned * cos[:, None] + half * sin[:, None], rest], dim=-1)
    return rotated.shape == expected.shape and bool(torch.allclose(rotated, expected, atol=1e-5))


def _epsilon(module: nn.Module) -> float | None:
    value = getattr(module, "variance_epsilon", getattr(module, "eps", None))
    return float(value) if isinstance(value, float) else None


@torch.no_grad()
def is_rms_norm(module: nn.Module) -> bool:
    """Whether a module computes x / √(mean x² + ε) · weight."""
    weight, epsilon = getattr(module, "weight", None), _epsilon(module)
    if "RMSNorm" not in type(module).__name__ or not isinstance(weight, Tensor) or epsilon is None:
        return False
    x = torch.randn(3, len(weight), generator=torch.Generator().manual_seed(0)).to(weight)
    expected = torch.nn.functional.rms_norm(x.float(), (len(weight),), weight.float(), epsilon)
    return bool(torch.allclose(module(x).float(), expected, rtol=1e-2 if x.dtype == torch.half else 1e-4))


def rms_norm(module: Any) -> Callable[[Tensor], Tensor]:
    """The module as one RMSNormalization operator.  [..., D] → [..., D]"""
    weight, epsilon = module.weight, _epsilon(module)
    assert epsilon is not None

    def forward(hidden: Tensor) -> Tensor:
        return symbolic(
            "RMSNormalization",
            (hidden, weight),
            {"axis": -1, "epsilon": epsilon},
            dtype=hidden.dtype,
            shape=hidden.shape,
            version=OPSET,
        )

    return forward
