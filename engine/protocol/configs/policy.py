"""Configuration of policy learning."""

from __future__ import annotations

from typing import Annotated, Literal

from msgspec import Meta

from engine.protocol.configs.common import NAME, NAME_FORM, JobConfig


class PPOConfig(JobConfig, frozen=True, kw_only=True):
    """Proximal policy optimisation against a reward model."""

    name: Annotated[
        str,
        Meta(
            pattern=NAME,
            description="Name the trained policy is registered under.",
            extra_json_schema=NAME_FORM,
        ),
    ]
    policy: Annotated[str, Meta(description="Policy to start from; also the reference policy.")] = "smollm2"
    reward_model: Annotated[str, Meta(description="Registered reward model to maximise.")]
    prompts: Annotated[str, Meta(description="Only prompts of this source; empty takes all.")] = ""
    tuning: Annotated[
        Literal["lora", "full"], Meta(description="Train low-rank adapters, or every weight.")
    ] = "lora"
    lora_rank: Annotated[int, Meta(ge=1, description="Rank of the adapters.")] = 16
    steps: Annotated[int, Meta(ge=1, description="Rollout-and-update rounds.")] = 50
    prompts_per_step: Annotated[int, Meta(ge=1, description="Prompts sampled a step (B).")] = 8
    samples: Annotated[int, Meta(ge=1, description="Responses a prompt (K).")] = 4
    max_new_tokens: Annotated[int, Meta(ge=1, description="Response budget, in tokens.")] = 48
    max_prompt_tokens: Annotated[int, Meta(ge=1, description="Longer prompts are left out, and counted.")] = (
        256
    )
    temperature: Annotated[
        float, Meta(gt=0.0, description="Sampling temperature; also divides every logit.")
    ] = 1.0
    template: Annotated[
        Literal["chat", "plain"], Meta(description="Chat template of the model, or plain text.")
    ] = "chat"
    epochs: Annotated[int, Meta(ge=1, description="Passes over each rollout.")] = 4
    minibatches: Annotated[int, Meta(ge=1, description="Optimiser steps a pass.")] = 1
    microbatch: Annotated[int, Meta(ge=1, description="Sequences in one forward and backward.")] = 16
    learning_rate: Annotated[float, Meta(gt=0, description="Policy learning rate, annealed to 0.")] = 1e-4
    critic_learning_rate: Annotated[float, Meta(gt=0, description="Critic learning rate, annealed to 0.")] = (
        1e-4
    )
    clip: Annotated[float, Meta(gt=0, description="Ratio clip ε.")] = 0.2
    clip_value: Annotated[float, Meta(gt=0, description="Value clip.")] = 0.2
    value_coefficient: Annotated[float, Meta(ge=0, description="Weight of the value loss.")] = 0.1
    gamma: Annotated[float, Meta(ge=0, le=1, description="Discount γ.")] = 1.0
    lam: Annotated[float, Meta(ge=0, le=1, description="GAE λ.")] = 0.95
    kl: Annotated[Literal["fixed", "adaptive"], Meta(description="β constant, or steered to the target.")] = (
        "adaptive"
    )
    beta: Annotated[float, Meta(ge=0, description="KL coefficient β (initial).")] = 0.05
    kl_target: Annotated[
        float, Meta(gt=0, description="KL a response the adaptive β steers to, in nats.")
    ] = 6.0
    kl_horizon: Annotated[int, Meta(ge=1, description="Horizon of the adaptive β, in episodes.")] = 1000
    kl_bound: Annotated[float, Meta(gt=0, description="The run stops above this KL a response, in nats.")] = (
        50.0
    )
    target_kl_update: Annotated[
        float,
        Meta(
            ge=0, description="Mean per-token KL to the sampling policy that ends an update early; 0 never."
        ),
    ] = 0.1
    whiten_advantages: Annotated[bool, Meta(description="Whiten advantages over response tokens.")] = True
    normalise_score: Annotated[
        bool, Meta(description="Shift and scale scores to mean 0, variance 1 on reference samples.")
    ] = True
    missing_stop_penalty: Annotated[
        float, Meta(description="Score of a response that never stopped (after normalisation).")
    ] = -1.0
    max_grad_norm: Annotated[float, Meta(gt=0, description="Gradient norm is clipped here.")] = 1.0
    checkpoint_every: Annotated[int, Meta(ge=0, description="Steps between checkpoints; 0 writes none.")] = 10
    trace_every: Annotated[int, Meta(ge=0, description="Steps between token traces; 0 writes none.")] = 5
