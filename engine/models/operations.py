"""How many operations a model asks for, from its shape: what the time of a step is held against (MFU).

A product of matrices counts two operations a pair of numbers, and nothing else counts (Chowdhery et al. 2022,
arXiv 2204.02311, appendix B), but that a query meets the keys it may see and no others, and that a prompt is
read once with all its responses.  What is computed again for the backward pass does not count: the figure
says how far the device gets with what has to be done.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any

from torch import nn
from transformers import PreTrainedModel
from transformers.pytorch_utils import Conv1D

from engine.models.packing import Row
from engine.models.parts import backbone, output_head

EXPERTS = ("num_local_experts", "num_experts", "n_routed_experts")
FULL = {"full_attention", "sliding_attention"}


@dataclass(frozen=True)
class Work:
    """Tokens that go through a model."""

    tokens: int = 0
    pairs: int = 0  # of queries and the keys that they see
    predicted: int = 0  # tokens whose logits are computed

    @classmethod
    def of(cls, rows: Iterable[Row]) -> Work:
        """Of prompts with their responses, each prompt once."""
        work = cls()
        for row in rows:
            prompt, lengths = len(row.prompt), [len(response) for response in row.responses]
            seen = sum(length * prompt + length * (length + 1) // 2 for length in lengths)
            work += cls(row.length, prompt * (prompt + 1) // 2 + seen, sum(lengths))
        return work

    def __add__(self, other: Work) -> Work:
        return Work(self.tokens + other.tokens, self.pairs + other.pairs, self.predicted + other.predicted)


@dataclass(frozen=True)
class Shape:
    """The numbers of a transformer that its operations follow from."""

    frozen: int  # weights in the linear layers of its blocks
    trained: int  # the same, of those with gradients: all of them, or the adapters
    attention: int  # width of the queries, summed over layers
    head: int = 0  # weights of the output head; 0 where no logits are computed
    head_trained: bool = False

    @classmethod
    def of(cls, model: PreTrainedModel, *, logits: bool) -> Shape | None:
        """None of what is not a plain transformer: experts, of which a token meets some, or other mixers."""
        whole: Any = model.config
        config: Any = whole.get_text_config()
        kinds = set(getattr(config, "layer_types", None) or FULL)
        if any(getattr(config, name, None) for name in EXPERTS) or kinds - FULL:
            return None
        weights = [
            part.weight
            for part in backbone(model).modules()
            if isinstance(part, (nn.Linear, Conv1D)) and not hasattr(part, "get_base_layer")
        ]
        heads = getattr(config, "num_attention_heads", None)
        if not weights or not heads:
            return None
        size = getattr(config, "head_dim", None) or config.hidden_size // heads
        head = output_head(model).weight if logits else None
        return cls(
            frozen=sum(weight.numel() for weight in weights if not weight.requires_grad),
            trained=sum(weight.numel() for weight in weights if weight.requires_grad),
            attention=heads * size * config.num_hidden_layers,
            head=0 if head is None else head.numel(),
            head_trained=head is not None and head.requires_grad,
        )

    def forward(self, work: Work) -> int:
        """Operations of a forward pass; of sampling too, which is one cut into tokens."""
        products = 2 * (self.frozen + self.trained) * work.tokens + 2 * self.head * work.predicted
        return products + 4 * self.attention * work.pairs

    def update(self, work: Work) -> int:
        """Of a forward and a backward pass: gradients of all activations, and of weights that are trained."""
        matrices = 2 * (2 * self.frozen + 3 * self.trained) * work.tokens
        logits = 2 * self.head * (3 if self.head_trained else 2) * work.predicted
        return matrices + logits + 12 * self.attention * work.pairs
