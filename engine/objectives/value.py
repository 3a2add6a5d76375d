"""The critic's loss.  `N` responses, `T` tokens; masks are 1 on response tokens."""

from __future__ import annotations

from typing import NamedTuple

import torch
from torch import Tensor

from engine.objectives.advantages import masked_mean, masked_variance


class ValueLoss(NamedTuple):
    """Loss of a micro-batch and the number of tokens where the clipped term is the active one."""

    loss: Tensor
    clipped: Tensor


def clipped_value_loss(
    values_N_T: Tensor,
    old_values_N_T: Tensor,
    returns_N_T: Tensor,
    mask_N_T: Tensor,
    *,
    clip: float,
    total_tokens: int | float | Tensor,
) -> ValueLoss:
    """½ Σ max((V − R)², (clip(V, V_old ± ε) − R)²) / total_tokens (Blog, "value function loss clipping").

    total_tokens: response tokens of the whole minibatch, as in the policy's loss.
    """
    real_N_T = mask_N_T.bool()
    bounded = torch.clamp(values_N_T, old_values_N_T - clip, old_values_N_T + clip)
    free_error, bounded_error = (values_N_T - returns_N_T).square(), (bounded - returns_N_T).square()
    loss = 0.5 * torch.where(real_N_T, torch.maximum(free_error, bounded_error), 0).sum() / total_tokens
    return ValueLoss(loss, ((bounded_error > free_error) & real_N_T).sum())


def explained_variance(values_N_T: Tensor, returns_N_T: Tensor, mask_N_T: Tensor) -> float:
    """1 − Var(R − V) / Var(R) over the mask; 1 is a perfect critic, 0 a constant one.  NaN if Var(R) is 0.

    >>> returns, mask = torch.tensor([[1.0, 2.0]]), torch.ones(1, 2)
    >>> explained_variance(returns, returns, mask)
    1.0
    """
    variance = masked_variance(returns_N_T, mask_N_T)
    residual = masked_variance(returns_N_T - values_N_T, mask_N_T)
    return float(1 - residual / variance) if variance > 0 else float("nan")


def calibration(values_N_T: Tensor, final_N: Tensor, mask_N_T: Tensor) -> tuple[float, float]:
    """Scale in [0, 1] and shift that bring a critic's first values nearest the scores they predict.

    A reward model's head was trained at the end of the turn only; elsewhere its values may be far off, and
    the value clip would let them come back slowly.  Least squares of score on value over all tokens.
    """
    target_N_T = final_N[:, None].expand_as(values_N_T)
    value_mean, target_mean = masked_mean(values_N_T, mask_N_T), masked_mean(target_N_T, mask_N_T)
    covariance = masked_mean((values_N_T - value_mean) * (target_N_T - target_mean), mask_N_T)
    variance = masked_variance(values_N_T, mask_N_T)
    scale = float((covariance / variance).clamp(0, 1)) if variance > 0 else 0.0
    return scale, float(target_mean - scale * value_mean)
