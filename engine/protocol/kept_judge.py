"""The judge that a run asks: what its file and its rubric said when the run began."""

from __future__ import annotations

from engine.protocol.reward_judge import RUBRIC, RewardJudge, read_reward_judge
from engine.protocol.rewards import Component
from engine.protocol.rundir import RunDir


def kept_judge(run: RunDir, component: Component) -> RewardJudge:
    """The judge of a run's own copies.  Raises UsageError, WorkbenchError where they are lost."""
    named = RUBRIC + component.role
    rubric = run.file(named) if any((run.path / "inputs").glob(f"{named}.*")) else None
    return read_reward_judge(run.file(component.role), rubric)
