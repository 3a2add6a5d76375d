"""KL estimators against the exact divergence on a small vocabulary; the adaptive controller."""

import math
import random
import statistics

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from engine.objectives.kl import AdaptiveKL, horizon_of, k1, k2, k3, sequence_k1


def exact_kl(logits_N_V: torch.Tensor, ref_logits_N_V: torch.Tensor) -> torch.Tensor:
    """KL(π ‖ π_ref) of each row of logits, in nats, [N]: what the estimators estimate."""
    logp, logq = torch.log_softmax(logits_N_V, dim=-1), torch.log_softmax(ref_logits_N_V, dim=-1)
    return (logp.exp() * (logp - logq)).sum(dim=-1)


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


def test_controller_moves_towards_the_goal_and_clips() -> None:
    control = AdaptiveKL(target=6.0, horizon=1000)
    assert control.updated(0.1, 6.0, 32, goal=6.0) == pytest.approx((0.1, 0.1))
    for kl, error in ((6.6, math.log(1.1)), (5.0, math.log(5 / 6)), (600.0, 0.5), (-1.0, -0.5)):
        level, beta = control.updated(0.1, kl, 100, goal=6.0)
        assert level == pytest.approx(0.1 * math.exp(0.1 * error))
        assert beta == pytest.approx(level * math.exp(3 * error))


@pytest.mark.parametrize("steps", [8, 50, 1000])
def test_a_run_of_any_length_can_move_beta_far(steps: int) -> None:
    control = AdaptiveKL(target=6.0, horizon=horizon_of(32, steps))
    level = beta = 0.05
    for step in range(1, steps):
        level, beta = control.updated(level, 1e9, 32, control.goal(step, steps))
    assert beta > 10 * 0.05


def test_the_goal_rises_to_the_target() -> None:
    control = AdaptiveKL(target=6.0, horizon=100)
    goals = [control.goal(step, 10) for step in range(10)]
    assert goals == pytest.approx([6 * min(1, step / 7) for step in range(10)])


@given(st.floats(-10, 1e6), st.integers(1, 10**6))
def test_beta_stays_positive(kl: float, episodes: int) -> None:
    assert min(AdaptiveKL(target=1.0, horizon=10).updated(0.05, kl, episodes, goal=0.5)) > 0


@pytest.mark.parametrize("steps", [16, 30, 120])
def test_kl_ends_at_its_target_on_a_policy_of_one_number(steps: int) -> None:
    """θ moves by a step of fixed length along ∇(score − β·KL), KL = θ²/2, seen with noise.

    β starts up to seven times off; over seeds the mean of the last fifth is within 20 % of the target in most
    runs, which neither a constant β nor the integral alone can do.
    """
    draw = random.Random(steps)
    ends = [one_number(steps, 0.05 * math.exp(draw.uniform(-2, 2)), draw) for _ in range(40)]
    assert statistics.median(ends) == pytest.approx(1, abs=0.15)
    assert sum(abs(end - 1) < 0.2 for end in ends) >= 24


def test_kl_ends_at_its_target_though_the_policy_has_momentum() -> None:
    """Adam's steps go on after β has risen: where the goal stands earlier, KL ends a tenth too high."""
    draw = random.Random(7)
    ends = [one_number(30, 0.05 * math.exp(draw.uniform(-2, 2)), draw, momentum=0.6) for _ in range(100)]
    assert statistics.median(ends) == pytest.approx(1, abs=0.12)
    assert sum(abs(end - 1) < 0.2 for end in ends) >= 70


