"""Log-probabilities of chosen tokens from hidden states, without ever holding an [N, T, V] tensor.

`M` response positions, `D` hidden size, `V` vocabulary.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import NamedTuple

import torch
import torch.nn.functional as F
from torch import Tensor
from torch.utils.checkpoint import checkpoint

from engine.objectives.policy import entropy_of

CHUNK = 256  # positions in one [CHUNK, V] block of logits


class TokenLogprobs(NamedTuple):
    """What the policy says of the chosen tokens; float32."""

    logprobs: Tensor  # [M]
    entropy: Tensor | None  # [M] nats; None where gradients are taken: only the measuring pass asks for it


def _chunk(
    head: Callable[[Tensor], Tensor], hidden_C_D: Tensor, tokens_C: Tensor, temperature: float
) -> Tensor:
    logits_C_V = head(hidden_C_D).float()
    if temperature != 1.0:
        logits_C_V = logits_C_V / temperature
    return -F.cross_entropy(logits_C_V, tokens_C, reduction="none")


def _measured_chunk(
    head: Callable[[Tensor], Tensor], hidden_C_D: Tensor, tokens_C: Tensor, temperature: float
) -> tuple[Tensor, Tensor]:
    logprobs_C_V = F.log_softmax(head(hidden_C_D).float() / temperature, dim=1)
    chosen_C = logprobs_C_V.gather(1, tokens_C[:, None])[:, 0]
    return chosen_C, entropy_of(logprobs_C_V)


def chosen_logprobs(
    head: Callable[[Tensor], Tensor],
    hidden_M_D: Tensor,
    tokens_M: Tensor,
    *,
    temperature: float = 1.0,
    chunk: int = CHUNK,
) -> TokenLogprobs:
    """log softmax(head(h)/temperature)[token] of each position, and without gradients also the entropy there.

    head: the language-model head, [C, D] → [C, V].  hidden_M_D: hidden states of the positions that predict
    the tokens (response positions only; take them out of the padded batch first).  When a gradient is wanted
    the logits of a chunk are computed again in the backward pass instead of being kept.
    """
    if hidden_M_D.shape[0] == 0:
        empty = hidden_M_D.new_zeros(0, dtype=torch.float32)
        return TokenLogprobs(empty, empty)
    parts = [slice(start, start + chunk) for start in range(0, hidden_M_D.shape[0], chunk)]
    if not torch.is_grad_enabled():
        pairs = [_measured_chunk(head, hidden_M_D[part], tokens_M[part], temperature) for part in parts]
        return TokenLogprobs(torch.cat([pair[0] for pair in pairs]), torch.cat([pair[1] for pair in pairs]))
    logprobs = [
        checkpoint(
            _chunk, head, hidden_M_D[part], tokens_M[part], temperature,
            use_reentrant=False, preserve_rng_state=False,
        )
        for part in parts
    ]  # fmt: skip
    return TokenLogprobs(torch.cat(logprobs), None)
