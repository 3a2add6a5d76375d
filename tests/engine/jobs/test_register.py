"""Reward models from elsewhere: registered, exported, and scored as transformers scores them; or refused."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from transformers import (
    AutoModelForSequenceClassification,
    AutoTokenizer,
    BertConfig,
    BertForSequenceClassification,
    DebertaV2Config,
    DebertaV2ForSequenceClassification,
    GPT2Config,
    GPT2ForSequenceClassification,
    GPTNeoXConfig,
    GPTNeoXForSequenceClassification,
    LlamaConfig,
    LlamaForSequenceClassification,
    Qwen2Config,
    Qwen2ForSequenceClassification,
)

from engine.errors import ModelFilesError, UsageError, VerificationError
from engine.jobs import export_onnx, register
from engine.models import registered
from engine.models.probe_chats import probe_chats
from engine.protocol.configs import ExportConfig, RegisterConfig
from engine.protocol.events import Artifact, Event, Finished
from engine.scoring import Scorer
from tests.engine.text.test_conversation import NO_LINE_BREAK
from tests.engine.training.runs import make_run
from tests.fakes import CHAT_TEMPLATE, EOS_ID, VOCAB_SIZE, tiny_tokeniser_files
from tests.sampled import sampled

SIZES: dict[str, Any] = {"vocab_size": VOCAB_SIZE, "num_labels": 1, "initializer_range": 0.2}
LLAMA_LIKE = SIZES | {
    "hidden_size": 32,
    "intermediate_size": 64,
    "num_hidden_layers": 2,
    "num_attention_heads": 4,
    "num_key_value_heads": 2,
    "max_position_embeddings": 512,
}
GPT2 = SIZES | {"n_embd": 32, "n_layer": 2, "n_head": 4, "n_positions": 512}
ENCODER = SIZES | {
    "hidden_size": 32,
    "intermediate_size": 64,
    "num_hidden_layers": 2,
    "num_attention_heads": 4,
    "max_position_embeddings": 512,
}
FAMILIES: dict[str, tuple[Callable[[], Any], str]] = {
    # Padding is a token of its own, the end of a turn, or not told.
    "llama": (
        lambda: LlamaForSequenceClassification(LlamaConfig(**LLAMA_LIKE, pad_token_id=3)),
        CHAT_TEMPLATE,
    ),
    "qwen2": (
        lambda: Qwen2ForSequenceClassification(Qwen2Config(**LLAMA_LIKE, pad_token_id=EOS_ID)),
        NO_LINE_BREAK,
    ),
    "gpt_neox": (
        lambda: GPTNeoXForSequenceClassification(
            GPTNeoXConfig(**{k: v for k, v in LLAMA_LIKE.items() if k != "num_key_value_heads"})
        ),
        CHAT_TEMPLATE,
    ),
    "gpt2": (lambda: GPT2ForSequenceClassification(GPT2Config(**GPT2, pad_token_id=EOS_ID)), CHAT_TEMPLATE),
}


def saved(folder: Path, model: Any, template: str | None = CHAT_TEMPLATE) -> Path:
    """A model as somebody else leaves it: `save_pretrained`, and the tokeniser's files."""
    model.save_pretrained(folder)
    tiny_tokeniser_files(folder, chat_template=False)
    if template is not None:
        (folder / "chat_template.jinja").write_text(template)
    return folder


def made(family: str, folder: Path) -> Path:
    build, template = FAMILIES[family]
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(1)
        return saved(folder / family, build().eval(), template)


def run_register(path: Path, model: Path | str, **more: Any) -> tuple[Path, list[Event]]:
    config = RegisterConfig(name="theirs", model=str(model), device="cpu", **more)
    directory = make_run(path, config, {}, {})
    return directory.path, list(register.run(config, directory))


def their_scores(folder: Path) -> np.ndarray:
    """As the documentation of such models says: template, tokens, logits."""
    tokeniser = AutoTokenizer.from_pretrained(folder)
    model = AutoModelForSequenceClassification.from_pretrained(folder).eval()
    found = []
    for chat, answer in probe_chats():
        whole = [*chat, {"role": "assistant", "content": answer}]
        ids = tokeniser.apply_chat_template(whole, tokenize=True, return_tensors="pt", return_dict=False)
        with torch.no_grad():
            found.append(float(model(ids).logits[0, 0]))
    return np.array(found)


