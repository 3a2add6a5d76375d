"""What every reward run leaves besides its files: the artifact that registers the model."""

from __future__ import annotations

from collections.abc import Mapping

from engine.protocol.configs import RewardConfig
from engine.protocol.events import Artifact
from engine.protocol.rundir import RunDir


def reward_artifact(
    config: RewardConfig,
    run: RunDir,
    *,
    step: int,
    score_mean: float,
    score_std: float,
    max_tokens: int,
    criteria: tuple[str, ...],
    figures: Mapping[str, float],
) -> Artifact:
    """The model in `model/`, with its level and spread on training responses and its held-out figures."""
    return Artifact(
        kind="reward_model",
        name=config.name,
        path=run.relative(run.path / "model"),
        step=step,
        details={
            "score_mean": score_mean,
            "score_std": score_std,
            "base": run.model("policy").name,
            "tuning": config.tuning,
            "max_tokens": max_tokens,
            "criteria": criteria,
            **figures,
        },
    )
