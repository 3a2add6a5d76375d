"""The memory of a job at its peak, from its configuration and the model's sizes alone.  Torch-free.

A job goes through stages, and the largest counts: loading a file, sampling, measuring, training, saving.
Beside each stand the weights, and what the optimiser keeps.  Held against measured peaks by
`tests.benchmarks.memory`.
"""

from __future__ import annotations

from dataclasses import dataclass

from engine.protocol.configs import (
    DPOConfig,
    GenerateConfig,
    JobConfig,
    PolicyLearningConfig,
    PPOConfig,
    RewardConfig,
    RewardedConfig,
    ScoreConfig,
    StoredResponsesConfig,
)
from engine.protocol.rewards import models_of

PROCESS_BYTES = 510 << 20  # Python, torch and transformers, no model loaded
LOGIT_CHUNK = 256  # positions whose logits exist at once
TRAINING_BLOCKS = 3  # float32 blocks [LOGIT_CHUNK, V] at once: logits, probabilities, gradient
MEASURING_BLOCKS = 9  # with the entropy, and what the allocator has not given back
SAMPLED_AT_ONCE = 64  # sequences, where a job does not say
SCORED_TOKENS = 2048  # in one forward pass of a reward model
TYPICAL_PROMPT = 64  # tokens, where nothing says how long prompts are
TYPICAL_RESPONSES = 4  # a prompt, where the data decides it
CACHES = 2  # a cache and the one that it grows or is recorded into
SHARD_BYTES = 1 << 29  # of a file of weights, all of which is in memory when it is written


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


def memory_of(config: JobConfig, sizes: Sizes) -> int:
    """Bytes at the peak."""
    width = 2 if config.dtype == "bfloat16" else 4
    copies = _copies(config)
    one = sizes.parameters * width
    # In float32 gradient and two moments; in bfloat16 also the model's own gradient and a float32 master.
    kept = _trained(config, sizes) * (12 if width == 4 else 18)
    loading = copies * one + sizes.parameters * 4  # a file in float32, before it is rounded
    working = max(
        _sampling(config, sizes, width),
        _measuring(config, sizes, width),
        _training(config, sizes, width),
        _saving(config, sizes),
    )
    return PROCESS_BYTES + max(loading, copies * one + kept + working)


def _copies(config: JobConfig) -> int:
    """Models of the policy's size that are held at once."""
    copies = 1
    if isinstance(config, RewardedConfig):
        copies += len(set(models_of(config).values()))
    if isinstance(config, PolicyLearningConfig):
        full = config.tuning == "full"
        separate = isinstance(config, PPOConfig) and config.critic == "separate"
        copies += full  # the reference; adapters are simply taken off
        copies += separate and (full or not models_of(config))  # a critic lies on the reward model's weights
    return copies


def _tuning(config: JobConfig) -> str:
    """What is trained; `auto` may train every weight."""
    tuning = str(getattr(config, "tuning", ""))
    return "full" if tuning == "auto" else tuning


def _trained(config: JobConfig, sizes: Sizes) -> int:
    """Trained parameters."""
    tuning = _tuning(config)
    if tuning not in ("lora", "full"):
        return 0
    one = sizes.parameters if tuning == "full" else sizes.adapters(int(getattr(config, "lora_rank", 16)))
    return one * (2 if isinstance(config, PPOConfig) and config.critic == "separate" else 1)


def _sampling(config: JobConfig, sizes: Sizes, width: int) -> int:
    """Caches of the sequences that are sampled at once, logits, and weights laid out for decoding."""
    if not isinstance(config, GenerateConfig | RewardedConfig):
        return 0
    sequences = int(getattr(config, "batch_sequences", SAMPLED_AT_ONCE))
    tokens = _prompt_tokens(config) + config.max_new_tokens
    cache = 2 * sizes.layers * sizes.key_value * tokens * width
    laid_out = 0 if config.device.startswith("cuda") else sizes.parameters * width
    return laid_out + sequences * (CACHES * cache + 3 * sizes.vocabulary * 4)


def _measuring(config: JobConfig, sizes: Sizes, width: int) -> int:
    """Forward passes without gradients: log-probabilities with their entropy, and scores."""
    logits = 0
    if isinstance(config, PolicyLearningConfig | DPOConfig):
        logits = MEASURING_BLOCKS * 4 * LOGIT_CHUNK * sizes.vocabulary
    reads = isinstance(config, RewardedConfig | RewardConfig | ScoreConfig)
    tokens = max(SCORED_TOKENS if reads else 0, _micro_batch_tokens(config) or 0)
    return logits + tokens * width * (4 * sizes.hidden + 3 * sizes.middle + 2 * sizes.query)


def _training(config: JobConfig, sizes: Sizes, width: int) -> int:
    """What the forward pass of one micro-batch keeps for the backward pass."""
    tokens = _micro_batch_tokens(config)
    if tokens is None or _tuning(config) not in ("lora", "full"):
        return 0
    row = min(tokens, _prompt_tokens(config) + int(getattr(config, "max_new_tokens", 128)))
    a_layer = width * (8 * sizes.hidden + 4 * sizes.middle + sizes.query) + 4 * sizes.heads * row
    logits = TRAINING_BLOCKS * 4 * min(LOGIT_CHUNK, tokens) * sizes.vocabulary
    return tokens * sizes.layers * a_layer + logits


def _saving(config: JobConfig, sizes: Sizes) -> int:
    """One file of float32 weights, or one matrix where that is larger; on the processor."""
    if not _tuning(config):
        return 0
    return min(4 * sizes.parameters, max(SHARD_BYTES, 4 * sizes.vocabulary * sizes.hidden))


def _micro_batch_tokens(config: JobConfig) -> int | None:
    if isinstance(config, PolicyLearningConfig):
        shared = max(1, config.microbatch // config.samples)
        return shared * _prompt_tokens(config) + config.microbatch * config.max_new_tokens
    if isinstance(config, StoredResponsesConfig):
        more = (TYPICAL_RESPONSES - 1) * isinstance(config, DPOConfig)  # share their prompt's tokens
        return config.microbatch * (config.max_tokens + more * max(0, config.max_tokens - TYPICAL_PROMPT))
    return int(config.batch_tokens) if hasattr(config, "batch_tokens") else None


def _prompt_tokens(config: JobConfig) -> int:
    return int(getattr(config, "max_prompt_tokens", TYPICAL_PROMPT))
