"""KL estimators against the exact divergence on a small vocabulary; the adaptive controller."""

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from engine.objectives.kl import AdaptiveKL, exact_kl, k1, k2, k3


def logits(seed: int, distance: float = 1.0) -> tuple[torch.Tensor, torch.Tensor]:
    generator = torch.Generator().manual_seed(seed)
    policy = torch.randn(1, 7, generator=generator, dtype=torch.float64)
    return policy, policy + distance * torch.randn(1, 7, generator=generator, dtype=torch.float64)


@given(st.integers(0, 999))
def test_k1_and_k3_have_the_exact_mean(seed: int) -> None:
    policy, reference = logits(seed)
    logp, logq = policy.log_softmax(-1), reference.log_softmax(-1)
    for estimator in (k1, k3):
        mean = (logp.exp() * estimator(logp, logq)).sum()
        assert float(mean) == pytest.approx(float(exact_kl(policy, reference)[0]), abs=1e-9)


@given(st.integers(0, 999))
def test_k2_is_near_for_near_policies_and_k3_never_negative(seed: int) -> None:
    policy, reference = logits(seed, 0.01)
    logp, logq = policy.log_softmax(-1), reference.log_softmax(-1)
    exact = float(exact_kl(policy, reference)[0])
    assert float((logp.exp() * k2(logp, logq)).sum()) == pytest.approx(exact, rel=0.05, abs=1e-9)
    assert bool((k3(logp, logq) >= 0).all())


def test_only_k2_has_the_gradient_of_the_divergence() -> None:
    policy, reference = logits(5)
    logq = reference.log_softmax(-1)
    leaf = policy.clone().requires_grad_()
    exact_kl(leaf, reference).sum().backward()  # type: ignore[no-untyped-call]
    exact = leaf.grad
    weights = policy.softmax(-1)  # the samples are drawn, not differentiated through

    def gradient(estimator):  # type: ignore[no-untyped-def]
        other = policy.clone().requires_grad_()
        (weights * estimator(other.log_softmax(-1), logq)).sum().backward()
        return other.grad

    torch.testing.assert_close(gradient(k2), exact)
    torch.testing.assert_close(gradient(k1), torch.zeros_like(policy))
    assert float((gradient(k3) - exact).abs().max()) > 1e-3


def test_k3_keeps_its_digits_near_one() -> None:
    logp = torch.tensor([1e-5], dtype=torch.float32)
    assert float(k3(torch.zeros(1), logp)) == pytest.approx(0.5e-10, rel=0.05)


def test_controller_moves_towards_the_target_and_clips() -> None:
    control = AdaptiveKL(target=6.0, horizon=1000)
    assert control.updated(0.1, 6.0, 32) == pytest.approx(0.1)
    assert control.updated(0.1, 600.0, 100) == pytest.approx(0.1 * (1 + 0.2 * 0.1))
    assert control.updated(0.1, 0.0, 100) == pytest.approx(0.1 * (1 - 0.2 * 0.1))
    assert control.updated(0.1, 6.6, 100) == pytest.approx(0.1 * (1 + 0.1 * 0.1))


@given(st.floats(0, 1e6), st.integers(1, 10**6))
def test_beta_stays_positive(kl: float, episodes: int) -> None:
    assert AdaptiveKL(target=1.0, horizon=10).updated(0.05, kl, episodes) > 0
