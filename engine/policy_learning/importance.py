"""What a token counts that another policy sampled than the one that learns: truncated importance weights."""

from __future__ import annotations

from dataclasses import replace

import torch
from torch import Tensor

from engine.policy_learning.models import Models
from engine.policy_learning.rollout import Measured, Rollout, Targets
from engine.protocol.configs import PolicyLearningConfig


def weighted(
    models: Models,
    rollout: Rollout,
    measured: Measured,
    targets: Targets,
    config: PolicyLearningConfig,
    metrics: dict[str, float],
) -> Targets:
    """Advantages with the truncated importance weights of a server's samples, which become metrics too."""
    if models.served is None:
        return targets
    weight = importance(measured.logprobs, rollout.sampled_logprobs, rollout.mask, config.ratio_cap)
    metrics["policy/sampler_ratio"] = float(weight[rollout.mask].mean())
    metrics["policy/staleness"] = float(rollout.staleness)
    metrics["policy/sampler_capped"] = float((weight[rollout.mask] >= config.ratio_cap).float().mean())
    return replace(targets, advantages=targets.advantages * weight)


def importance(logprobs: Tensor, sampled_logprobs: Tensor, mask_N_T: Tensor, cap: float) -> Tensor:
    """π_trainer / π_server of every token, at most `cap`, [N, T]; 1 beyond the end.

    Truncation bounds the variance at the price of a bias towards the server's policy (Ionides 2008, eq. 3).
    """
    ratio_N_T = (logprobs - sampled_logprobs).exp().clamp(max=cap)
    return torch.where(mask_N_T, ratio_N_T, 1.0)
