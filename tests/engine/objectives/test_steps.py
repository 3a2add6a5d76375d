"""Scores of steps as one, rewards at their ends, and whose credit they are."""

from __future__ import annotations

import doctest

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

import engine.objectives.steps
from engine.objectives.advantages import generalised_advantages
from engine.objectives.steps import aggregated, placed, step_advantages, step_worth, still_to_come

SCORES = st.lists(st.floats(-8, 8), min_size=1, max_size=6).map(lambda found: torch.tensor(found).double())


@given(SCORES)
def test_aggregates_are_what_their_names_say(score_S: torch.Tensor) -> None:
    chance_S = 1 / (1 + torch.exp(-score_S))
    assert float(aggregated(score_S, "min")) == float(score_S.min())
    assert float(aggregated(score_S, "product")) == pytest.approx(float(chance_S.prod().log()), abs=1e-6)
    assert float(aggregated(score_S, "sum")) == pytest.approx(float(chance_S.sum()), abs=1e-6)
    assert float(aggregated(score_S, "last")) == float(score_S[-1])
    torch.testing.assert_close(step_worth(score_S), 2 * chance_S - 1)


@st.composite
def stepped(draw: st.DrawFn) -> tuple[list[torch.Tensor], list[list[int]], torch.Tensor]:
    """Responses of some tokens, each cut into steps that end at different ones, the last at the last."""
    lengths = draw(st.lists(st.integers(1, 9), min_size=1, max_size=4))
    mask_N_T = torch.arange(max(lengths)) < torch.tensor(lengths)[:, None]
    worths, ends = [], []
    for length in lengths:
        inner = draw(st.sets(st.integers(0, length - 1)))
        ends.append([*sorted(inner - {length - 1}), length - 1])
        worths.append(torch.tensor([draw(st.integers(-8, 8).filter(bool)) / 8 for _ in ends[-1]]))
    return worths, ends, mask_N_T


@given(stepped())
def test_rewards_stand_where_steps_end_and_nothing_is_lost(
    case: tuple[list[torch.Tensor], list[list[int]], torch.Tensor],
) -> None:
    worths, ends, mask_N_T = case
    rewards_N_T = placed(worths, ends, mask_N_T)
    assert not rewards_N_T[~mask_N_T].any()
    for n, (worth_S, at) in enumerate(zip(worths, ends, strict=True)):
        torch.testing.assert_close(rewards_N_T[n, at], worth_S)
        assert float(rewards_N_T[n].sum()) == pytest.approx(float(worth_S.sum()), abs=1e-5)
        assert int((rewards_N_T[n] != 0).sum()) == len(at)


@given(stepped(), st.data(), st.floats(0, 1))
def test_credit_goes_to_the_step_that_earned_it(
    case: tuple[list[torch.Tensor], list[list[int]], torch.Tensor], data: st.DataObject, lam: float
) -> None:
    """A critic knows what is to come; one step earns more than it expected.

    Tokens behind the step get nothing of it.  The step's last token has all of it, those before it λ for
    every token between: with λ = 0 the step's last token alone.
    """
    worths, ends, mask_N_T = case
    expected_N_T = placed(worths, ends, mask_N_T)
    values_N_T = still_to_come(expected_N_T, mask_N_T)
    n = data.draw(st.integers(0, len(ends) - 1))
    step = data.draw(st.integers(0, len(ends[n]) - 1))
    surprise, end = 0.75, ends[n][step]
    worths[n][step] += surprise
    rewards_N_T = placed(worths, ends, mask_N_T)
    advantages_N_T, _ = generalised_advantages(rewards_N_T, values_N_T, mask_N_T, gamma=1.0, lam=lam)
    wanted_N_T = torch.zeros_like(advantages_N_T)
    for t in range(end + 1):
        wanted_N_T[n, t] = surprise * lam ** (end - t)
    torch.testing.assert_close(advantages_N_T, wanted_N_T, atol=1e-5, rtol=0)


@given(stepped(), st.data())
def test_without_a_critic_a_token_has_the_steps_from_its_own_on(
    case: tuple[list[torch.Tensor], list[list[int]], torch.Tensor], data: st.DataObject
) -> None:
    worths, ends, mask_N_T = case
    rewards_N_T = placed(worths, ends, mask_N_T)
    groups_N = torch.tensor([data.draw(st.integers(0, 1)) for _ in ends])
    found_N_T = step_advantages(rewards_N_T, mask_N_T, groups_N)
    for n, at in enumerate(ends):
        own = torch.cat([w for m, w in enumerate(worths) if groups_N[m] == groups_N[n]])
        compared_S = (worths[n] - own.mean()) / (own.std(unbiased=False) + 1e-6)
        for t in range(int(mask_N_T[n].sum())):
            coming = sum(float(compared_S[k]) for k, end in enumerate(at) if end >= t)
            assert float(found_N_T[n, t]) == pytest.approx(coming, abs=1e-3, rel=1e-3)
    assert not found_N_T[~mask_N_T].any()


def test_the_examples_hold() -> None:
    assert doctest.testmod(engine.objectives.steps).failed == 0
