"""What an endpoint's answer says, by its log-probabilities or its words."""

from __future__ import annotations

import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from engine.endpoints.chat import read_completion, request
from engine.errors import EndpointError
from engine.judging.question import ScoreQuestion
from engine.judging.words import read_answer, read_number, read_tokens, read_words
from engine.protocol.rubric import DEFAULT
from tests.engine.chat_serving import completion

ASKED = {"model": "m", "messages": [{"role": "user", "content": "?"}], "logprobs": True, "top_logprobs": 20}


def read(content: Any) -> Any:
    data = content if isinstance(content, bytes) else json.dumps(content).encode()
    return read_answer(read_completion(data, "http://x/v1"), DEFAULT)


def test_log_probabilities_make_shares() -> None:
    answer = read(completion(ASKED, {"A": 0.4, " A": 0.2, "B": 0.1, "b": 0.1, "C": 0.1, "I": 0.05}))
    assert (answer.said, round(answer.share, 6), round(answer.mass, 6)) == (1, round(0.65 / 0.9, 6), 0.9)
    assert read(completion(ASKED, {"C": 0.6, "A": 0.3})).said == 0


def test_an_answer_that_does_not_begin_with_a_verdict_is_read_by_its_words() -> None:
    content = completion(ASKED, {"The": 0.9, "A": 0.1})
    content["choices"][0]["message"]["content"] = "The answer is B."
    assert (read(content).said, read(content).share) == (-1, None)
    content["choices"][0]["message"]["content"] = "The sky is blue."
    assert read(content) is None


@pytest.mark.parametrize(
    ("text", "place"),
    [
        ("A", 0),
        ("  **B**. ", 1),
        ("c", 2),
        ("[[A]]", 0),
        ("First [[A]], no: [[B]]", 1),
        ("The better response is A.", 0),
        ("Answer: B", 1),
        ("I think a lot.\nVerdict: **C**", 2),
        ("Thinking…\n\nB", 1),
        ("A good answer is hard to find", None),
        ("A nice response, and B is nice as well", None),
        ("", None),
        ("I prefer neither.", None),
    ],
)
def test_words(text: str, place: int | None) -> None:
    assert read_words(text, DEFAULT.verdicts) == place


@given(st.text(max_size=200))
def test_no_text_breaks_the_reading(text: str) -> None:
    assert read_words(text, DEFAULT.verdicts) in (None, 0, 1, 2)


@pytest.mark.parametrize(
    ("text", "number"),
    [
        ("4", 4.0),
        (" **4.5** ", 4.5),
        ("4/5", 4.0),
        ("At first [[2]], but then [[3]].", 3.0),
        ("Score: 2. It has 3 faults.", 2.0),
        ("The rating is **5**.", 5.0),
        ("I give it 3 / 5 for 2 reasons.", 3.0),
        ("It has 2 faults.\n\n4", 4.0),
        ("7", None),
        ("0", None),
        ("[[9]] or so", None),
        ("It has 2 faults.", None),
        ("good", None),
    ],
)
def test_numbers(text: str, number: float | None) -> None:
    assert read_number(text, 5) == number


@given(
    st.text(max_size=80), st.integers(1, 100), st.text(st.characters(exclude_characters="[]"), max_size=20)
)
def test_a_marked_number_is_found_whatever_stands_around_it(before: str, number: int, after: str) -> None:
    assert read_number(before, 5) in (None, *(n / 1000 for n in range(1000, 5001)))
    if read_number(f"{before}\n", 100) is None:
        assert read_number(f"{before}\n[[{number}]]{after}", 100) == number


def test_the_probabilities_of_numbers_make_their_mean() -> None:
    asked = ScoreQuestion([], "overall", "x", 5)
    tokens = read_completion(
        json.dumps(completion(ASKED, {"4": 0.6, " 5": 0.2, "7": 0.1})).encode(), "http://x/v1"
    ).tokens
    answer = read_tokens(tokens, DEFAULT, asked)
    assert answer is not None
    assert answer.share == pytest.approx((0.75 * 0.6 + 1.0 * 0.2) / 0.8)
    assert answer.mass == pytest.approx(0.8)


@pytest.mark.parametrize(
    "content",
    [
        b"<html>",
        b"",
        b"[" * 100_000,
        b'{"choices": []}',
        b'{"choices": [{"text": "old"}]}',
        b'{"choices": [{"message": {"content": 3}}]}',
        b'{"choices": [{"message": {"content": "\xff"}}]}',
        b'{"choices": [{"message": {"content": "\\ud800"}}]}',
    ],
)
def test_what_is_no_answer_gets_a_sentence(content: bytes) -> None:
    with pytest.raises(EndpointError, match="does not answer as a chat endpoint does") as caught:
        read(content)
    assert str(caught.value).isprintable()


def test_text_comes_without_control_characters() -> None:
    found = read_completion(
        b'{"choices": [{"message": {"content": "a\\u001b]52;\\u0007\\r\\nb\\u202e"}}]}', "x"
    )
    assert found.text == "a]52;\nb"


def test_null_drops_a_field_of_the_request() -> None:
    body = request("m", "?", {"max_tokens": None, "max_completion_tokens": 5}, max_tokens=3, temperature=0)
    messages = [{"role": "user", "content": "?"}]
    assert body == {"model": "m", "messages": messages, "max_completion_tokens": 5, "temperature": 0}
