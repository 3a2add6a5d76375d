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


class PrefixPart(NamedTuple):
    """A prompt, or one response to it, in the sequence."""

    start: int
    length: int
    prompt_start: int
    prompt_length: int  # 0 for the prompt itself

    @property
    def cells(self) -> int:
        """Pairs of tokens that attention compares here."""
        return self.length * (self.prompt_length + self.length)


class Group(NamedTuple):
    """Parts that are computed together: where their tokens lie, and who may not see whom."""

    own: Tensor  # [A, T] place of each own token; 0 in the padding
    seen: Tensor  # [A, U] place of each token that the part sees: its prompt, then itself; 0 in the padding
    known: Tensor  # [A, U] bool, false in the padding of seen
    blocked: Tensor  # [A, T, U] bool

    @property
    def real(self) -> Tensor:
        """Which own tokens are no padding.  [A, T] bool"""
        return self.known[:, -self.own.shape[1] :]


class GroupRows(NamedTuple):
    """A group's tokens as rows of E numbers, one for each head, in the order of the products."""

    own: Tensor  # [A·H·T] rows of the queries; heads that share a key head one after the other
    seen: Tensor  # [A·J·U] rows of the keys and of the values
    padded: Tensor  # places in `own` that are padding


class Rows(NamedTuple):
    """Where each group's rows come from, and where the rows of all groups, one after the other, go."""

    groups: tuple[GroupRows, ...]
    back: Tensor  # [S·H] the row of all groups' own that is this token's and head's
    addends: Tensor  # rows of all groups' seen, by the token and key head that they are added up in
    starts: Tensor  # [S·J] where in `addends` those of each begin


class Groups:
    """All parts of a sequence of S tokens, in groups of like size."""

    def __init__(self, groups: Sequence[Group]) -> None:
        self.groups = tuple(groups)
        self._rows: dict[tuple[int, int], Rows] = {}

    def rows(self, H: int, J: int) -> Rows:
        """Made at the first layer, used by all."""
        if (H, J) not in self._rows:
            self._rows[H, J] = _rows(self.groups, H, J)
        return self._rows[H, J]


def grouped_parts(parts: Sequence[PrefixPart], device: torch.device | str = "cpu") -> Groups:
    """Parts in groups of like size."""
    groups: list[list[PrefixPart]] = []
    for part in sorted(parts, key=lambda part: (part.length, part.prompt_length)):
        members = [*groups[-1], part] if groups else [part]
        T, P = max(m.length for m in members), max(m.prompt_length for m in members)
        use = sum(member.cells for member in members) / (len(members) * T * (P + T))
        if groups and len(members) <= LARGEST_GROUP and use >= LEAST_USE:
            groups[-1].append(part)
        else:
            groups.append([part])
    return Groups([Group(*(tensor.to(device) for tensor in _group(members))) for members in groups])


def _group(parts: Sequence[PrefixPart]) -> Group:
    T, P = max(part.length for part in parts), max(part.prompt_length for part in parts)
    own = torch.zeros(len(parts), T, dtype=torch.long)
    prompt = torch.zeros(len(parts), P, dtype=torch.long)
    known = torch.zeros(len(parts), P + T, dtype=torch.bool)
    for a, part in enumerate(parts):
        own[a, : part.length] = torch.arange(part.start, part.start + part.length)
        prompt[a, : part.prompt_length] = torch.arange(
            part.prompt_start, part.prompt_start + part.prompt_length
        )
        known[a, : part.prompt_length] = known[a, P : P + part.length] = True
    future_T_T = torch.ones(T, T, dtype=torch.bool).triu(1)  # padding comes after every real token
    blocked = torch.cat([~known[:, None, :P].expand(-1, T, -1), future_T_T.expand(len(parts), T, T)], dim=2)
    return Group(own, torch.cat([prompt, own], dim=1), known, blocked)


