"""Reading reward models of every make: equal to plain transformers, layer by layer and head by head."""

from __future__ import annotations

import dataclasses
import shutil
from pathlib import Path

import numpy as np
import pytest
import torch
from transformers import AutoConfig, AutoModel, AutoModelForSequenceClassification

from engine.errors import ModelFilesError, UsageError
from engine.models.features import batches_of_pairs, features_of, row_features
from engine.models.packing import Row
from engine.models.policy import load_policy
from engine.models.reward_classifier import init_reward_classifier, load_reward_classifier, token_scores
from engine.models.reward_model import load_reward_model
from engine.models.saving import save_model
from engine.models.trunk import Trunk
from engine.scoring.head import RewardHead

ROWS = [Row([5, 9, 30], [[44, 2], [70, 8, 1, 6, 2], [2]]), Row([7, 7, 8, 9, 12, 40], [[33, 50, 60, 2]])]
PAIRS = [(row.prompt, response) for row in ROWS for response in row.responses]
LAYERS, D = (0, 1, 2), 32


def naive_features(folder: Path) -> torch.Tensor:
    """One sequence at a time through plain transformers."""
    model, found = AutoModel.from_pretrained(folder, dtype=torch.float32), []
    for prompt, response in PAIRS:
        with torch.no_grad():
            states = model(torch.tensor([[*prompt, *response]]), output_hidden_states=True).hidden_states
        chosen = [states[layer][0] for layer in LAYERS]
        last, mean = [h[-1] for h in chosen], [h[len(prompt) :].mean(0) for h in chosen]
        found.append(torch.cat([*last, *mean]))
    return torch.stack(found)


def frozen_folder(source: Path, destination: Path, ensemble: int = 0, squash: bool = False) -> RewardHead:
    model = AutoModel.from_pretrained(source, dtype=torch.float32)
    model.save_pretrained(destination)
    for name in ("tokenizer.json", "tokenizer_config.json", "chat_template.jinja"):
        shutil.copyfile(source / name, destination / name)
    draw = np.random.default_rng(0)
    members = draw.normal(size=(max(ensemble, 1), 2, 6 * D)).astype(np.float32)
    offsets = draw.normal(size=(max(ensemble, 1), 2)).astype(np.float32)
    head = RewardHead(
        weight=members.mean(0),
        bias=offsets.mean(0),
        criteria=("overall", "harmless"),
        layers=LAYERS,
        parts=("last", "mean"),
        kind="frozen",
        ensemble_weight=members if ensemble else None,
        ensemble_bias=offsets if ensemble else None,
        centre=draw.normal(size=6 * D).astype(np.float32) if squash else None,
        scale=draw.uniform(0.5, 2, size=6 * D).astype(np.float32) if squash else None,
    )
    head.save(destination)
    return head


def test_features_of_packed_rows_are_those_of_single_sequences(tiny_model: Path) -> None:
    model = load_policy(tiny_model, "float32")
    trunk = Trunk.of(model, 3, torch.device("cpu"))
    expected = naive_features(tiny_model)
    for why in (None, "tried without packing"):
        trunk.why_not_packed = why
        found = row_features(trunk, ROWS, LAYERS, ("last", "mean"))
        torch.testing.assert_close(found, expected, atol=1e-5, rtol=1e-5)


def test_features_come_in_batches_under_the_budget(tiny_model: Path) -> None:
    trunk = Trunk.of(load_policy(tiny_model, "float32"), 3, torch.device("cpu"))
    found = torch.full((len(PAIRS), 6 * D), torch.nan)
    sizes = []
    for places, features in features_of(trunk, PAIRS, LAYERS, ("last", "mean"), budget=10):
        found[places] = features
        sizes.append(len(places))
    torch.testing.assert_close(found, naive_features(tiny_model), atol=1e-5, rtol=1e-5)
    assert len(sizes) > 1
    for rows, places in batches_of_pairs(PAIRS, 10):
        assert len(rows) * max(row.length for row in rows) <= 10 or len(places) == 1


def test_layers_above_the_last_that_is_read_are_not_computed(tiny_model: Path) -> None:
    model = load_policy(tiny_model, "float32")
    trunk = Trunk.of(model, 3, torch.device("cpu"))
    expected = row_features(trunk, ROWS, LAYERS)[:, D : 2 * D]
    with torch.no_grad():
        for parameter in model.base_model.layers[1].parameters():
            parameter.fill_(float("nan"))
    torch.testing.assert_close(row_features(trunk, ROWS, (1,)), expected)
    assert not model.base_model.layers[1]._forward_pre_hooks


def test_a_layer_that_is_not_there_is_refused(tiny_model: Path) -> None:
    trunk = Trunk.of(load_policy(tiny_model, "float32"), 3, torch.device("cpu"))
    with pytest.raises(UsageError, match="hidden states 0 to 2"):
        row_features(trunk, ROWS, (3,))


