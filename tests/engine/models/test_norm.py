"""The frozen norm: the same numbers and gradients as the norm that it takes the place of."""

from __future__ import annotations

import copy

import pytest
import torch
from torch import nn
from transformers.models.gemma.modeling_gemma import GemmaRMSNorm
from transformers.models.llama.modeling_llama import LlamaRMSNorm

from engine.models.norm import FrozenRMSNorm, freeze_norms

DIMENSIONS = 24


def norm_of(dtype: torch.dtype) -> LlamaRMSNorm:
    norm = LlamaRMSNorm(DIMENSIONS, eps=1e-5).to(dtype)
    norm.weight.data.uniform_(-1, 2)
    return norm.requires_grad_(False)


def frozen(module: nn.Module) -> nn.Module:
    holder = nn.Sequential(copy.deepcopy(module))
    freeze_norms(holder)
    return holder[0]


@pytest.mark.parametrize(("dtype", "tolerance"), [(torch.float32, 1e-6), (torch.bfloat16, 2e-2)])
def test_equals_the_models_own(dtype: torch.dtype, tolerance: float) -> None:
    torch.manual_seed(1)
    norm = norm_of(dtype)
    other = frozen(norm)
    assert isinstance(other, FrozenRMSNorm)
    x = (3 * torch.randn(2, 5, DIMENSIONS)).to(dtype)
    d_y = torch.randn(2, 5, DIMENSIONS).to(dtype)
    gradients = []
    for module in (norm, other):
        leaf = x.clone().requires_grad_()
        y = module(leaf)
        assert y.dtype == dtype
        y.backward(d_y)
        gradients += [y.detach(), leaf.grad]
    assert torch.equal(gradients[2], gradients[0])
    torch.testing.assert_close(gradients[3], gradients[1], rtol=tolerance, atol=tolerance)


def test_gradient_by_finite_differences() -> None:
    torch.manual_seed(2)
    norm = norm_of(torch.float32)
    other = frozen(norm).double()
    x = torch.randn(3, DIMENSIONS, dtype=torch.float64, requires_grad=True)
    # float32 inside, as in the models' own: wide steps, and their tolerance
    assert torch.autograd.gradcheck(other, (x,), eps=1e-2, atol=1e-3)


def test_leaves_alone_what_it_does_not_compute() -> None:
    gemma = GemmaRMSNorm(DIMENSIONS).requires_grad_(False)  # 1 + w, and its ε has another name
    gemma.variance_epsilon = gemma.eps
    gemma.weight.data.uniform_(-1, 1)
    trained = norm_of(torch.float32).requires_grad_(True)
    layer = nn.LayerNorm(DIMENSIONS).requires_grad_(False)
    for module in (gemma, trained, layer):
        assert type(frozen(module)) is type(module)