@pytest.mark.parametrize("family", sampled(FAMILIES, "llama"))
def test_a_model_is_registered_exported_and_scored_as_transformers_does(family: str, tmp_path: Path) -> None:
    source = made(family, tmp_path)
    before = {file.name: file.stat().st_mtime_ns for file in source.iterdir()}
    folder, events = run_register(tmp_path / "register", source)
    (artifact,) = [event for event in events if isinstance(event, Artifact)]
    assert (artifact.kind, artifact.name, artifact.path) == ("reward_model", "theirs", "model")
    assert artifact.details["criteria"] == ("overall",)
    assert artifact.details["max_difference"] < 1e-4
    assert isinstance(events[-1], Finished)
    assert {file.name: file.stat().st_mtime_ns for file in source.iterdir()} == before
    assert all(file.is_symlink() for file in (folder / "model").glob("*.safetensors"))
    config = ExportConfig(reward_model="theirs", int8=False, samples=20, tolerance=1e-4, device="cpu")
    run = make_run(tmp_path / "export", config, {"reward_model": folder / "model"}, {"responses": [NOBODY]})
    assert [event.name for event in export_onnx.run(config, run) if isinstance(event, Artifact)] == ["fp32"]
    found = [scored.score for scored in Scorer.open(run.path / "onnx", "fp32").score_many(probe_chats())]
    np.testing.assert_allclose(found, their_scores(source), atol=1e-4)


NOBODY = {
    "response_id": "r",
    "prompt_id": "p",
    "messages": json.dumps([{"role": "user", "content": "Why?"}]),
    "text": "So.",
}


def test_a_template_may_be_given(tmp_path: Path) -> None:
    source = made("llama", tmp_path)
    (source / "chat_template.jinja").unlink()
    with pytest.raises(ModelFilesError, match="has no chat template"):
        run_register(tmp_path / "without", source)
    (tmp_path / "given.jinja").write_text(CHAT_TEMPLATE)
    folder, _ = run_register(
        tmp_path / "with", source, chat_template=str(tmp_path / "given.jinja"), max_tokens=99
    )
    assert (folder / "model" / "chat_template.jinja").read_text() == CHAT_TEMPLATE
    assert json.loads((folder / "model" / "config.json").read_text())["score_tokens"] == 99
    with pytest.raises(UsageError, match="cannot be read"):
        run_register(tmp_path / "none", source, chat_template=str(tmp_path / "none.jinja"))


@pytest.mark.parametrize(
    "encoder",
    [
        lambda: BertForSequenceClassification(BertConfig(**ENCODER)),
        lambda: DebertaV2ForSequenceClassification(DebertaV2Config(**ENCODER)),
    ],
    ids=["bert", "deberta-v2"],
)
def test_encoders_are_refused_in_a_sentence(encoder: Callable[[], Any], tmp_path: Path) -> None:
    source = saved(tmp_path / "encoder", encoder())
    with pytest.raises(UsageError, match="reads a text in both directions"):
        run_register(tmp_path / "run", source)


def test_what_is_no_reward_model_is_refused_in_a_sentence(tmp_path: Path, tiny_model: Path) -> None:
    with pytest.raises(UsageError, match="holds a LlamaForCausalLM, not a model for sequence classification"):
        run_register(tmp_path / "a", tiny_model)
    two = LlamaForSequenceClassification(LlamaConfig(**{**LLAMA_LIKE, "num_labels": 2}))
    with pytest.raises(UsageError, match="gives 2 labels"):
        run_register(tmp_path / "b", saved(tmp_path / "two", two))
    pickled = made("llama", tmp_path)
    for file in pickled.glob("*.safetensors"):
        file.rename(file.with_name("pytorch_model.bin"))
    with pytest.raises(ModelFilesError, match="only pickled weights"):
        run_register(tmp_path / "c", pickled)
    remote = made("qwen2", tmp_path)
    config = json.loads((remote / "config.json").read_text())
    own = {"model_type": "theirs", "auto_map": {"AutoConfig": "theirs.Config"}}
    (remote / "config.json").write_text(json.dumps(config | own))
    with pytest.raises(ModelFilesError, match="needs code of its own"):
        run_register(tmp_path / "d", remote)


def test_scores_that_are_not_transformers_own_are_not_registered(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    source = made("llama", tmp_path)
    honest = LlamaForSequenceClassification.forward

    def scaled(self: Any, *arguments: Any, **options: Any) -> Any:
        found = honest(self, *arguments, **options)
        found.logits = found.logits * 1.01
        return found

    monkeypatch.setattr(LlamaForSequenceClassification, "forward", scaled)
    with pytest.raises(VerificationError, match="differ from transformers' own by up to"):
        run_register(tmp_path / "run", source)


def test_other_tokens_than_transformers_makes_are_told(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    source = made("llama", tmp_path)
    monkeypatch.setattr(registered, "_their_ids", lambda *arguments: [7, 7, 7])
    with pytest.raises(VerificationError, match="The tokens of llama differ"):
        run_register(tmp_path / "run", source)
