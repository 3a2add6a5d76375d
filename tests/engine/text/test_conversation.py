"""Reward models from elsewhere: whole conversations as transformers' `apply_chat_template` gives them."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from engine.conversation_text import ConversationTokeniser
from engine.errors import ModelFilesError, UsageError
from engine.text import Tokeniser
from tests.fakes import CHAT_TEMPLATE, EOS_ID, SPECIAL_TOKENS, tiny_tokeniser_files

NO_LINE_BREAK = CHAT_TEMPLATE.replace("'<|im_end|>\n'", "'<|im_end|>'")
TRIMMING = CHAT_TEMPLATE.replace("message['content']", "message['content'] | trim")
CONTENT = st.text(st.characters(codec="utf-8", exclude_categories=["Cs"]), max_size=30)


def folder_of(folder: Path, template: str | None, ignored: int | None = None) -> Path:
    tiny_tokeniser_files(folder)
    (folder / "chat_template.jinja").unlink()
    if template is not None:
        (folder / "chat_template.jinja").write_text(template)
    config: dict[str, Any] = {"score_reads": "conversation", "score_tokens": 64}
    (folder / "config.json").write_text(
        json.dumps(config | ({} if ignored is None else {"score_ignores": ignored}))
    )
    return folder


@pytest.fixture(
    scope="module", params=[CHAT_TEMPLATE, NO_LINE_BREAK, TRIMMING], ids=["break", "none", "trim"]
)
def both(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> tuple[Tokeniser, Any]:
    from transformers import AutoTokenizer

    folder = folder_of(tmp_path_factory.mktemp("theirs"), request.param)
    return Tokeniser.from_folder(folder), AutoTokenizer.from_pretrained(folder)


@given(prompt=CONTENT, answer=CONTENT, earlier=st.lists(CONTENT, max_size=1))
def test_ids_are_those_of_transformers(
    both: tuple[Tokeniser, Any], prompt: str, answer: str, earlier: list[str]
) -> None:
    ours, theirs = both
    before = [
        turn
        for text in earlier
        for turn in ({"role": "user", "content": text}, {"role": "assistant", "content": text})
    ]
    chat = [*before, {"role": "user", "content": prompt}]
    tokens = ours.encode_for_score(chat, answer)
    whole = [*chat, {"role": "assistant", "content": answer}]
    assert tokens.ids == theirs.apply_chat_template(whole, tokenize=True, return_dict=False)
    assert tokens.response
    again = ours.encode_for_score(chat, answer + "!")
    assert tokens.prompt == again.prompt  # responses to one prompt share it


def test_tokens_that_transformers_takes_for_padding_are_not_read(tmp_path: Path) -> None:
    ended = Tokeniser.from_folder(folder_of(tmp_path / "a", NO_LINE_BREAK, EOS_ID))
    broken = Tokeniser.from_folder(folder_of(tmp_path / "b", CHAT_TEMPLATE, EOS_ID))
    chat = [{"role": "user", "content": "Why?"}]
    assert ended.decode(ended.encode_for_score(chat, "So.").ids[-3:]) == "So."
    assert broken.encode_for_score(chat, "So.").ids[-2] == EOS_ID  # a line break follows it


@given(answer=st.lists(st.sampled_from([*SPECIAL_TOKENS, "a", " "]), min_size=1, max_size=6).map("".join))
def test_no_text_becomes_a_special_token(both: tuple[Tokeniser, Any], answer: str) -> None:
    ours, _ = both
    chat = [{"role": "user", "content": "Why?"}]
    plain = ours.encode_for_score(chat, "a")
    found = ours.encode_for_score(chat, answer)

    def specials(ids: list[int]) -> int:
        return sum(token < len(SPECIAL_TOKENS) for token in ids)

    assert specials(found.ids) == specials(plain.ids)


@given(prompt=st.text("ab", max_size=80), answer=st.text("cd", max_size=80), limit=st.integers(1, 120))
def test_what_is_too_long_keeps_its_end_and_the_templates(
    both: tuple[Tokeniser, Any], prompt: str, answer: str, limit: int
) -> None:
    ours, _ = both
    chat = [{"role": "user", "content": prompt}]
    whole, found = ours.encode_for_score(chat, answer), ours.encode_for_score(chat, answer, limit)
    assert found.was_cut == (len(whole.ids) > limit)
    assert found.response
    assert len(found.ids) <= limit or limit < 4
    assert found.ids[-1] == whole.ids[-1]
    if not found.was_cut:
        assert found == whole
    elif limit >= 8:
        closing = len(whole.ids) - whole.ids.index(EOS_ID, len(whole.prompt))
        assert found.ids[-closing:] == whole.ids[-closing:]
        assert found.prompt == whole.prompt[len(whole.prompt) - len(found.prompt) :]


def test_it_cannot_be_given_tokens_nor_do_without_a_template(tmp_path: Path) -> None:
    tokeniser = Tokeniser.from_folder(folder_of(tmp_path / "a", CHAT_TEMPLATE))
    assert isinstance(tokeniser, ConversationTokeniser)
    assert tokeniser.score_tokens == 64
    assert not tokeniser.shares_tokens_with(tokeniser)
    with pytest.raises(UsageError, match="cannot be trained further here"):
        tokeniser.join_for_score([4], [5])
    with pytest.raises(ModelFilesError, match="has no chat template"):
        Tokeniser.from_folder(folder_of(tmp_path / "b", None))
