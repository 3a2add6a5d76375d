"""The output head of a language model as the model applies it: scaled, capped, or refused.

logits = cap · tanh(scale · (W h + b) / cap), the cap where there is one.  Granite divides its logits,
Cohere and Falcon-H1 multiply theirs, Gemma 2 (arXiv 2408.00118, section 2) caps them; others do something
else again.  What a model does is read from its configuration and then held against its own forward pass: an
architecture that nobody thought of is found by its numbers.
"""

from __future__ import annotations

import itertools
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any
from weakref import WeakKeyDictionary

import torch
from torch import Tensor, nn
from transformers import PreTrainedModel

from engine.errors import ModelFilesError, NonFiniteError, is_out_of_memory
from engine.models.parts import arguments, backbone, output_head, probe_tokens
from engine.objectives.logprobs import CHUNK, TokenLogprobs, chosen_logprobs

SCALES = ("logits_scaling", "logit_scale", "lm_head_multiplier", "logits_mup_width_multiplier")
"""What configurations call the factor of their logits; some divide by it."""

CAPS = ("final_logit_softcapping", "logits_soft_cap", "output_logit_soft_cap")

TOLERANCE = {torch.float32: 1e-4, torch.bfloat16: 3 * 2**-8, torch.float16: 3 * 2**-11}
"""Largest difference of logits relative to the largest one.  The hidden states are the same, so that only the
order of the roundings differs: one each for product, scale and cap."""

NOT_FINITE = (
    "The model gave logits that are not finite; its weights are damaged, or the number format is too narrow."
)


@dataclass(frozen=True)
class OutputHead:
    """[.., D] → [.., V]"""

    linear: nn.Linear
    scale: float = 1.0
    cap: float | None = None

    def __call__(self, hidden: Tensor) -> Tensor:
        logits: Tensor = self.linear(hidden)
        if self.scale != 1.0:
            logits = logits * self.scale
        return logits if self.cap is None else torch.tanh(logits / self.cap) * self.cap

    def logprobs(
        self,
        hidden_M_D: Tensor,
        tokens_M: Tensor,
        *,
        temperature: float = 1.0,
        chunk: int = CHUNK,
        entropy: bool = False,
    ) -> TokenLogprobs:
        """As `chosen_logprobs`; a scale alone is another temperature, and costs nothing."""
        head: OutputHead | nn.Linear = self
        if self.cap is None:
            head, temperature = self.linear, temperature / self.scale
        return chosen_logprobs(
            head, hidden_M_D, tokens_M, temperature=temperature, chunk=chunk, entropy=entropy
        )


_known: WeakKeyDictionary[PreTrainedModel, OutputHead] = WeakKeyDictionary()


def head_of(model: PreTrainedModel) -> OutputHead:
    """The head of a causal language model, found once.

    Raises ModelFilesError when its logits come about in another way, or when what follows a token changes
    what the model says of it.
    """
    if model not in _known:
        _known[model] = _found(model)
    return _known[model]


@torch.no_grad()
def _found(model: PreTrainedModel) -> OutputHead:
    kind = model.config.model_type
    try:
        linear = output_head(model)
    except ValueError as error:
        raise ModelFilesError(
            f"The output head of {kind} is not one linear layer, so its log-probabilities cannot be trained; "
            "choose another model."
        ) from error
    try:
        hidden_T_D, logits_T_V, prefix_V = _seen(model)
    except Exception as error:  # an architecture may say in any way that it wants more than tokens
        if is_out_of_memory(error):
            raise
        raise ModelFilesError(
            f"{kind} does not go from tokens to logits by itself ({type(error).__name__}); "
            "choose another model."
        ) from error
    if not torch.isfinite(hidden_T_D).all():
        raise NonFiniteError(NOT_FINITE)
    tolerance = TOLERANCE.get(linear.weight.dtype, 1e-4)
    if not _differ(prefix_V, logits_T_V[len(logits_T_V) // 2]) <= 10 * tolerance:
        raise ModelFilesError(
            f"{kind} reads text in both directions: what it says of a token depends on what follows. "
            "Choose a causal language model."
        )
    nearest = float("inf")
    for scale, cap in _candidates(model) if hidden_T_D.shape[-1] == linear.in_features else ():
        head = OutputHead(linear, scale, cap)
        difference = _differ(head(hidden_T_D), logits_T_V)
        if difference <= tolerance:
            return head
        nearest = min(nearest, difference)
    raise ModelFilesError(
        f"{kind} makes its logits in a way that training does not know: its output head on its hidden states "
        f"differs from its own logits by {nearest:.2g} of the largest. Choose another model."
    )


def _seen(model: PreTrainedModel) -> tuple[Tensor, Tensor, Tensor]:
    """Hidden states [T, D] and logits [T, V] of a few tokens, and the logits [V] halfway without the rest."""
    ids_1_T = torch.tensor([probe_tokens(model, 12)], device=model.device)
    training = model.training
    model.eval()
    options: dict[str, Any] = {"use_cache": False} if "use_cache" in arguments(model) else {}
    try:
        hidden_T_D = backbone(model)(input_ids=ids_1_T, **options)[0][0]
        logits_T_V = model(input_ids=ids_1_T, **options).logits[0]
        prefix_V = model(input_ids=ids_1_T[:, : ids_1_T.shape[1] // 2 + 1], **options).logits[0, -1]
    finally:
        model.train(training)
    return hidden_T_D, logits_T_V, prefix_V


def _candidates(model: PreTrainedModel) -> Iterator[tuple[float, float | None]]:
    """Scales and caps that the configuration may mean, the plain head last only where it says something."""
    config: Any = model.config.get_text_config()
    said = [float(value) for name in SCALES if isinstance(value := getattr(config, name, None), int | float)]
    factors = [factor for value in said if value > 0 for factor in (value, 1 / value)]
    caps = [float(value) for name in CAPS if (value := getattr(config, name, None))]
    return itertools.product([*factors, 1.0], [*caps, None])


def _differ(one: Tensor, other: Tensor) -> float:
    """Largest difference relative to the largest number; NaN where there is one."""
    if one.shape != other.shape:  # tokens that have no logits
        return float("inf")
    one, other = one.float(), other.float()
    return float((one - other).abs().max() / other.abs().max().clamp_min(1e-30))
