"""What a person reads, by rules that a machine can check; `python -m tests.sentences` lists it for people."""

from __future__ import annotations

import re
from collections.abc import Callable

import pytest

from engine.wording import counted
from storage.sql_guard import first_lines
from tests.sentences import Sentence, main, sentences

THINGS = (
    "pairs|prompts|responses|judgements|tokens|rows|runs|ties|annotators|samples|features|steps|folds|files|"
    "comparisons|rankings|characters|scores|splits|verdicts|judged pairs|other reasons"
)
ALWAYS_SEVERAL = {
    "runs are marked": "as many as can be drawn",
    "prompts that no training has seen": "of the demo",
    "files (": "one file has its own name",
    "responses to a prompt instead of": "how many there should have been stands behind",
    "stored responses": "two at least",
    "responses (prompts_per_step": "a product",
    "responses of a step": "a product",
    "samples a prompt": "a setting",
    "samples;": "a verb",
    "samples, with": "a verb",
    "prompts; lower microbatch": "a setting",
    "characters; {here}": "the smallest terminal",
    "features of layers": "of a head",
    "features and its trunk": "of a head",
    "tokens and the model knows": "of a vocabulary",
    "tokens and cut": "a limit",
    "tokens; with": "longer than a limit",
    "tokens, {max": "longer than a limit",
    "rows, {share": "while it is read",
    "responses have": "a noun before it",
    "samples cannot": "a programming error",
    "folds, {counted": "two at least",
    "tokens/s": "a rate",
}


def only_one(sentence: Sentence) -> bool:
    """“1 pairs”: a number and a plural, without `counted`."""
    if sentence.place.startswith("storage/interchange/"):
        return False  # of rows, mostly reasons that many rows share
    for match in re.finditer(rf"\{{([^{{}}]*)\}} ({THINGS})\b", sentence.text):
        number, rest = match[1], sentence.text[match.start(2) :]
        numeric = re.search(
            r"len\(|count|rows|pairs|tokens|prompts|responses|samples|total|cut|tied|sum\(", number
        )
        if numeric and not any(rest.startswith(known) for known in ALWAYS_SEVERAL):
            return True
    return False


def ends_twice(sentence: Sentence) -> bool:
    """“Did you mean “prompts”?.”"""
    return bool(re.search(r"[?!]\.(\s|$)", sentence.text))


def gapes(sentence: Sentence) -> bool:
    """Two blanks behind a sentence that goes on."""
    return bool(re.search(r"[a-z}]\.  [A-Z]", sentence.text))


def quotes_like_a_program(sentence: Sentence) -> bool:
    """A name in “quotation marks”; columns of files stand in those of their files."""
    if sentence.place.startswith("storage/interchange/"):
        return False
    if re.search(r"unnest\(|\b(SELECT|UPDATE|DELETE)\b", sentence.text):
        return False  # SQL
    return bool(re.search(r"(^|[ (])\"\{[^{}]*\}\"([ ,;.:?)]|$)", sentence.text))


def spaces_per_cent(sentence: Sentence) -> bool:
    """“95 % sure”: a share is written 95%."""
    return bool(re.search(r"[\d}] %(?![a-zA-Z(])", sentence.text))


def carets_a_key(sentence: Sentence) -> bool:
    """“^s apply”: a key is written ctrl+s."""
    return bool(re.search(r"(^|[ (,])\^[a-z]\b(?!\()", sentence.text))


FAULTS = [only_one, ends_twice, gapes, quotes_like_a_program, spaces_per_cent, carets_a_key]


@pytest.mark.parametrize("fault", FAULTS)
def test_no_sentence_has_the_fault(fault: Callable[[Sentence], bool]) -> None:
    assert [sentence for sentence in sentences() if fault(sentence)] == []


@pytest.mark.parametrize("text", ["at most 10 %: hardly", "{share:.0f} %", "→ complete · ^o options"])
def test_the_other_way_of_writing_is_found(text: str) -> None:
    assert spaces_per_cent(Sentence("", text)) != carets_a_key(Sentence("", text))


@pytest.mark.parametrize("text", ["95% sure", "100 %(n)s", "γ^k·r and r^(1−m)", "ctrl+s applies"])
def test_what_only_looks_so_is_left(text: str) -> None:
    assert not spaces_per_cent(Sentence("", text))
    assert not carets_a_key(Sentence("", text))


def test_the_list_holds_what_a_person_reads() -> None:
    texts = {text for _, text in sentences()}
    assert "Jobs go on without the workbench" in texts
    assert any(text.startswith("There is no job kind “{kind}”.") for text in texts)
    assert len(texts) > 1000


def test_the_list_is_printed_whole(capsys: pytest.CaptureFixture[str]) -> None:
    main()
    listed = capsys.readouterr().out.encode()  # as a terminal or a file takes it
    assert listed.count(b"\n") > len(sentences())


def test_one_is_not_several() -> None:
    assert (counted(0, "pair"), counted(1, "pair"), counted(1234, "pair")) == (
        "0 pairs",
        "1 pair",
        "1,234 pairs",
    )
    assert counted(2, "criterion", "criteria") == "2 criteria"


def test_what_duckdb_asks_keeps_its_question_mark() -> None:
    error = RuntimeError('Catalog Error: No table prompt!\nDid you mean "prompts"?\n\nLINE 1: SELECT')
    assert first_lines(error) == 'Catalog Error: No table prompt! Did you mean "prompts"?'
    assert first_lines(RuntimeError("Binder Error: no column x")) == "Binder Error: no column x."
