"""What a file compares, read without importing it: shapes of benchmarks, votes, what is left out."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from storage.errors import ImportFileError
from storage.interchange.compared import (
    ALONE,
    SAME,
    SPLIT,
    TIED,
    FileComparisons,
    comparisons,
    responses_of,
)
from storage.interchange.importing import run
from storage.interchange.planning import propose
from storage.store import Store


def read(
    folder: Path, rows: Sequence[dict[str, Any]], name: str = "file.jsonl", **options: Any
) -> FileComparisons:
    path = folder / name
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text("".join(json.dumps(row) + "\n" for row in rows))
    return comparisons(propose(path), **options)


def told(found: FileComparisons) -> list[tuple[str, str, tuple[str, ...], tuple[str, ...]]]:
    return [(item.subset, item.kind, item.good, item.bad) for item in found.items]


def test_rewardbench_keeps_a_prompt_in_each_of_its_subsets(tmp_path: Path) -> None:
    rows = [
        {
            "id": number,
            "prompt": "Name a fruit.",
            "chosen": "An apple.",
            "rejected": worse,
            "chosen_model": "a",
            "rejected_model": "b",
            "subset": subset,
        }
        for number, (subset, worse) in enumerate([("easy", "No."), ("hard", "A carrot.")], 7)
    ]
    found = read(tmp_path, rows)
    assert told(found) == [
        ("easy", "pair", ("An apple.",), ("No.",)),
        ("hard", "pair", ("An apple.",), ("A carrot.",)),
    ]
    assert [item.external_id for item in found.items] == ["7", "8"]
    assert [item.place for item in found.items] == ["line 1", "line 2"]
    assert found.items[0].policies == ("a", "b")


def test_rewardbench_2_is_the_best_of_four_and_ties_have_several_good_ones(tmp_path: Path) -> None:
    rows = [
        {
            "id": "1",
            "prompt": "Two and two?",
            "chosen": ["Four."],
            "rejected": ["Five.", "Six.", "Seven."],
            "models": ["a", "b", "c", "d"],
            "subset": "Math",
        },
        {
            "id": "tied:1",
            "prompt": "Name a colour of the rainbow.",
            "chosen": ["Red.", "Green."],
            "rejected": ["Brown."],
            "models": ["a", "a", "a"],
            "subset": "Ties",
        },
    ]
    found = read(tmp_path, rows)
    assert told(found) == [
        ("Math", "best_of", ("Four.",), ("Five.", "Six.", "Seven.")),
        ("Ties", "best_of", ("Red.", "Green."), ("Brown.",)),
    ]
    assert found.items[0].policies == ("a", "b", "c", "d")


def test_llmbar_in_folders_has_them_as_subsets(tmp_path: Path) -> None:
    rows = [{"input": "Name a number below two.", "output_1": "One.", "output_2": "Six.", "label": 1}]
    for place, label in (("Natural", 1), ("Adversarial/Neighbor", 2)):
        path = tmp_path / "LLMBar" / place / "dataset.json"
        path.parent.mkdir(parents=True)
        path.write_text(json.dumps([{**rows[0], "label": label}] * 2))
    found = comparisons(propose(tmp_path / "LLMBar"))
    assert told(found) == [
        ("Adversarial/Neighbor", "pair", ("Six.",), ("One.",)),
        ("Natural", "pair", ("One.",), ("Six.",)),
    ]


def test_transcripts_that_share_their_turns(tmp_path: Path) -> None:
    start = "\n\nHuman: May I eat soap?\n\nAssistant:"
    found = read(tmp_path, [{"chosen": f"{start} No.", "rejected": f"{start} Yes."}])
    assert told(found) == [("", "pair", ("No.",), ("Yes.",))]
    assert found.items[0].messages == [{"role": "user", "content": "May I eat soap?"}]


def test_ratings_of_one_response_a_row_rank_those_of_a_prompt(tmp_path: Path) -> None:
    columns = ("helpfulness", "correctness", "coherence", "complexity", "verbosity")
    rows = [
        {"prompt": "Say hi.", "response": text, **dict.fromkeys(columns, 2), "helpfulness": rating}
        for text, rating in (("Hi!", 4), ("No.", 1), ("Hm.", 1))
    ] + [{"prompt": "Say bye.", "response": "Bye.", **dict.fromkeys(columns, 2)}]
    found = read(tmp_path, rows, criterion="helpfulness")
    assert told(found) == [("", "pair", ("Hi!",), ("No.",)), ("", "pair", ("Hi!",), ("Hm.",))]
    assert found.left_out == {TIED: 1, ALONE: 1}


def test_a_majority_counts_and_what_it_leaves_out_is_told(tmp_path: Path) -> None:
    def row(prompt: str, *verdicts: str, b: str = "Long.") -> dict[str, str]:
        votes = {f"annotator_{n}": verdict for n, verdict in enumerate(verdicts, 1)}
        return {"prompt": prompt, "response_a": "Short.", "response_b": b, **votes}

    rows = [
        row("One sentence, please.", "a", "a", "b"),
        row("Another sentence, please.", "tie", "tie", "b"),
        row("A third sentence, please.", "a", "b", "tie"),
        row("A fourth sentence, please.", "b", "b", "b"),
    ]
    found = read(tmp_path, rows)
    assert told(found) == [("", "pair", ("Short.",), ("Long.",)), ("", "pair", ("Long.",), ("Short.",))]
    assert [(i.votes, i.votes_other, i.votes_tie) for i in found.items] == [(2, 1, 0), (3, 0, 0)]
    assert found.left_out == {TIED: 1, SPLIT: 1}
    assert found.places == {TIED: "line 2", SPLIT: "line 3"}


def test_rows_that_cannot_be_read_and_texts_against_themselves_are_counted(tmp_path: Path) -> None:
    good = {"prompt": "Say a word.", "chosen": "Word.", "rejected": "No."}
    same = {**good, "chosen": "Word.", "rejected": "Word.", "chosen_model": "a", "rejected_model": "b"}
    rows = [good, {**good, "chosen": None}, {**same, "prompt": "Say another."}]
    found = read(tmp_path, [{"chosen_model": "a", "rejected_model": "b", **row} for row in rows])
    assert len(found.items) == 1
    assert found.rows == 3
    assert found.left_out[SAME] == 1
    assert sum(found.left_out.values()) == 2


def test_a_split_is_chosen_and_an_unknown_one_told(tmp_path: Path) -> None:
    rows = [
        {"prompt": f"Say the word {n}.", "chosen": "Word.", "rejected": "No.", "split": split}
        for n, split in enumerate(("train", "test", "test"))
    ]
    assert len(read(tmp_path, rows, split="test").items) == 2
    with pytest.raises(ImportFileError, match="has no split “dev”; there is test, train"):
        read(tmp_path, rows, split="dev")


def test_what_compares_nothing_is_refused_in_a_sentence(tmp_path: Path) -> None:
    with pytest.raises(ImportFileError, match="compares nothing by “overall”"):
        read(tmp_path, [{"prompt": "Say a word.", "response": "Word."}])
    rows = [{"prompt": "Say a word.", "chosen": "Word.", "rejected": "No."}]
    with pytest.raises(ImportFileError, match="no criterion “overal”; did you mean “overall”"):
        read(tmp_path, rows, criterion="overal")


def test_responses_to_one_prompt_come_together(tmp_path: Path) -> None:
    rows = [
        {"prompt": prompt, "chosen": "Word.", "rejected": worse}
        for prompt, worse in (("Say a word.", "No."), ("Say two words.", "No."), ("Say a word.", "Never."))
    ]
    found = read(tmp_path, rows)
    together = [[(item, text) for item, _, text in responses] for _, responses in responses_of(found.items)]
    assert together == [[(0, "Word."), (0, "No."), (1, "Word."), (1, "Never.")], [(2, "Word."), (2, "No.")]]


PAIRS = """
SELECT p.text, a.text, b.text
FROM (SELECT v.prompt_id, v.x, v.y, count(*) FILTER (verdict = 1) AS for_x,
             count(*) FILTER (verdict = -1) AS for_y, count(*) FILTER (verdict = 0) AS ties
      FROM verdicts v WHERE criterion = 'overall' GROUP BY ALL) v
