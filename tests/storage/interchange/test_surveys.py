"""Tables that a survey writes, and what several people say of one pair."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from storage.errors import ImportFileError
from storage.interchange.importing import import_file
from storage.store import Store
from tests.storage.builders import write

CAPTIONS = """StartDate,ResponseId,prompt,response_a,response_b,Q1
Start Date,Response ID,The prompt,First,Second,Which is better?
"{""ImportId"":""s""}","{""ImportId"":""r""}","{""ImportId"":""p""}","{""ImportId"":""a""}","{""ImportId"":""b""}","{""ImportId"":""q""}"
2026-01-01,R_1,Why?,So it is.,No idea.,Answer B
2026-01-02,R_2,How?,Like this.,No idea.,Answer A
"""


def test_wordings_and_ids_below_a_survey_s_header_are_no_answers(store: Store, tmp_path: Path) -> None:
    report = import_file(store, write(tmp_path / "s.csv", CAPTIONS))
    better = (
        "SELECT r.text FROM preference_pairs p JOIN responses r ON r.response_id = p.winner_id ORDER BY 1"
    )
    assert store.rows("SELECT text FROM prompts ORDER BY 1") == [("How?",), ("Why?",)]
    assert report.judgements.added == 2
    assert any("two rows below the header" in note for note in report.notes)
    assert [text for (text,) in store.rows(better)] == ["Like this.", "No idea."]


def test_several_questions_in_one_row_are_refused(store: Store, tmp_path: Path) -> None:
    row = {"who": "x", "q1_prompt": "Why?", "q1_a": "So it is.", "q1_b": "No idea.", "q1_choice": "a"}
    row |= {"q2_prompt": "How?", "q2_a": "Like this.", "q2_b": "Not so.", "q2_choice": "b"}
    with pytest.raises(ImportFileError, match=r"several questions each \(q1_prompt, q2_prompt\)"):
        import_file(store, write(tmp_path / "wide.jsonl", json.dumps(row) + "\n"))
    assert store.row("SELECT count(*) FROM prompts") == (0,)


def test_what_each_annotator_wrote_is_kept_with_every_list_of_verdicts(store: Store, tmp_path: Path) -> None:
    said = [{"score": -2, "reasoning": "clear"}, {"score": 1, "reasoning": "short"}]
    row = {
        "context": [{"role": "user", "content": "Why?"}],
        "response1": "So it is.",
        "response2": "No idea.",
        "overall_preference": -1,
        "individual_preference": said,
    }
    import_file(store, write(tmp_path / "h.jsonl", json.dumps(row) + "\n"))
    kept = store.rows(
        "SELECT metadata ->> '$.reasoning' FROM judgements WHERE criterion = 'individual' ORDER BY 1"
    )
    assert kept == [("clear",), ("short",)]


def test_a_column_that_is_there_is_never_said_to_be_missing(store: Store, tmp_path: Path) -> None:
    rows = [{"prompt": f"Why {n}?", "response": f"so {n}", "rating": [{"value": 4}]} for n in range(3)]
    report = import_file(store, write(tmp_path / "r.jsonl", "".join(json.dumps(r) + "\n" for r in rows)))
    assert any('"rating" looks like a verdict' in warning for warning in report.warnings)