def _rows(groups: Sequence[Group], H: int, J: int) -> Rows:
    """The rows of every group, and the way back."""
    own = [_by_head(group.own, H) for group in groups]
    seen = [_by_head(group.seen, J) for group in groups]
    real = [group.real[:, None].expand(-1, H, -1).flatten() for group in groups]
    all_own, all_seen, all_real = torch.cat(own), torch.cat(seen), torch.cat(real)
    places = all_real.nonzero().flatten()
    back = places[torch.argsort(all_own[places])]  # each token is in one part: the rows in their order
    known = torch.cat([group.known[:, None].expand(-1, J, -1).flatten() for group in groups])
    places = known.nonzero().flatten()
    rows, order = all_seen[places].sort(stable=True)
    addends = places[order]
    starts = torch.searchsorted(rows, torch.arange(len(back) // H * J, device=rows.device))
    each = (GroupRows(o, s, (~r).nonzero().flatten()) for o, s, r in zip(own, seen, real, strict=True))
    return Rows(tuple(each), back, addends, starts)


def _by_head(place_A_T: Tensor, heads: int) -> Tensor:
    """Rows of a tensor [S · heads, E], [A · heads · T]."""
    head = torch.arange(heads, device=place_A_T.device)[:, None]
    return (place_A_T[:, None] * heads + head).flatten()


class SharedPrefix(torch.autograd.Function):
    """softmax(q kᵀ) v, group by group; q is scaled already.  Result [S, H, E].

    What a group reads is gathered, and what all groups have made is gathered back at the end: scattering
    took longer than the products.
    """

    @staticmethod
    def forward(
        ctx: Any, query_S_H_E: Tensor, key_S_J_E: Tensor, value_S_J_E: Tensor, groups: Groups
    ) -> Tensor:
        """softmax(q kᵀ) v of each group; q is scaled already.  [S, H, E] and [S, J, E] twice → [S, H, E]"""
        J = key_S_J_E.shape[1]
        rows = groups.rows(query_S_H_E.shape[1], J)
        queries, keys, values = (_heads(x) for x in (query_S_H_E, key_S_J_E, value_S_J_E))
        outputs, saved = [], []
        for group, at in zip(groups.groups, rows.groups, strict=True):
            (A, T), U = group.own.shape, group.seen.shape[1]
            scores = torch.bmm(_take(queries, at.own, A * J), _take(keys, at.seen, A * J).transpose(1, 2))
            scores.view(A, J, -1, T, U).masked_fill_(group.blocked[:, None, None], -torch.inf)
            weights = torch.softmax(scores, dim=-1)
            weights.view(-1, U).index_fill_(0, at.padded, 0)  # so that padding has no gradient
            outputs.append(torch.bmm(weights, _take(values, at.seen, A * J)).flatten(0, 1))
            saved.append(weights)
        out_S_H_E = torch.cat(outputs).index_select(0, rows.back).view(query_S_H_E.shape)
        ctx.save_for_backward(query_S_H_E, key_S_J_E, value_S_J_E, out_S_H_E, *saved)
        ctx.groups = groups
        return out_S_H_E

    @staticmethod
    def backward(ctx: Any, *gradients: Tensor) -> tuple[Tensor | None, ...]:
        """w the weights, o the output: ds = w ⊙ (do vᵀ − Σ do ⊙ o), dq = ds k, dk = dsᵀ q, dv = wᵀ do."""
        query, key, value, out, *saved = ctx.saved_tensors
        J = key.shape[1]
        rows = ctx.groups.rows(query.shape[1], J)
        queries, keys, values, d_outs = (_heads(x) for x in (query, key, value, gradients[0]))
        dots = _heads((gradients[0] * out).sum(dim=-1, keepdim=True))
        d_queries, d_keys, d_values = [], [], []
        for group, at, weights in zip(ctx.groups.groups, rows.groups, saved, strict=True):
            n = len(group.own) * J
            d_out, own_keys = _take(d_outs, at.own, n), _take(keys, at.seen, n)
            d_scores = torch.bmm(d_out, _take(values, at.seen, n).transpose(1, 2))
            d_scores.sub_(_take(dots, at.own, n)).mul_(weights)
            d_queries.append(torch.bmm(d_scores, own_keys).flatten(0, 1))
            d_keys.append(torch.bmm(d_scores.transpose(1, 2), _take(queries, at.own, n)).flatten(0, 1))
            d_values.append(torch.bmm(weights.transpose(1, 2), d_out).flatten(0, 1))
        d_query = torch.cat(d_queries).index_select(0, rows.back).view(query.shape)
        return d_query, _added(d_keys, rows).view(key.shape), _added(d_values, rows).view(value.shape), None


def _heads(x_S_H_E: Tensor) -> Tensor:
    """A row for each token and head, [S·H, E]."""
    return x_S_H_E.reshape(-1, x_S_H_E.shape[2])


def _take(rows: Tensor, at: Tensor, matrices: int) -> Tensor:
    """Those rows, as so many matrices."""
    return rows.index_select(0, at).view(matrices, -1, rows.shape[1])


def _added(parts: list[Tensor], rows: Rows) -> Tensor:
    """Sums over all parts that see a token: every response adds to its prompt's keys and values.  [S·J, E]

    The sum of embeddings adds up in float32, whatever it is given, so that nothing is rounded away.
    """
    return nn.functional.embedding_bag(rows.addends, torch.cat(parts), rows.starts, mode="sum")


def attention(
    module: nn.Module,
    query_1_H_S_E: Tensor,
    key_1_J_S_E: Tensor,
    value_1_J_S_E: Tensor,
    attention_mask: Tensor | None,
    *,
    scaling: float,
    dropout: float = 0.0,
    groups: Groups | None = None,
    **asked: Any,
) -> tuple[Tensor, None]:
    """As transformers calls an attention; `groups` comes as an argument of the backbone.  [1, S, H, E]

    Raises ValueError when the model asks for more than plain attention, or does not hand `groups` on.
    """
    lacking = [name for name in UNKNOWN if asked.get(name) is not None]
    if groups is None or attention_mask is not None or dropout or lacking:
        raise ValueError(f"the model's attention wants {', '.join(lacking) or 'a mask'}")
    query, key, value = (x[0].transpose(0, 1) for x in (query_1_H_S_E, key_1_J_S_E, value_1_J_S_E))
    out: Tensor = SharedPrefix.apply(query * scaling, key, value, groups)
    return out[None], None


AttentionInterface.register(NAME, attention)
