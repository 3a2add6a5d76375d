"""Drawing a token: the right distribution, the right log-probability, nothing impossible."""

from __future__ import annotations

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from engine.rollout.token_sampling import sample_tokens

LOGITS = torch.tensor([2.0, 1.0, 0.0, -1.0, float("-inf"), 0.5])
EVENLY = (torch.arange(20_000) + 0.5) / 20_000


def frequencies(temperature: float, top_p: float) -> torch.Tensor:
    tokens, _ = sample_tokens(LOGITS.expand(20_000, -1), EVENLY, temperature, top_p)
    return torch.bincount(tokens, minlength=6) / 20_000


def test_even_numbers_give_the_distribution() -> None:
    for temperature in (1.0, 0.5, 2.0):
        expected = torch.softmax(LOGITS / temperature, -1)
        torch.testing.assert_close(frequencies(temperature, 1.0), expected, atol=2e-4, rtol=0)


def test_the_nucleus_is_the_smallest_set_that_reaches_the_mass() -> None:
    probability = torch.softmax(LOGITS, -1)
    assert probability[0] < 0.8 < probability[0] + probability[1] + probability[5]
    kept = torch.tensor([1.0, 1.0, 0, 0, 0, 1.0]) if probability[0] + probability[1] < 0.8 else None
    kept = kept if kept is not None else torch.tensor([1.0, 1.0, 0, 0, 0, 0])
    expected = probability * kept / (probability * kept).sum()
    torch.testing.assert_close(frequencies(1.0, 0.8), expected, atol=2e-4, rtol=0)


@given(
    st.floats(0, 1, exclude_max=True, width=32),
    st.sampled_from([0.3, 1.0, 5.0]),
    st.sampled_from([1e-6, 0.5, 1.0]),
)
def test_never_impossible_and_always_the_full_log_probability(
    u: float, temperature: float, top_p: float
) -> None:
    token, logprob = sample_tokens(LOGITS.unsqueeze(0), torch.tensor([u]), temperature, top_p)
    assert int(token) != 4
    torch.testing.assert_close(logprob, torch.log_softmax(LOGITS / temperature, -1)[token], atol=1e-5, rtol=0)
    if top_p == 1e-6:
        assert int(token) == 0


def test_greedy_takes_the_largest_at_temperature_one() -> None:
    token, logprob = sample_tokens(LOGITS.unsqueeze(0), torch.tensor([0.99]), 0.0)
    assert int(token) == 0
    torch.testing.assert_close(logprob[0], torch.log_softmax(LOGITS, -1)[0])


def wide(rows: int, tokens: int, seed: int = 0) -> torch.Tensor:
    """Logits in bfloat16, with many that are equal.  [rows, tokens]"""
    return (3 * torch.randn(rows, tokens, generator=torch.Generator().manual_seed(seed))).bfloat16()


@pytest.mark.parametrize("tokens", [1, 255, 256, 257, 1000, 4096])
def test_blocks_are_the_running_sum(tokens: int) -> None:
    logits = wide(4, tokens)
    uniform = (torch.arange(400) + 0.5) / 400
    exact = torch.softmax(logits.double(), -1).cumsum(-1)
    for row in range(4):
        found, _ = sample_tokens(logits[row].expand(400, -1), uniform, 1.0)
        low = torch.where(found > 0, exact[row, (found - 1).clamp_min(0)], 0.0)
        assert (low <= uniform + 1e-5).all()
        assert (uniform <= exact[row, found] + 1e-5).all()


@given(st.integers(0, 5), st.sampled_from([0.2, 0.9, 0.999]), st.integers(1, 700))
def test_the_nucleus_is_that_of_a_full_sort(seed: int, top_p: float, tokens: int) -> None:
    logits = wide(1, tokens, seed)
    probability = torch.softmax(logits.float(), -1)[0]
    ordered, order = torch.sort(probability, descending=True, stable=True)
    allowed = set(order[(ordered.cumsum(-1) - ordered) < top_p].tolist())
    found, _ = sample_tokens(logits.expand(300, -1), (torch.arange(300) + 0.5) / 300, 1.0, top_p)
    assert set(found.tolist()) <= allowed
    assert int(order[0]) in found.tolist()


def test_a_row_is_not_touched_by_its_neighbours() -> None:
    logits, uniform = wide(6, 3000), torch.rand(6, generator=torch.Generator().manual_seed(3))
    for top_p in (1.0, 0.9):
        together, _ = sample_tokens(logits, uniform, 1.0, top_p)
        alone = [int(sample_tokens(logits[i : i + 1], uniform[i : i + 1], 1.0, top_p)[0]) for i in range(6)]
        assert together.tolist() == alone
