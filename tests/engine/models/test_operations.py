"""Operations counted from a model's shape are those that torch counts."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import torch
from torch.utils.flop_counter import FlopCounterMode

from engine.models import peak
from engine.models.operations import Shape, Work
from engine.models.packing import Row
from engine.models.policy import load_policy
from engine.models.trunk import make_trainable
from engine.training.policy import load_trainable_policy
from tests.engine.models.survey import make_folder


def added(_: Any, one: tuple[int, int], other: tuple[int, int], **__: Any) -> int:
    """Operations of a product that is added in place, which torch leaves out; adapters are added so."""
    return 2 * one[0] * one[1] * other[1]


IN_PLACE: dict[Any, Any] = {torch.ops.aten.addmm_: added}
ROW = Row([5, 6, 7, 8], [[9, 10, 11, 12, 13]])


@pytest.mark.parametrize("lora_rank", [None, 4])
def test_a_pass_and_its_gradients_as_torch_counts_them(tiny_model: Path, lora_rank: int | None) -> None:
    """Plain attention computes all pairs, which the count is told."""
    policy = load_trainable_policy(
        tiny_model, dtype="float32", device="cpu", lora_rank=lora_rank, seed=0, with_reference=False
    )
    policy.trunk.why_not_packed, policy.trunk.flat = "as asked", False
    shape = Shape.of(policy.model, logits=True)
    assert shape is not None
    work = Work(ROW.length, ROW.length**2, 5)
    with FlopCounterMode(display=False, custom_mapping=IN_PLACE) as forward, torch.no_grad():
        policy.forward([ROW])
    assert forward.get_total_flops() == shape.forward(work)
    with FlopCounterMode(display=False, custom_mapping=IN_PLACE) as update:
        policy.forward([ROW]).logprobs.sum().backward()
    counted = update.get_total_flops() - 2 * shape.head * work.predicted  # logits, which are computed again
    if lora_rank is None:
        assert counted == shape.update(work)
    else:  # nothing before the first layer learns, so three of its products hand no gradient on
        assert 0 <= shape.update(work) - counted <= 2 * (shape.frozen + shape.trained) * work.tokens / 2


def test_a_prompt_is_read_once_and_sees_itself_alone() -> None:
    work = Work.of([Row([1, 2, 3], [[4, 5], [6]]), Row([1], [[2]])])
    assert work == Work(tokens=8, pairs=(1 + 2 + 3) + (4 + 5) + 4 + (1 + 2), predicted=4)


def test_experts_and_other_mixers_are_not_counted(tmp_path: Path) -> None:
    for family in ("mixtral", "mamba"):
        model = load_policy(make_folder(family, tmp_path / family), "float32")
        make_trainable(model, lora_rank=None, seed=0)
        assert Shape.of(model, logits=True) is None


@pytest.mark.parametrize(
    ("name", "rate"),
    [
        ("NVIDIA H100 80GB HBM3", 989e12), ("NVIDIA H100 PCIe", 756e12), ("NVIDIA A100-SXM4-80GB", 312e12),
        ("NVIDIA L40S", 362e12), ("NVIDIA L4", 121e12), ("NVIDIA GeForce RTX 4090", 165e12),
        ("NVIDIA H100 80GB HBM3 MIG 1g.10gb", None), ("Tesla V100-SXM2-16GB", None),
    ],
)  # fmt: skip
def test_a_gpu_is_known_by_its_name(monkeypatch: pytest.MonkeyPatch, name: str, rate: float | None) -> None:
    monkeypatch.setattr("engine.models.device.describe", lambda device: f"{device} {name}")
    assert peak.best_rate(torch.device("cuda:0"), torch.bfloat16) == rate
    assert peak.best_rate(torch.device("cuda:0"), torch.float32) is None


def test_a_processor_is_measured() -> None:
    rate = peak.best_rate(torch.device("cpu"), torch.float32)
    assert rate is not None
    assert 1e7 < rate < 1e15
    assert peak.peak_memory(torch.device("cpu")) > 100 << 20  # torch alone
