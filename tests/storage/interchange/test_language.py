"""The mapping's language, codings of verdicts, and transcripts: what is written is what is read."""

from __future__ import annotations

from contextlib import suppress
from pathlib import Path as FilePath

import pytest
from hypothesis import given
from hypothesis import strategies as st

from storage.interchange.mapping.language import (
    Each,
    MappingError,
    Path,
    Statement,
    parse_statement,
    value_at,
)
from storage.interchange.mapping.roles import ROLES
from storage.interchange.mapping.transcripts import FAMILIES, transcript_of
from storage.interchange.mapping.verdict_words import MEANINGS, worded
from storage.interchange.mapping.verdicts import find_coding
from storage.interchange.presets.catalogue import PRESETS
from storage.interchange.presets.table import presets_table, roles_table

keys = st.text(min_size=1, max_size=12).filter(lambda k: "\n" not in k)
steps = st.lists(st.one_of(keys, st.integers(-3, 9), st.builds(Each)), max_size=4)
paths = st.builds(lambda first, rest: Path((first, *rest)), keys, steps)
codings = st.dictionaries(
    st.sampled_from(["0", "1", "2", "x", "left", "-1"]), st.sampled_from(MEANINGS), min_size=1
)


@given(role=st.sampled_from(sorted(ROLES)), path=paths, coding=st.none() | codings)
def test_a_statement_is_read_as_it_is_written(role: str, path: Path, coding: dict[str, str] | None) -> None:
    statement = Statement(role, path, coding)
    assert parse_statement(str(statement)) == statement


@given(st.text(max_size=40))
def test_any_text_is_a_statement_or_is_refused_in_a_sentence(text: str) -> None:
    with suppress(MappingError):
        statement = parse_statement(text)
        assert parse_statement(str(statement)) == statement


@pytest.mark.parametrize(
    ("text", "sentence"),
    [
        ("prompt", "says no column"),
        ("promt=x", 'did you mean "prompt"'),
        ("prompt=a.", "a column is expected"),
        ("winner=x{1:c}", "meanings are a, b, tie, bad, skip"),
        ("prompt=x as poem", "not a way to read a value"),
        ("criterion.*=x", "has no \\*"),
        ("policy='gpt", "never closed"),
    ],
)
def test_a_wrong_statement_is_told(text: str, sentence: str) -> None:
    with pytest.raises(MappingError, match=sentence):
        parse_statement(text)


def test_paths_lead_into_objects_lists_and_json_text() -> None:
    row = {"a": '{"b": [{"c": 1}, {"c": 2}, {}]}', "x.y": 3}
    assert value_at(row, parse_statement("ranks=a.b[].c").path.steps) == [1, 2, None]
    assert value_at(row, parse_statement("rank=a.b[-2].c").path.steps) == 2
    assert value_at(row, parse_statement('rank="x.y"').path.steps) == 3
    assert value_at(row, parse_statement("rank=a.b.c").path.steps) is None


def test_presets_are_written_in_the_language_and_documented() -> None:
    for preset in PRESETS:
        assert all(parse_statement(line) for line in preset.mapping)
        assert preset.source.startswith("https://")
    text = (FilePath(__file__).parents[3] / "docs" / "formats.md").read_text(encoding="utf-8")
    assert presets_table() in text, "write the table anew from storage.interchange.presets.table"
    assert roles_table() in text


NUMBERED = {"1": "a", "2": "b", "3": "tie"}


@given(
    st.lists(
        st.sampled_from(["A", "B", "tie", "model_a", "right", "both bad", "A>>B", "B is slightly better"]),
        min_size=1,
    )
)
def test_words_are_read_alike_alone_and_in_a_column(values: list[str]) -> None:
    coding = find_coding(values)
    assert coding is not None
    assert [coding.read(v) for v in values] == [worded(v) for v in values]


@given(st.lists(st.integers(-3, 3), min_size=2).filter(lambda v: min(v) < 0))
def test_signs_are_told_and_keep_their_strength(values: list[int]) -> None:
    coding = find_coding(values, "overall_preference")
    assert coding is not None
    assert coding.warning
    for value in values:
        verdict = coding.read(value)
        assert verdict is not None
        assert (verdict.better, verdict.strength) == (
            "tie" if value == 0 else "a" if value < 0 else "b",
            abs(value),
        )


@given(st.sampled_from([0.1, 0.4, 0.6, 0.9]), st.sampled_from([0.2, 0.8]))
def test_a_probability_and_its_complement_say_the_contrary(one: float, other: float) -> None:
    coding = find_coding([one, other, 1 - one], "prob_a")
    assert coding is not None
    first, second = coding.read(one), coding.read(1 - one)
    assert first is not None
    assert second is not None
    assert {first.better, second.better} == {"a", "b"}
    assert first.strength == pytest.approx(second.strength)


@pytest.mark.parametrize(
    ("values", "ends", "meant"),
    [
        ([1, 2], ("1", "2"), ["a", "b"]),
        ([0, 1], ("0", "1"), ["a", "b"]),
        (["1", "2", "0"], ("a", "b"), ["a", "b", "tie"]),
        ([1, 2, 3], ("1", "2"), ["a", "b", "tie"]),
        ([True, False], ("a", "b"), ["a", "b"]),
    ],
)
def test_numbers_mean_what_their_neighbours_say(
    values: list[object], ends: tuple[str, str], meant: list[str]
) -> None:
    coding = find_coding(values, "label", ends)
    assert coding is not None
    assert [v.better for v in map(coding.read, values) if v] == meant


said = (
    st.text(alphabet=st.characters(categories=("L", "N", "Zs")), min_size=1, max_size=20)
    .map(str.strip)
    .filter(bool)
)
turns = st.lists(st.tuples(said, said), min_size=1, max_size=3)


@given(turns)
def test_a_transcript_is_taken_apart_into_its_turns(pairs: list[tuple[str, str]]) -> None:
    chat = [
        {"role": role, "content": text}
        for pair in pairs
        for role, text in zip(("user", "assistant"), pair, strict=True)
    ]
    human = "".join(f"\n\nHuman: {q}\n\nAssistant: {a}" for q, a in pairs)
    chatml = "".join(
        f"<|im_start|>user\n{q}<|im_end|>\n<|im_start|>assistant\n{a}<|im_end|>\n" for q, a in pairs
    )
    llama = "".join(f"<s>[INST] {q} [/INST] {a} </s>" for q, a in pairs)
    assert transcript_of(human) == transcript_of(chatml) == transcript_of(llama) == chat


@given(st.text(max_size=60).filter(lambda t: "ssistant" not in t and "SSISTANT" not in t and "INST" not in t))
def test_text_without_an_assistant_is_no_transcript(text: str) -> None:
    starts = [start for family in FAMILIES for start in family.start]
    assert all(
        transcript_of(start + text) is None or any(w in text for w in ("Bot", "AI", "Response", "model"))
        for start in [*starts, ""]
    )
