"""Configuration of reward training."""

from __future__ import annotations

from typing import Annotated, Literal

from msgspec import Meta

from engine.protocol.configs.common import NAME, NAME_FORM, JobConfig


class RewardConfig(JobConfig, frozen=True, kw_only=True):
    """Train a reward model on rankings."""

    name: Annotated[
        str,
        Meta(
            pattern=NAME,
            description="Name the reward model is registered under.",
            extra_json_schema=NAME_FORM,
        ),
    ]
    policy: Annotated[str, Meta(description="Model to start from.")] = "smollm2"
    prompts: Annotated[str, Meta(description="Only prompts of this source; empty takes all.")] = ""
    annotator: Annotated[str, Meta(description="Only judgements of this annotator; empty takes all.")] = ""
    criterion: Annotated[str, Meta(description="Judgements of this criterion are learned.")] = "overall"
    tuning: Annotated[
        Literal["lora", "full"], Meta(description="Train low-rank adapters, or every weight.")
    ] = "full"
    lora_rank: Annotated[int, Meta(ge=1, description="Rank of the adapters.")] = 16
    epochs: Annotated[int, Meta(ge=1, description="Passes over the training prompts.")] = 1
    learning_rate: Annotated[float, Meta(gt=0, description="Peak learning rate of Adam.")] = 2e-5
    warmup_steps: Annotated[int, Meta(ge=0, description="Steps to the peak learning rate.")] = 5
    batch_prompts: Annotated[int, Meta(ge=1, description="Prompts a step, each with all its responses.")] = 4
    max_tokens: Annotated[
        int, Meta(ge=8, description="Longest prompt + response; prompts are cut on the left.")
    ] = 512
    holdout: Annotated[float, Meta(ge=0.0, lt=1.0, description="Share of prompts held out.")] = 0.2
    margin: Annotated[float, Meta(ge=0.0, description="Margin a rank of distance.")] = 0.0
    label_smoothing: Annotated[float, Meta(ge=0.0, lt=0.5, description="Chance that a label is wrong.")] = 0.0
    centring: Annotated[float, Meta(ge=0.0, description="Weight of (r_w + r_l)².")] = 0.01
    max_grad_norm: Annotated[float, Meta(gt=0, description="Gradient norm is clipped here.")] = 1.0
    checkpoint_every: Annotated[int, Meta(ge=0, description="Steps between checkpoints; 0 writes none.")] = 20
