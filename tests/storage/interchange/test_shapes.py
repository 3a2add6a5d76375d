"""Every shape and format of file, and what it becomes."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from storage import prompts, responses
from storage.import_records import Count
from storage.interchange.columns import batches
from storage.interchange.importing import import_file
from storage.store import Store
from tests.storage.builders import write

PAIRS = "SELECT p.text, w.text, l.text FROM preference_pairs q JOIN prompts p USING (prompt_id) "
PAIRS += "JOIN responses w ON w.response_id = q.winner_id "
PAIRS += "JOIN responses l ON l.response_id = q.loser_id ORDER BY ALL"


def jsonl(path: Path, *rows: dict[str, Any]) -> Path:
    return write(path, "".join(json.dumps(row) + "\n" for row in rows))


def test_prompts_with_source_and_metadata(store: Store, tmp_path: Path) -> None:
    path = jsonl(
        tmp_path / "p.jsonl",
        {"prompt": "One", "source": "Grammarly", "level": 3},
        {"prompt": [{"role": "user", "content": "Two"}]},
        {"prompt": "  "},
        {"prompt": "One"},
    )
    report = import_file(store, path)
    assert (report.shape, report.rows, report.prompts) == ("prompts", 4, Count(2, 0))
    assert report.skipped == {"the prompt is empty": 1}
    assert str(report) == "p.jsonl: 4 rows; 2 prompts added; 1 row skipped: the prompt is empty."
    assert [(p.text, p.source) for p in prompts.listed(store)] == [("One", "Grammarly"), ("Two", "p.jsonl")]
    assert store.rows("SELECT metadata FROM prompts ORDER BY rowid") == [('{"level": 3}',), (None,)]
    assert import_file(store, path).prompts == Count(0, 2)


def test_ranked_responses_one_a_row(store: Store, tmp_path: Path) -> None:
    text = "prompt,response,rank,model,annotator\nQ,good,1,A,ana\nQ,bad,2,B,ana\n"
    text += "Q,bad,1,B,ben\nQ,good,1,A,ben\nR,alone,1,A,ana\n"
    path = write(tmp_path / "r.csv", text)
    report = import_file(store, path)
    assert (report.shape, report.prompts, report.responses, report.judgements) == (
        "ranked",
        Count(2),
        Count(3),
        Count(2),
    )
    assert report.skipped == {"only one response is ranked": 1}
    assert store.rows(PAIRS) == [("Q", "good", "bad")]
    assert store.rows("SELECT annotator FROM preference_ties") == [("ben",)]
    again = import_file(store, path)
    assert (again.prompts.added, again.responses.added, again.judgements) == (0, 0, Count(0, 2))


def test_rated_responses_in_lists(store: Store, tmp_path: Path) -> None:
    row = {"prompt": "Q", "responses": ["a", "b", "c"], "ratings": [1, 5, 1.0], "models": ["m1", "m2", "m3"]}
    report = import_file(store, jsonl(tmp_path / "r.jsonl", row))
    assert (report.shape, report.judgements) == ("ranked_lists", Count(1))
    assert store.rows(PAIRS) == [("Q", "b", "a"), ("Q", "b", "c")]


def test_one_judgement_in_a_list_or_in_rows_is_the_same(store: Store, tmp_path: Path) -> None:
    rows = [{"prompt": "Q", "response": t, "rank": r} for t, r in (("a", 2), ("b", 1))]
    import_file(store, jsonl(tmp_path / "rows.jsonl", *rows))
    listed = {"prompt": "Q", "responses": ["b", "a"], "ranks": [1, 2]}
    report = import_file(store, jsonl(tmp_path / "list.jsonl", listed))
    assert (report.responses, report.judgements) == (Count(0, 2), Count(0, 1))


def test_responses_without_ranks(store: Store, tmp_path: Path) -> None:
    path = write(tmp_path / "r.tsv", "question\tanswer\nQ\tone\nQ\ttwo\n")
    report = import_file(store, path, policy="gpt-x")
    assert (report.shape, report.responses, report.judgements) == ("responses", Count(2), Count())
    prompt = prompts.listed(store)[0].prompt_id
    assert [r.policy for r in responses.of_prompt(store, prompt)] == ["gpt-x", "gpt-x"]


CHAT = [{"role": "user", "content": "Q"}]


@pytest.mark.parametrize(
    "row",
    [
        {"prompt": "Q", "chosen": "good", "rejected": "bad"},
        {"prompt": CHAT, "chosen": "good", "rejected": [{"role": "assistant", "content": "bad"}]},
        {"prompt": json.dumps(CHAT), "chosen": "good", "rejected": "bad"},
        {
            "chosen": [*CHAT, {"role": "assistant", "content": "good"}],
            "rejected": [*CHAT, {"from": "gpt", "value": "bad"}],
        },
        {"chosen": "\n\nHuman: Q\n\nAssistant: good", "rejected": "\n\nHuman: Q\n\nAssistant: bad"},
    ],
)
def test_pairs_in_every_layout(store: Store, tmp_path: Path, row: dict[str, Any]) -> None:
    report = import_file(store, jsonl(tmp_path / "p.jsonl", row), annotator="ana")
    assert (report.shape, report.judgements) == ("pairs", Count(1))
    assert store.rows(PAIRS) == [("Q", "good", "bad")]
    assert store.rows("SELECT name, kind FROM annotators") == [("ana", "import")]


def test_transcripts_share_their_turns(store: Store, tmp_path: Path) -> None:
    start = "\n\nHuman: Hi\n\nAssistant: Hello\n\nHuman: Help"
    rows = [
        {"chosen": f"{start}\n\nAssistant: Yes\n\nAssistant: now", "rejected": f"{start}\n\nAssistant: No"},
        {"chosen": f"{start}\n\nAssistant: Yes", "rejected": "\n\nHuman: Ho\n\nAssistant: No"},
        {"chosen": f"{start}\n\nAssistant: Yes", "rejected": f"{start}\n\nAssistant: Yes"},
    ]
    report = import_file(store, jsonl(tmp_path / "p.jsonl", *rows))
    assert store.rows(PAIRS) == [("User: Hi\n\nAssistant: Hello\n\nUser: Help", "Yes\n\nnow", "No")]
    assert report.skipped == {
        "the conversations part before the last answer": 1,
        "chosen and rejected are the same": 1,
    }


ANNOTATED = [
    {
        "prompt": "Q",
        "model_a": "A",
        "model_b": "B",
        "response_a": "x",
        "response_b": "y",
        "annotator_1": "a",
        "annotator_2": "tie",
    },
    {
        "prompt": "Q",
        "model_a": "C",
        "model_b": "A",
        "response_a": "z",
        "response_b": "x",
        "annotator_1": "B",
        "annotator_2": None,
    },
]


def test_pairs_by_several_annotators(store: Store, tmp_path: Path) -> None:
    path = jsonl(tmp_path / "p.jsonl", *ANNOTATED)
    report = import_file(store, path)
    assert (report.shape, report.prompts, report.responses, report.judgements) == (
        "annotated_pairs",
        Count(1),
        Count(3),
        Count(3),
    )
    assert store.rows(PAIRS) == [("Q", "x", "y"), ("Q", "x", "z")]
    assert store.rows("SELECT annotator FROM preference_ties") == [("annotator_2",)]
    again = import_file(store, path)
    assert (again.prompts, again.responses, again.judgements) == (Count(0, 1), Count(0, 3), Count(0, 3))


def test_another_verdict_on_the_same_row_is_another_judgement(store: Store, tmp_path: Path) -> None:
    import_file(store, jsonl(tmp_path / "p.jsonl", *ANNOTATED))
    changed = [{**ANNOTATED[0], "annotator_1": "b"}]
    assert import_file(store, jsonl(tmp_path / "q.jsonl", *changed)).judgements == Count(1, 1)


def test_the_user_can_say_which_column_is_which(store: Store, tmp_path: Path) -> None:
    path = write(tmp_path / "p.csv", "ask;yes;no\nQ;good;bad\n")
    report = import_file(store, path, columns={"prompt": "ask", "chosen": "yes", "rejected": "no"})
    assert report.shape == "pairs"
    assert store.rows(PAIRS) == [("Q", "good", "bad")]


def test_parquet_with_nested_messages(store: Store, tmp_path: Path) -> None:
    path = tmp_path / "p.parquet"
    chat = "[{'role': 'user', 'content': 'Q'}] AS prompt"
    store.cursor().execute(
        f"COPY (SELECT {chat}, 'good' AS chosen, 'bad' AS rejected, now() AS at_time) TO '{path}'"
    )
    assert import_file(store, path).judgements == Count(1)
    assert store.rows(PAIRS) == [("Q", "good", "bad")]


def test_text_is_cleaned_on_its_way_in(store: Store, tmp_path: Path) -> None:
    import_file(store, jsonl(tmp_path / "p.jsonl", {"prompt": "a\u202eb\x1b]52;c;x\x07\r\nc\ud800"}))
    assert prompts.listed(store)[0].text == "ab]52;c;x\nc"


def test_prompts_keep_the_order_of_the_file(store: Store, tmp_path: Path) -> None:
    texts = [f"prompt {n}" for n in range(10_000)]
    import_file(store, jsonl(tmp_path / "p.jsonl", *({"prompt": t} for t in texts)))
    assert [p.text for p in prompts.listed(store, limit=20_000)] == texts


def test_progress_is_told(store: Store, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(batches, "MOST_ROWS", 500)
    told: list[tuple[int, float]] = []
    path = jsonl(tmp_path / "p.jsonl", *({"prompt": str(n)} for n in range(1200)))
    import_file(store, path, on_progress=lambda rows, share: told.append((rows, share)))
    assert [rows for rows, _ in told] == [500, 1000, 1200, 1200]
    assert 0.3 < told[0][1] < 0.6
    assert told[-1][1] == 1.0


def test_annotators_that_are_columns_get_the_name_of_their_group(store: Store, tmp_path: Path) -> None:
    line = '{"prompt":"a","response_a":"b","response_b":"c","annotator_1":"a"}\n'
    path = write(tmp_path / "a.jsonl", line)
    assert import_file(store, path, annotator="lab").judgements.added == 1
    assert import_file(store, path, annotator="lab").judgements.added == 0
    assert import_file(store, path).judgements.added == 1
    names = [name for (name,) in store.rows("SELECT annotator FROM current_judgements ORDER BY 1")]
    assert names == ["annotator_1", "lab annotator_1"]
