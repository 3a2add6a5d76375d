"""Attention over packed rows that lie end to end in one sequence: no padding, no mask over everything.

A row is `[prompt | y1 | … | yK]`.  Each of its parts attends to the prompt and, causally, to itself; so the
work is Σ R·(P + R) instead of rows · (longest row)², and linear layers see no padding at all.  On a CPU that
halves the time of forward and backward of a small model; on a GPU a mask over padded rows does as well.

Shapes: `S` tokens of all rows, `H` heads of queries, `J` of keys and values (G = H / J share one), `E` size
of a head.  Parts of like size are computed together as a group: `A` parts, `T` own tokens of the longest, `U`
tokens that it sees.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, NamedTuple

import torch
from torch import Tensor, nn
from transformers import AttentionInterface

NAME = "shared_prefix"
UNKNOWN = ("sliding_window", "softcap", "s_aux", "position_bias")  # what a model may ask for and this lacks
LARGEST_GROUP = 16
LEAST_USE = 0.6  # share of a group's [T, U] cells that are no padding


class Part(NamedTuple):
    """A prompt, or one response to it, in the sequence."""

    start: int
    length: int
    prompt_start: int
    prompt_length: int  # 0 for the prompt itself

    @property
    def cells(self) -> int:
        return self.length * (self.prompt_length + self.length)


class Group(NamedTuple):
    """Parts that are computed together: where their tokens lie, and who may not see whom."""

    own: Tensor  # [A, T] place of each own token; 0 in the padding
    seen: Tensor  # [A, U] place of each token that the part sees: its prompt, then itself
    real: Tensor  # [A, T] bool, false in the padding
    blocked: Tensor  # [A, T, U] bool


def grouped_parts(parts: Sequence[Part], device: torch.device | str = "cpu") -> tuple[Group, ...]:
    """Parts in groups of like size."""
    groups: list[list[Part]] = []
    for part in sorted(parts, key=lambda part: (part.length, part.prompt_length)):
        members = [*groups[-1], part] if groups else [part]
        T, P = max(m.length for m in members), max(m.prompt_length for m in members)
        use = sum(member.cells for member in members) / (len(members) * T * (P + T))
        if groups and len(members) <= LARGEST_GROUP and use >= LEAST_USE:
            groups[-1].append(part)
        else:
            groups.append([part])
    return tuple(Group(*(tensor.to(device) for tensor in _group(members))) for members in groups)


def _group(parts: Sequence[Part]) -> Group:
    T, P = max(part.length for part in parts), max(part.prompt_length for part in parts)
    own = torch.zeros(len(parts), T, dtype=torch.long)
    prompt = torch.zeros(len(parts), P, dtype=torch.long)
    real, known = torch.zeros_like(own, dtype=torch.bool), torch.zeros_like(prompt, dtype=torch.bool)
    for a, part in enumerate(parts):
        own[a, : part.length] = torch.arange(part.start, part.start + part.length)
        real[a, : part.length] = True
        prompt[a, : part.prompt_length] = torch.arange(
            part.prompt_start, part.prompt_start + part.prompt_length
        )
        known[a, : part.prompt_length] = True
    future_T_T = torch.ones(T, T, dtype=torch.bool).triu(1)  # padding comes after every real token
    blocked = torch.cat([~known[:, None].expand(-1, T, -1), future_T_T.expand(len(parts), T, T)], dim=2)
    return Group(own, torch.cat([prompt, own], dim=1), real, blocked)


class SharedPrefix(torch.autograd.Function):
    """softmax(q kᵀ) v, group by group; q is scaled already.  Result [S, H, E]."""

    @staticmethod
    def forward(
        ctx: Any, query_S_H_E: Tensor, key_S_J_E: Tensor, value_S_J_E: Tensor, *groups: Group
    ) -> Tensor:
        J = key_S_J_E.shape[1]
        out_S_H_E = torch.empty_like(query_S_H_E, memory_format=torch.contiguous_format)
        saved = []
        for group in groups:
            query, key = _queries(query_S_H_E, group.own, J), _keys(key_S_J_E, group.seen)
            scores = torch.bmm(query, key.transpose(1, 2))
            (A, T), U = group.own.shape, group.seen.shape[1]
            scores.view(A, J, -1, T, U).masked_fill_(group.blocked[:, None, None], -torch.inf)
            weights = torch.softmax(scores, dim=-1)
            found = torch.bmm(weights, _keys(value_S_J_E, group.seen))
            out_S_H_E[group.own[group.real]] = _by_token(found, group, J)
            saved.append(weights)
        ctx.save_for_backward(query_S_H_E, key_S_J_E, value_S_J_E, out_S_H_E, *saved)
        ctx.groups = groups
        return out_S_H_E

    @staticmethod
    def backward(ctx: Any, *gradients: Tensor) -> tuple[Tensor | None, ...]:
        """w the weights, o the output: ds = w ⊙ (do vᵀ − Σ do ⊙ o), dq = ds k, dk = dsᵀ q, dv = wᵀ do."""
        query, key, value, out, *saved = ctx.saved_tensors
        J = key.shape[1]
        d_query = torch.empty_like(query, memory_format=torch.contiguous_format)
        # Every response adds to its prompt's keys and values: in float32 nothing is rounded away.
        wide = torch.promote_types(key.dtype, torch.float32)
        d_key, d_value = torch.zeros(2, *key.shape, dtype=wide, device=key.device)
        dots_S_H = (gradients[0] * out).sum(dim=-1)
        for group, weights in zip(ctx.groups, saved, strict=True):
            padding = ~group.real
            d_out = _queries(gradients[0], group.own, J, padding)
            d_scores = torch.bmm(d_out, _keys(value, group.seen).transpose(1, 2))
            d_scores.sub_(_queries(dots_S_H[..., None], group.own, J, padding)).mul_(weights)
            found = torch.bmm(d_scores, _keys(key, group.seen))
            d_query[group.own[group.real]] = _by_token(found, group, J)
            _add(d_key, group.seen, torch.bmm(d_scores.transpose(1, 2), _queries(query, group.own, J)))
            _add(d_value, group.seen, torch.bmm(weights.transpose(1, 2), d_out))
        return d_query, d_key.to(key.dtype), d_value.to(value.dtype), *(None for _ in ctx.groups)


def _queries(x_S_H_E: Tensor, own_A_T: Tensor, J: int, padding_A_T: Tensor | None = None) -> Tensor:
    """Own tokens, the heads that share a key head one after the other: [A·J, G·T, E]; 0 in the padding."""
    A, T = own_A_T.shape
    found = x_S_H_E.index_select(0, own_A_T.flatten())
    if padding_A_T is not None:
        found[padding_A_T.flatten()] = 0
    return (
        found.view(A, T, J, -1, x_S_H_E.shape[2]).permute(0, 2, 3, 1, 4).reshape(A * J, -1, x_S_H_E.shape[2])
    )


def _keys(x_S_J_E: Tensor, seen_A_U: Tensor) -> Tensor:
    """Seen tokens, [A·J, U, E]."""
    A, U = seen_A_U.shape
    found = x_S_J_E.index_select(0, seen_A_U.flatten()).view(A, U, *x_S_J_E.shape[1:])
    return found.transpose(1, 2).reshape(-1, U, x_S_J_E.shape[2])


def _by_token(x: Tensor, group: Group, J: int) -> Tensor:
    """[A·J, G·T, E] of a group as [real tokens, H, E]."""
    A, T = group.own.shape
    found = x.view(A, J, -1, T, x.shape[2]).permute(0, 3, 1, 2, 4)
    return found.reshape(A, T, -1, x.shape[2])[group.real]


def _add(total_S_J_E: Tensor, seen_A_U: Tensor, x: Tensor) -> None:
    """Add [A·J, U, E] of a group to the tokens seen; what lies in the padding is 0."""
    A, U = seen_A_U.shape
    J, E = total_S_J_E.shape[1:]
    found = x.view(A, J, U, E).transpose(1, 2).reshape(A * U, J, E)
    total_S_J_E.index_add_(0, seen_A_U.flatten(), found.to(total_S_J_E.dtype))


def attention(
    module: nn.Module,
    query_1_H_S_E: Tensor,
    key_1_J_S_E: Tensor,
    value_1_J_S_E: Tensor,
    attention_mask: Tensor | None,
    *,
    scaling: float,
    dropout: float = 0.0,
    groups: Sequence[Group] | None = None,
    **asked: Any,
) -> tuple[Tensor, None]:
    """As transformers calls an attention; `groups` comes as an argument of the backbone.  [1, S, H, E]

    Raises ValueError when the model asks for more than plain attention, or does not hand `groups` on.
    """
    lacking = [name for name in UNKNOWN if asked.get(name) is not None]
    if groups is None or attention_mask is not None or dropout or lacking:
        raise ValueError(f"the model's attention wants {', '.join(lacking) or 'a mask'}")
    query, key, value = (x[0].transpose(0, 1) for x in (query_1_H_S_E, key_1_J_S_E, value_1_J_S_E))
    out: Tensor = SharedPrefix.apply(query * scaling, key, value, *groups)
    return out[None], None


AttentionInterface.register(NAME, attention)
