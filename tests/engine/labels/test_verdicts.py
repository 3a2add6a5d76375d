"""The weight of a judgement's pairs against the covariance and the curvature that it is to bring together."""

from __future__ import annotations

from collections.abc import Callable
from itertools import permutations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from engine.labels.verdicts import PairVerdicts, Said, composite_weight

Ranks = list[int]


def _score_and_curvature(ranks: Ranks, unordered: list[bool]) -> tuple[np.ndarray, np.ndarray]:
    """Of the pairwise likelihood of one judgement where all responses are equally good."""
    size = len(ranks)
    score, curvature = np.zeros(size), np.zeros((size, size))
    for i in range(size):
        for j in range(i + 1, size):
            if ranks[i] == ranks[j] and unordered[i]:
                continue
            d = np.zeros(size)
            d[i], d[j] = 1, -1
            score += d * (np.sign(ranks[j] - ranks[i]) / 2)
            curvature += np.outer(d, d) / 4
    return score, curvature


def _ranking(order: Ranks) -> tuple[Ranks, list[bool]]:
    return order, [False] * len(order)


def _best(order: Ranks) -> tuple[Ranks, list[bool]]:
    return [min(rank, 2) for rank in order], [True] * len(order)


def _best_two(order: Ranks) -> tuple[Ranks, list[bool]]:
    return [min(rank, 3) for rank in order], [rank >= 3 for rank in order]


def _best_and_worst(order: Ranks) -> tuple[Ranks, list[bool]]:
    ranks = [1 if r == 1 else 3 if r == len(order) else 2 for r in order]
    return ranks, [rank == 2 for rank in ranks]


@pytest.mark.parametrize("size", [3, 4, 5])
@pytest.mark.parametrize("judged", [_ranking, _best, _best_two, _best_and_worst])
def test_the_weight_makes_curvature_equal_covariance(
    size: int, judged: Callable[[Ranks], tuple[Ranks, list[bool]]]
) -> None:
    scores, curvatures, weights = [], [], set()
    for order in permutations(range(1, size + 1)):
        ranks, unordered = judged(list(order))
        score, curvature = _score_and_curvature(ranks, unordered)
        scores.append(score)
        curvatures.append(curvature)
        weights.add(round(composite_weight(ranks, unordered), 12))
    (weight,) = weights
    covariance = np.cov(np.stack(scores).T, bias=True) * weight**2
    np.testing.assert_allclose(covariance, weight * np.mean(curvatures, axis=0), atol=1e-9)


@given(
    said=st.lists(
        st.tuples(
            st.sampled_from("pq"),
            st.permutations("abc"),
            st.sampled_from((1, 0, -1)),
            st.sampled_from((1, 0, -1)),
        ),
        min_size=1,
        max_size=8,
    )
)
def test_a_verdict_means_the_same_whichever_response_is_named_first(said: list[tuple]) -> None:  # type: ignore[type-arg]
    rows = [Said(p, p + order[0], p + order[1], "ana", v, f) for p, order, v, f in said]
    turned = [row._replace(x=row.y, y=row.x, verdict=-row.verdict, first=-row.first) for row in rows]
    one, other = PairVerdicts.of(rows), PairVerdicts.of(turned)
    for name in ("x", "y", "verdict", "first", "prompt_of"):
        np.testing.assert_array_equal(getattr(one, name), getattr(other, name))
    assert (one.x < one.y).all()
    assert (one.prompt_of[one.x] == one.prompt_of[one.y]).all()


def test_lengths_are_doublings_about_the_mean_of_the_prompt() -> None:
    found = PairVerdicts.of(
        [Said("p", "a", "b", "ana", 1), Said("q", "c", "d", "ana", 1)], {"a": 8, "b": 2, "c": 100, "d": 100}
    )
    np.testing.assert_allclose(found.length, [1, -1, 0, 0])
    np.testing.assert_allclose(found.doublings, [2, 0])
