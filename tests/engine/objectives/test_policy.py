"""The clipped surrogate and the critic's loss: naive twins, gradients that must vanish, micro-batches."""

import math

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from engine.objectives.policy import clipped_surrogate, entropy_of, truncated_reinforce
from engine.objectives.value import clipped_value_loss, explained_variance


def batch(seed: int, n: int = 3, t: int = 5) -> tuple[torch.Tensor, ...]:
    generator = torch.Generator().manual_seed(seed)
    new, old, advantages = (torch.randn(n, t, generator=generator, dtype=torch.float64) for _ in range(3))
    mask = torch.rand(n, t, generator=generator) < 0.7
    mask[0, 0] = True
    return new, old, advantages, mask


@given(st.integers(0, 999), st.floats(0.05, 0.5))
def test_surrogate_equals_two_loops(seed: int, clip: float) -> None:
    new, old, advantages, mask = batch(seed)
    total, clipped = 0.0, 0
    for n in range(3):
        for t in range(5):
            if mask[n, t]:
                ratio, a = math.exp(float(new[n, t] - old[n, t])), float(advantages[n, t])
                bounded = min(max(ratio, 1 - clip), 1 + clip)
                total -= min(ratio * a, bounded * a)
                clipped += bounded * a < ratio * a
    found = clipped_surrogate(new, old, advantages, mask, clip=clip, total_tokens=7)
    assert float(found.loss) == pytest.approx(total / 7)
    assert int(found.clipped) == clipped


def test_at_ratio_one_the_gradient_is_the_policy_gradient() -> None:
    _, old, advantages, mask = batch(1)
    new = old.clone().requires_grad_()
    found = clipped_surrogate(new, old, advantages, mask, clip=0.2, total_tokens=int(mask.sum()))
    found.loss.backward()  # type: ignore[no-untyped-call]
    torch.testing.assert_close(new.grad, torch.where(mask, -advantages / mask.sum(), 0))
    assert float(found.ratio_max_deviation) == 0
    assert float(found.kl_sum) == 0


@pytest.mark.parametrize(("log_ratio", "advantage", "moves"), [
    (0.5, 1.0, False), (-0.5, -1.0, False), (0.5, -1.0, True), (-0.5, 1.0, True), (0.1, 1.0, True),
])  # fmt: skip
def test_the_gradient_is_zero_exactly_where_clipping_acts(
    log_ratio: float, advantage: float, moves: bool
) -> None:
    new = torch.tensor([[log_ratio]], requires_grad=True)
    found = clipped_surrogate(
        new, torch.zeros(1, 1), torch.tensor([[advantage]]), torch.ones(1, 1), clip=0.2, total_tokens=1
    )
    found.loss.backward()  # type: ignore[no-untyped-call]
    assert (float(new.grad) != 0) is moves  # type: ignore[arg-type]
    assert bool(found.clipped) is not moves


@given(st.integers(0, 999))
def test_values_beyond_the_mask_do_not_matter(seed: int) -> None:
    new, old, advantages, mask = batch(seed)
    spoiled = [torch.where(mask, x, math.nan) for x in (new, old, advantages)]
    one = clipped_surrogate(new, old, advantages, mask, clip=0.2, total_tokens=4)
    other = clipped_surrogate(*spoiled, mask, clip=0.2, total_tokens=4)
    assert all(torch.equal(a, b) for a, b in zip(one, other, strict=True))
    value = clipped_value_loss(new, old, advantages, mask, clip=0.2, total_tokens=4)
    assert torch.equal(value.loss, clipped_value_loss(*spoiled, mask, clip=0.2, total_tokens=4).loss)


def test_gradients_beyond_the_mask_are_zero_even_next_to_nan() -> None:
    new, old, advantages, mask = batch(4)
    for loss_of in (clipped_surrogate, truncated_reinforce, clipped_value_loss):
        leaf = torch.where(mask, new, 50.0).requires_grad_()
        loss_of(leaf, old, advantages, mask, clip=0.2, total_tokens=4).loss.backward()
        assert leaf.grad is not None
        assert bool((leaf.grad[~mask] == 0).all())
        assert bool(torch.isfinite(leaf.grad).all())


@given(st.integers(0, 99), st.integers(1, 2))
def test_micro_batches_add_up(seed: int, cut: int) -> None:
    new, old, advantages, mask = batch(seed)
    total = int(mask.sum())
    for loss_of in (clipped_surrogate, clipped_value_loss):
        whole = loss_of(new, old, advantages, mask, clip=0.2, total_tokens=total).loss
        parts = [
            loss_of(new[s], old[s], advantages[s], mask[s], clip=0.2, total_tokens=total).loss
            for s in (slice(None, cut), slice(cut, None))
        ]
        assert float(sum(parts)) == pytest.approx(float(whole))


