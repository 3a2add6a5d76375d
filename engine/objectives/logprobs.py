"""Log-probabilities of chosen tokens from hidden states, without ever holding an [N, T, V] tensor.

`M` response positions, `D` hidden size, `V` vocabulary.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any, NamedTuple, cast

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.utils.checkpoint import checkpoint

from engine.objectives.policy import entropy_of

CHUNK = 256  # positions in one [CHUNK, V] block of logits


class TokenLogprobs(NamedTuple):
    """What the policy says of the chosen tokens; float32."""

    logprobs: Tensor  # [M]
    entropy: Tensor | None  # [M] nats; None where gradients are taken and nobody asked for it


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


class _Blocks:
    """Logits of a linear head, chunk by chunk, in two buffers: fresh memory costs more than arithmetic."""

    def __init__(self, hidden_M_D: Tensor, weight_V_D: Tensor, temperature: float, chunk: int) -> None:
        self.hidden, self.weight, self.temperature, self.chunk = hidden_M_D, weight_V_D, temperature, chunk
        shape = (min(chunk, len(hidden_M_D)), len(weight_V_D))
        self._narrow = hidden_M_D.new_empty(shape)
        self._wide = hidden_M_D.new_empty(shape, dtype=torch.float32)

    def __iter__(self) -> Iterator[tuple[slice, Tensor, Tensor]]:
        """Positions, their logits over the temperature [C, V] float32, and a buffer of the head's format."""
        for start in range(0, len(self.hidden), self.chunk):
            part = slice(start, min(start + self.chunk, len(self.hidden)))
            narrow, wide = (buffer[: part.stop - start] for buffer in (self._narrow, self._wide))
            torch.mm(self.hidden[part], self.weight.T, out=narrow)
            wide.copy_(narrow)
            yield part, wide if self.temperature == 1.0 else wide.div_(self.temperature), narrow


class _Chosen(torch.autograd.Function):
    """log softmax(W h / temperature)[token].

    Its gradient by h is (W[token] − Σ softmax · W) / temperature, whatever the loss.  With W frozen it is
    taken while the logits are at hand, [M, D], and the backward pass only scales it; with W in training the
    logits are made again there.
    """

    @staticmethod
    def forward(
        ctx: Any, hidden_M_D: Tensor, weight_V_D: Tensor, tokens_M: Tensor, temperature: float, chunk: int
    ) -> Tensor:
        frozen = not ctx.needs_input_grad[1]
        found_M = hidden_M_D.new_empty(len(tokens_M), dtype=torch.float32)
        slope_M_D = torch.empty_like(hidden_M_D) if frozen else None
        for part, logits_C_V, narrow_C_V in _Blocks(hidden_M_D, weight_V_D, temperature, chunk):
            tokens_C_1 = tokens_M[part, None]
            torch.log_softmax(logits_C_V, 1, out=logits_C_V)
            found_M[part] = logits_C_V.gather(1, tokens_C_1)[:, 0]
            if slope_M_D is not None:
                logits_C_V.exp_().scatter_add_(1, tokens_C_1, found_M.new_full(tokens_C_1.shape, -1.0))
                slope_M_D[part] = narrow_C_V.copy_(logits_C_V) @ weight_V_D
        ctx.temperature, ctx.chunk = temperature, chunk
        ctx.save_for_backward(*((slope_M_D,) if frozen else (hidden_M_D, weight_V_D, tokens_M)))
        return found_M

    @staticmethod
    def backward(ctx: Any, *gradients: Tensor) -> tuple[Tensor | None, ...]:
        """dlogits = (1[token] − softmax) · d / temperature."""
        scaled_M = gradients[0].float() / ctx.temperature
        if not ctx.needs_input_grad[1]:
            (slope_M_D,) = ctx.saved_tensors
            return (-scaled_M[:, None] * slope_M_D).to(slope_M_D.dtype), None, None, None, None
        hidden_M_D, weight_V_D, tokens_M = ctx.saved_tensors
        d_hidden = torch.empty_like(hidden_M_D) if ctx.needs_input_grad[0] else None
        d_weight = torch.zeros_like(weight_V_D)
        for part, wide_C_V, narrow_C_V in _Blocks(hidden_M_D, weight_V_D, ctx.temperature, ctx.chunk):
            scaled_C_1 = scaled_M[part, None]
            torch.softmax(wide_C_V, 1, out=wide_C_V).mul_(-scaled_C_1)
            wide_C_V.scatter_add_(1, tokens_M[part, None], scaled_C_1)
            narrow_C_V.copy_(wide_C_V)
            if d_hidden is not None:
                d_hidden[part] = narrow_C_V @ weight_V_D
            d_weight.addmm_(narrow_C_V.T, hidden_M_D[part])
        return d_hidden, d_weight, None, None, None