def test_a_linear_scale_gives_the_scores_of_transformers(tiny_reward: Path) -> None:
    reward_model = load_reward_model(tiny_reward, "float32")
    assert (reward_model.kind, reward_model.criteria) == ("linear", ("overall",))
    model = load_reward_classifier(tiny_reward, "float32")
    with torch.no_grad():
        expected = [token_scores(model, torch.tensor([[*p, *r]]))[0, -1] for p, r in PAIRS]
    torch.testing.assert_close(reward_model.scores(ROWS)[:, 0], torch.stack(expected), atol=1e-5, rtol=1e-5)
    torch.testing.assert_close(
        reward_model.scores_of(PAIRS, 10), reward_model.scores(ROWS), atol=1e-5, rtol=1e-5
    )
    weight_D, bias = reward_model.value_start()
    torch.testing.assert_close(weight_D, reward_model.weight[0])
    assert bias == float(reward_model.bias[0])
    assert reward_model.members(ROWS) is None


def test_several_criteria_are_labels_of_one_head(tiny_model: Path, tmp_path: Path) -> None:
    model = init_reward_classifier(tiny_model, criteria=("overall", "harmless", "brief"))
    save_model(model, tiny_model, tmp_path / "three")
    reward_model = load_reward_model(tmp_path / "three", "float32")
    assert reward_model.criteria == ("overall", "harmless", "brief")
    plain = AutoModelForSequenceClassification.from_pretrained(tmp_path / "three", dtype=torch.float32)
    assert plain.config.num_labels == 3
    with torch.no_grad():
        expected = torch.cat([plain(torch.tensor([[*p, *r]])).logits for p, r in PAIRS])
    torch.testing.assert_close(reward_model.scores(ROWS), expected, atol=1e-5, rtol=1e-5)


def test_an_ensemble_beside_a_linear_model_is_read(tiny_reward: Path, tmp_path: Path) -> None:
    folder = tmp_path / "copy"
    shutil.copytree(tiny_reward, folder)
    plain = load_reward_model(folder, "float32").head()
    spread = np.random.default_rng(1).normal(size=(4, 1, D)).astype(np.float32)
    weight = plain.weight + spread - spread.mean(0)
    dataclasses.replace(plain, ensemble_weight=weight, ensemble_bias=np.zeros((4, 1), np.float32)).save(
        folder
    )
    reward_model = load_reward_model(folder, "float32")
    members = reward_model.members(ROWS)
    assert members is not None
    assert members.shape == (4, 4, 1)
    torch.testing.assert_close(members.mean(0), reward_model.scores(ROWS), atol=1e-4, rtol=1e-4)


@pytest.mark.parametrize("squash", [False, True])
def test_a_frozen_scale_is_its_head_on_the_features(tiny_model: Path, tmp_path: Path, squash: bool) -> None:
    head = frozen_folder(tiny_model, tmp_path / "frozen", ensemble=3, squash=squash)
    reward_model = load_reward_model(tmp_path / "frozen", "float32")
    features = naive_features(tiny_model).numpy()
    assert (reward_model.kind, reward_model.criteria) == ("frozen", ("overall", "harmless"))
    np.testing.assert_allclose(reward_model.scores(ROWS).numpy(), head.scores(features), atol=1e-4)
    members = reward_model.members(ROWS)
    assert members is not None
    np.testing.assert_allclose(members.numpy(), head.members(features), atol=1e-4)
    slope = head.weight[0] if head.scale is None else head.weight[0] / head.scale
    np.testing.assert_allclose(reward_model.value_start()[0].numpy(), slope[2 * D : 3 * D], rtol=1e-6)
    np.testing.assert_array_equal(reward_model.head().weight, head.weight)
    np.testing.assert_allclose(reward_model.head().scores(features), head.scores(features))


def test_a_head_for_another_trunk_is_refused(tiny_model: Path, tmp_path: Path) -> None:
    head = frozen_folder(tiny_model, tmp_path / "frozen")
    dataclasses.replace(head, parts=("last",)).save(tmp_path / "frozen")
    with pytest.raises(ModelFilesError, match="reads 192 features and its trunk gives 96"):
        load_reward_model(tmp_path / "frozen", "float32")
    dataclasses.replace(head, kind="linear").save(tmp_path / "frozen")
    with pytest.raises(UsageError, match="not a reward model"):
        load_reward_model(tmp_path / "frozen", "float32")


@pytest.mark.parametrize("kind", ["gpt2", "qwen3", "gpt_neox", "gemma2"])
def test_layers_are_numbered_as_transformers_numbers_them(kind: str) -> None:
    sizes = {"vocab_size": 80, "hidden_size": D, "num_hidden_layers": 3, "num_attention_heads": 4}
    more: dict[str, object] = {"intermediate_size": 64, "pad_token_id": 0}
    if kind in ("qwen3", "gemma2"):
        more |= {"num_key_value_heads": 2, "head_dim": 8}
    if kind == "gpt2":
        more = {"bos_token_id": 1, "eos_token_id": 2}
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        model = AutoModel.from_config(AutoConfig.for_model(kind, **sizes, **more)).eval()
    trunk = Trunk.of(model, 0, torch.device("cpu"))
    found = row_features(trunk, ROWS, (0, 1, 2, 3))
    for n, (prompt, response) in enumerate(PAIRS):
        with torch.no_grad():
            states = model(torch.tensor([[*prompt, *response]]), output_hidden_states=True).hidden_states
        torch.testing.assert_close(found[n], torch.cat([h[0, -1] for h in states]), atol=1e-4, rtol=1e-4)
