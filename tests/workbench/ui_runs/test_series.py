"""Decimation, ticks and numbers."""

from __future__ import annotations

import math

from hypothesis import given
from hypothesis import strategies as st

from workbench.widgets.series import charted, decimate, nice_ticks, short_number

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
    assert [name for name, _ in charted("ppo", ["ppo/kl", "ppo/score", "other"])] == ["ppo/score", "ppo/kl"]
    assert charted("generate", ["b", "a"]) == [("a", "a"), ("b", "b")]
