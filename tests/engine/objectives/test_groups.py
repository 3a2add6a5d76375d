"""Advantages from the other samples of a prompt, against loops."""

import math

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from engine.objectives.groups import group_advantages, leave_one_out, token_divisor

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
