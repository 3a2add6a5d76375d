"""What keeps a large store quick gives the same rows, and reads no more than it has to."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from storage.sql import block
from storage.store import Store
from tests.storage.builders import add_prompt, add_responses

PLAIN_CRITERION_SCORES = """
SELECT s.response_id, r.prompt_id, p.name AS policy, m.name AS reward_model, s.reward_model_id, s.criterion,
       s.score, s.uncertainty, s.backend, r.sample_index, s.run_id, s.scored_at,
       criterion_place(s.criterion, m.details) AS place, s.cut
FROM scores s
JOIN artifacts m ON m.artifact_id = s.reward_model_id
JOIN responses r USING (response_id)
JOIN policies p USING (policy_id)
QUALIFY row_number() OVER (
    PARTITION BY s.response_id, s.reward_model_id, s.criterion
    ORDER BY exactness(s.backend), s.scored_at DESC
) = 1"""
PLAIN_RESPONSE_SCORES = f"""
SELECT response_id, prompt_id, policy, reward_model, reward_model_id, score, backend, sample_index,
       run_id, scored_at, criterion, uncertainty, cut
FROM ({PLAIN_CRITERION_SCORES})
QUALIFY row_number() OVER (PARTITION BY response_id, reward_model_id ORDER BY place, criterion) = 1"""
MODELS = {"m1": ("tall", None), "m2": ("tall", {"criteria": ["safe", "overall"]}), "m3": ("short", None)}
"""By id: the name, which two versions share, and details."""
BACKENDS = ("torch-float32", "onnx-int8", "onnx-fp32")
CRITERIA = ("overall", "safe", "true")
Scored = tuple[int, str, str, str, float]
SCORES = st.lists(
    st.tuples(
        st.integers(0, 5),
        st.sampled_from(sorted(MODELS)),
        st.sampled_from(BACKENDS),
        st.sampled_from(CRITERIA),
        st.floats(-2, 2, allow_nan=False).map(lambda value: round(value, 1)),
    ),
    max_size=40,
    unique_by=lambda row: row[:4],
)


@pytest.fixture
def study(store: Store) -> tuple[Store, list[str]]:
    """Three prompts with a response of each of two policies, and three reward models."""
    found = []
    for number in range(3):
        prompt = add_prompt(store, f"prompt {number}")
        found += add_responses(store, prompt, f"one {number}", policy="A")
        found += add_responses(store, prompt, f"two {number}", policy="B")
    for model, (name, details) in MODELS.items():
        store.write(
            "INSERT INTO artifacts (artifact_id, kind, name, path, details) "
            "VALUES (?, 'reward_model', ?, '/m', ?)",
            [model, name, json.dumps(details)],
        )
    return store, found


def score(store: Store, responses: list[str], rows: list[Scored]) -> None:
    store.write("DELETE FROM scores")
    for second, (place, model, backend, criterion, value) in enumerate(rows):
        store.write(
            "INSERT INTO scores (response_id, reward_model_id, backend, criterion, score, scored_at) "
            "VALUES (?, ?, ?, ?, ?, TIMESTAMP '2026-01-01' + to_seconds(?))",
            [responses[place], model, backend, criterion, value, second],
        )


@settings(max_examples=8, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(rows=SCORES)
def test_the_scores_that_count_are_those_of_the_plain_definition(
    study: tuple[Store, list[str]], rows: list[Scored]
) -> None:
    store, responses = study
    score(store, responses, rows)
    for view, plain in (
        ("criterion_scores", PLAIN_CRITERION_SCORES),
        ("response_scores", PLAIN_RESPONSE_SCORES),
    ):
        everything = store.rows(f"FROM ({plain}) ORDER BY ALL")
        assert store.rows(f"FROM {view} ORDER BY ALL") == everything
        for column in ("reward_model", "policy", "prompt_id", "response_id", "criterion"):
            for (value,) in store.rows(f"SELECT DISTINCT {column} FROM ({plain})"):
                narrowed = store.rows(f"FROM {view} WHERE {column} = ? ORDER BY ALL", [value])
                assert narrowed == store.rows(f"FROM ({plain}) WHERE {column} = ? ORDER BY ALL", [value])
    asked = "SELECT response_id, criterion, score FROM model_scores('tall', 'true') ORDER BY ALL"
    plain_asked = f"""
        SELECT response_id, criterion, score FROM ({PLAIN_CRITERION_SCORES})
        WHERE reward_model_id IN (SELECT reward_model_id FROM model_run('tall'))
        QUALIFY row_number() OVER (
            PARTITION BY response_id ORDER BY criterion <> 'true', place, criterion) = 1
        ORDER BY ALL"""
    assert store.rows(asked) == store.rows(plain_asked)


# -- how much is read ------------------------------


def operators(store: Store, sql: str, parameters: Mapping[str, Any]) -> Iterator[dict[str, Any]]:
    """Every operator of the plan that was run, with the rows that it gave."""
    ((_, plan),) = store.rows(f"EXPLAIN (ANALYZE, FORMAT json) {sql}", parameters)
    waiting = [json.loads(plan)]
    while waiting:
        node = waiting.pop()
        yield node
        waiting += node.get("children", [])


def scans(store: Store, sql: str, parameters: Mapping[str, Any]) -> dict[str, str]:
    """By table how it was read."""
    return {
        str(node["extra_info"]["Table"]).rsplit(".", 1)[-1]: str(node["extra_info"]["Type"])
        for node in operators(store, sql, parameters)
        if "Table" in node.get("extra_info", {})
    }


@pytest.fixture
def large(store: Store) -> Store:
    """2,000 prompts of two responses, two reward models' scores of each."""
    store.write(
        "INSERT INTO prompts (prompt_id, text, messages) "
        "SELECT 'p' || i, 'q' || i, '[]' FROM range(2000) t(i)"
    )
    store.write("INSERT INTO policies (policy_id, name) VALUES ('y0', 'A'), ('y1', 'B')")
    store.write(
        "INSERT INTO responses (response_id, prompt_id, policy_id, sample_index, text) "
        "SELECT 'r' || i || '-' || k, 'p' || i, 'y' || k, k, 'text ' || i || k "
        "FROM range(2000) t(i), range(2) u(k)"
    )
    store.write(
        "INSERT INTO artifacts (artifact_id, kind, name, path) "
        "VALUES ('f0', 'reward_model', 'tall', '/m'), ('f1', 'reward_model', 'short', '/m')"
    )
    store.write(
        "INSERT INTO scores (response_id, reward_model_id, score, backend) "
        "SELECT response_id, 'f' || m, hash(response_id, m) % 100, 'onnx-fp32' FROM responses, range(2) t(m)"
    )
    store.write("INSERT INTO annotators (annotator_id, name, kind) VALUES ('a1', 'ana', 'human')")
    store.write(
        "INSERT INTO judgements (judgement_id, prompt_id, annotator_id, kind, criterion) "
        "SELECT 'j' || i, 'p' || i, 'a1', 'ranking', 'overall' FROM range(1000) t(i)"
    )
    return store


