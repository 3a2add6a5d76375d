"""Policies, reward models and adapters: saved so that plain transformers gives the same numbers."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import pytest
import torch
from transformers import AutoModelForCausalLM, AutoModelForSequenceClassification

from engine.errors import ModelFilesError, NonFiniteError, UnknownModelError, UsageError, WorkbenchError
from engine.models import lora
from engine.models.catalogue import resolve_model
from engine.models.parts import backbone, output_head
from engine.models.policy import load_policy
from engine.models.reward_classifier import (
    init_reward_classifier,
    load_reward_classifier,
    token_scores,
)
from engine.models.saving import save_model
from engine.text import Tokeniser

CHAT = [{"role": "user", "content": "Say something."}]
IDS = torch.tensor([[5, 9, 30, 44, 2], [70, 8, 1, 6, 2]])


def logits(model: torch.nn.Module) -> torch.Tensor:
    with torch.no_grad():
        return model(input_ids=IDS).logits


def test_a_saved_policy_is_the_same_in_plain_transformers(tiny_model: Path, tmp_path: Path) -> None:
    policy = load_policy(tiny_model, "float32")
    save_model(policy, tiny_model, tmp_path / "out")
    again = AutoModelForCausalLM.from_pretrained(tmp_path / "out")
    assert torch.equal(logits(policy), logits(again))
    assert Tokeniser.from_folder(tmp_path / "out").encode_prompt(CHAT) == Tokeniser.from_folder(
        tiny_model
    ).encode_prompt(CHAT)
    assert not list(tmp_path.glob(".*"))  # no temporary folder left


def test_saving_over_an_older_folder_replaces_it(tiny_model: Path, tmp_path: Path) -> None:
    policy = load_policy(tiny_model, "float32")
    for dtype in (None, "bfloat16"):
        save_model(policy, tiny_model, tmp_path / "out", dtype)
    assert AutoModelForCausalLM.from_pretrained(tmp_path / "out").dtype == torch.bfloat16
    assert policy.dtype == torch.float32
    assert [path.name for path in tmp_path.iterdir()] == ["out"]


def test_the_head_is_drawn_from_the_seed_with_the_right_spread(tiny_model: Path) -> None:
    heads = [output_head(init_reward_classifier(tiny_model, seed=seed)).weight for seed in (1, 1, 2)]
    assert torch.equal(heads[0], heads[1])
    assert not torch.equal(heads[0], heads[2])
    spread = torch.cat(
        [output_head(init_reward_classifier(tiny_model, seed=s)).weight.flatten() for s in range(8)]
    )
    assert spread.std().item() == pytest.approx(1 / (32 + 1) ** 0.5, rel=0.2)


def test_scores_equal_those_of_plain_transformers_on_a_padded_batch(tiny_reward: Path) -> None:
    """Transformers finds the last real token by the padding id, which must not be end-of-sequence."""
    tokeniser, model = Tokeniser.from_folder(tiny_reward), load_reward_classifier(tiny_reward, "float32")
    encoded = [tokeniser.encode_for_score(CHAT, text).ids for text in ("Hi", "A longer answer.", "")]
    lengths = torch.tensor([len(ids) for ids in encoded])
    padded = torch.full((3, int(lengths.max())), tokeniser.pad_id)
    for row, ids in enumerate(encoded):
        padded[row, : len(ids)] = torch.tensor(ids)
    with torch.no_grad():
        ours = token_scores(model, padded)[torch.arange(3), lengths - 1]
        theirs = AutoModelForSequenceClassification.from_pretrained(tiny_reward)(
            input_ids=padded, attention_mask=(torch.arange(padded.shape[1]) < lengths[:, None]).long()
        ).logits[:, 0]
    torch.testing.assert_close(ours, theirs, atol=1e-5, rtol=1e-5)


def test_adapters_change_nothing_at_first_and_are_merged_on_saving(tiny_model: Path, tmp_path: Path) -> None:
    base = logits(load_policy(tiny_model, "float32"))
    policy = lora.add_lora(load_policy(tiny_model, "float32"), rank=4, seed=3)
    assert torch.equal(logits(policy), base)
    with torch.no_grad():
        for parameter in (p for p in policy.parameters() if p.requires_grad):
            parameter.add_(0.05 * torch.randn(parameter.shape, generator=torch.Generator().manual_seed(0)))
    changed = logits(policy)
    assert (changed - base).abs().max() > 1e-3
    with lora.without_lora(policy):
        assert torch.equal(logits(policy), base)
    save_model(policy, tiny_model, tmp_path / "out")
    plain = AutoModelForCausalLM.from_pretrained(tmp_path / "out")
    torch.testing.assert_close(logits(plain), changed, atol=1e-4, rtol=1e-4)
    assert lora.has_lora(policy)
    assert not any("lora" in name for name, _ in plain.named_parameters())


def test_only_adapters_and_a_reward_head_are_trained(tiny_reward: Path) -> None:
    model = lora.add_lora(load_reward_classifier(tiny_reward, "bfloat16"), rank=2, seed=0)
    state = {name: p for name, p in model.named_parameters() if p.requires_grad}
    assert "score.weight" in state
    assert all("lora_" in name or name == "score.weight" for name in state)
    assert all(tensor.dtype == torch.float32 for name, tensor in state.items() if "lora_" in name)
    token_scores(model, IDS).sum().backward()
    assert all(
        parameter.grad is None for _, parameter in model.named_parameters() if not parameter.requires_grad
    )


def test_the_parts_by_name(tiny_model: Path, tiny_reward: Path) -> None:
    policy, reward = load_policy(tiny_model, "float32"), load_reward_classifier(tiny_reward, "float32")
    assert backbone(policy)(input_ids=IDS).last_hidden_state.shape == (2, 5, 32)
    assert output_head(policy).weight.shape[1] == output_head(reward).weight.shape[1] == 32


def test_a_policy_is_not_a_reward_model_nor_the_reverse(tiny_model: Path) -> None:
    with pytest.raises(UsageError, match="is not a reward model"):
        load_reward_classifier(tiny_model)


def test_a_head_that_is_not_finite_is_refused(tiny_model: Path, tmp_path: Path) -> None:
    model = init_reward_classifier(tiny_model)
    with torch.no_grad():
        output_head(model).weight[0, 0] = float("nan")
    save_model(model, tiny_model, tmp_path / "bad")
    with pytest.raises(NonFiniteError, match="not finite"):
        load_reward_classifier(tmp_path / "bad")


def test_a_local_folder_resolves_to_itself(tiny_model: Path) -> None:
    assert resolve_model(str(tiny_model)) == tiny_model.resolve()


def test_folders_that_will_not_do(tiny_model: Path, tmp_path: Path) -> None:
    with pytest.raises(ModelFilesError, match=r"no config\.json"):
        resolve_model(str(tmp_path))
    pickled = tmp_path / "pickled"
    shutil.copytree(tiny_model, pickled)
    (pickled / "model.safetensors").rename(pickled / "pytorch_model.bin")
    with pytest.raises(ModelFilesError, match="only pickled weights"):
        resolve_model(str(pickled))
    (pickled / "pytorch_model.bin").unlink()
    with pytest.raises(ModelFilesError, match=r"no \*\.safetensors"):
        resolve_model(str(pickled))
    with pytest.raises(UnknownModelError, match="is a file"):
        resolve_model(str(pickled / "config.json"))
    with pytest.raises(UnknownModelError, match="no model folder"):
        resolve_model("/nowhere/at/all")


def test_an_unknown_hub_id_is_one_sentence(monkeypatch: pytest.MonkeyPatch) -> None:
    def offline(*arguments: object, **options: object) -> str:
        raise ConnectionError("Network is unreachable\nand a second line")

    monkeypatch.setattr("huggingface_hub.snapshot_download", offline)
    with pytest.raises(UnknownModelError, match="could not be asked") as caught:
        resolve_model("smolm2")
    assert "Did you mean smollm2?" in str(caught.value)
    assert "\n" not in str(caught.value)


def test_broken_weights_and_remote_code_are_sentences(tiny_model: Path, tmp_path: Path) -> None:
    broken = tmp_path / "broken"
    shutil.copytree(tiny_model, broken)
    (broken / "model.safetensors").write_bytes(b"not a tensor file")
    with pytest.raises(WorkbenchError, match="cannot be loaded"):
        load_policy(broken)
    config = json.loads((broken / "config.json").read_text())
    config |= {
        "model_type": "own",
        "auto_map": {"AutoModelForCausalLM": "code.Model", "AutoConfig": "code.C"},
    }
    (broken / "config.json").write_text(json.dumps(config))
    with pytest.raises(ModelFilesError, match="code of its own"):
        load_policy(broken)
