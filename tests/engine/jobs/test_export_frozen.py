"""A reward model on a frozen trunk, exported: several layers and criteria, an ensemble, squashed features."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pytest
import torch

from engine.errors import UsageError
from engine.jobs.export_onnx import export, onnx_scores, torch_scores, write_beside
from engine.models.reward_model import RewardModel, load_reward_model
from engine.onnx.trunk_graph import export_trunk
from engine.scoring import Scorer
from engine.text import Chat, Tokeniser
from tests.engine.models.test_reward_model import frozen_folder

CHAT = [{"role": "user", "content": "Why?"}]
SAMPLES: Sequence[tuple[Chat, str]] = [
    (CHAT, text) for text in ("", "Because.", "For no reason at all, 世界.")
]


@pytest.fixture(scope="module")
def frozen(tiny_model: Path, tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, RewardModel, Path]:
    """The reward model's folder, the model, and its export in float32."""
    source = tmp_path_factory.mktemp("frozen")
    frozen_folder(tiny_model, source, ensemble=3, squash=True)
    folder = tmp_path_factory.mktemp("frozen-onnx")
    reward_model = load_reward_model(source, "float32")
    write_beside(source, reward_model, folder)
    export(reward_model.model, reward_model.layers, folder, "fp32")
    return source, reward_model, folder


def test_scores_are_those_of_torch(frozen: tuple[Path, RewardModel, Path]) -> None:
    source, reward_model, folder = frozen
    tokeniser = Tokeniser.from_folder(source)
    expected = torch_scores(reward_model, SAMPLES, tokeniser)
    np.testing.assert_allclose(onnx_scores(folder, "fp32", SAMPLES), expected, atol=1e-3)
    scored = Scorer.open(folder, "fp32", threads=1).score(CHAT, [text for _, text in SAMPLES])
    np.testing.assert_allclose([one.score for one in scored], expected, atol=1e-3)
    pairs = [tokeniser.encode_for_score(chat, text)[:2] for chat, text in SAMPLES]
    both = reward_model.scores_of(pairs)
    for one, row in zip(scored, both.tolist(), strict=True):
        assert list(one.criteria) == ["overall", "harmless"]
        np.testing.assert_allclose(list(one.criteria.values()), row, atol=1e-3)
        assert one.prompt_score is None  # the head reads the response's mean, and there is none yet


def test_the_uncertainty_is_the_ensembles(frozen: tuple[Path, RewardModel, Path]) -> None:
    source, reward_model, folder = frozen
    tokeniser = Tokeniser.from_folder(source)
    pairs = [tokeniser.encode_for_score(chat, text)[:2] for chat, text in SAMPLES]
    ((places, _, members),) = reward_model.measured(pairs, 10_000)
    assert members is not None
    expected = dict(zip(places, members.std(0, correction=0)[:, 0].tolist(), strict=True))
    for index, one in enumerate(Scorer.open(folder, "fp32", threads=1).score(CHAT, [t for _, t in SAMPLES])):
        assert one.uncertainty == pytest.approx(expected[index], abs=1e-3)


def test_the_head_is_read_at_every_token_of_a_cached_response(frozen: tuple[Path, RewardModel, Path]) -> None:
    _, _, folder = frozen
    scorer = Scorer.open(folder, "fp32", threads=1)
    scorer.score(CHAT, ["For no reas"])
    (typed,) = scorer.score(CHAT, ["For no reason"])
    (whole,) = scorer.score_many([(CHAT, "For no reason")])
    assert typed.token_scores == pytest.approx(whole.token_scores, abs=1e-3)


def test_float16_runs_on_the_cpu_too(tiny_reward: Path, tiny_onnx: Path, tmp_path: Path) -> None:
    reward_model = load_reward_model(tiny_reward, "float32")
    write_beside(tiny_reward, reward_model, tmp_path)
    export(reward_model.model.half(), reward_model.layers, tmp_path, "fp16")
    expected = onnx_scores(tiny_onnx, "fp32", SAMPLES)
    found = Scorer.open(tmp_path, "fp16", threads=1).score(CHAT, [text for _, text in SAMPLES])
    np.testing.assert_allclose([one.score for one in found], expected, atol=0.05)


def test_a_window_of_attention_is_refused(tiny_model: Path, tmp_path: Path) -> None:
    from transformers import MistralConfig, MistralModel

    with torch.random.fork_rng(devices=[]):
        model = MistralModel(
            MistralConfig(
                vocab_size=40,
                hidden_size=16,
                intermediate_size=16,
                num_hidden_layers=1,
                num_attention_heads=2,
                num_key_value_heads=1,
                max_position_embeddings=64,
                sliding_window=8,
            )
        )
    with pytest.raises(UsageError, match="attends through a window"):
        export_trunk(model, (1,), tmp_path / "fp32.onnx")
