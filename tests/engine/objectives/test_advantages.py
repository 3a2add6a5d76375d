"""GAE and masked statistics: naive twins, limits, masking."""

import math

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from engine.objectives.advantages import generalised_advantages, masked_mean, masked_variance, whiten

lengths = st.lists(st.integers(1, 6), min_size=1, max_size=4)
fractions = st.floats(0, 1)


def batch(sizes: list[int], seed: int = 0) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
    """Rewards, values and mask of responses of these sizes, with NaN beyond their ends."""
    generator = torch.Generator().manual_seed(seed)
    shape = (len(sizes), max(sizes))
    rewards, values = (torch.randn(shape, generator=generator, dtype=torch.float64) for _ in range(2))
    mask = torch.arange(shape[1])[None, :] < torch.tensor(sizes)[:, None]
    return rewards.masked_fill(~mask, math.nan), values.masked_fill(~mask, math.nan), mask


@given(lengths, fractions, fractions, st.integers(0, 99))
def test_gae_is_the_discounted_sum_of_errors(sizes: list[int], gamma: float, lam: float, seed: int) -> None:
    rewards, values, mask = batch(sizes, seed)
    advantages, returns = generalised_advantages(rewards, values, mask, gamma=gamma, lam=lam)
    for n, size in enumerate(sizes):
        r, v = rewards[n, :size].tolist(), [*values[n, :size].tolist(), 0.0]
        for t in range(size):
            errors = [r[k] + gamma * v[k + 1] - v[k] for k in range(t, size)]
            expected = sum((gamma * lam) ** k * error for k, error in enumerate(errors))
            assert float(advantages[n, t]) == pytest.approx(expected, abs=1e-9)
            assert float(returns[n, t]) == pytest.approx(expected + v[t], abs=1e-9)
        assert advantages[n, size:].tolist() == [0.0] * (max(sizes) - size)
        assert returns[n, size:].tolist() == [0.0] * (max(sizes) - size)


@given(lengths, fractions)
def test_lambda_one_is_monte_carlo_and_lambda_zero_one_step(sizes: list[int], gamma: float) -> None:
    rewards, values, mask = batch(sizes)
    _, returns = generalised_advantages(rewards, values, mask, gamma=gamma, lam=1.0)
    one_step, _ = generalised_advantages(rewards, values, mask, gamma=gamma, lam=0.0)
    r, v = (x[0, : sizes[0]].tolist() for x in (rewards, values))
    total = sum(gamma**k * reward for k, reward in enumerate(r))
    assert float(returns[0, 0]) == pytest.approx(total, abs=1e-9)
    after = v[1] if sizes[0] > 1 else 0.0
    assert float(one_step[0, 0]) == pytest.approx(r[0] + gamma * after - v[0], abs=1e-9)


def test_the_value_after_the_end_is_zero() -> None:
    mask = torch.tensor([[True, False]])
    values = torch.tensor([[1.0, 100.0]])
    advantages, _ = generalised_advantages(torch.tensor([[2.0, 7.0]]), values, mask, gamma=1.0, lam=0.95)
    assert advantages.tolist() == [[1.0, 0.0]]


@given(lengths, st.integers(0, 99))
def test_masked_statistics_ignore_what_lies_beyond(sizes: list[int], seed: int) -> None:
    x, _, mask = batch(sizes, seed)
    flat = x[mask]
    assert float(masked_mean(x, mask)) == pytest.approx(float(flat.mean()))
    assert float(masked_variance(x, mask)) == pytest.approx(float(flat.var(unbiased=False)), abs=1e-12)
    other = torch.where(mask, x, 1e9)
    assert torch.equal(whiten(x, mask), whiten(other, mask))


def test_whitening_takes_the_mean_away() -> None:
    x, _, mask = batch([5, 3, 6])
    white = whiten(x + 40, mask)
    assert float(white[mask].mean()) == pytest.approx(0, abs=1e-6)
    assert float(white[mask].var(unbiased=False)) == pytest.approx(1, abs=1e-6)
    assert white[~mask].abs().sum() == 0


def test_whitening_a_constant_gives_zeros() -> None:
    assert whiten(torch.full((2, 3), 4.0), torch.ones(2, 3)).abs().sum() == 0
