"""Log-probabilities of chosen tokens from hidden states, without ever holding an [N, T, V] tensor.

`M` response positions, `D` hidden size, `V` vocabulary.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import NamedTuple

import torch
from torch import Tensor
from torch.utils.checkpoint import checkpoint

from engine.objectives.policy import entropy_of

CHUNK = 256  # positions in one [CHUNK, V] block of logits


class TokenLogprobs(NamedTuple):
    """What the policy says of the chosen tokens; float32."""

    logprobs: Tensor  # [M]
    entropy: Tensor  # [M] nats; carries no gradient


def _chunk(
    head: Callable[[Tensor], Tensor], hidden_C_D: Tensor, tokens_C: Tensor, temperature: float
) -> tuple[Tensor, Tensor]:
    logits_C_V = head(hidden_C_D).float() / temperature
    chosen_C = logits_C_V.gather(1, tokens_C[:, None])[:, 0] - torch.logsumexp(logits_C_V, dim=1)
    return chosen_C, entropy_of(logits_C_V.detach())


def chosen_logprobs(
    head: Callable[[Tensor], Tensor],
    hidden_M_D: Tensor,
    tokens_M: Tensor,
    *,
    temperature: float = 1.0,
    chunk: int = CHUNK,
) -> TokenLogprobs:
    """log softmax(head(h)/temperature)[token] of each position, and the entropy of its distribution.

    head: the language-model head, [C, D] → [C, V].  hidden_M_D: hidden states of the positions that predict
    the tokens (response positions only; take them out of the padded batch first).  When a gradient is wanted
    the logits of a chunk are computed again in the backward pass instead of being kept.
    """
    logprobs, entropies = [], []
    for start in range(0, hidden_M_D.shape[0], chunk):
        part = slice(start, start + chunk)
        if torch.is_grad_enabled():
            pair = checkpoint(
                _chunk, head, hidden_M_D[part], tokens_M[part], temperature,
                use_reentrant=False, preserve_rng_state=False,
            )  # fmt: skip
        else:
            pair = _chunk(head, hidden_M_D[part], tokens_M[part], temperature)
        logprobs.append(pair[0])
        entropies.append(pair[1])
    if not logprobs:
        empty = hidden_M_D.new_zeros(0, dtype=torch.float32)
        return TokenLogprobs(empty, empty)
    return TokenLogprobs(torch.cat(logprobs), torch.cat(entropies))
