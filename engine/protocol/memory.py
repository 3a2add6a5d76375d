"""The memory of a job at its peak, from its configuration and the model's sizes alone.  Torch-free.

A job goes through stages, and the largest counts: loading a file, sampling, measuring, training, saving.
Beside each stand the weights, and what the optimiser keeps.  Held against measured peaks by
`tests.benchmarks.memory`.
"""

from __future__ import annotations

from dataclasses import dataclass

from engine.protocol.configs import JobConfig
from engine.protocol.configs.needs import Cost

PROCESS_BYTES = 510 << 20  # Python, torch and transformers, no model loaded
LOGIT_CHUNK = 256  # positions whose logits exist at once
TRAINING_BLOCKS = 3  # float32 blocks [LOGIT_CHUNK, V] at once: logits, probabilities, gradient
MEASURING_BLOCKS = 9  # with the entropy, and what the allocator has not given back
SCORED_TOKENS = 2048  # in one forward pass of a reward model
CACHES = 2  # a cache and the one that it grows or is recorded into
SHARD_BYTES = 1 << 29  # of a file of weights, all of which is in memory when it is written
QUANTISED_BYTES = 4.13 / 8  # a weight of NF4 with its share of the scales


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
        """Weights of one layer: attention, a gated MLP, two norms."""
        attention = self.hidden * (2 * self.query + 2 * self.key_value)
        return attention + 3 * self.hidden * self.middle + 2 * self.hidden

    @property
    def parameters(self) -> int:
        """Weights of the model: embeddings (once where they are tied), layers, last norm."""
        embeddings = self.vocabulary * self.hidden * (1 if self.tied else 2)
        return embeddings + self.layers * self.layer_parameters + self.hidden

    def adapters(self, rank: int) -> int:
        """Parameters of low-rank adapters on every linear layer."""
        ends = 2 * (self.hidden + self.query) + 2 * (self.hidden + self.key_value)
        return self.layers * rank * (ends + 3 * (self.hidden + self.middle))


def memory_of(config: JobConfig, sizes: Sizes) -> int:
    """Bytes at the peak.  Raises UsageError for a configuration that does not say what it costs."""
    cost = config.cost()
    width = 2 if config.dtype == "bfloat16" else 4
    one = sizes.parameters * width
    # In float32 gradient and two moments; in bfloat16 also the model's own gradient and a float32 master.
    optimiser = _trained(cost, sizes) * (12 if width == 4 else 18)
    on_cuda = config.device.startswith("cuda")
    loading = cost.models * one + sizes.parameters * 4  # a file in float32, before it is rounded
    if cost.four_bits and on_cuda:
        loading = 0  # on the processor; a weight at a time goes to the GPU
    working = max(
        _sampling(cost, sizes, width, on_cuda=on_cuda),
        _measuring(cost, sizes, width),
        _training(cost, sizes, width),
        _saving(cost, sizes),
    )
    parts = max(1, config.processes) * config.machines if getattr(config, "sharding", "") == "full" else 1
    spared = _spared(sizes, width) if cost.four_bits else 0
    # Of divided weights one model is whole when it samples.
    held = (cost.models * one - spared + optimiser) // parts
    each = PROCESS_BYTES + max(loading, held + (one if parts > 1 else 0) + working)
    # Processes on GPUs have a memory each; on the processor they share one.
    return each if on_cuda else each * max(1, config.processes)


def parts_of(config: JobConfig, sizes: Sizes) -> dict[str, int]:
    """Bytes by part, as each is at its largest, the largest first; they are not all there at one time.

    Weights are those of all models, moments Adam's two with the float32 masters.  Raises as `memory_of`.
    """
    cost = config.cost()
    width = 2 if config.dtype == "bfloat16" else 4
    on_cuda = config.device.startswith("cuda")
    trained = _trained(cost, sizes)
    parts = {
        "weights": cost.models * sizes.parameters * width - (_spared(sizes, width) if cost.four_bits else 0),
        "gradients": trained * (4 if width == 4 else 6),
        "moments": trained * (8 if width == 4 else 12),
        "activations": _training(cost, sizes, width),
        "cache": _sampling(cost, sizes, width, on_cuda=on_cuda),
        "process": 0 if on_cuda else PROCESS_BYTES,
    }
    divided = max(1, config.processes) * config.machines if getattr(config, "sharding", "") == "full" else 1
    for name in ("weights", "gradients", "moments"):
        parts[name] //= divided
    return dict(sorted(((name, size) for name, size in parts.items() if size), key=lambda item: -item[1]))


def _trained(cost: Cost, sizes: Sizes) -> int:
    """Trained parameters."""
    if cost.tuning not in ("lora", "full"):
        return 0
    return cost.trained * (sizes.parameters if cost.tuning == "full" else sizes.adapters(cost.lora_rank))


def _spared(sizes: Sizes, width: int) -> int:
    """What blocks in 4 bits leave free, but for the largest matrix, which is put back while it multiplies."""
    matrices = sizes.layers * (sizes.layer_parameters - 2 * sizes.hidden)
    return int(matrices * (width - QUANTISED_BYTES)) - sizes.hidden * sizes.middle * width


def _sampling(cost: Cost, sizes: Sizes, width: int, *, on_cuda: bool) -> int:
    """Caches of the sequences that are sampled at once, logits, and weights laid out for decoding."""
    if not cost.sampled_at_once:
        return 0
    cache = 2 * sizes.layers * sizes.key_value * cost.row_tokens * width
    laid_out = 0 if on_cuda else sizes.parameters * width
    return laid_out + cost.sampled_at_once * (CACHES * cache + 3 * sizes.vocabulary * 4)


def _measuring(cost: Cost, sizes: Sizes, width: int) -> int:
    """Forward passes without gradients: log-probabilities with their entropy, and scores."""
    logits = MEASURING_BLOCKS * 4 * LOGIT_CHUNK * sizes.vocabulary if cost.measures_logprobs else 0
    tokens = max(SCORED_TOKENS if cost.scores else 0, cost.microbatch_tokens or 0)
    return logits + tokens * width * (4 * sizes.hidden + 3 * sizes.middle + 2 * sizes.query)


def _training(cost: Cost, sizes: Sizes, width: int) -> int:
    """What the forward pass of one micro-batch keeps for the backward pass."""
    tokens = cost.microbatch_tokens
    if tokens is None or cost.tuning not in ("lora", "full"):
        return 0
    row = min(tokens, cost.row_tokens)
    a_layer = width * (8 * sizes.hidden + 4 * sizes.middle + sizes.query) + 4 * sizes.heads * row
    logits = TRAINING_BLOCKS * 4 * min(LOGIT_CHUNK, tokens) * sizes.vocabulary
    if cost.activations == "keep":
        return tokens * sizes.layers * a_layer + logits
    inputs = tokens * width * sizes.hidden  # of each layer; the rest is there of one layer at a time
    return inputs * (sizes.layers if cost.activations == "recompute" else 2) + max(tokens * a_layer, logits)


def _saving(cost: Cost, sizes: Sizes) -> int:
    """One file of float32 weights, or one matrix where that is larger; on the processor."""
    if not cost.tuning:
        return 0
    return min(4 * sizes.parameters, max(SHARD_BYTES, 4 * sizes.vocabulary * sizes.hidden))
