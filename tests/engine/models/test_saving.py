"""Saving: what is written is the plain model, and little memory is needed beside the model."""

import json
from pathlib import Path

import pytest
import torch
from safetensors import safe_open
from transformers import AutoModelForCausalLM, PreTrainedModel

from engine.errors import WorkbenchError
from engine.models import lora, saving
from engine.models.policy import load_policy
from engine.models.saving import save_model
from engine.training.optimiser import MasterAdam

IDS = torch.tensor([[5, 9, 30, 44, 2], [70, 8, 1, 6, 2]])


def trained(folder: Path, rank: int | None) -> tuple[PreTrainedModel, MasterAdam]:
    """A bfloat16 policy after a step of training."""
    model = load_policy(folder, "bfloat16")
    if rank is not None:
        lora.add_lora(model, rank, seed=1)
    optimiser = MasterAdam(model, eps=1e-5)
    for _ in range(2):
        model(input_ids=IDS).logits.float().square().mean().backward()
        optimiser.accumulate()
        optimiser.step(1e-2)
    return model, optimiser


@pytest.mark.parametrize("rank", [4, None])
def test_masters_take_the_place_of_rounded_weights(
    tiny_model: Path, tmp_path: Path, rank: int | None
) -> None:
    model, optimiser = trained(tiny_model, rank)
    before = {name: tensor.clone() for name, tensor in model.state_dict().items()}
    save_model(model, tiny_model, tmp_path / "out", "float32", masters=optimiser.masters)
    assert all(torch.equal(tensor, before[name]) for name, tensor in model.state_dict().items())
    saved = AutoModelForCausalLM.from_pretrained(tmp_path / "out")
    assert saved.dtype == torch.float32
    name = "model.layers.0.mlp.up_proj"
    module = model.get_submodule(name)
    if rank is None:
        expected = optimiser.masters[f"{name}.weight"].detach()
    else:
        down, up = (optimiser.masters[f"{name}.lora_{part}.default.weight"] for part in "AB")
        expected = module.base_layer.weight.float() + module.scaling["default"] * up @ down
        expected = expected.detach()
        assert float((expected - module.base_layer.weight.float()).abs().max()) > 1e-4
    torch.testing.assert_close(saved.get_submodule(name).weight, expected, atol=1e-7, rtol=1e-6)
    assert saved.state_dict().keys() == AutoModelForCausalLM.from_pretrained(tiny_model).state_dict().keys()


def test_the_files_are_as_small_as_memory_asks_for(
    tiny_model: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    model, optimiser = trained(tiny_model, 4)
    save_model(model, tiny_model, tmp_path / "one", "float32", masters=optimiser.masters)
    largest = max(p.numel() * 4 for n, p in model.named_parameters() if "lora_" not in n)
    monkeypatch.setattr(saving, "SHARD_BYTES", largest)
    seen: list[int] = []
    write = saving.save_file

    def counting(weights: dict[str, torch.Tensor], *rest: object, **more: object) -> None:
        seen.append(sum(tensor.nbytes for tensor in weights.values()))
        write(weights, *rest, **more)  # type: ignore[arg-type]

    monkeypatch.setattr(saving, "save_file", counting)
    save_model(model, tiny_model, tmp_path / "many", "float32", masters=optimiser.masters)
    assert len(seen) > 2
    assert max(seen) <= largest
    index = json.loads((tmp_path / "many" / saving.INDEX).read_text())
    assert index["metadata"]["total_size"] == sum(seen)
    for name, file in index["weight_map"].items():
        with safe_open(tmp_path / "many" / file, "pt") as opened:
            assert name in opened.keys()  # noqa: SIM118
    one, many = (AutoModelForCausalLM.from_pretrained(tmp_path / folder) for folder in ("one", "many"))
    torch.testing.assert_close(one.state_dict(), many.state_dict(), atol=0, rtol=0)
    assert not (tmp_path / "one" / saving.INDEX).exists()


def test_a_full_disk_leaves_nothing(
    tiny_model: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def full(*_: object, **__: object) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(saving, "save_file", full)
    with pytest.raises(WorkbenchError, match="disk is full"):
        save_model(load_policy(tiny_model, "float32"), tiny_model, tmp_path / "out")
    assert list(tmp_path.iterdir()) == []
