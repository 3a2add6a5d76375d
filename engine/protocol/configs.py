"""The configuration of every job: frozen records that need nothing heavy to import.

The launch form, the command line and the worker all read these.  The description of a field is its help text.
Fields named `policy` and `reward_model` hold names of the store (or a hub id, a folder, `smollm2`); the
workbench resolves them to folders in the run directory's `inputs.json` when the job starts.
"""

from __future__ import annotations

from typing import Annotated, Literal

from msgspec import Meta, Struct

Positive = Annotated[int, Meta(ge=1)]
Fraction = Annotated[float, Meta(ge=0.0, le=1.0)]
NAME = r"^\w[\w .+-]{0,79}\Z"
NAME_FORM = {"form": "a name of letters, digits, spaces and . _ + -"}
DEVICE = r"^(auto|cpu|cuda(:\d+)?)\Z"
DEVICE_FORM = {"form": "auto, cpu, cuda or cuda:N"}
Precision = Literal["bfloat16", "float32"]
DTYPE_HELP = "Number format of the matrix products; master weights are always float32 in training."


class JobConfig(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """What every job has."""

    seed: Annotated[int, Meta(ge=0, description="Seed of every random choice of the job.")] = 0
    device: Annotated[
        str, Meta(pattern=DEVICE, description="auto, cpu, cuda or cuda:N.", extra_json_schema=DEVICE_FORM)
    ] = "auto"
    dtype: Annotated[Precision, Meta(description=DTYPE_HELP)] = "bfloat16"


class GenerateConfig(JobConfig, frozen=True, kw_only=True):
    """Sample K responses to every prompt."""

    policy: Annotated[str, Meta(description="Policy by name, hub id or folder; smollm2 is the packaged one.")]
    prompts: Annotated[str, Meta(description="Only prompts of this source; empty takes all.")] = ""
    limit: Annotated[int, Meta(ge=0, description="At most this many prompts; 0 takes all.")] = 0
    samples: Annotated[int, Meta(ge=1, le=64, description="Responses a prompt (K).")] = 4
    temperature: Annotated[float, Meta(ge=0.0, le=10.0, description="Sampling temperature; 0 is greedy.")] = (
        1.0
    )
    top_p: Annotated[
        float, Meta(gt=0.0, le=1.0, description="Nucleus mass; 1 keeps the whole distribution.")
    ] = 1.0
    max_new_tokens: Annotated[int, Meta(ge=1, description="Longest response, in tokens.")] = 128
    template: Annotated[
        Literal["chat", "plain"], Meta(description="Chat template of the model, or plain text.")
    ] = "chat"
    stop: Annotated[
        tuple[str, ...], Meta(description="Strings that end a response, besides the stop tokens.")
    ] = ()
    batch_sequences: Annotated[int, Meta(ge=1, description="Sequences sampled at once.")] = 32


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


class ExportConfig(JobConfig, frozen=True, kw_only=True):
    """Export a reward model to ONNX and verify it against torch."""

    reward_model: Annotated[str, Meta(description="Registered reward model.")]
    int8: Annotated[bool, Meta(description="Also write the dynamic int8 model.")] = True
    tolerance: Annotated[
        float, Meta(gt=0, description="Largest |torch - ONNX fp32| allowed, in units of score.")
    ] = 1e-3
    tau_int8: Annotated[
        float, Meta(ge=-1, le=1, description="Smallest Kendall τ allowed between torch and int8.")
    ] = 0.9
    samples: Annotated[int, Meta(ge=2, description="Stored responses it is verified on.")] = 64


class ScoreConfig(JobConfig, frozen=True, kw_only=True):
    """Score stored responses with a reward model, in torch."""

    reward_model: Annotated[str, Meta(description="Registered reward model.")]
    batch_tokens: Annotated[int, Meta(ge=64, description="Tokens in one forward.")] = 2048
