"""How far a device gets: the operations of a training's models, held against what it multiplies at best."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from engine.models.operations import Shape, Work
from engine.models.packing import Row


@dataclass(frozen=True)
class Effort:
    """What operations are counted by: shapes of what is trained, and what the device multiplies at best."""

    policy: Shape | None
    critic: Shape | None  # of a trunk of its own
    best: float | None  # operations a second; None where nobody knows

    def of_update(self, work: Work, seconds: float) -> dict[str, float]:
        """The share of the device's best in an update of policy and critic (MFU)."""
        if self.policy is None or not self.best:
            return {}
        done = self.policy.update(work) + (0 if self.critic is None else self.critic.update(work))
        return {"policy/mfu_update": done / seconds / self.best}

    def of_sampling(self, rows: Sequence[Row], seconds: float) -> dict[str, float]:
        """The same in sampling, whose tokens are read one after another."""
        if self.policy is None or not self.best:
            return {}
        return {"policy/mfu_rollout": self.policy.forward(Work.of(rows)) / seconds / self.best}
