"""What a job will need, before it is started: memory and time, from the configuration and the model's sizes
alone.

Counts weights, what the optimiser keeps, activations of one micro-batch, and the key-value cache of
sampling.  The time is work (parameters × tokens, a backward pass counting two forward ones) over the rate
that earlier runs on this machine reached.  An estimate is right within a factor of about two: enough to see
that something will not fit. Torch-free.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from engine.protocol.configs import (
    BestOfNConfig,
    DPOConfig,
    GenerateConfig,
    JobConfig,
    PolicyLearningConfig,
    PPOConfig,
    RewardedConfig,
    StoredResponsesConfig,
)
from engine.protocol.rewards import models_of

PROCESS_BYTES = 700 << 20  # Python, torch and transformers before a model is loaded
LOGIT_CHUNK = 256  # positions whose logits exist at once, and their gradients
DECODING = 5.0  # a decoded token costs as much as so many that are read together
TYPICAL_PROMPT = 64  # tokens, where nothing says how long prompts are
RATES = {"cpu bfloat16": 2e11, "cpu float32": 1e11, "cuda": 2e13}
"""Parameter-tokens a second where no run has been measured yet: two cores, and a large GPU."""


@dataclass(frozen=True)
class Sizes:
    """The numbers of a transformer that its memory depends on."""

    layers: int
    hidden: int  # D
    middle: int  # width of the feed-forward block
    heads: int
    key_value: int  # width of keys, and of values: heads × head size
    query: int
    vocabulary: int
    tied: bool  # input and output embeddings are one matrix

    @property
    def layer_parameters(self) -> int:
        attention = self.hidden * (2 * self.query + 2 * self.key_value)
        return attention + 3 * self.hidden * self.middle + 2 * self.hidden

    @property
    def parameters(self) -> int:
        embeddings = self.vocabulary * self.hidden * (1 if self.tied else 2)
        return embeddings + self.layers * self.layer_parameters + self.hidden

    def adapters(self, rank: int) -> int:
        """Parameters of low-rank adapters on every linear layer."""
        ends = 2 * (self.hidden + self.query) + 2 * (self.hidden + self.key_value)
        return self.layers * rank * (ends + 3 * (self.hidden + self.middle))


@dataclass(frozen=True)
class Estimate:
    """What a job will need, about."""

    memory_bytes: int | None  # at its peak; None when the model's sizes are not known
    seconds: float | None  # None when nothing says how much there is to do
    sentence: str


def sizes_of(model_config: Mapping[str, Any]) -> Sizes | None:
    """The sizes in a model's `config.json`; None when they are not there."""
    found: Mapping[str, Any] = model_config.get("text_config") or model_config
    try:
        hidden, heads = int(found["hidden_size"]), int(found["num_attention_heads"])
        head = int(found.get("head_dim") or hidden // heads)
        return Sizes(
            layers=int(found["num_hidden_layers"]),
            hidden=hidden,
            middle=int(found.get("intermediate_size") or 4 * hidden),
            heads=heads,
            key_value=int(found.get("num_key_value_heads") or heads) * head,
            query=heads * head,
            vocabulary=int(found["vocab_size"]),
            tied=bool(found.get("tie_word_embeddings", False)),
        )
    except (KeyError, TypeError, ValueError, ZeroDivisionError):
        return None


def estimate(
    config: JobConfig,
    model_config: Mapping[str, Any],
    *,
    prompts: int | None = None,
    rate: float | None = None,
) -> Estimate:
    """Memory and time of a job.

    config: with device and dtype as they will be; `auto` is taken for a CPU in float32.  model_config:
    `config.json` of its policy; reward models are taken to be as large.  prompts: how many it will read.
    rate: parameter-tokens a second of an earlier run on this machine.
    """
    if isinstance(config, GenerateConfig) and config.endpoint:
        return Estimate(
            PROCESS_BYTES, None, f"The server at {config.endpoint} samples; little is needed here."
        )
    sizes = sizes_of(model_config)
    if sizes is None:
        return Estimate(None, None, "The model's sizes are not known yet, so nothing is estimated.")
    memory = memory_of(config, sizes)
    work = work_of(config, sizes, prompts)
    dtype = "bfloat16" if config.dtype == "bfloat16" else "float32"
    used = rate or RATES["cuda" if config.device.startswith("cuda") else f"cpu {dtype}"]
    seconds = None if work is None else work / used
    sentence = f"About {_bytes(memory)} of memory at its peak"
    if seconds is not None:
        grounds = "as fast as the last such run" if rate else "a guess until a run here has been measured"
        sentence += f", and {_time(seconds)} ({grounds})"
    return Estimate(memory, seconds, f"{sentence}; it computes in {dtype}.")


def memory_of(config: JobConfig, sizes: Sizes) -> int:
    """Bytes at the peak: weights, optimiser, and the larger of sampling and training."""
    width = 2 if config.dtype == "bfloat16" else 4
    weights = _copies(config) * sizes.parameters * width
    trained = _trained(config, sizes)
    # gradient, two moments; in bfloat16 also the model's own gradient and a float32 master
    optimiser = trained * (12 if width == 4 else 18)
    return (
        PROCESS_BYTES
        + weights
        + optimiser
        + max(_sampling(config, sizes, width), _training(config, sizes, width))
    )


def _copies(config: JobConfig) -> int:
    """Models of the policy's size that are held at once."""
    copies = 1
    if isinstance(config, RewardedConfig):
        copies += len(set(models_of(config).values()))
    if isinstance(config, PolicyLearningConfig):
        full, separate = (
            config.tuning == "full",
            isinstance(config, PPOConfig) and config.critic == "separate",
        )
        copies += full  # the reference; adapters are simply taken off
        copies += separate and (full or not models_of(config))  # a critic lies on the reward model's weights
    return copies


def _trained(config: JobConfig, sizes: Sizes) -> int:
    tuning = getattr(config, "tuning", None)
    if tuning not in ("lora", "full"):
        return 0
    one = sizes.parameters if tuning == "full" else sizes.adapters(int(getattr(config, "lora_rank", 16)))
    return one * (2 if isinstance(config, PPOConfig) and config.critic == "separate" else 1)


def _sampling(config: JobConfig, sizes: Sizes, width: int) -> int:
    """The key-value cache of the sequences that are sampled at once, and their logits."""
    if not isinstance(config, GenerateConfig | RewardedConfig):
        return 0
    asked = config.prompts_per_step * config.samples if isinstance(config, PolicyLearningConfig) else 64
    sequences = min(int(getattr(config, "batch_sequences", 64)), asked)
    tokens = _prompt_tokens(config) + config.max_new_tokens
    return sequences * (2 * sizes.layers * sizes.key_value * tokens * width + 3 * sizes.vocabulary * 4)


def _training(config: JobConfig, sizes: Sizes, width: int) -> int:
    """What the forward pass of one micro-batch keeps for the backward pass."""
    tokens = _micro_batch_tokens(config)
    if tokens is None:
        return 0
    row = min(tokens, _prompt_tokens(config) + int(getattr(config, "max_new_tokens", 128)))
    a_layer = width * (8 * sizes.hidden + 4 * sizes.middle + sizes.query) + 4 * sizes.heads * row
    logits = 3 * 4 * min(LOGIT_CHUNK, tokens) * sizes.vocabulary
    return tokens * sizes.layers * a_layer + logits


def _micro_batch_tokens(config: JobConfig) -> int | None:
    if isinstance(config, PolicyLearningConfig):
        shared = max(1, config.microbatch // config.samples)
        return shared * _prompt_tokens(config) + config.microbatch * config.max_new_tokens
    if isinstance(config, StoredResponsesConfig):
        return config.microbatch * config.max_tokens
    return int(config.batch_tokens) if hasattr(config, "batch_tokens") else None


def _prompt_tokens(config: JobConfig) -> int:
    return int(getattr(config, "max_prompt_tokens", TYPICAL_PROMPT))


def work_of(config: JobConfig, sizes: Sizes, prompts: int | None) -> float | None:
    """Parameters × tokens that go forward, a backward pass counting twice; None when that depends on more."""
    if isinstance(config, PolicyLearningConfig):
        tokens = config.prompts_per_step * (config.samples * config.max_new_tokens + TYPICAL_PROMPT)
        separate = isinstance(config, PPOConfig) and config.critic == "separate"
        looks = 2 + separate + len(models_of(config))  # policy, reference, critic, reward models
        passes = DECODING + looks + 3 * config.epochs * (1 + separate)
        return float(config.steps * tokens * passes * sizes.parameters)
    if not prompts:
        return None
    if isinstance(config, GenerateConfig | BestOfNConfig):
        count = min(prompts, config.limit) if config.limit else prompts
        tokens = count * (config.samples * config.max_new_tokens + TYPICAL_PROMPT)
        scored = len(models_of(config)) if isinstance(config, BestOfNConfig) else 0
        return float(tokens * (DECODING + scored) * sizes.parameters)
    if isinstance(config, StoredResponsesConfig):
        responses = 4 if isinstance(config, DPOConfig) else 1
        tokens = prompts * min(config.max_tokens, TYPICAL_PROMPT * (1 + 2 * responses))
        return float(tokens * (3 * config.epochs + isinstance(config, DPOConfig)) * sizes.parameters)
    return None


def _bytes(count: int) -> str:
    return f"{count / (1 << 30):.1f} GB" if count >= 1 << 30 else f"{count / (1 << 20):.0f} MB"


def _time(seconds: float) -> str:
    if seconds < 90:
        return f"{max(2, round(seconds))} seconds"
    if seconds < 90 * 60:
        return f"{round(seconds / 60)} minutes"
    return f"{seconds / 3600:.1f} hours"
