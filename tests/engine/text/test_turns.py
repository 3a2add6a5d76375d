"""Where a response ends: at what the chat template writes there, not at what the tokeniser calls its end."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import pytest

from engine.text import Tokeniser
from tests.fakes import tiny_tokeniser_files

GEMMA = (
    "{% for m in messages %}<|im_start|>{{ m['role'] }}\n{{ m['content'] | trim }}<|im_end|>\n{% endfor %}"
    "{% if add_generation_prompt %}<|im_start|>model\n{% endif %}"
)
PHI = "{% for m in messages %}<|im_start|>{{ m['content'] }}\n<|im_end|>\n{% endfor %}<|endoftext|>"
NO_TOKEN = "{% for m in messages %}{{ m['role'] }}: {{ m['content'] }}\n\n{% endfor %}"
REFUSES = "{{ raise_exception('no assistants here') if messages | length > 1 }}{{ messages[0]['content'] }}"
END, EOS = 2, 0  # <|im_end|> and <|endoftext|>


def layout(folder: Path, template: str, eos: str = "<|endoftext|>") -> Tokeniser:
    """The byte tokeniser whose tokeniser_config names `eos`, with that template."""
    tiny_tokeniser_files(folder)
    config = json.loads((folder / "tokenizer_config.json").read_text())
    (folder / "tokenizer_config.json").write_text(json.dumps(config | {"eos_token": eos}))
    (folder / "chat_template.jinja").write_text(template)
    return Tokeniser.from_folder(folder)


@pytest.mark.parametrize("template", [GEMMA, PHI])
def test_a_turn_ends_at_what_the_template_writes(tmp_path: Path, template: str) -> None:
    tokeniser = layout(tmp_path, template)
    assert tokeniser.eos_id == EOS
    assert tokeniser.turn_id == END
    assert {EOS, END} <= tokeniser.stop_ids
    assert tokeniser.pad_id not in tokeniser.stop_ids
    chat = [{"role": "user", "content": "hi"}]
    assert tokeniser.encode_for_score(chat, "yes").response[-1] == END
    assert tokeniser.encode_for_score(chat, "yes", template="plain").response[-1] == EOS
    assert tokeniser.encode_for_score(chat, "yes" * 9, 12).response[-1] == END
    sampled = [*tokeniser.encode_response("yes"), END]
    assert tokeniser.join_for_score([5], sampled).response == sampled


@pytest.mark.parametrize("template", [NO_TOKEN, REFUSES])
def test_where_the_template_says_nothing_it_is_the_end_of_sequence(tmp_path: Path, template: str) -> None:
    assert layout(tmp_path, template).turn_id == EOS


def test_special_tokens_before_the_end_stay_in_the_text_by_name(tmp_path: Path) -> None:
    tokeniser = layout(tmp_path, GEMMA)
    said = tokeniser.encode_response("ab")
    assert tokeniser.response_text([said[0], 1, said[1], END]) == "a<|im_start|>b"
    assert tokeniser.response_text([*said, END]) == "ab"
    assert tokeniser.has_special([said[0], 1])
    assert not tokeniser.has_special(tokeniser.encode_response("a<|im_start|>b"))


@pytest.mark.parametrize(
    "config",
    [
        {"max_position_embeddings": 70},
        {"n_positions": 70},
        {"max_seq_len": 70},
        {"text_config": {"max_position_embeddings": 70}},
    ],
)
def test_positions_are_found_under_every_name(tmp_path: Path, config: dict[str, object]) -> None:
    tiny_tokeniser_files(tmp_path)
    (tmp_path / "config.json").write_text(json.dumps(config))
    assert Tokeniser.from_folder(tmp_path).max_positions == 70


def test_tokenisers_are_one_when_their_ids_mean_the_same(tmp_path: Path) -> None:
    one = layout(tmp_path / "one", GEMMA)
    shutil.copytree(tmp_path / "one", tmp_path / "other")
    words = json.loads((tmp_path / "other" / "tokenizer.json").read_text())
    assert one.shares_tokens_with(layout(tmp_path / "same", PHI))
    words["model"]["vocab"]["new"] = len(words["model"]["vocab"])
    (tmp_path / "other" / "tokenizer.json").write_text(json.dumps(words))
    assert not one.shares_tokens_with(Tokeniser.from_folder(tmp_path / "other"))
