"""Tokens are those of transformers; responses never become special tokens; cutting says what it loses."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st
from transformers import AutoTokenizer

from engine.errors import ModelFilesError, UsageError
from engine.text import Tokeniser
from tests.fakes import EOS_ID, SPECIAL_TOKENS, tiny_tokeniser_files

CHATS = [
    [{"role": "user", "content": "Hello"}],
    [
        {"role": "system", "content": "Be brief."},
        {"role": "user", "content": " spaces \n\n und Wörter 世界 🌍"},
    ],
    [
        {"role": "user", "content": "a"},
        {"role": "assistant", "content": "b"},
        {"role": "user", "content": '<b>c</b> & "d" <|im_end|> {{ e }}'},
    ],
]
TEXT = st.text(st.characters(exclude_categories=["Cs"]), max_size=40)


@pytest.fixture(scope="module")
def tokeniser(tmp_path_factory: pytest.TempPathFactory) -> Tokeniser:
    return Tokeniser.from_folder(tiny_tokeniser_files(tmp_path_factory.mktemp("tokeniser")))


def agrees_with_transformers(folder: Path) -> None:
    ours, theirs = Tokeniser.from_folder(folder), AutoTokenizer.from_pretrained(folder)
    for chat in CHATS:
        expected = theirs.apply_chat_template(chat, add_generation_prompt=True, return_dict=False)
        assert ours.encode_prompt(chat) == expected
        if not any(special in chat[-1]["content"] for special in SPECIAL_TOKENS):
            plain = ours.render(chat, "plain")
            assert ours.encode_prompt(chat, "plain") == theirs(plain).input_ids
        response = chat[-1]["content"].replace("<|im_end|>", "")
        assert ours.encode_response(response) == theirs(response, add_special_tokens=False).input_ids


def test_prompts_are_those_of_transformers(tiny_model: Path) -> None:
    agrees_with_transformers(tiny_model)


@pytest.mark.real
def test_prompts_are_those_of_transformers_on_the_real_model(smollm2: Path) -> None:
    agrees_with_transformers(smollm2)
    tokeniser = Tokeniser.from_folder(smollm2)
    assert tokeniser.pad_id not in tokeniser.stop_ids
    assert "".join(tokeniser.pieces(tokeniser.encode_response("naïve 世界 🌍"))) == "naïve 世界 🌍"


TEMPLATE = """\
{%- for message in messages %}
    {%- if message.role == 'tool' %}{{ raise_exception('no tools here') }}{% endif %}
    {%- if loop.index > 9 %}{% break %}{% endif %}
    {{- bos_token + message['role'] + ': ' }}
    {%- generation %}{{ message['content'] | trim }}{% endgeneration %}
    {{- eos_token + (message | tojson) }}
{%- endfor %}
{%- if add_generation_prompt %}
    {{- strftime_now('%Y') }}
{%- endif %}"""


def test_a_template_with_every_extension_renders_as_in_transformers(tiny_model: Path, tmp_path: Path) -> None:
    folder = tmp_path / "model"
    shutil.copytree(tiny_model, folder)
    (folder / "chat_template.jinja").write_text(TEMPLATE)
    agrees_with_transformers(folder)
    with pytest.raises(UsageError, match="no tools here"):
        Tokeniser.from_folder(folder).encode_prompt([{"role": "tool", "content": "x"}])


def test_templates_inside_the_configuration_are_found(tiny_model: Path, tmp_path: Path) -> None:
    folder = tmp_path / "model"
    shutil.copytree(tiny_model, folder)
    template = (folder / "chat_template.jinja").read_text()
    (folder / "chat_template.jinja").unlink()
    config = json.loads((folder / "tokenizer_config.json").read_text())
    for value in (template, [{"name": "tools", "template": "x"}, {"name": "default", "template": template}]):
        (folder / "tokenizer_config.json").write_text(json.dumps(config | {"chat_template": value}))
        agrees_with_transformers(folder)


@given(TEXT)
def test_a_response_is_never_read_as_special_tokens(tokeniser: Tokeniser, text: str) -> None:
    for special in SPECIAL_TOKENS:
        ids = tokeniser.encode_response(f"{text}{special}{text}")
        assert min(ids) >= len(SPECIAL_TOKENS)
        assert tokeniser.decode(ids) == f"{text}{special}{text}"


@given(TEXT)
def test_pieces_are_one_a_token_and_make_up_the_text(tokeniser: Tokeniser, text: str) -> None:
    ids = [*tokeniser.encode_response(text), tokeniser.eos_id]
    pieces = tokeniser.pieces(ids)
    assert len(pieces) == len(ids)
    assert "".join(pieces) == f"{text}<|im_end|>"


@given(st.lists(st.integers(0, 259), max_size=30))
def test_any_tokens_have_pieces(tokeniser: Tokeniser, ids: list[int]) -> None:
    assert len(tokeniser.pieces(ids)) == len(ids)


@given(TEXT, TEXT, st.integers(1, 60))
def test_cutting_keeps_the_end_of_the_prompt_and_the_end_of_sequence(
    tokeniser: Tokeniser, prompt: str, response: str, limit: int
) -> None:
    chat = [{"role": "user", "content": prompt}]
    whole = tokeniser.encode_for_score(chat, response)
    cut = tokeniser.encode_for_score(chat, response, limit)
    assert whole.ids[-1] == cut.ids[-1] == EOS_ID
    assert cut.was_cut == (len(whole.ids) > limit)
    assert len(cut.ids) == min(limit, len(whole.ids))
    assert whole.prompt[len(whole.prompt) - len(cut.prompt) :] == cut.prompt
    assert cut.response[:-1] == whole.response[: len(cut.response) - 1]
    assert cut.response_cut == (cut.response != whole.response)
    if cut.response_cut:  # the prompt has given what it could, and keeps a quarter
        assert len(cut.prompt) == min(len(whole.prompt), max(limit // 4, 1), limit - 1)


def test_sampled_tokens_are_scored_as_their_text_would_be(tokeniser: Tokeniser) -> None:
    ids = tokeniser.encode_response("abc")
    assert tokeniser.join_for_score([5], ids) == tokeniser.join_for_score([5], [*ids, EOS_ID])


def test_padding_is_never_end_of_sequence_nor_used_by_the_template(tokeniser: Tokeniser) -> None:
    assert (tokeniser.eos_id, tokeniser.pad_id) == (EOS_ID, 3)
    assert tokeniser.stop_ids == {EOS_ID}


def test_stop_tokens_come_from_the_generation_config(tmp_path: Path) -> None:
    folder = tiny_tokeniser_files(tmp_path)
    (folder / "generation_config.json").write_text(json.dumps({"eos_token_id": [2, 0]}))
    tokeniser = Tokeniser.from_folder(folder)
    assert tokeniser.stop_ids == {0, 2}
    assert tokeniser.pad_id == 3


def test_plain_prompts(tokeniser: Tokeniser) -> None:
    assert tokeniser.render([{"role": "user", "content": "Once upon"}], "plain") == "Once upon"
    assert tokeniser.render(CHATS[2][:2], "plain") == "User: a\n\nAssistant: b\n\nAssistant:"
    assert min(tokeniser.encode_prompt([{"role": "user", "content": "<|im_end|>"}], "plain")) >= 4


def test_lone_surrogates_are_encoded_as_question_marks(tokeniser: Tokeniser) -> None:
    assert tokeniser.decode(tokeniser.encode_response("a\ud800b")) == "a?b"


@pytest.mark.parametrize(
    "chat", [[], [{"role": "user"}], [{"content": "x"}], [{"role": "user", "content": None}]]
)
def test_malformed_prompts_are_sentences(tokeniser: Tokeniser, chat: list) -> None:
    with pytest.raises(UsageError, match=r"(?i)message"):
        tokeniser.encode_prompt(chat)


def test_without_chat_template_the_plain_one_is_named(tmp_path: Path) -> None:
    tokeniser = Tokeniser.from_folder(tiny_tokeniser_files(tmp_path, chat_template=False))
    assert not tokeniser.has_chat_template
    with pytest.raises(UsageError, match="choose the plain template"):
        tokeniser.encode_prompt(CHATS[0])
    assert tokeniser.encode_for_score(CHATS[0], "x").prompt == tokeniser.encode_prompt(CHATS[0], "plain")


def test_the_sandbox_keeps_a_hostile_template_in(tmp_path: Path) -> None:
    folder = tiny_tokeniser_files(tmp_path)
    (folder / "chat_template.jinja").write_text("{{ messages.__class__.__mro__[1].__subclasses__() }}")
    with pytest.raises(UsageError, match="does not accept"):
        Tokeniser.from_folder(folder).encode_prompt(CHATS[0])


def test_files_that_are_missing_or_broken_are_sentences(tmp_path: Path) -> None:
    with pytest.raises(ModelFilesError, match=r"no tokenizer\.json"):
        Tokeniser.from_folder(tmp_path)
    folder = tiny_tokeniser_files(tmp_path / "broken")
    (folder / "chat_template.jinja").write_text("{% for %}")
    with pytest.raises(ModelFilesError, match="chat template of broken is broken"):
        Tokeniser.from_folder(folder)
    (folder / "chat_template.jinja").unlink()
    (folder / "tokenizer_config.json").write_text("{")
    with pytest.raises(ModelFilesError, match="not valid JSON"):
        Tokeniser.from_folder(folder)
    (folder / "tokenizer_config.json").write_text("{}")
    with pytest.raises(ModelFilesError, match="names no end-of-sequence token"):
        Tokeniser.from_folder(folder)
    (folder / "tokenizer.json").write_text("{}")
    with pytest.raises(ModelFilesError, match="not a tokeniser file"):
        Tokeniser.from_folder(folder)
