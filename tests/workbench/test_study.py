"""The way in from Python, as a notebook would use it: on a real file, with a real worker."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

import workbench
from engine.errors import UsageError, WorkbenchError
from workbench.study import RunFailedError, Study


@pytest.fixture
def study(tmp_path: Path) -> Iterator[Study]:
    rows = [
        {"prompt": "Say hello.", "response": text, "policy": f"p{number}"}
        for number, text in enumerate(["Hello.", "Hello, my dear friend.", "Hi there."])
    ]
    file = tmp_path / "responses.jsonl"
    file.write_text("".join(json.dumps(row) + "\n" for row in rows))
    with workbench.open(tmp_path / "study.duckdb", annotator="ada") as opened:
        opened.import_file(file)
        yield opened


def test_what_is_judged_can_be_queried(study: Study) -> None:
    prompt = study.prompts()[0].prompt_id
    by_text = {row.text: row.response_id for row in study.responses(prompt)}
    best, tied = by_text["Hi there."], [by_text["Hello."], by_text["Hello, my dear friend."]]
    study.judge(prompt, [best, tied], note="short")
    frame = study.sql("SELECT annotator, winner_id, loser_id FROM preference_pairs ORDER BY loser_id")
    assert frame.rows() == [("ada", best, other) for other in sorted(tied)]
    assert study.arrow("SELECT 1 AS one").column("one").to_pylist() == [1]
    assert study.judge_by_rule("concise") == 1


def test_what_is_judged_leaves_as_other_tools_read_it(study: Study, tmp_path: Path) -> None:
    study.judge_by_rule("concise")
    done = study.export_data("pairs", tmp_path / "p.jsonl", layout="trl-conversational", anonymous=True)
    row = json.loads((tmp_path / "p.jsonl").read_text().splitlines()[0])
    assert done.rows == study.export_data("preference_pairs", tmp_path / "p.csv").rows
    assert row["prompt"] == [{"role": "user", "content": "Say hello."}]
    assert row["annotator"] == "annotator 1"
    with pytest.raises(UsageError, match="with a layout"):
        study.export_data("pairs", tmp_path / "p.csv", anonymous=True)


def test_a_ranking_that_cannot_be_is_refused_and_nothing_is_stored(study: Study) -> None:
    prompt = study.prompts()[0].prompt_id
    ids = [row.response_id for row in study.responses(prompt)]
    for ranking, words in (
        ([*ids, ids[0]], "twice"),
        ([*ids, "nobody"], "nobody is not a response"),
        (ids[:2], "needs a rank"),
    ):
        with pytest.raises(UsageError, match=words):
            study.judge(prompt, ranking)
    with pytest.raises(WorkbenchError, match="prompt_count"):
        study.generate("smollm2", prompt_counts=3)
    assert study.sql("SELECT count(*) AS n FROM judgements").item() == 0


def test_a_run_is_waited_for_and_found_again(study: Study, tiny_model: Path) -> None:
    options = {"samples": 2, "max_new_tokens": 4, "dtype": "float32", "device": "cpu"}
    run = study.generate(str(tiny_model), **options).wait()
    assert run.status == "done"
    assert [found.id for found in study.runs()] == [run.id] == [study.run(run.id).id]
    assert study.sql(f"SELECT count(*) AS n FROM responses WHERE run_id = '{run.id}'").item() == 2


def test_a_run_that_fails_says_why(study: Study, tmp_path: Path) -> None:
    folder = tmp_path / "empty"
    folder.mkdir()
    with pytest.raises((RunFailedError, UsageError), match="empty"):
        study.generate(str(folder), samples=1).wait()


def test_importing_the_package_is_light() -> None:
    """Nothing but the standard library is imported before a study is opened, and torch never."""
    code = (
        "import sys, json; before = set(sys.modules); import workbench; "
        "print(json.dumps(sorted({m.partition('.')[0] for m in set(sys.modules) - before})))"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert set(json.loads(done.stdout)) <= {*sys.stdlib_module_names, "workbench"}
