"""The gallery's queries run, on an empty store and on one that has something of everything."""

from __future__ import annotations

from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from engine.errors import UsageError
from storage.store import Store
from tests.storage.builders import add_prompt, add_responses, judge
from workbench.services.sql.completing import Completer
from workbench.services.sql.gallery import gallery, page
from workbench.services.sql.sql import Sql
from workbench.services.sql.values import parameters_of, with_values

ROOT = Path(__file__).parents[4]
VALUES = {"reward_model": "first", "run": "ppo-1"}
BY_NAME = {query.name: query for query in gallery()}
OF_FILES = ("moved-tokens",)  # reads traces, which this store has none of


@pytest.fixture(scope="module")
def full(tmp_path_factory: pytest.TempPathFactory) -> Sql:
    """Two policies, two people, a reward model, a run with metrics, repeats, an assignment."""
    store = Store.open(tmp_path_factory.mktemp("gallery") / "a.duckdb")
    for number in range(3):
        prompt = add_prompt(store, f"prompt {number}")
        (short,) = add_responses(store, prompt, "yes", policy="a")
        (long,) = add_responses(store, prompt, "yes, certainly", policy="b")
        if number < 2:
            judge(store, prompt, {short: 1, long: 2}, seconds=3.0)
            judge(store, prompt, {short: 2, long: 1}, annotator="bo")
            judge(store, prompt, {short: 1, long: 2}, annotator="bo")
    store.write(
        "INSERT INTO runs (run_id, kind, status, config, created_at, started_at, ended_at) VALUES "
        "('ppo-1', 'ppo', 'done', '{\"name\": \"b\"}', '2026-01-02', '2026-01-02', '2026-01-03')"
    )
    store.write("UPDATE policies SET run_id = 'ppo-1' WHERE name = 'b'")
    store.write(
        "INSERT INTO metrics SELECT 'ppo-1', i, i, n, i / 4, '2026-01-02' FROM range(3) t(i), "
        "unnest(['policy/score', 'policy/kl', 'policy/gold']) u(n)"
    )
    store.write(
        "INSERT INTO artifacts (artifact_id, kind, name, path) VALUES ('f1', 'reward_model', 'first', '/f')"
    )
    store.write(
        "INSERT INTO scores (response_id, reward_model_id, score, backend) "
        "SELECT response_id, 'f1', length(text), 'torch-float32' FROM responses"
    )
    store.write(
        "INSERT INTO projects (project_id, name, mode, criterion, overlap) "
        "VALUES ('w', 'w', 'rank', 'overall', 1)"
    )
    store.write(
        "INSERT INTO assignments "
        "(assignment_id, project_id, annotator_id, position, kind, prompt_id, responses) "
        "SELECT 's' || a.name || p.text, 'w', annotator_id, p.rowid, 'label', prompt_id, [] "
        "FROM prompts p, annotators a"
    )
    return Sql(store)


def test_there_are_some_twenty() -> None:
    assert len(gallery()) >= 20
    assert all(query.question.endswith("?") for query in gallery())


@pytest.mark.parametrize("name", BY_NAME)
def test_a_question_is_answered(full: Sql, name: str) -> None:
    sql = with_values(BY_NAME[name].sql, VALUES)
    assert (full.run(sql).rows > 0) == (name not in OF_FILES)


def test_an_empty_store_answers_too() -> None:
    with Store.open(":memory:") as store:
        for query in gallery():
            Sql(store).run(with_values(query.sql, VALUES))


def test_some_answers(full: Sql) -> None:
    """Worked out by hand for the store above."""

    def rows(name: str) -> list[dict[str, object]]:
        return full.run(with_values(BY_NAME[name].sql, VALUES)).table.to_pylist()

    (agreement,) = rows("reward-model-and-people")  # 2 of 6 pairs prefer the longer one
    assert (agreement["pairs"], agreement["agreement"]) == (6, pytest.approx(1 / 3))
    assert {row["annotator"]: row["longer_preferred"] for row in rows("length-of-preferences")} == {
        "ana": 0.0,
        "bo": 0.5,
    }
    assert [(row["annotator"], row["same"]) for row in rows("agreement-with-oneself")] == [("bo", 0.0)]
    assert [row["text"] for row in rows("waiting")] == ["prompt 2"]
    assert {row["annotator"]: (row["entries"], row["done"]) for row in rows("assigned")} == {
        "ana": (3, 0),
        "bo": (3, 0),
    }


def test_the_page_of_the_documentation_is_the_gallery() -> None:
    assert (ROOT / "docs/queries/index.md").read_text() == page()


def test_values_of_parameters() -> None:
    sql = "SELECT $a, '$b', $c"
    assert parameters_of(sql) == ["a", "c"]
    assert with_values(sql, {"a": "3", "c": "x'y"}) == "SELECT 3, '$b', 'x''y'"
    with pytest.raises(UsageError, match=r"\$c"):
        with_values(sql, {"a": "1"})


TABLES = {"prompts": ["prompt_id", "text"], "responses": ["response_id", "prompt_id", "policy_id"]}
COMPLETER = Completer(TABLES, ["avg", "arg_max"])


@pytest.mark.parametrize(
    ("before", "after", "rest"),
    [
        ("SELECT pol", " FROM responses", "icy_id"),
        ("SELECT pol", " FROM prompts", "icy_id"),  # of any table, the last resort
        ("SELECT r.te", " FROM responses r JOIN prompts p USING (prompt_id)", ""),
        ("SELECT p.te", " FROM responses r JOIN prompts p USING (prompt_id)", "xt"),
        ("SELECT * FROM pro", "", "mpts"),
        ("sel", "", "ect"),
        ("SELECT arg", "", "_max"),
        ("SELECT 'pro", "", ""),
        ("-- pro", "", ""),
        ("SELECT * FROM prompts", "", ""),
        ("SELECT p", "", ""),
    ],
)
def test_words_are_completed(before: str, after: str, rest: str) -> None:
    assert COMPLETER.rest_of(before, before + after) == rest


@given(st.text(max_size=40), st.text(max_size=20))
def test_completing_never_fails(before: str, after: str) -> None:
    COMPLETER.rest_of(before, before + after)
