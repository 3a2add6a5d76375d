"""What changes from step to step of policy learning besides weights."""

from __future__ import annotations

from dataclasses import asdict, dataclass, field
from typing import Any

from engine.policy_learning.models import Models
from engine.policy_learning.rewards.score_scale import ScoreScale


@dataclass
class State:
    """What changes from step to step besides weights; goes into checkpoints."""

    step: int  # finished steps
    beta: float
    beta_level: float  # the slow part of an adaptive β
    multipliers: dict[str, float]  # by the constraint's name
    multiplier_levels: dict[str, float]  # the slow part of each
    scale: ScoreScale
    first: dict[str, float]  # score, length and entropy of the policy that the run started from
    last: dict[str, float] = field(default_factory=dict)  # metrics of the last step
    told: list[str] = field(default_factory=list)  # what has collapsed, each told once

    def to_json(self, models: Models) -> dict[str, Any]:
        """As a checkpoint keeps it, with the sizes that micro-batches have been cut to.

        A server that trains the policy keeps its weights, whose path is put down.
        """
        remote = {} if models.remote is None else {"remote": models.remote.save()}
        return (
            asdict(self)
            | remote
            | {"portions": {name: asdict(part) for name, part in models.microbatches.items()}}
        )

    @classmethod
    def from_json(cls, saved: dict[str, Any], models: Models) -> State:
        """What `to_json` gave; sets the sizes of the models' micro-batches too, and a server's weights."""
        if models.remote is not None:
            models.remote.load(saved.pop("remote"))
        for name, part in saved.pop("portions").items():
            models.microbatches[name].size, models.microbatches[name].told = part["size"], part["told"]
        constraints = models.rewards.constraints
        if "multiplier" in saved:  # of a version that knew one constraint
            saved["multipliers"] = dict.fromkeys((one.name for one in constraints), saved.pop("multiplier"))
            saved["multiplier_levels"] = dict(saved["multipliers"])
        bounded = [one.component.source for one in constraints]
        return cls(**(saved | {"scale": ScoreScale.from_json(saved["scale"], bounded)}))
