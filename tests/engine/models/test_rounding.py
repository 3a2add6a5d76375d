"""Stochastic rounding to bfloat16: exact in expectation, exact on the grid, the same each time."""

from __future__ import annotations

from pathlib import Path

import torch
from hypothesis import given
from hypothesis import strategies as st

from engine.models.policy import load_policy
from engine.models.rounding import generator_for, to_bfloat16
from engine.models.saving import save_model

numbers = st.floats(
    width=32,
    allow_nan=False,
    allow_infinity=False,
    allow_subnormal=False,
    min_value=-(2.0**100),
    max_value=2.0**100,
)


@given(numbers, st.integers(0, 1000))
def test_a_neighbour_on_the_grid_is_chosen(number: float, seed: int) -> None:
    exact = torch.tensor([number])
    rounded = to_bfloat16(exact, generator_for("w", seed)).float()
    assert abs(float(rounded - exact)) <= abs(number) * 2**-7
    assert torch.equal(to_bfloat16(rounded, generator_for("w", seed + 1)).float(), rounded)


def test_the_expectation_is_exact() -> None:
    """A weight on the grid moved by a tenth of a step: rounding to the nearest forgets it, this does not."""
    moved = torch.full((1 << 16,), 1.0 + 0.1 * 2**-7)
    assert float(moved.to(torch.bfloat16).float().mean()) == 1.0
    rounded = to_bfloat16(moved, generator_for("w", 0)).float()
    assert abs(float(rounded.mean()) - float(moved[0])) < 2**-7 * 0.01
    assert torch.equal(rounded, to_bfloat16(moved, generator_for("w", 0)).float())


def test_long_tensors_and_values_that_are_not_finite() -> None:
    long = torch.linspace(-3, 3, 3 * (1 << 16) + 7)
    assert to_bfloat16(long, generator_for("w", 0)).shape == long.shape
    odd = torch.tensor([torch.inf, -torch.inf, torch.nan])
    assert torch.equal(to_bfloat16(odd, generator_for("w", 0)).isfinite(), torch.zeros(3, dtype=torch.bool))


def test_a_small_change_of_saved_weights_survives_loading_in_bfloat16(
    tiny_model: Path, tmp_path: Path
) -> None:
    model = load_policy(tiny_model, "float32")
    weight = model.get_input_embeddings().weight
    with torch.no_grad():
        grid = weight.to(torch.bfloat16).float()
        weight.copy_(grid * (1 + 2**-11))
    save_model(model, tiny_model, tmp_path / "moved", dtype="float32")
    loaded = load_policy(tmp_path / "moved", "bfloat16").get_input_embeddings().weight.detach().float()
    assert load_policy(tmp_path / "moved", "bfloat16").dtype == torch.bfloat16
    growth = float((loaded.abs().sum() / grid.abs().sum()) - 1)
    assert 0.5 * 2**-11 < growth < 1.5 * 2**-11
