"""Judgements become pairs; how votes count."""

from __future__ import annotations

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from engine.frozen.comparisons import stacked
from engine.frozen.measure import best_temperature, measure, strict_majority


def test_three_ways_to_count_votes() -> None:
    c = stacked([(0, 0, 1, 2, 1, 0), (0, 0, 2, 1, 1, 1), (1, 3, 4, 0, 1, 3)])
    assert c.counted("all") is c
    share = c.counted("share")
    np.testing.assert_allclose(share.total, 1)
    np.testing.assert_allclose(share.win, [2 / 3, 1 / 3, 0])
    majority = c.counted("majority")
    assert [majority.win.tolist(), majority.loss.tolist(), majority.tie.tolist()] == [
        [1, 0, 0],
        [0, 0, 0],
        [0, 0, 1],
    ]
    assert strict_majority(c).total.tolist() == [1, 0, 0]


@given(st.integers(0, 999), st.sampled_from([0.0, 0.5, 1.0]))
def test_evening_prompts_keeps_the_sum_and_at_1_every_prompt_counts_alike(seed: int, power: float) -> None:
    draw = np.random.default_rng(seed)
    prompts = [int(p) for p in draw.integers(0, 4, 12)]
    c = stacked([(p, 0, 1, 1 + draw.integers(0, 3), draw.integers(0, 3), 0) for p in prompts])
    evened = c.prompts_evened(power)
    assert abs(evened.total.sum() - c.total.sum()) < 1e-9
    per_prompt = np.bincount(evened.prompt, weights=evened.total)
    if power == 1.0:
        np.testing.assert_allclose(per_prompt[per_prompt > 0], c.total.sum() / len(set(prompts)))
    if power == 0.0:
        np.testing.assert_allclose(evened.win, c.win)


def test_measures_of_a_constant_and_of_a_coin() -> None:
    c = strict_majority(stacked([(0, 0, 1, 1, 0, 0), (0, 0, 2, 0, 1, 0), (1, 0, 1, 0, 0, 1)]))
    found = measure(np.zeros(3), c)
    assert (found.accuracy, found.pairs) == (0.5, 2)
    assert abs(found.log_loss - np.log(2)) < 1e-12
    assert measure(np.array([1.0, -1.0, 5.0]), c).accuracy == 1.0
    assert np.isnan(measure(np.zeros(3), c.weighted(np.zeros(3))).accuracy)


@given(st.integers(0, 99), st.sampled_from([0.4, 1.0, 2.5]))
def test_the_temperature_undoes_a_factor(seed: int, factor: float) -> None:
    draw = np.random.default_rng(seed)
    margin = draw.normal(size=4000) * 2
    won = draw.random(4000) < 1 / (1 + np.exp(-margin))
    c = stacked([(0, 0, 1, w, not w, 0) for w in won])
    assert abs(best_temperature(margin / factor, c) / factor - 1) < 0.15
