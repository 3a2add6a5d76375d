"""What stands in the store of a public data set beyond its counts: who wrote it and how it is rated."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from storage.errors import ImportFileError
from storage.interchange.importing import import_file
from storage.store import Store
from tests.storage.builders import write
from tests.storage.interchange.kinds import BAD, GOOD, Q
from tests.storage.interchange.public_kinds import PUBLIC, prism, utterances

Row = dict[str, Any]
KINDS = {kind.name: kind for kind in PUBLIC}
SAID = """
SELECT p.messages, o.name AS policy, r.text, i.rank, i.rating
FROM judgement_items i
JOIN current_judgements j USING (judgement_id)
JOIN responses r USING (response_id)
JOIN policies o USING (policy_id)
JOIN prompts p ON p.prompt_id = r.prompt_id
WHERE starts_with(p.external_id, $id)
ORDER BY len(p.messages), i.rank, r.text"""


def taken(store: Store, folder: Path, rows: list[Row], **options: Any) -> Any:
    path = write(folder / "f.jsonl", "".join(json.dumps(row) + "\n" for row in rows))
    return import_file(store, path, **options)


@pytest.mark.parametrize("made", [[prism(1)], utterances(1)], ids=["conversations", "utterances"])
def test_each_turn_has_its_history_and_its_candidates(store: Store, tmp_path: Path, made: list[Row]) -> None:
    taken(store, tmp_path, made)
    found = [(json.loads(m), *rest) for m, *rest in store.rows(SAID, {"id": "c1/"})]
    first = [{"role": "user", "content": Q[1]}]
    later = [
        *first,
        {"role": "assistant", "content": f"{GOOD[1]} 1"},
        {"role": "user", "content": "And then, 1?"},
    ]
    assert found == [
        (first, "m1", f"{GOOD[1]} 1", 1, 90.0),
        (first, "m0", f"{GOOD[1]} 0", 2, 40.0),
        (first, "m2", f"{GOOD[1]} 2", 2, 40.0),
        (first, "m3", f"{GOOD[1]} 3", 4, 1.0),
        (later, "m1", f"{BAD[1]} 1", 1, 60.0),
        (later, "m1", f"{BAD[1]} 0", 2, 60.0),
    ]
    assert store.rows("SELECT DISTINCT annotator FROM current_judgements") == [("user1",)]
    kept = store.rows("SELECT DISTINCT metadata ->> '$.model_provider' FROM responses")
    assert kept == [("p",)]


def test_a_conversation_that_goes_on_from_nothing_is_told(store: Store, tmp_path: Path) -> None:
    unchosen = prism(1)
    for message in unchosen["conversation_history"]:
        message["if_chosen"] = False if message["role"] == "model" else None
    report = taken(store, tmp_path, [prism(0), unchosen])
    assert report.skipped == {"a conversation goes on, and not from one candidate that was chosen": 1}
    assert store.row("SELECT count(*) FROM prompts") == (3,)  # the first turn of the second one came in
    torn = [row for row in utterances(2) if row["turn"]]
    report = taken(store, tmp_path, [*utterances(1), *torn])
    assert report.skipped == {"the earlier turns of its conversation do not stand beside it": 1}
    with pytest.raises(ImportFileError):
        taken(store, tmp_path, torn)


@pytest.mark.parametrize("others", [0, 1200], ids=["by rows", "as columns"])
@pytest.mark.parametrize("said", ["score_chosen", "margin"])
def test_verdicts_alike_with_other_ratings_both_stand(
    store: Store, tmp_path: Path, others: int, said: str
) -> None:
    def pair(n: int, value: float) -> Row:
        return {"prompt": f"{n}?", "chosen": "a", "rejected": "b", said: value, "score_rejected": value / 10}

    rows = [pair(0, 9.0), pair(0, 5.5), pair(0, 9.0), *(pair(n + 1, 1.0) for n in range(others))]
    report = taken(store, tmp_path, rows)
    assert report.judgements.added == 2 + others
    assert any("made alike count once" in note and note.endswith(": 1") for note in report.notes)
    column = "strength" if said == "margin" else "rating"
    found = store.rows(
        f"SELECT {column}, min(i.rating) FROM judgements JOIN judgement_items i USING (judgement_id) "
        "JOIN prompts p USING (prompt_id) WHERE p.text = '0?' GROUP BY judgement_id, strength ORDER BY 1"
        if said == "margin"
        else "SELECT max(rating), min(rating) FROM judgement_items i JOIN judgements USING (judgement_id) "
        "JOIN prompts p USING (prompt_id) WHERE p.text = '0?' GROUP BY judgement_id ORDER BY 1"
    )
    assert found == [(5.5, 0.55), (9.0, 0.9)]  # never the one row's with the other's
    assert taken(store, tmp_path, rows).judgements.added == 0


def test_every_answer_of_a_side_has_its_own_policy_and_rating(store: Store, tmp_path: Path) -> None:
    taken(store, tmp_path, KINDS["rmb"].rows[:1])
    names = "SELECT o.name FROM responses JOIN policies o USING (policy_id) ORDER BY 1"
    assert store.rows(names) == [("x",), ("y",), ("z",)]
    taken(store, tmp_path, KINDS["rmb_pairs"].rows[:1])
    assert store.rows("SELECT rating FROM judgement_items WHERE rating IS NOT NULL ORDER BY 1") == [
        (1.0,),
        (3.5,),
    ]


def test_ratings_in_an_object_are_no_responses(store: Store, tmp_path: Path) -> None:
    taken(store, tmp_path, KINDS["ratings_in_an_object_of_columns"].rows)
    assert {text for (text,) in store.rows("SELECT text FROM responses")} == {*GOOD, *BAD}
    assert store.rows("SELECT DISTINCT rating FROM judgement_items ORDER BY 1") == [(3.0,), (7.0,)]


def test_ratings_that_name_their_model_find_it(store: Store, tmp_path: Path) -> None:
    taken(store, tmp_path, KINDS["code_ultrafeedback"].rows)
    rated = store.rows(
        "SELECT o.name, i.rating FROM judgement_items i JOIN responses USING (response_id) "
        "JOIN policies o USING (policy_id) GROUP BY ALL ORDER BY 1"
    )
    assert rated == [("a", 2.0), ("b", 2.0), ("c", 4.0), ("d", 5.0)]


def test_the_first_wrong_step_says_nothing_of_those_behind_it(store: Store, tmp_path: Path) -> None:
    taken(store, tmp_path, KINDS["processbench"].rows)
    labels = store.rows(
        "SELECT list(label ORDER BY step) FROM response_steps JOIN responses USING (response_id) "
        "JOIN prompts p USING (prompt_id) GROUP BY p.text ORDER BY p.text"
    )
    assert [said for (said,) in labels] == [[1, 1, 1], [1, 0, None], [0, None, None]]


def test_a_layout_that_others_have_too_says_nothing_of_a_licence(store: Store, tmp_path: Path) -> None:
    rows = [
        {"system": "S", "question": q, "chosen": a, "rejected": b}
        for q, a, b in zip(Q, GOOD, BAD, strict=True)
    ]
    taken(store, tmp_path, rows)
    taken(store, tmp_path, rows, preset="orca_dpo")
    taken(store, tmp_path, KINDS["code_ultrafeedback"].rows)
    known = store.rows("SELECT preset, licence, origin IS NULL FROM imports")
    assert sorted(known, key=str) == [
        ("code_ultrafeedback", "MIT", False),
        ("orca_dpo", "Apache-2.0", False),
        ("orca_dpo", None, True),
    ]
