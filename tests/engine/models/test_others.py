"""Reward models made here as other tools load them: the same scores, padded batches, pipelines."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from transformers import AutoModelForSequenceClassification, AutoTokenizer, pipeline

from engine.chat_template import ending_with_turn
from engine.models.probe_chats import probe_chats
from engine.models.reward_classifier import init_reward_classifier
from engine.models.reward_model import load_reward_model
from engine.models.saving import save_model
from engine.text import Tokeniser
from tests.fakes import CHAT_TEMPLATE, tiny_model_folder, tiny_tokeniser_files

WITHOUT_END = (
    "{% for m in messages %}{{ '\n' + m['role'] + ': ' + m['content'] }}{% endfor %}"
    "{% if add_generation_prompt %}{{ '\nassistant: ' }}{% else %}{{ '\n\n' }}{% endif %}"
)
USERS_ALONE = (
    "{% for m in messages %}{{ m['content'] }}{% if m['role'] == 'user' %}<|im_end|>{% endif %}{% endfor %}\n"
)


TEMPLATES = {"break": CHAT_TEMPLATE, "no end": WITHOUT_END, "users": USERS_ALONE}


@pytest.fixture(scope="module", params=TEMPLATES.values(), ids=TEMPLATES)
def reward_folder(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("ours")
    source = tiny_model_folder(folder)
    (source / "chat_template.jinja").write_text(request.param)
    (source / "special_tokens_map.json").write_text(json.dumps({"pad_token": "<|im_end|>"}))
    save_model(init_reward_classifier(source), source, folder / "reward")
    return folder / "reward"


def ours(folder: Path) -> list[float]:
    model = load_reward_model(folder, "float32")
    encoded = [model.tokeniser.encode_for_score(chat, answer) for chat, answer in probe_chats()]
    return [float(score) for score in model.scores_of([(t.prompt, t.response) for t in encoded])[:, 0]]


@pytest.mark.parametrize("side", ["left", "right"])
def test_transformers_scores_padded_batches_alike(reward_folder: Path, side: str) -> None:
    tokeniser = AutoTokenizer.from_pretrained(reward_folder, padding_side=side)
    model = AutoModelForSequenceClassification.from_pretrained(reward_folder).eval()
    assert tokeniser.pad_token_id == model.config.pad_token_id != tokeniser.eos_token_id
    chats = [[*chat, {"role": "assistant", "content": answer}] for chat, answer in probe_chats()]
    batch = tokeniser.apply_chat_template(chats, padding=True, return_tensors="pt", return_dict=True)
    with torch.no_grad():
        found = model(**batch).logits[:, 0].tolist()
    assert found == pytest.approx(ours(reward_folder), abs=1e-4)


def test_so_does_its_pipeline(reward_folder: Path) -> None:
    tokeniser = AutoTokenizer.from_pretrained(reward_folder)
    judge = pipeline("text-classification", str(reward_folder), function_to_apply="none", device="cpu")
    chats = [[*chat, {"role": "assistant", "content": answer}] for chat, answer in probe_chats()]
    texts = [tokeniser.apply_chat_template(chat, tokenize=False) for chat in chats]
    found = [each["score"] for each in judge(texts, batch_size=4, padding=True)]
    assert found == pytest.approx(ours(reward_folder), abs=1e-4)


@given(
    texts=st.lists(st.text("ab \n<|im_end|>", max_size=12), min_size=1, max_size=4),
    template=st.sampled_from([CHAT_TEMPLATE, WITHOUT_END, USERS_ALONE]),
)
def test_prompts_are_rendered_as_before_and_answers_end(
    texts: list[str], template: str, tmp_path_factory: pytest.TempPathFactory
) -> None:
    folder = tiny_tokeniser_files(tmp_path_factory.mktemp("t"))
    (folder / "chat_template.jinja").write_text(template)
    before = Tokeniser.from_folder(folder)
    after = before.after_answer or ""
    ended = ending_with_turn(template, "<|im_end|>", after)
    assert ending_with_turn(ended, "<|im_end|>", "") == ended
    (folder / "chat_template.jinja").write_text(ended)
    changed = Tokeniser.from_folder(folder)
    assert (changed.turn_id, changed.pad_id) == (before.turn_id, before.pad_id)
    roles = ("user", "assistant")
    chat = [{"role": roles[n % 2], "content": text} for n, text in enumerate(texts)]
    assert changed.render(chat) == before.render(chat)
    if len(texts) % 2 == 0:
        whole = changed.render(chat, complete=True)
        assert whole == before.render(chat, complete=True).removesuffix(after) + "<|im_end|>"


@pytest.mark.parametrize(
    "rope",
    [
        {"rope_type": "default", "rope_theta": 123456.0},
        {"rope_type": "linear", "factor": 2.0, "rope_theta": 5000.0},
        {"rope_type": "default", "rope_theta": 1e4, "partial_rotary_factor": 0.5},
    ],
    ids=["base", "scaled", "partial"],
)
def test_transformers_4_is_told_what_it_calls_otherwise(rope: dict[str, object], tmp_path: Path) -> None:
    source = tiny_model_folder(tmp_path)
    told = json.loads((source / "tokenizer_config.json").read_text())
    told["tokenizer_class"] = "TokenizersBackend"
    (source / "tokenizer_config.json").write_text(json.dumps(told))
    model = init_reward_classifier(source)
    model.config.rope_parameters = dict(rope)
    save_model(model, source, tmp_path / "saved")
    older = json.loads((tmp_path / "saved" / "config.json").read_text())
    assert older["rope_theta"] == rope["rope_theta"]
    assert older.get("partial_rotary_factor") == rope.get("partial_rotary_factor")
    scaling = {"rope_type": "linear", "factor": 2.0} if rope["rope_type"] == "linear" else None
    assert older.get("rope_scaling") == scaling
    assert older["torch_dtype"] == older["dtype"] == "float32"
    loaded = AutoModelForSequenceClassification.from_pretrained(tmp_path / "saved")
    assert loaded.config.rope_parameters.items() >= rope.items()
    read = json.loads((tmp_path / "saved" / "tokenizer_config.json").read_text())
    assert read["tokenizer_class"] == "PreTrainedTokenizerFast"
    assert read["model_input_names"] == ["input_ids", "attention_mask"]
    assert AutoTokenizer.from_pretrained(tmp_path / "saved")("Why?").input_ids
