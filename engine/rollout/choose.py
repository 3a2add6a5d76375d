"""Choosing the next token from logits, and the log-probability that it had.

Randomness comes in as one uniform number a sequence and token, turned into a token by the inverse of the
cumulative distribution.  A sequence's tokens therefore depend on its own numbers only, not on its neighbours.
"""

from __future__ import annotations

import torch


def choose_tokens(
    logits_NV: torch.Tensor,
    uniform_N: torch.Tensor,  # in [0, 1)
    temperature: float,
    top_p: float = 1.0,
) -> tuple[torch.Tensor, torch.Tensor]:
    """Tokens [N] and their log-probabilities [N] in nats, computed in float32.

    The log-probability is log_softmax(logits / temperature) of the whole distribution, also when `top_p` is
    below 1 and narrows what can be drawn; for `temperature` 0 (greedy) it is that of temperature 1.
    """
    logits_NV = logits_NV.float()
    if temperature == 0.0:
        token_N = logits_NV.argmax(-1)
        return token_N, _log_probability(logits_NV, token_N)
    logits_NV = logits_NV / temperature
    probability_NV = torch.softmax(logits_NV, -1)
    if top_p < 1.0:
        token_N = _nucleus(probability_NV, uniform_N, top_p)
    else:
        token_N = _inverse_cumulative(probability_NV, uniform_N)
    return token_N, _log_probability(logits_NV, token_N)


def _log_probability(logits_NV: torch.Tensor, token_N: torch.Tensor) -> torch.Tensor:
    chosen_N = logits_NV.gather(1, token_N.unsqueeze(1)).squeeze(1)
    return chosen_N - torch.logsumexp(logits_NV, -1)


def _inverse_cumulative(weight_NV: torch.Tensor, uniform_N: torch.Tensor) -> torch.Tensor:
    """The first index whose cumulative weight exceeds uniform · total, never one of weight 0."""
    cumulative_NV = weight_NV.cumsum(-1)
    total_N = cumulative_NV[:, -1]
    # u · total may round up to the total, which no cumulative weight exceeds
    below_N = torch.nextafter(total_N, torch.zeros_like(total_N))
    target_N = torch.minimum(uniform_N.to(total_N) * total_N, below_N)
    found_N = torch.searchsorted(cumulative_NV, target_N.unsqueeze(1), right=True).squeeze(1)
    return found_N.clamp_max(weight_NV.shape[-1] - 1)  # beyond the end only where weights are not numbers


def _nucleus(probability_NV: torch.Tensor, uniform_N: torch.Tensor, top_p: float) -> torch.Tensor:
    """Draw among the most probable tokens that together first reach `top_p` (Holtzman et al. 2019)."""
    sorted_NV, order_NV = torch.sort(probability_NV, dim=-1, descending=True, stable=True)
    before_NV = sorted_NV.cumsum(-1) - sorted_NV
    kept_NV = sorted_NV.masked_fill(before_NV >= top_p, 0.0)
    place_N = _inverse_cumulative(kept_NV, uniform_N)
    return order_NV.gather(1, place_N.unsqueeze(1)).squeeze(1)