JOIN prompts p ON p.prompt_id = v.prompt_id
JOIN responses a ON a.response_id = if(for_x > for_y, v.x, v.y)
JOIN responses b ON b.response_id = if(for_x > for_y, v.y, v.x)
WHERE for_x <> for_y AND ties < greatest(for_x, for_y)
"""
RESPONSES = ("One answer.", "Another answer.", "A third answer.")


@settings(max_examples=20)  # each opens a store
@given(
    rows=st.lists(
        st.tuples(
            st.sampled_from(["Ask this.", "Ask that."]),
            st.permutations(RESPONSES),
            st.lists(st.sampled_from([1, 2, 3]), min_size=3, max_size=3),
            st.sampled_from(["ana", "bo", "cy"]),
        ),
        min_size=3,
        max_size=12,
    )
)
def test_verdicts_count_as_they_do_after_an_import(
    rows: list[tuple[str, list[str], list[int], str]], tmp_path_factory: pytest.TempPathFactory
) -> None:
    path = tmp_path_factory.mktemp("file") / "ranked.jsonl"
    path.write_text(
        "".join(
            json.dumps({"prompt": prompt, "responses": texts, "ranks": ranks, "annotator": who}) + "\n"
            for prompt, texts, ranks, who in rows
        )
    )
    with Store.open(":memory:") as store:
        run(store, propose(path))
        imported = sorted(store.rows(PAIRS))
    try:
        found = comparisons(propose(path)).items
    except ImportFileError:
        found = []
    assert sorted((i.messages[-1]["content"], i.good[0], i.bad[0]) for i in found) == imported