def test_finite_differences() -> None:
    new, old, advantages, mask = batch(2)
    leaf = new.requires_grad_()
    for loss_of in (clipped_surrogate, clipped_value_loss):
        assert torch.autograd.gradcheck(
            lambda x, loss_of=loss_of: loss_of(x, old, advantages, mask, clip=0.2, total_tokens=9).loss,
            (leaf,),
        )


@given(st.integers(0, 999), st.floats(0.05, 1))
def test_value_loss_equals_two_loops(seed: int, clip: float) -> None:
    values, old, returns, mask = batch(seed)
    total = 0.0
    for n in range(3):
        for t in range(5):
            if mask[n, t]:
                v, o, r = (float(x[n, t]) for x in (values, old, returns))
                bounded = min(max(v, o - clip), o + clip)
                total += 0.5 * max((v - r) ** 2, (bounded - r) ** 2)
    found = clipped_value_loss(values, old, returns, mask, clip=clip, total_tokens=11)
    assert float(found.loss) == pytest.approx(total / 11)


def test_explained_variance_limits() -> None:
    _, _, returns, mask = batch(3)
    assert explained_variance(returns, returns, mask) == 1
    assert explained_variance(torch.zeros_like(returns), returns, mask) == pytest.approx(0)
    assert explained_variance(-returns, returns, mask) == pytest.approx(-3)
    assert math.isnan(explained_variance(returns, torch.ones_like(returns), mask))


def test_entropy_limits() -> None:
    assert float(entropy_of(torch.zeros(1, 8).log_softmax(-1))[0]) == pytest.approx(math.log(8))
    assert float(entropy_of(torch.tensor([[1e4, 0.0, 0.0]]).log_softmax(-1))[0]) == pytest.approx(0, abs=1e-6)


@given(st.integers(0, 999), st.floats(0.05, 0.4), st.floats(0.05, 0.9))
def test_a_higher_upper_clip_acts_above_alone(seed: int, clip: float, high: float) -> None:
    new, old, advantages, mask = batch(seed)
    total = 0.0
    for n in range(3):
        for t in range(5):
            if mask[n, t]:
                ratio, a = math.exp(float(new[n, t] - old[n, t])), float(advantages[n, t])
                total -= min(ratio * a, min(max(ratio, 1 - clip), 1 + high) * a)
    found = clipped_surrogate(new, old, advantages, mask, clip=clip, clip_high=high, total_tokens=7)
    assert float(found.loss) == pytest.approx(total / 7)


@given(st.integers(0, 999), st.floats(0.01, 0.5))
def test_the_ratio_of_a_response_is_the_geometric_mean_of_its_tokens(seed: int, clip: float) -> None:
    """GSPO, arXiv 2507.18071, eq. 5: a mean over responses of min(s·A, clip(s)·A)."""
    new, old, advantages, mask = batch(seed)
    mask[:, 0] = True
    own = advantages[:, :1].expand(3, 5)
    total = 0.0
    for n in range(3):
        steps = [float(new[n, t] - old[n, t]) for t in range(5) if mask[n, t]]
        ratio, a = math.exp(sum(steps) / len(steps)), float(own[n, 0])
        total -= min(ratio * a, min(max(ratio, 1 - clip), 1 + clip) * a)
    divisor = mask.sum(dim=1, keepdim=True) * 3.0
    found = clipped_surrogate(new, old, own, mask, clip=clip, ratio_of="sequence", total_tokens=divisor)
    assert float(found.loss) == pytest.approx(total / 3)
    spoiled = [torch.where(mask, x, math.nan) for x in (new, old, own)]
    again = clipped_surrogate(*spoiled, mask, clip=clip, ratio_of="sequence", total_tokens=divisor)
    assert all(torch.equal(one, other) for one, other in zip(found, again, strict=True))


@given(st.integers(0, 999), st.floats(0.05, 1))
def test_a_truncated_weight_keeps_every_token_its_gradient(seed: int, clip: float) -> None:
    new, old, advantages, mask = batch(seed)
    leaf = new.clone().requires_grad_()
    found = truncated_reinforce(leaf, old, advantages, mask, clip=clip, total_tokens=7)
    found.loss.backward()  # type: ignore[no-untyped-call]
    weight = (new - old).exp().clamp(max=1 + clip)
    torch.testing.assert_close(leaf.grad, torch.where(mask, -weight * advantages / 7, 0))
    assert int(found.clipped) == int(((new - old).exp() > 1 + clip)[mask].sum())


def test_at_ratio_one_all_surrogates_have_the_policy_gradient() -> None:
    _, old, advantages, mask = batch(1)
    for loss_of in (clipped_surrogate, truncated_reinforce):
        leaf = old.clone().requires_grad_()
        loss_of(leaf, old, advantages, mask, clip=0.2, total_tokens=5).loss.backward()
        torch.testing.assert_close(leaf.grad, torch.where(mask, -advantages / 5, 0))
