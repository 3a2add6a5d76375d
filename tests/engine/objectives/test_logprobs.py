"""Chunked log-probabilities equal those of the whole tensor, and so do their gradients."""

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import nn

from engine.objectives.logprobs import chosen_logprobs


def setting(m: int = 11) -> tuple[nn.Linear, torch.Tensor, torch.Tensor]:
    torch.manual_seed(0)
    head = nn.Linear(6, 13, bias=False)
    return head, torch.randn(m, 6, requires_grad=True), torch.randint(13, (m,))


@given(st.integers(1, 12), st.floats(0.2, 3))
def test_any_chunk_gives_the_same(chunk: int, temperature: float) -> None:
    head, hidden, tokens = setting()
    found = chosen_logprobs(head, hidden, tokens, temperature=temperature, chunk=chunk)
    logits = head(hidden) / temperature
    expected = logits.log_softmax(-1).gather(1, tokens[:, None])[:, 0]
    torch.testing.assert_close(found.logprobs, expected, atol=1e-5, rtol=1e-5)
    with torch.no_grad():
        measured = chosen_logprobs(head, hidden, tokens, temperature=temperature, chunk=chunk)
    torch.testing.assert_close(measured.logprobs, expected.detach(), atol=1e-5, rtol=1e-5)
    probabilities = logits.detach().softmax(-1)
    torch.testing.assert_close(
        measured.entropy, -(probabilities * probabilities.log()).sum(-1), atol=1e-5, rtol=1e-5
    )
    weights = torch.arange(11.0)
    gradients = torch.autograd.grad((found.logprobs * weights).sum(), [hidden, head.weight])
    naive = torch.autograd.grad((expected * weights).sum(), [hidden, head.weight])
    for one, other in zip(gradients, naive, strict=True):
        torch.testing.assert_close(one, other, atol=1e-4, rtol=1e-4)


@given(st.integers(1, 12), st.floats(0.2, 3), st.sampled_from([torch.float32, torch.bfloat16]))
def test_the_gradient_through_a_frozen_head(chunk: int, temperature: float, dtype: torch.dtype) -> None:
    """It is taken with the logits, before anybody asks for it."""
    head, hidden, tokens = setting()
    head.requires_grad_(False).to(dtype)
    found = chosen_logprobs(head, hidden.to(dtype), tokens, temperature=temperature, chunk=chunk)
    exact = hidden.detach().to(dtype).double().requires_grad_()
    expected = (exact @ head.weight.double().T / temperature).log_softmax(-1).gather(1, tokens[:, None])[:, 0]
    weights = torch.linspace(-2, 3, 11)
    (gradient,) = torch.autograd.grad((found.logprobs * weights).sum(), hidden)
    (naive,) = torch.autograd.grad((expected * weights).sum(), exact)
    near = 1e-5 if dtype == torch.float32 else 0.02
    assert float((gradient - naive).norm()) <= near * float(naive.norm())


def test_entropy_is_only_measured_without_gradients_unless_asked_for() -> None:
    head, hidden, tokens = setting()
    assert chosen_logprobs(head, hidden, tokens).entropy is None


@given(st.integers(1, 12), st.floats(0.2, 3), st.booleans())
def test_a_bonus_has_the_gradient_of_the_entropy(chunk: int, temperature: float, frozen: bool) -> None:
    head, hidden, tokens = setting()
    head.requires_grad_(not frozen)
    found = chosen_logprobs(head, hidden, tokens, temperature=temperature, chunk=chunk, entropy=True)
    assert found.entropy is not None
    logp = (head(hidden) / temperature).log_softmax(-1)
    entropy, chosen = -(logp.exp() * logp).sum(-1), logp.gather(1, tokens[:, None])[:, 0]
    torch.testing.assert_close(found.entropy, entropy, atol=1e-5, rtol=1e-5)
    weights, leaves = torch.linspace(-2, 3, 11), [hidden] if frozen else [hidden, head.weight]
    own = torch.autograd.grad((weights * found.entropy - found.logprobs).sum(), leaves)
    naive = torch.autograd.grad((weights * entropy - chosen).sum(), leaves)
    for one, other in zip(own, naive, strict=True):
        torch.testing.assert_close(one, other, atol=1e-4, rtol=1e-4)


def test_probabilities_sum_to_one() -> None:
    head, hidden, _ = setting(1)
    with torch.no_grad():
        every = chosen_logprobs(head, hidden.expand(13, 6), torch.arange(13), temperature=0.7, chunk=5)
    assert float(every.logprobs.exp().sum()) == pytest.approx(1, abs=1e-6)


def test_no_positions() -> None:
    head, hidden, tokens = setting()
    assert chosen_logprobs(head, hidden[:0], tokens[:0]).logprobs.shape == (0,)


def test_a_head_that_is_more_than_a_product() -> None:
    head, hidden, tokens = setting()
    capped = lambda states: 3 * torch.tanh(head(states) / 3)  # noqa: E731
    found = chosen_logprobs(capped, hidden, tokens, temperature=0.7, chunk=4)
    expected = (capped(hidden) / 0.7).log_softmax(-1).gather(1, tokens[:, None])[:, 0]
    torch.testing.assert_close(found.logprobs, expected, atol=1e-5, rtol=1e-5)
    gradients, naive = (
        torch.autograd.grad(x.sum(), [hidden, head.weight]) for x in (found.logprobs, expected)
    )
    for one, other in zip(gradients, naive, strict=True):
        torch.testing.assert_close(one, other, atol=1e-4, rtol=1e-4)
    with torch.no_grad():
        measured = chosen_logprobs(capped, hidden, tokens, temperature=0.7, chunk=4)
    torch.testing.assert_close(measured.logprobs, expected.detach(), atol=1e-5, rtol=1e-5)


def test_impossible_tokens_add_nothing_to_the_entropy() -> None:
    head = nn.Linear(2, 3, bias=False)
    head.weight.data = torch.tensor([[0.0, 0.0], [0.0, 0.0], [-1e38, -1e38]])
    with torch.no_grad():
        found = chosen_logprobs(head, torch.ones(1, 2), torch.tensor([0]))
    assert found.entropy is not None
    assert float(found.entropy) == pytest.approx(0.6931, abs=1e-4)