ONE = {"prompt_id": "p7", "annotator_id": "a1", "criterion": "overall"}
OF_ONE_ITEM = {
    "candidates": (block("judgements", "candidates"), ONE, ("responses",)),
    "responses": (block("responses", "of_prompts"), {"prompt_ids": ["p7"]}, ("responses",)),
    "scores": (block("responses", "scores_of_prompts"), {"prompt_ids": ["p7"]}, ("responses", "scores")),
    "messages": (block("prompts", "messages"), {"prompt_id": "p7"}, ("prompts",)),
    "done": (
        block("waiting", "done_prompts").replace("{of_prompts}", block("waiting", "of_prompts")),
        {"annotator_id": "a1", "criterion": "overall", "prompts": ["p7"]},
        ("responses",),
    ),
}


@pytest.mark.parametrize("name", OF_ONE_ITEM)
def test_what_one_item_needs_is_found_by_its_index(large: Store, name: str) -> None:
    sql, parameters, tables = OF_ONE_ITEM[name]
    found = scans(large, sql, parameters)
    assert {table: found[table] for table in tables} == dict.fromkeys(tables, "Index Scan")


def test_a_comparison_ranks_the_scores_of_its_own_model_and_policies_alone(large: Store) -> None:
    asked = {"a": "A", "b": "A", "reward_model": "tall"}
    ranked = [
        node["operator_cardinality"]
        for node in operators(large, block("comparisons", "by_model"), asked)
        if node.get("operator_type") == "WINDOW"
    ]
    assert ranked
    assert max(ranked) == 2000
