"""Nash-MD's loss: its gradient enumerated over all responses, masking, and the game that it solves."""

from __future__ import annotations

import itertools

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import Tensor

from engine.objectives.nash import nash_md

V, T = 3, 2
RESPONSES = list(itertools.product(range(V), repeat=T))
seeds = st.integers(0, 2**20)


def logprobs_of(first_V: Tensor, second_V_V: Tensor) -> Tensor:
    """log π of both tokens of every response of a policy whose second token depends on its first, [9, 2]."""
    one, two = first_V.log_softmax(-1), second_V_V.log_softmax(-1)
    return torch.stack([torch.stack([one[a], two[a, b]]) for a, b in RESPONSES])


def drawn(seed: int) -> tuple[list[Tensor], list[Tensor], Tensor]:
    """Logits of a policy and of a reference, and how likely every response wins."""
    luck = torch.Generator().manual_seed(seed)

    def normal(*size: int) -> Tensor:
        return torch.randn(*size, generator=luck, dtype=torch.float64)

    policy = [normal(V).requires_grad_(), normal(V, V).requires_grad_()]
    wins = torch.rand(len(RESPONSES), generator=luck, dtype=torch.float64)
    return policy, [normal(V), normal(V, V)], wins


def expected_gradient(seed: int, beta: float, kl: str) -> tuple[list[Tensor], list[Tensor]]:
    """The mean gradient of the loss over all responses of π, and that of −P + β KL."""
    policy, reference, wins_N = drawn(seed)
    logprobs, ref = logprobs_of(*policy), logprobs_of(*reference)
    mask = torch.ones_like(logprobs, dtype=torch.bool)
    chance_N = logprobs.sum(dim=1).exp()
    loss_N = nash_md(logprobs, ref, mask, wins_N, beta=beta, kl=kl)  # type: ignore[arg-type]
    ours = torch.autograd.grad((chance_N.detach() * loss_N).sum(), policy, retain_graph=True)
    wanted = (chance_N * (beta * (logprobs - ref).sum(dim=1) - wins_N)).sum()
    return list(ours), list(torch.autograd.grad(wanted, policy))


@given(seeds, st.floats(0, 2))
def test_its_gradient_is_that_of_the_regularised_preference(seed: int, beta: float) -> None:
    for ours, wanted in zip(*expected_gradient(seed, beta, "sequence"), strict=True):
        assert torch.allclose(ours, wanted, atol=1e-10)


@given(seeds)
def test_the_kl_of_single_tokens_has_another_gradient(seed: int) -> None:
    """That of the first token lacks what it does to the second; that of the second is right."""
    (first, second), (wanted, wanted_second) = expected_gradient(seed, 1.0, "token")
    assert torch.allclose(second, wanted_second, atol=1e-10)
    assert not torch.allclose(first, wanted, atol=1e-4)


@given(seeds, st.floats(0, 2), st.sampled_from(["sequence", "token"]))
def test_what_lies_beyond_a_response_means_nothing(seed: int, beta: float, kl: str) -> None:
    luck = torch.Generator().manual_seed(seed)
    logprobs, ref = torch.randn(2, 4, 3, generator=luck).unbind()
    mask, wins = torch.tensor([[True, True, False]] * 4), torch.rand(4, generator=luck)
    short = nash_md(logprobs[:, :2], ref[:, :2], mask[:, :2], wins, beta=beta, kl=kl)  # type: ignore[arg-type]
    padded = torch.where(mask, logprobs, float("nan")).requires_grad_()
    long = nash_md(padded, torch.where(mask, ref, -9.0), mask, wins, beta=beta, kl=kl)  # type: ignore[arg-type]
    assert torch.allclose(short, long)
    long.sum().backward()
    assert padded.grad is not None
    assert torch.equal(padded.grad[:, 2], torch.zeros(4))


@pytest.mark.parametrize(("beta", "share"), [(0.1, 0.0), (0.1, 0.125), (0.1, 0.5)])
def test_it_settles_in_a_game_that_no_score_can_express(beta: float, share: float) -> None:
    """Stone, paper, scissors with one strong move: with exact gradients π comes to where no other policy does
    better against the mixture, less β times its KL; with no reference in it, that is the Nash equilibrium.
    """
    wins_V_V = torch.tensor([[0.5, 0.1, 0.7], [0.9, 0.5, 0.2], [0.3, 0.8, 0.5]], dtype=torch.float64)
    reference = torch.tensor([2.0, 0.0, -1.0], dtype=torch.float64).log_softmax(-1)
    logits = torch.zeros(3, dtype=torch.float64, requires_grad=True)
    mask = torch.ones(3, 1, dtype=torch.bool)
    for _ in range(6000):
        logprobs = logits.log_softmax(-1)
        mixture = ((1 - share) * logprobs + share * reference).softmax(-1).detach()
        loss_V = nash_md(logprobs[:, None], reference[:, None], mask, wins_V_V @ mixture, beta=beta)
        (logits.grad,) = torch.autograd.grad((logprobs.exp().detach() * loss_V).sum(), logits)
        with torch.no_grad():
            logits -= 0.3 * logits.grad
    # At a fixed point no move's P − β log π/π_ref is above another's.
    value_V = wins_V_V @ mixture - beta * (logprobs - reference)
    assert float((value_V.max() - value_V.min()).detach()) < 1e-3
    assert float(logprobs.exp().min().detach()) > 0.01
