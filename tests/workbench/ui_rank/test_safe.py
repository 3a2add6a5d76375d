"""Text made safe: nothing that a terminal obeys is left, everything encodes."""

from __future__ import annotations

import unicodedata

import pytest
from hypothesis import given
from hypothesis import strategies as st

from workbench.widgets.safe import safe_content, safe_line, safe_text

BIDI = set("\u061c\u200e\u200f\u202a\u202b\u202c\u202d\u202e\u2066\u2067\u2068\u2069")


@given(st.text(alphabet=st.characters(exclude_categories=()), max_size=300))
def test_nothing_dangerous_is_left(text: str) -> None:
    for shown in (safe_text(text), safe_line(text), safe_content(text).plain, safe_content(text, 50).plain):
        shown.encode("utf-8")
        for character in shown:
            assert character in "\n\t" or unicodedata.category(character) not in ("Cc", "Cs"), repr(character)
            assert character not in BIDI
    assert "\n" not in safe_line(text)


@given(st.text(alphabet=st.characters(exclude_categories=("C", "Zl", "Zp")), max_size=200))
def test_ordinary_text_is_left_alone(text: str) -> None:
    assert safe_text(text) == text


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        ("a\x1b]52;c;aGk=\x07b", "a␛]52;c;aGk=␇b"),
        ("a\r\nb\rc", "a\nb\nc"),
        ("x\u202ey", "xy"),
        ("\x9b31m", "\ufffd31m"),
        ("\ud800", "\ufffd"),
        ("\x7f", "␡"),
        ("family 👨\u200d👩\u200d👧", "family 👨\u200d👩\u200d👧"),
    ],
)
def test_examples(text: str, shown: str) -> None:
    assert safe_text(text) == shown


def test_markup_is_text() -> None:
    for text in ("[/foo]", "[type=x, v={'a[0]'}]", "[bold]x", "[@click=app.quit]x[/]"):
        assert safe_content(text).plain == text


def test_cut_says_so() -> None:
    assert safe_content("x" * 100, 60).plain == "x" * 60 + "\n… 40 more characters"
