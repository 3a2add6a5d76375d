"""Drawing a token: the right distribution, the right log-probability, nothing impossible."""

from __future__ import annotations

import torch
from hypothesis import given
from hypothesis import strategies as st

from engine.rollout.choose import choose_tokens

LOGITS = torch.tensor([2.0, 1.0, 0.0, -1.0, float("-inf"), 0.5])
EVENLY = (torch.arange(20_000) + 0.5) / 20_000


def frequencies(temperature: float, top_p: float) -> torch.Tensor:
    tokens, _ = choose_tokens(LOGITS.expand(20_000, -1), EVENLY, temperature, top_p)
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
    token, logprob = choose_tokens(LOGITS.unsqueeze(0), torch.tensor([u]), temperature, top_p)
    assert int(token) != 4
    torch.testing.assert_close(logprob, torch.log_softmax(LOGITS / temperature, -1)[token], atol=1e-5, rtol=0)
    if top_p == 1e-6:
        assert int(token) == 0


def test_greedy_takes_the_largest_at_temperature_one() -> None:
    token, logprob = choose_tokens(LOGITS.unsqueeze(0), torch.tensor([0.99]), 0.0)
    assert int(token) == 0
    torch.testing.assert_close(logprob[0], torch.log_softmax(LOGITS, -1)[0])
