"""The simulation of many devices: what must hold whatever the rates."""

from __future__ import annotations

from dataclasses import replace

import pytest

from tests.benchmarks.scale import CPU, H100, Device, Plan, decode_seconds, fits, simulate, update_seconds

SMALL = Plan(1.5e9, trainers=4, servers=4, prompts=16, samples=4, tokens=64, budget=256)


@pytest.mark.parametrize("staleness", [0, 1, 3])
@pytest.mark.parametrize("device", [CPU, H100], ids=lambda device: device.name)
def test_no_group_is_older_than_allowed_and_nobody_works_more_than_always(
    staleness: int, device: Device
) -> None:
    done = simulate(replace(SMALL, staleness=staleness), device)
    assert done.worst <= staleness
    assert 0 < done.training <= 1
    assert 0 < done.sampling <= 1
    assert done.training + done.sending <= 1 + 1e-9
    if not staleness:
        assert done.training + done.sampling <= 1 + 1e-9  # one after the other


def test_a_step_without_staleness_is_its_parts_one_after_the_other() -> None:
    plan = replace(SMALL, servers=0, spread=1e-9, prompts=8, samples=8)  # all responses as long as the mean
    device = replace(H100, slots=64)
    rollout = 64 * decode_seconds(plan, device, 16, 1)  # 64 sequences on four servers of a device each
    update = update_seconds(plan, device, 64 * (64 + plan.prompt_tokens))
    assert simulate(plan, device).seconds == pytest.approx(rollout + update, rel=0.01)
    assert simulate(replace(plan, trainers=1), device).seconds == pytest.approx(
        64 * decode_seconds(plan, device, 64, 1)
        + update_seconds(replace(plan, trainers=1), device, 64 * (64 + plan.prompt_tokens)),
        rel=0.01,
    )


def test_what_is_measured_on_two_cores_comes_out() -> None:
    """32 sequences of 64 tokens from the demo's model: 843 tokens a second (docs/benchmarks.md)."""
    plan = Plan(0.135e9, 1, 0, prompts=4, samples=8, tokens=64, spread=1e-9, prompt_tokens=0)
    assert 32 / decode_seconds(plan, CPU, 32, 1) == pytest.approx(843, rel=0.05)


def test_a_model_of_seventy_billion_needs_its_devices() -> None:
    large = Plan(70e9, 8, 0)
    assert not fits(replace(large, trainers=1), H100)
    assert not fits(replace(large, full=True), H100)
    assert fits(large, H100)
    assert fits(replace(large, trainers=64, full=True), H100)
