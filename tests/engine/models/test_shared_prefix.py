"""Attention without padding: a naive twin, and its gradients by finite differences."""

import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from engine.models.shared_prefix import PrefixPart, SharedPrefix, grouped_parts

sizes = st.lists(
    st.tuples(st.integers(1, 5), st.lists(st.integers(1, 6), max_size=4)), min_size=1, max_size=3
)


def parts_of(rows: list[tuple[int, list[int]]]) -> list[PrefixPart]:
    parts, at = [], 0
    for prompt, responses in rows:
        start = at
        parts.append(PrefixPart(start, prompt, start, 0))
        at += prompt
        for length in responses:
            parts.append(PrefixPart(at, length, start, prompt))
            at += length
    return parts


def tensors(tokens: int, heads: tuple[int, ...], size: int = 3) -> list[torch.Tensor]:
    generator = torch.Generator().manual_seed(tokens)
    return [torch.randn(tokens, h, size, generator=generator, dtype=torch.float64) for h in heads]


def naive(
    query: torch.Tensor, key: torch.Tensor, value: torch.Tensor, parts: list[PrefixPart]
) -> torch.Tensor:
    out = torch.zeros_like(query)
    share = query.shape[1] // key.shape[1]
    for part in parts:
        for t in range(part.start, part.start + part.length):
            seen = [
                *range(part.prompt_start, part.prompt_start + part.prompt_length),
                *range(part.start, t + 1),
            ]
            for h in range(query.shape[1]):
                weights = torch.softmax(key[seen, h // share] @ query[t, h], dim=0)
                out[t, h] = weights @ value[seen, h // share]
    return out


@given(sizes)
@settings(max_examples=25, deadline=None)
def test_equals_softmax_token_by_token(rows: list[tuple[int, list[int]]]) -> None:
    parts = parts_of(rows)
    query, key, value = tensors(sum(part.length for part in parts), (4, 2, 2))
    found = SharedPrefix.apply(query, key, value, grouped_parts(parts))  # type: ignore[no-untyped-call]
    torch.testing.assert_close(found, naive(query, key, value, parts))


def test_gradients_by_finite_differences() -> None:
    parts = parts_of([(3, [2, 4]), (1, [1])])
    groups = grouped_parts(parts)
    inputs = [x.requires_grad_() for x in tensors(sum(part.length for part in parts), (2, 1, 1), 2)]
    assert torch.autograd.gradcheck(lambda *x: SharedPrefix.apply(*x, groups), inputs)


@given(sizes)
@settings(max_examples=25, deadline=None)
def test_every_part_is_in_one_group(rows: list[tuple[int, list[int]]]) -> None:
    parts = parts_of(rows)
    places = torch.cat([group.own[group.real] for group in grouped_parts(parts).groups])
    assert sorted(places.tolist()) == list(range(sum(part.length for part in parts)))
