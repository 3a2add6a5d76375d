"""Decimation, ticks and numbers."""

from __future__ import annotations

import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from workbench.widgets.series import (
    SMOOTHINGS,
    Lens,
    between,
    charted,
    decimate,
    ema,
    finite,
    nice_ticks,
    short_number,
)

VALUES = st.lists(st.floats(allow_nan=True, allow_infinity=True, width=32), max_size=400)


@given(VALUES, st.integers(1, 50))
def test_decimation_keeps_order_extremes_and_only_points_that_were_there(
    values: list[float], buckets: int
) -> None:
    points = list(enumerate(values))
    kept = decimate(points, buckets)
    finite = [(step, value) for step, value in points if math.isfinite(value)]
    assert len(kept) <= 2 * buckets
    assert [step for step, _ in kept] == sorted({step for step, _ in kept})
    assert set(kept) <= {(float(step), value) for step, value in finite}
    if finite:
        assert min(value for _, value in kept) == min(value for _, value in finite)
        assert max(value for _, value in kept) == max(value for _, value in finite)


def test_decimation_leaves_few_points_alone_and_drops_missing_values() -> None:
    assert decimate([(1, 0.5), (2, None), (3, 1.5)], 10) == [(1.0, 0.5), (3.0, 1.5)]


@given(
    st.floats(-1e6, 1e6), st.floats(1e-6, 1e6), st.integers(1, 8), st.booleans()
)  # fmt: skip
def test_ticks_lie_inside_and_are_not_too_many(low: float, span: float, most: int, whole: bool) -> None:
    ticks = nice_ticks(low, low + span, most, whole=whole)
    assert ticks
    assert all(low <= tick <= low + span for tick in ticks)
    assert len(ticks) <= max(most, 2)


def test_ticks_are_round() -> None:
    assert nice_ticks(0.0, 1.0, 5) == [0.0, 0.5, 1.0]
    assert nice_ticks(0, 39, 6, whole=True) == [0, 10, 20, 30]


@given(st.floats(allow_nan=True, allow_infinity=True))
def test_short_numbers_are_short(value: float) -> None:
    assert 1 <= len(short_number(value)) <= 9


def test_numbers_as_a_person_reads_them() -> None:
    shown = [short_number(value) for value in (None, 0.0, 2e-5, 0.71, 12.345, 412.0, 123456.0, math.inf)]
    assert shown == ["–", "0", "2.0e-5", "0.710", "12.3", "412", "123456", "∞"]


def test_charts_of_a_kind_come_in_their_order_and_unknown_metrics_still_show() -> None:
    assert [name for name, _ in charted("ppo", ["policy/kl", "policy/score", "other"])] == [
        "policy/score",
        "policy/kl",
    ]
    assert charted("generate", ["b", "a"]) == [("a", "a"), ("b", "b")]


@given(st.lists(st.floats(-1e6, 1e6), max_size=60), st.sampled_from(SMOOTHINGS))
def test_a_smoothed_curve_stays_between_its_extremes_and_begins_where_it_began(
    values: list[float], weight: float
) -> None:
    points = [(float(step), value) for step, value in enumerate(values)]
    smoothed = ema(points, weight)
    assert [step for step, _ in smoothed] == [step for step, _ in points]
    if values:
        assert smoothed[0][1] == pytest.approx(values[0])
        slack = 1e-6 * (1 + max(map(abs, values)))
        assert all(min(values) - slack <= value <= max(values) + slack for _, value in smoothed)
    if weight == 0:
        assert smoothed == points


def test_smoothing_is_the_weighted_mean_of_the_past() -> None:
    smoothed = ema([(1, 1.0), (2, 3.0), (3, 5.0)], 0.5)
    weights = [0.25 * 0.5, 0.5 * 0.5, 0.5]
    mean = sum(w * v for w, v in zip(weights, (1.0, 3.0, 5.0), strict=True)) / sum(weights)
    assert smoothed[-1] == (3, pytest.approx(mean))


@given(st.lists(st.sampled_from([(-1.0, 0.5), (1.0, 2.0), (0.0, -0.25), (0.0, 0.25)]), max_size=40))
def test_a_lens_never_leaves_the_run(moves: list[tuple[float, float]]) -> None:
    lens = Lens()
    for zoom, amount in moves:
        lens = lens.zoomed(amount) if zoom else lens.panned(amount)
        assert -1e-9 <= lens.low < lens.high <= 1 + 1e-9
        assert lens.high - lens.low >= Lens.NARROWEST - 1e-9
    assert Lens(0.25, 0.5).limits(100, 300) == (150, 200)


def test_a_closer_look_at_the_newest_step_follows_it() -> None:
    at_end = Lens().zoomed(0.5).panned(9)
    assert (at_end.low, at_end.high) == (0.5, 1.0)
    assert at_end.zoomed(0.5).high == 1.0
    assert at_end.zoomed(4).whole


def test_points_between_two_steps() -> None:
    points = [(1.0, 5.0), (2.0, 6.0), (3.0, 7.0), (4.0, 8.0)]
    assert between(points, 2, 3) == [(2.0, 6.0), (3.0, 7.0)]
    assert between(points, 4.5, 9) == []
    assert finite([(1, None), (2, float("nan")), (3, 1.0)]) == [(3.0, 1.0)]
