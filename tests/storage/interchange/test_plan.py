"""What a person says of columns, one thing after another; all of it can be taken back."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from storage.interchange.mapping.language import parse_path, parse_statement
from storage.interchange.planning import Plan, propose
from tests.storage.builders import write


def plan_of(tmp_path: Path, row: dict[str, Any]) -> Plan:
    rows = [
        {key: f"{value} {n}" if isinstance(value, str) else value for key, value in row.items()}
        for n in range(3)
    ]
    return propose(write(tmp_path / "f.jsonl", "".join(json.dumps(row) + "\n" for row in rows)))


def told(plan: Plan) -> set[str]:
    return {str(statement) for statement in plan.mapping.statements}


def test_several_columns_can_be_left_out(tmp_path: Path) -> None:
    plan = plan_of(tmp_path, {"prompt": "Why so?", "chosen": "a b", "rejected": "c d", "x": "e", "y": "f"})
    plan = plan.with_role("ignore", "x").with_role("ignore", "y").with_role("keep", "chosen")
    assert {"ignore=x", "ignore=y", "keep=chosen"} <= told(plan)
    assert plan.layout is None or "chosen=chosen" not in told(plan)


def test_texts_side_by_side_become_a_list(tmp_path: Path) -> None:
    plan = plan_of(tmp_path, {"prompt": "Why so?", "ada": "one two", "bob": "three four", "cleo": "five six"})
    for name in ("ada", "bob", "cleo"):
        plan = plan.with_role("responses", name)
    assert {"responses=ada", "responses=bob", "responses=cleo"} <= told(plan)
    assert plan.layout == "ranked_lists"
    assert [len(example.answers) for example in plan.preview[0]] == [3, 3, 3]


def test_a_role_of_one_column_moves(tmp_path: Path) -> None:
    plan = plan_of(
        tmp_path, {"prompt": "Why so?", "question": "And how?", "chosen": "a b", "rejected": "c d"}
    )
    moved = plan.with_role("prompt", "question")
    assert "prompt=question" in told(moved)
    assert "prompt=prompt" not in told(moved)
    again = moved.with_role("prompt", "prompt")
    assert "prompt=question" not in told(again)
    assert told(moved.without_word_on(parse_path("question"))) == told(plan)


def test_a_verdict_is_turned_and_turned_back(tmp_path: Path) -> None:
    plan = plan_of(tmp_path, {"prompt": "Why so?", "answer_a": "a b", "answer_b": "c d", "label": 1})
    path = parse_path("label")
    first = plan.preview[0][0].judgements[0].items
    turned = plan.turned(path)
    assert [rank for _, rank, _ in turned.preview[0][0].judgements[0].items] == [r for _, r, _ in first][::-1]
    assert turned.turned(path).preview[0][0].judgements[0].items == first
    coded = plan.with_statement(parse_statement("winner=label{1:b, 0:a}"))
    assert "winner=label{1:a, 0:b}" in told(coded.turned(path))
    assert str(parse_statement("winner=label{reversed}")) == "winner=label{reversed}"


def test_what_is_confirmed_comes_in_unasked(tmp_path: Path) -> None:
    from dataclasses import replace

    from storage.interchange.importing import run
    from storage.store import Store

    plan = plan_of(tmp_path, {"prompt": "Why so?", "chosenn": "a b", "rejected": "c d"})
    with Store.open(":memory:") as store:
        assert run(store, replace(plan, confirmed=True)).prompts.added == 3
