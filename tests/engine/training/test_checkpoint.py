"""Master weights, schedules, checkpoints."""

import random
from pathlib import Path

import numpy as np
import pytest
import torch
from torch import nn

from engine.errors import WorkbenchError
from engine.protocol.configs import RewardConfig
from engine.protocol.rundir import RunDir
from engine.training.checkpoint import load_checkpoint, save_checkpoint, seeded, stable_hash
from engine.training.optimiser import MasterAdam, annealed, warmup_then_linear


def layer(dtype: torch.dtype = torch.float32) -> nn.Linear:
    torch.manual_seed(0)
    return nn.Linear(3, 2).to(dtype)


def step(module: nn.Linear, optimiser: MasterAdam, rate: float = 0.1) -> None:
    module(torch.ones(1, 3, dtype=module.weight.dtype)).square().sum().backward()
    optimiser.accumulate()
    optimiser.step(rate)


def run_dir(tmp_path: Path) -> RunDir:
    return RunDir.create(tmp_path / "run", RewardConfig(name="r"))


def test_float32_weights_take_the_steps_of_plain_adam() -> None:
    mine, plain = layer(), layer()
    optimiser = MasterAdam(mine, eps=1e-5)
    adam = torch.optim.AdamW(plain.parameters(), lr=0.1, eps=1e-5, weight_decay=0.0, foreach=False)
    for _ in range(3):
        step(mine, optimiser)
        adam.zero_grad()
        plain(torch.ones(1, 3)).square().sum().backward()
        adam.step()
    torch.testing.assert_close(mine.weight, plain.weight)


def test_bfloat16_weights_follow_their_masters() -> None:
    module = layer(torch.bfloat16)
    optimiser = MasterAdam(module, eps=1e-5)
    before = module.weight.detach().clone()
    for _ in range(200):
        step(module, optimiser, 1e-5)
    master = optimiser.masters["weight"]
    rounded = module.weight.detach().float()  # to one of the two neighbours
    assert bool(((rounded - master.detach()).abs() <= master.detach().abs() * 2**-7).all())
    assert (
        float((master - before.float()).abs().max().detach()) > 1e-3
    )  # steps that bfloat16 alone would lose


def test_gradients_of_micro_batches_add_up_in_float32() -> None:
    module = layer(torch.bfloat16)
    optimiser = MasterAdam(module, eps=1e-5)
    for _ in range(3):
        (module.weight.sum() * (1 + 2**-7)).backward()
        optimiser.accumulate()
    gradient = optimiser.masters["weight"].grad
    assert gradient is not None
    assert float(gradient[0, 0]) == 3 * (1 + 2**-7)  # 3.0234375: not a bfloat16 number
    assert optimiser.clip(1.0) == pytest.approx(3 * (1 + 2**-7) * 6**0.5)


def test_schedules() -> None:
    rates = [warmup_then_linear(i, 10, 2, 1.0) for i in range(10)]
    assert rates[:3] == pytest.approx([1 / 3, 2 / 3, 1.0])
    assert rates == [*sorted(rates[:3]), *sorted(rates[3:], reverse=True)]
    assert 0 < rates[-1] < 0.2
    assert [annealed(i, 4, 1.0) for i in range(5)] == [1.0, 0.75, 0.5, 0.25, 0.0]


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
def test_a_checkpoint_brings_everything_back(tmp_path: Path, dtype: torch.dtype) -> None:
    run, module = run_dir(tmp_path), layer(dtype)
    optimiser = MasterAdam(module, eps=1e-5)
    step(module, optimiser)
    save_checkpoint(run, 5, optimisers={"m": optimiser}, state={"beta": 0.1 + 0.2})
    expected = (
        random.random(),
        float(np.random.rand()),
        float(torch.rand(1)),
    )
    step(module, optimiser)

    other = layer(dtype)
    again = MasterAdam(other, eps=1e-5)
    folder = run.latest_checkpoint()
    assert folder is not None
    state = load_checkpoint(folder, optimisers={"m": again})
    drawn = (
        random.random(),
        float(np.random.rand()),
        float(torch.rand(1)),
    )
    assert drawn == expected
    assert state == {"beta": 0.1 + 0.2}
    step(other, again)
    assert torch.equal(other.weight, module.weight)
    assert torch.equal(again.masters["weight"], optimiser.masters["weight"])
    assert {path.suffix for path in folder.iterdir()} == {".safetensors", ".json"}


def test_a_checkpoint_of_something_else_is_refused(tmp_path: Path) -> None:
    run = run_dir(tmp_path)
    save_checkpoint(run, 1, optimisers={"m": MasterAdam(layer(), eps=1e-5)}, state={})
    folder = run.latest_checkpoint()
    assert folder is not None
    wider = MasterAdam(nn.Linear(4, 4), eps=1e-5)
    with pytest.raises(WorkbenchError, match="cannot be continued from"):
        load_checkpoint(folder, optimisers={"m": wider})
    (folder / "tensors.safetensors").write_bytes(b"half")
    with pytest.raises(WorkbenchError, match="cannot be continued from"):
        load_checkpoint(folder, optimisers={})


def test_seeds_are_stable_and_apart() -> None:
    assert stable_hash("holdout", 0, "p1") == stable_hash("holdout", 0, "p1")
    draws = {
        float(torch.rand(1, generator=seeded(*parts))) for parts in [("a", 1), ("a", 2), ("b", 1), ("a1",)]
    }
    assert len(draws) == 4