def one_number(steps: int, beta: float, draw: random.Random, momentum: float = 0.0) -> float:
    """Mean KL of the last fifth over the target."""
    control = AdaptiveKL(target=6.0, horizon=horizon_of(32, steps))
    reach, level, theta, speed, seen = draw.uniform(1.2, 2.0), beta, 0.0, 0.0, []
    for step in range(steps):
        kl = theta**2 / 2 * math.exp(0.12 * draw.gauss(0, 1))
        seen.append(kl)
        length = reach * math.sqrt(12) * 2 / steps * (1 - step / steps)
        slope = 1 - theta / 12 - beta * 20 * theta / math.sqrt(12)
        speed = momentum * speed + (1 - momentum) * math.tanh(2 * slope)
        theta = abs(theta + length * speed)
        if step:
            level, beta = control.updated(level, kl, 32, control.goal(step, steps))
    last = max(2, steps // 5)
    return statistics.fmean(seen[-last:]) / 6.0


class Sequences:
    """All responses of at most three tokens of a vocabulary of three, of which token 0 ends; two policies
    whose logits depend on every token before."""

    def __init__(self, seed: int) -> None:
        generator = torch.Generator().manual_seed(seed)
        self.responses: list[tuple[int, ...]] = []
        self._grow(())
        prefixes = sorted({y[:t] for y in self.responses for t in range(len(y))})
        self.row = {prefix: place for place, prefix in enumerate(prefixes)}
        self.policy, self.reference = (
            torch.randn(len(prefixes), 3, generator=generator, dtype=torch.float64) for _ in range(2)
        )
        self.mask = torch.tensor([[t < len(y) for t in range(3)] for y in self.responses])

    def _grow(self, prefix: tuple[int, ...]) -> None:
        for token in range(3):
            longer = (*prefix, token)
            if token == 0 or len(longer) == 3:
                self.responses.append(longer)
            else:
                self._grow(longer)

    def logprobs(self, logits: torch.Tensor) -> torch.Tensor:
        """[all responses, 3]"""
        logp = logits.log_softmax(-1)
        rows = [
            torch.stack([logp[self.row[y[:t]], y[t]] if t < len(y) else logp.new_zeros(()) for t in range(3)])
            for y in self.responses
        ]
        return torch.stack(rows)

    def gradient(self, estimator) -> torch.Tensor:  # type: ignore[no-untyped-def]
        """The mean over all responses of the gradient of an estimator; the responses are drawn, not
        differentiated through."""
        leaf = self.policy.clone().requires_grad_()
        found_N_T = self.logprobs(leaf)
        weight_N = found_N_T.detach().sum(dim=1).exp()
        terms = torch.where(self.mask, estimator(found_N_T, self.logprobs(self.reference)), 0).sum(dim=1)
        (weight_N * terms).sum().backward()
        assert leaf.grad is not None
        return leaf.grad

    def exact(self) -> tuple[torch.Tensor, torch.Tensor]:
        """KL of the responses, and its gradient."""
        leaf = self.policy.clone().requires_grad_()
        own = self.logprobs(leaf).sum(dim=1)
        kl = (own.exp() * (own - self.logprobs(self.reference).sum(dim=1))).sum()
        kl.backward()
        assert leaf.grad is not None
        return kl.detach(), leaf.grad


@pytest.mark.parametrize("seed", range(4))
def test_the_kl_of_responses_has_the_gradient_of_its_estimator_for_sequences_alone(seed: int) -> None:
    every = Sequences(seed)
    kl, exact = every.exact()
    values = sequence_k1(every.logprobs(every.policy), every.logprobs(every.reference), every.mask)
    weight = every.logprobs(every.policy).sum(dim=1).exp()
    assert float(weight.sum()) == pytest.approx(1)
    assert float((weight * values.sum(dim=1)).sum()) == pytest.approx(float(kl))
    found = every.gradient(lambda one, other: sequence_k1(one, other, every.mask))
    torch.testing.assert_close(found, exact, atol=1e-10, rtol=1e-8)
    off = {
        name: float((every.gradient(k) - exact).norm() / exact.norm()) for name, k in (("k2", k2), ("k3", k3))
    }
    assert off["k2"] > 0.02  # what a token does to those behind it is missing
    assert off["k3"] > 0.1  # the other direction
