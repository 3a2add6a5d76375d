"""The job as form, command line and worker know it; nothing here may import torch."""

from __future__ import annotations

from engine.protocol.catalog import JobKind
from engine.protocol.configs import PolicyLearningConfig


class MeanBaselineConfig(PolicyLearningConfig, frozen=True, kw_only=True):
    """REINFORCE with the mean reward of the step as baseline."""


MEAN_BASELINE = JobKind(
    kind="mean_baseline",
    title="Optimise a policy with a mean baseline",
    config=MeanBaselineConfig,
    module="workbench_example.mean_baseline",
    trains=True,
    makes="policy",
)
