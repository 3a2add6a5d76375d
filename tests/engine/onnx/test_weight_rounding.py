"""Rounding that makes up for its errors is nearer where inputs go together, and never far."""

from __future__ import annotations

import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st

from engine.onnx.weight_rounding import Remedy, column_scales, compensated, nearest


def correlated(generator: np.random.Generator, K: int) -> np.ndarray:
    """Inputs [400, K] of which few directions carry most."""
    return (generator.normal(size=(400, 8)) @ generator.normal(size=(8, K))) + 0.05 * generator.normal(
        size=(400, K)
    )


@given(st.integers(0, 1000), st.sampled_from([40, 150]))
@settings(max_examples=15, deadline=None)
def test_products_are_nearer_than_with_the_nearest_integers(seed: int, K: int) -> None:
    generator = np.random.default_rng(seed)
    x, weight = correlated(generator, K).astype(np.float32), generator.normal(size=(K, 12)).astype(np.float32)
    scale = column_scales(weight)
    found, plain = compensated(weight, scale, Remedy(x.T @ x)), nearest(weight, scale)
    errors = [np.square(x @ (integers * scale - weight)).mean() for integers in (found, plain)]
    assert errors[0] < 0.7 * errors[1]
    assert np.abs(found.astype(int)).max() <= 127


def test_inputs_that_say_nothing_leave_the_nearest_integers() -> None:
    weight = np.random.default_rng(0).normal(size=(30, 5)).astype(np.float32)
    scale = column_scales(weight)
    for moments in (np.zeros((30, 30)), np.full((30, 30), np.nan), np.eye(30)):
        np.testing.assert_array_equal(compensated(weight, scale, Remedy(moments)), nearest(weight, scale))


def test_every_column_has_its_scale() -> None:
    weight = np.random.default_rng(0).normal(size=(64, 5)).astype(np.float32) * [1, 10, 1e-3, 0, 1e3]
    scale = column_scales(weight)
    integers = nearest(weight, scale)
    assert integers.dtype == np.int8
    assert np.abs(integers).max(0).tolist() == [127, 127, 127, 0, 127]
    assert np.all(np.abs(integers * scale - weight) <= scale * 0.5001 + 1e-9)
