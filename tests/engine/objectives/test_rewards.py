"""Ensembles, constraints and their multiplier."""

import math

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from engine.objectives.rewards import GAIN, LARGEST, SMALLEST, DualAscent, cautious, constrained, pessimistic
from engine.protocol.configs import RLOOConfig

MEMBERS = torch.tensor([[1.0, 2.0, -1.0], [3.0, 2.0, 0.0], [5.0, 2.0, 4.0]])


def test_pessimism() -> None:
    assert pessimistic(MEMBERS, penalty=None).tolist() == [1.0, 2.0, -1.0]
    assert pessimistic(MEMBERS, penalty=0.0).tolist() == [3.0, 2.0, 1.0]
    expected = [3.0 - 0.5 * 8 / 3, 2.0, 1.0 - 0.5 * 14 / 3]
    assert pessimistic(MEMBERS, penalty=0.5).tolist() == pytest.approx(expected)
    assert pessimistic(MEMBERS[:1], penalty=9.0).tolist() == MEMBERS[0].tolist()  # one member cannot disagree


@settings(deadline=None)
@given(st.integers(0, 10_000), st.floats(0, 3))
def test_caution_is_about_differences_within_a_prompt(seed: int, penalty: float) -> None:
    draw = torch.Generator().manual_seed(seed)
    members = torch.randn(5, 9, generator=draw, dtype=torch.float64)
    group = torch.tensor([0, 1, 1, 2, 2, 2, 2, 1, 2])
    found = cautious(members, group, penalty=penalty)
    for n in range(9):  # member by member, response by response
        others = [j for j in range(9) if j != n and group[j] == group[n]]
        apart = [float(row[n] - row[others].mean()) if others else 0.0 for row in members]
        sd = (sum((a - sum(apart) / 5) ** 2 for a in apart) / 5) ** 0.5
        assert float(found[n]) == pytest.approx(float(members[:, n].mean()) - penalty * sd, abs=1e-9)
    level = torch.randn(5, 3, generator=draw, dtype=torch.float64) * 9  # by member and prompt
    moved = cautious(members + level[:, group], group, penalty=penalty)
    torch.testing.assert_close(moved, found + level.mean(dim=0)[group])


def test_the_constrained_score_goes_from_reward_to_cost() -> None:
    score, cost = torch.tensor([2.0]), torch.tensor([[3.0]])
    assert float(constrained(score, cost, [0.0])) == 2.0
    assert float(constrained(score, cost, [1.0])) == -0.5
    assert float(constrained(score, cost, [1e6])) == pytest.approx(-3.0, abs=1e-4)
    several = torch.tensor([[3.0], [-1.0]])
    assert float(constrained(score, several, [1.0, 0.0])) == -0.5
    assert float(constrained(score, several, [1.0, 2.0])) == pytest.approx((2 - 3 + 2) / 4)


@settings(deadline=None)
@given(st.floats(0.01, 100), st.floats(-50, 50), st.floats(0.001, 2))
def test_the_multiplier_rises_while_the_bound_is_broken(level: float, excess: float, rate: float) -> None:
    after, multiplier = DualAscent(rate).updated(level, excess)
    assert SMALLEST <= after <= LARGEST
    assert SMALLEST <= multiplier <= LARGEST
    assert (after >= level) if excess >= 0 else (after <= level)
    assert (multiplier >= after) if excess >= 0 else (multiplier <= after)
    assert level / 2.72 <= after <= level * 2.72
    assert DualAscent(rate).updated(level, 0.0) == (level, level)


def test_dual_ascent_finds_the_multiplier_of_a_small_problem() -> None:
    """max −(x − 2)² with x ≤ 1: the multiplier is 2 there."""
    level, multiplier, ascent, x = 1.0, 1.0, DualAscent(0.05), 0.0
    for _ in range(2000):
        x += 0.05 * (4 - 2 * x - multiplier)  # along the gradient of −(x − 2)² − λx
        level, multiplier = ascent.updated(level, x - 1)
    assert (multiplier, x) == (pytest.approx(2.0, abs=1e-3), pytest.approx(1.0, abs=1e-3))


def test_what_a_bound_was_kept_by_is_taken_back_in_an_eighth_of_a_run() -> None:
    """The level has fallen while the bound was kept; the mean is off by what λ lacks, which decays by e."""
    steps = 400
    rate = RLOOConfig(name="x", reward_model="r", steps=steps).ascent_rate
    level, ascent, needed, off = 0.2, DualAscent(rate), 1.0, []
    for _ in range(steps // 8):
        excess = math.log(needed / level) / GAIN  # where λ holds the bound
        off.append(excess)
        level, multiplier = ascent.updated(level, excess)
        assert multiplier >= level
    assert off[-1] / off[0] == pytest.approx(1 / math.e, rel=0.1)
    assert RLOOConfig(name="x", reward_model="r", steps=20).ascent_rate == 0.3
    assert RLOOConfig(name="x", reward_model="r", constraint_rate=1.0).ascent_rate == 1.0


def test_a_policy_under_several_constraints_ends_at_the_bounds_that_bind() -> None:
    """Three answers, two bounds that bind: they and the sum leave one policy, (0.3, 0.3, 0.4).

    The policy follows the gradient of what is maximised, as a policy that learns does; a third bound, which
    every policy keeps, has a multiplier of nothing in the end.
    """
    reward_A = torch.tensor([3.0, 2.0, 0.0], dtype=torch.float64)
    cost_C_A = torch.tensor([[2.0, -1.0, 0.0], [0.0, 3.0, -1.0], [1.0, 1.0, 1.0]], dtype=torch.float64)
    excess_C_A = cost_C_A - torch.tensor([[0.3], [0.5], [2.0]], dtype=torch.float64)
    logits_A = torch.zeros(3, dtype=torch.float64)
    levels, multipliers, ascent = [1.0] * 3, [1.0] * 3, DualAscent(0.02)
    for _ in range(4000):
        policy_A = logits_A.softmax(dim=0)
        worth_A = constrained(reward_A, excess_C_A, multipliers) - 0.02 * policy_A.log()
        logits_A = logits_A + 0.5 * policy_A * (worth_A - policy_A @ worth_A)
        found_C = (excess_C_A @ logits_A.softmax(dim=0)).tolist()
        pairs = [ascent.updated(*pair) for pair in zip(levels, found_C, strict=True)]
        levels, multipliers = [level for level, _ in pairs], [multiplier for _, multiplier in pairs]
    assert logits_A.softmax(dim=0).tolist() == pytest.approx([0.3, 0.3, 0.4], abs=1e-3)
    assert found_C[:2] == pytest.approx([0.0, 0.0], abs=1e-3)
    assert found_C[2] == pytest.approx(-1.0)
    assert multipliers[2] == SMALLEST
    assert multipliers[:2] == pytest.approx([10 / 9, 7 / 9], rel=0.1)  # the dual prices without the entropy
