"""Choosing the next token from logits, and the log-probability that it had.

Randomness comes in as one uniform number a sequence and token, turned into a token by the inverse of the
cumulative distribution.  A sequence's tokens therefore depend on its own numbers only, not on its neighbours.
"""

from __future__ import annotations

import torch

BLOCK = 256
"""Weights are summed in blocks of this many tokens: a running sum over a whole vocabulary is slow."""


def sample_tokens(
    logits_NV: torch.Tensor,
    uniform_N: torch.Tensor,  # in [0, 1)
    temperature: float,
    top_p: float = 1.0,
) -> tuple[torch.Tensor, torch.Tensor]:
    """Tokens [N] and their log-probabilities [N] in nats, computed in float32.

    The log-probability is log_softmax(logits / temperature) of the whole distribution, also when `top_p` is
    below 1 and narrows what can be drawn; for `temperature` 0 (greedy) it is that of temperature 1.
    """
    greedy = temperature == 0.0
    probability_NV = _probabilities(logits_NV, 1.0 if greedy else temperature)
    if greedy:
        token_N = logits_NV.argmax(-1)
    elif top_p < 1.0:
        token_N = _nucleus(probability_NV, uniform_N, top_p)
    else:
        token_N = _inverse_cumulative(probability_NV, uniform_N)
    return token_N, probability_NV.gather(1, token_N.unsqueeze(1)).squeeze(1).log()


def _probabilities(logits_NV: torch.Tensor, temperature: float) -> torch.Tensor:
    """softmax(logits / temperature) in float32, in one buffer: fresh memory costs more than arithmetic."""
    scratch_NV = logits_NV.to(torch.float32, copy=True)
    if temperature != 1.0:
        scratch_NV.div_(temperature)
    return torch.softmax(scratch_NV, -1, out=scratch_NV)


def _inverse_cumulative(weight_NV: torch.Tensor, uniform_N: torch.Tensor) -> torch.Tensor:
    """The first index whose cumulative weight exceeds uniform · total, never one of weight 0.  [N]

    First the block is found in which that happens, then the place within it.
    """
    size = weight_NV.shape[-1]
    blocks, rest = divmod(size, BLOCK)
    sum_N_B = weight_NV[:, : blocks * BLOCK].unflatten(-1, (blocks, BLOCK)).sum(-1)
    if rest:
        sum_N_B = torch.cat([sum_N_B, weight_NV[:, blocks * BLOCK :].sum(-1, keepdim=True)], -1)
    cumulative_N_B = sum_N_B.cumsum(-1)
    total_N = cumulative_N_B[:, -1]
    target_N = uniform_N.to(total_N) * total_N
    block_N = _first_above(cumulative_N_B, target_N)
    before_N = (cumulative_N_B - sum_N_B).gather(1, block_N.unsqueeze(1)).squeeze(1)
    index_N_b = block_N.unsqueeze(1) * BLOCK + torch.arange(BLOCK, device=weight_NV.device)
    inside_N_b = weight_NV.gather(1, index_N_b.clamp_max(size - 1)).masked_fill(index_N_b >= size, 0.0)
    place_N = _first_above(inside_N_b.cumsum(-1), target_N - before_N)
    return (block_N * BLOCK + place_N).clamp_max(size - 1)  # beyond only where weights are not numbers


def _first_above(cumulative_N_B: torch.Tensor, target_N: torch.Tensor) -> torch.Tensor:
    """The first index whose cumulative weight exceeds the target, or reaches the end.  [N]"""
    # rounding may bring the target up to the end, which nothing exceeds
    end_N = cumulative_N_B[:, -1]
    below_N = torch.nextafter(end_N, torch.zeros_like(end_N))
    target_N = torch.minimum(target_N.clamp_min(0.0), below_N)
    found_N = torch.searchsorted(cumulative_N_B, target_N.unsqueeze(1), right=True).squeeze(1)
    return found_N.clamp_max(cumulative_N_B.shape[-1] - 1)


def _nucleus(probability_NV: torch.Tensor, uniform_N: torch.Tensor, top_p: float) -> torch.Tensor:
    """Draw among the most probable tokens that together first reach `top_p` (Holtzman et al. 2019).

    Tokens below (1 − top_p) / V together have less than 1 − top_p, so the others reach `top_p` without them,
    and only the others are sorted.
    """
    row, token = (probability_NV >= (1.0 - top_p) / probability_NV.shape[-1]).nonzero(as_tuple=True)
    count_N = torch.bincount(row, minlength=len(probability_NV))
    place = torch.arange(len(row), device=row.device) - (count_N.cumsum(0) - count_N)[row]
    likely_N_C = probability_NV.new_zeros(len(probability_NV), max(1, int(count_N.max())))
    token_N_C = torch.zeros_like(likely_N_C, dtype=torch.long)
    likely_N_C[row, place], token_N_C[row, place] = probability_NV[row, token], token
    sorted_N_C, order_N_C = torch.sort(likely_N_C, dim=-1, descending=True, stable=True)
    before_N_C = sorted_N_C.cumsum(-1) - sorted_N_C
    kept_N_C = sorted_N_C.masked_fill(before_N_C >= top_p, 0.0)
    chosen_N = order_N_C.gather(1, _inverse_cumulative(kept_N_C, uniform_N).unsqueeze(1))
    return token_N_C.gather(1, chosen_N).squeeze(1)
