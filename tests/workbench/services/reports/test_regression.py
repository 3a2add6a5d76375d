"""The regression of verdicts on score and length: optimum, limits, clusters."""

from __future__ import annotations

import math
import random

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from workbench.services.reports.regression import fit_pairs

Row = tuple[str, float, float]


def drawn(seed: int, score: float, length: float, prompts: int = 40, each: int = 6) -> list[Row]:
    """Pairs whose winner follows σ(score·s + length·l), written winner less loser."""
    rng = random.Random(seed)
    rows = []
    for prompt in range(prompts):
        for _ in range(each):
            s, r = rng.gauss(0, 1), rng.gauss(0, 1)
            won = rng.random() < 1 / (1 + math.exp(-(score * s + length * r)))
            rows.append((f"p{prompt}", s if won else -s, r if won else -r))
    return rows


def loss(rows: list[Row], score: float, length: float) -> float:
    wide = math.sqrt(sum(s * s for _, s, _ in rows) / len(rows))
    long = math.sqrt(sum(r * r for _, _, r in rows) / len(rows))
    margins = [score * s / wide + length * r / long for _, s, r in rows]
    return sum(math.log1p(math.exp(-margin)) for margin in margins) / len(rows)


@settings(max_examples=20, deadline=None)
@given(st.integers(0, 10_000), st.floats(-1.5, 1.5), st.floats(-1.5, 1.5))
def test_no_other_coefficients_fit_better(seed: int, score: float, length: float) -> None:
    rows = drawn(seed, score, length, prompts=20)
    found = fit_pairs(rows)
    assert found is not None
    best = loss(rows, found.score, found.length)
    assert found.log_loss == pytest.approx(best)
    for step in (1e-3, -1e-3):
        assert best <= loss(rows, found.score + step, found.length)
        assert best <= loss(rows, found.score, found.length + step)
    assert best <= found.log_loss_length_alone <= math.log(2) + 1e-12
    assert found.log_loss_length_alone == pytest.approx(loss(rows, 0.0, found.length_alone))


def test_a_score_that_is_nothing_but_length_adds_nothing() -> None:
    rng = random.Random(5)
    rows = [(p, r + rng.gauss(0, 0.3), r) for p, _, r in drawn(1, 0.0, 1.2, prompts=200)]
    found = fit_pairs(rows)
    assert found is not None
    assert found.score_low < 0 < found.score_high
    assert found.length_low > 0
    assert found.log_loss_length_alone - found.log_loss < 0.005


def test_pairs_of_one_prompt_count_once_when_they_say_the_same() -> None:
    rows = drawn(2, 1.0, 0.3, prompts=60, each=1)
    copied = [row for row in rows for _ in range(4)]
    once, four = fit_pairs(rows), fit_pairs(copied)
    assert once is not None
    assert four is not None
    assert four.score == pytest.approx(once.score)
    assert four.score_high - four.score_low == pytest.approx(once.score_high - once.score_low)


def test_where_there_is_no_fit_there_is_none() -> None:
    assert fit_pairs([]) is None
    assert fit_pairs([("p", 1.0, 0.0), ("q", -1.0, 0.0), ("r", 1.0, 0.0)]) is None
    assert fit_pairs([(f"p{n}", 1.0 + n, (-1.0) ** n) for n in range(9)]) is None