def _measured(
    hidden_M_D: Tensor, weight_V_D: Tensor, tokens_M: Tensor, temperature: float, chunk: int
) -> TokenLogprobs:
    logprobs_M, entropy_M = hidden_M_D.new_empty(2, len(tokens_M), dtype=torch.float32)
    spare = hidden_M_D.new_empty(min(chunk, len(tokens_M)), len(weight_V_D), dtype=torch.float32)
    for part, wide_C_V, _ in _Blocks(hidden_M_D, weight_V_D, temperature, chunk):
        torch.log_softmax(wide_C_V, 1, out=wide_C_V)
        logprobs_M[part] = wide_C_V.gather(1, tokens_M[part, None])[:, 0]
        weighted_C_V = torch.exp(wide_C_V, out=spare[: len(wide_C_V)]).mul_(wide_C_V)
        entropy_M[part] = -weighted_C_V.nan_to_num_(nan=0.0).sum(1)  # a token of p = 0 adds 0
    return TokenLogprobs(logprobs_M, entropy_M)


def chosen_logprobs(
    head: Callable[[Tensor], Tensor],
    hidden_M_D: Tensor,
    tokens_M: Tensor,
    *,
    temperature: float = 1.0,
    chunk: int = CHUNK,
    entropy: bool = False,
) -> TokenLogprobs:
    """log softmax(head(h)/temperature)[token] of each position, and without gradients also the entropy there.

    entropy: with its gradient too, for a bonus; each chunk is then computed twice.

    head: the language-model head, [C, D] → [C, V].  hidden_M_D: hidden states of the positions that predict
    the tokens (response positions only; take them out of the padded batch first).  Logits of more than a
    chunk are never kept: what the backward pass needs of them is taken with them, or they are made again.
    """
    if hidden_M_D.shape[0] == 0:
        empty = hidden_M_D.new_zeros(0, dtype=torch.float32)
        return TokenLogprobs(empty, empty)
    wanted = entropy and torch.is_grad_enabled()
    if type(head) is nn.Linear and head.bias is None and not wanted:
        if not torch.is_grad_enabled():
            return _measured(hidden_M_D, head.weight, tokens_M, temperature, chunk)
        logprobs_M = cast(Tensor, _Chosen.apply(hidden_M_D, head.weight, tokens_M, temperature, chunk))
        return TokenLogprobs(logprobs_M, None)
    parts = [slice(start, start + chunk) for start in range(0, hidden_M_D.shape[0], chunk)]
    if not torch.is_grad_enabled():
        pairs = [_measured_chunk(head, hidden_M_D[part], tokens_M[part], temperature) for part in parts]
        return TokenLogprobs(torch.cat([pair[0] for pair in pairs]), torch.cat([pair[1] for pair in pairs]))
    if wanted:
        both = [
            checkpoint(
                _measured_chunk, head, hidden_M_D[part], tokens_M[part], temperature,
                use_reentrant=False, preserve_rng_state=False,
            )
            for part in parts
        ]  # fmt: skip
        return TokenLogprobs(torch.cat([pair[0] for pair in both]), torch.cat([pair[1] for pair in both]))
    logprobs = [
        checkpoint(
            _chunk, head, hidden_M_D[part], tokens_M[part], temperature,
            use_reentrant=False, preserve_rng_state=False,
        )
        for part in parts
    ]  # fmt: skip
    return TokenLogprobs(torch.cat(logprobs), None)
