"""Layers that keep less of a pass: the same gradients, and less memory until they are taken."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor
from torch.autograd.graph import saved_tensors_hooks

from engine.errors import UsageError
from engine.models.activations import Activations, keep_of_passes
from engine.models.packing import Row
from engine.models.policy import load_policy
from engine.models.trunk import Trunk, make_trainable
from engine.protocol.configs import DPOConfig, PPOConfig, RewardConfig
from tests.engine.models.survey import make_folder
from tests.engine.pretend_gpu import GPU, OnGPU, pretend_gpu

ROWS = [Row([5, 6, 7, 8], [[9, 10, 11], [12, 13]]), Row([14, 15], [[16, 17, 18, 19]])]
CPU = torch.device("cpu")


def passed(
    folder: Path,
    activations: Activations,
    device: torch.device = CPU,
    *,
    lora_rank: int | None = None,
    layout: str = "flat",
) -> tuple[dict[str, Tensor], int]:
    """Gradients of a pass, and the bytes that its graph has kept on its device, weights aside."""
    model = load_policy(folder, "float32", device)
    make_trainable(model, lora_rank=lora_rank, seed=3)
    for number, (name, parameter) in enumerate(model.named_parameters()):
        if "lora_B" in name:  # zero at first, and so the other's gradient
            generator = torch.Generator().manual_seed(number)
            parameter.data = (torch.randn(parameter.shape, generator=generator) * 0.1).to(device)
    trunk = Trunk.of(model, 0, device)
    trunk.flat = layout == "flat" and trunk.flat
    trunk.why_not_packed = "as asked" if layout == "plain" else None
    keep_of_passes(trunk.module, activations, device)
    weights = {parameter.data_ptr() for parameter in model.parameters()}
    kept: dict[int, int] = {}

    def keep(tensor: Tensor) -> Tensor:
        if isinstance(tensor, OnGPU) == (device == GPU) and tensor.data_ptr() not in weights:
            kept[tensor.data_ptr()] = tensor.numel() * tensor.element_size()
        return tensor

    with saved_tensors_hooks(keep, lambda tensor: tensor):
        states = trunk.states(ROWS, "before")
    hidden_M_D = states.hidden[states.mask]
    (hidden_M_D * torch.linspace(-1, 1, hidden_M_D.shape[1], device=device)).sum().backward()
    gradients = {name: p.grad.cpu() for name, p in model.named_parameters() if p.grad is not None}
    return gradients, sum(kept.values())


@pytest.mark.parametrize("lora_rank", [None, 4])
@pytest.mark.parametrize("layout", ["flat", "masked", "plain"])
def test_computing_again_gives_the_same_gradients_from_less(
    tiny_model: Path, layout: str, lora_rank: int | None
) -> None:
    """In the attention of the pass, too, which is another one when the gradients are taken."""
    kept, most = passed(tiny_model, "keep", lora_rank=lora_rank, layout=layout)
    again, least = passed(tiny_model, "recompute", lora_rank=lora_rank, layout=layout)
    assert kept.keys() == again.keys()
    assert any(float(gradient.abs().max()) > 0.01 for gradient in kept.values())
    for name, gradient in kept.items():
        torch.testing.assert_close(again[name], gradient, atol=1e-6, rtol=1e-6)
    assert least < most / 3


def test_so_does_a_model_that_makes_a_cache_unasked(tmp_path: Path) -> None:
    folder = make_folder("bart", tmp_path / "bart")
    kept, _ = passed(folder, "keep", layout="plain")
    again, _ = passed(folder, "recompute", layout="plain")
    for name, gradient in kept.items():
        torch.testing.assert_close(again[name], gradient, atol=1e-6, rtol=1e-6)


def test_offloading_leaves_nothing_of_a_layer_on_the_gpu(
    tiny_model: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with pretend_gpu(monkeypatch):
        kept, most = passed(tiny_model, "keep", GPU)
        again, some = passed(tiny_model, "recompute", GPU)
        away, least = passed(tiny_model, "offload", GPU)
    for name, gradient in kept.items():
        torch.testing.assert_close(again[name], gradient, atol=1e-6, rtol=1e-6)
        torch.testing.assert_close(away[name], gradient, atol=1e-6, rtol=1e-6)
    assert least < some < most


def test_nothing_is_offloaded_from_where_it_would_go(tiny_model: Path) -> None:
    with pytest.raises(UsageError, match="off a GPU, and the device is cpu"):
        passed(tiny_model, "offload")
    kinds: list[tuple[Any, dict[str, Any]]] = [
        (PPOConfig, {"name": "x", "policy": "p", "reward_model": "r"}),
        (DPOConfig, {"name": "x", "policy": "p"}),
        (RewardConfig, {"name": "x", "policy": "p", "tuning": "lora"}),
    ]
    for kind, values in kinds:
        with pytest.raises(UsageError, match="save nothing; choose recompute"):
            kind(**values, activations="offload", device="cpu")


def test_a_model_without_a_list_of_layers_says_what_to_set() -> None:
    with pytest.raises(UsageError, match="set activations to keep"):
        keep_of_passes(torch.nn.Linear(2, 2), "recompute", CPU)
