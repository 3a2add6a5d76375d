"""Whatever a file's own words and nestings are: a thing that is not kept is counted."""

from __future__ import annotations

import json
import tempfile
from collections import Counter
from pathlib import Path
from typing import Any
from unittest import mock

import pytest
from hypothesis import given
from hypothesis import strategies as st

from storage.ids import KEPT_WITH_MESSAGE
from storage.interchange.containers import json_document
from storage.interchange.containers.json_document import open_json
from storage.interchange.containers.json_layouts import SPLITS, WRAPPERS
from storage.interchange.mapping.cells import number_of, same_name
from storage.interchange.mapping.conversations import message_of
from storage.interchange.mapping.verdict_words import WORDS, worded

CALLS = [{"id": "1", "type": "function", "function": {"name": "f", "arguments": "{}"}}]
FURTHER: dict[str, Any] = {
    **dict.fromkeys(KEPT_WITH_MESSAGE, "x"),
    "tool_calls": CALLS,
    "weight": 1,
    "id": 7,
    "timestamp": "noon",
}


@given(
    text=st.one_of(st.none(), st.just("")) | st.text(min_size=1),
    has_text=st.booleans(),
    keys=st.sets(st.sampled_from(sorted(FURTHER))),
)
def test_every_key_of_a_message_is_kept_or_counted(text: str | None, has_text: bool, keys: set[str]) -> None:
    message = {
        "role": "assistant",
        **({"content": text} if has_text else {}),
        **{k: FURTHER[k] for k in keys},
    }
    dropped: Counter[str] = Counter()
    made = message_of(message, dropped)
    assert {key for key in keys if key not in made} == {name.split('"')[1] for name in dropped}
    assert all(made[key] == FURTHER[key] for key in keys & set(made))


ROW = st.fixed_dictionaries(
    {"prompt": st.integers(0, 99).map(str), "chosen": st.just("a"), "rejected": st.just("b")}
)
NAMES = ("helpful", "harmless", *SPLITS[:4], *WRAPPERS[:6])


@given(
    lists=st.dictionaries(
        st.sampled_from(NAMES), st.lists(ROW, min_size=1, max_size=3), min_size=1, max_size=3
    ),
    more=st.dictionaries(st.sampled_from(["version", "about"]), st.just("1"), max_size=2),
    first=st.booleans(),
)
def test_a_document_has_the_same_rows_small_and_large(
    lists: dict[str, list[dict[str, str]]], more: dict[str, str], first: bool
) -> None:
    text = json.dumps({**more, **lists} if first else {**lists, **more})
    wanted = sorted(row["prompt"] for rows in lists.values() for row in rows)
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder, "a.json")
        path.write_text(text)
        for whole in (json_document.WHOLE, 4):
            with (
                mock.patch.object(json_document, "WHOLE", whole),
                mock.patch.object(json_document, "CHUNK", 16),
            ):
                rows = [row for _, row in open_json(path, "utf-8").read()]
            assert sorted(row["prompt"] for row in rows if isinstance(row, dict)) == wanted
            said = {row.get("split") for row in rows if isinstance(row, dict)}
            assert {name for name in lists if name in SPLITS} <= said


@given(
    point=st.integers(-3, 9),
    sign=st.sampled_from(["-", ":", ".", ")", "–"]),
    word=st.sampled_from(sorted(WORDS)),
)
def test_a_point_of_a_scale_before_a_verdict_changes_nothing(point: int, sign: str, word: str) -> None:
    if word[0].isalpha():
        assert worded(f"{point} {sign} {word}") == worded(word) == worded(f"{word}!")


@given(st.sampled_from("<>"), st.integers(1, 3))
def test_an_arrow_alone_is_the_arrow_between_both(sign: str, times: int) -> None:
    assert worded(sign * times) == worded(f"A{sign * times}B")


@pytest.mark.parametrize(
    ("value", "number"), [("75%", 0.75), ("12,5 %", 0.125), ("-5%", -0.05), ("%", None), ("5% of all", None)]
)
def test_shares_in_percent(value: str, number: float | None) -> None:
    assert number_of(value) == number


@given(st.text(max_size=8))
def test_a_name_is_the_same_in_other_letters(name: str) -> None:
    assert same_name(name, f" {name.lower()} ") or name.lower().casefold() != name.casefold()
