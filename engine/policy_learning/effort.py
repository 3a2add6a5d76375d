"""How long the parts of a step took, and how far the device got in them."""

from __future__ import annotations

import torch

from engine.models.peak import peak_memory
from engine.models.trunk import grouped
from engine.policy_learning.rollout import Rollout
from engine.policy_learning.update import UpdateStats
from engine.protocol.configs import PolicyLearningConfig
from engine.training.effort import Effort
from engine.training.ranks import current


def effort_metrics(
    effort: Effort | None,
    rollout: Rollout,
    stats: UpdateStats,
    config: PolicyLearningConfig,
    seconds: dict[str, float],
    device: torch.device,
) -> dict[str, float]:
    """Metrics of a step: `seconds` by part, shares of the device's best, and the most memory so far."""
    metrics = {f"policy/seconds_{part}": value for part, value in seconds.items()}
    metrics["policy/peak_gib"] = peak_memory(device) / 2**30
    if effort is None:
        return metrics
    metrics |= effort.of_update(stats.work, seconds["update"])
    here = not (config.endpoint or config.people_rank() or config.resample or config.mixture() is not None)
    if here:  # and nothing else was sampled, or waited for
        mine = rollout.shared(range(len(rollout.sampled)), current())
        rows, _ = grouped([(rollout.prompt_of(n).tokens, rollout.sampled[n].token_ids) for n in mine])
        metrics |= effort.of_sampling(rows, seconds["rollout"])
    return metrics
