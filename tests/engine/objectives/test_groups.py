"""Advantages from the other samples of a prompt, against loops."""

import math

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from engine.objectives.groups import (
    group_advantages,
    leave_one_out,
    penalised,
    spread_within,
    token_divisor,
    without_variance,
)

REWARDS = st.lists(st.floats(-10, 10, width=32), min_size=2, max_size=6)
GROUPS = st.lists(REWARDS, min_size=1, max_size=4)


def flat(groups: list[list[float]]) -> tuple[torch.Tensor, torch.Tensor]:
    rewards = [reward for group in groups for reward in group]
    owners = [place for place, group in enumerate(groups) for _ in group]
    return torch.tensor(rewards), torch.tensor(owners)


@settings(deadline=None)
@given(GROUPS)
def test_leave_one_out_is_the_loop(groups: list[list[float]]) -> None:
    expected = [
        own - sum(other for j, other in enumerate(group) if j != i) / (len(group) - 1)
        for group in groups
        for i, own in enumerate(group)
    ]
    torch.testing.assert_close(leave_one_out(*flat(groups)), torch.tensor(expected), atol=1e-4, rtol=1e-4)


@settings(deadline=None)
@given(GROUPS, st.booleans())
def test_group_advantages_are_the_loop(groups: list[list[float]], scale: bool) -> None:
    expected = []
    for group in groups:
        mean = sum(group) / len(group)
        std = math.sqrt(sum((r - mean) ** 2 for r in group) / (len(group) - 1))
        expected += [(r - mean) / ((std + 1e-6) if scale else 1.0) for r in group]
    found = group_advantages(*flat(groups), scale=scale)
    if scale and any(max(group) - min(group) < 1e-3 for group in groups):
        assert bool(found.isfinite().all())  # a deviation of rounding errors is no scale
    else:
        torch.testing.assert_close(found, torch.tensor(expected), atol=1e-4, rtol=1e-3)


def test_a_group_of_equal_rewards_teaches_nothing() -> None:
    rewards, owners = flat([[2.0, 2.0, 2.0], [1.0, 3.0]])
    for found in (group_advantages(rewards, owners, scale=True), leave_one_out(rewards, owners)):
        assert found[:3].tolist() == [0.0, 0.0, 0.0]
        assert float(found[3]) == -float(found[4]) != 0.0


def test_leave_one_out_is_the_centred_reward_times_k_over_k_minus_one() -> None:
    rewards, owners = flat([[0.3, -1.0, 2.0, 5.0]])
    centred = group_advantages(rewards, owners, scale=False)
    torch.testing.assert_close(leave_one_out(rewards, owners), centred * 4 / 3)


def test_a_sample_alone_has_no_advantage() -> None:
    for found in (
        leave_one_out(torch.tensor([3.0]), torch.tensor([0])),
        group_advantages(torch.tensor([3.0]), torch.tensor([0]), scale=True),
    ):
        assert found.tolist() == [0.0]


@pytest.mark.parametrize("average", ["response", "token", "budget"])
def test_divisors_of_micro_batches_add_up_to_the_average(average: str) -> None:
    lengths = torch.tensor([1, 3, 2, 4])
    mask = torch.arange(4)[None, :] < lengths[:, None]
    loss = torch.randn(4, 4, generator=torch.Generator().manual_seed(0)) * mask
    expected = {
        "response": (loss.sum(dim=1) / lengths).mean(),
        "token": loss.sum() / lengths.sum(),
        "budget": loss.sum() / (4 * 5),
    }[average]
    parts = [
        (loss[part] / token_divisor(mask[part], average, 5, int(lengths.sum()), 4)).sum()  # type: ignore[arg-type]
        for part in (slice(0, 1), slice(1, 4))
    ]
    torch.testing.assert_close(sum(parts), expected)


def test_the_spread_within_groups_and_its_error_are_the_loops() -> None:
    generator = torch.Generator().manual_seed(0)
    group = torch.arange(6).repeat_interleave(5)
    x = torch.randn(30, generator=generator) * 2 + 100 * group

    def spread(kept: list[int]) -> float:
        parts = [x[group == g] for g in kept]
        squares = sum(float((part - part.mean()).square().sum()) for part in parts)
        return math.sqrt(squares / sum(len(part) - 1 for part in parts))

    without = [spread([g for g in range(6) if g != left]) for left in range(6)]
    mean = sum(without) / 6
    expected = math.sqrt(5 / 6 * sum((s - mean) ** 2 for s in without))
    assert spread_within(x, group) == pytest.approx((spread(list(range(6))), expected), rel=1e-4)


def test_the_error_of_the_spread_is_how_much_it_differs() -> None:
    generator = torch.Generator().manual_seed(1)
    group = torch.arange(24).repeat_interleave(4)
    found = [
        spread_within(torch.randn(96, generator=generator) + 3 * group.float(), group) for _ in range(300)
    ]
    spreads = torch.tensor([spread for spread, _ in found])
    errors = sum(error for _, error in found) / 300
    assert float(spreads.mean()) == pytest.approx(1, abs=0.02)
    assert errors == pytest.approx(float(spreads.std()), rel=0.15)
    assert errors < 0.1


def test_groups_that_tell_no_spread() -> None:
    assert spread_within(torch.tensor([1.0, 5.0]), torch.tensor([0, 1])) == (0.0, 0.0)
    spread, error = spread_within(torch.tensor([1.0, 3.0, 7.0]), torch.tensor([0, 0, 1]))
    assert (spread, error) == (pytest.approx(2**0.5), pytest.approx(1.0))


@settings(deadline=None)
@given(GROUPS, st.floats(-5, 5), st.data())
def test_a_penalty_is_worth_the_same_at_every_level(
    groups: list[list[float]], level: float, data: st.DataObject
) -> None:
    x, group = flat(groups)
    good = torch.tensor(data.draw(st.lists(st.booleans(), min_size=len(x), max_size=len(x))))
    found = penalised(x, good, group, -1.0)
    torch.testing.assert_close(found[good], x[good])
    for place in range(len(groups)):
        own, bad = (group == place) & good, (group == place) & ~good
        base = x[own].mean() if bool(own.any()) else x[group == place].mean()
        torch.testing.assert_close(found[bad], (base - 1).expand(int(bad.sum())), atol=1e-4, rtol=1e-4)
    torch.testing.assert_close(penalised(x + level, good, group, -1.0), found + level, atol=1e-4, rtol=1e-4)


def test_groups_without_variance_are_those_of_equal_rewards_alone() -> None:
    rewards = torch.tensor([1.0, 1.0, 0.0, 1e-3, 1e6, 1e6, 4.0])
    groups = torch.tensor([0, 0, 1, 1, 2, 2, 3])  # a group of one has nothing to differ from
    assert without_variance(rewards, groups).tolist() == [True, True, False, False, True, True, True]


@given(st.integers(0, 999))
def test_a_scale_of_the_batch_leaves_prompts_their_weight(seed: int) -> None:
    generator = torch.Generator().manual_seed(seed)
    groups = torch.arange(4).repeat_interleave(3)
    rewards = torch.randn(12, generator=generator, dtype=torch.float64) * (1 + groups)
    centred = group_advantages(rewards, groups, scale=False)
    scaled = group_advantages(rewards, groups, scale=True, of="batch")
    assert float(scaled.square().mean().sqrt()) == pytest.approx(1, rel=1e-4)
    torch.testing.assert_close(scaled * centred[0], centred * scaled[0])
