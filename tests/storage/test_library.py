"""Prompts, responses, policies, snapshots and saved queries."""

from __future__ import annotations

import hashlib
from pathlib import Path

import pytest

from storage import policies, prompts, queries, responses, scores
from storage.artifacts import insert as insert_artifact
from storage.errors import NotFoundError
from storage.records import NewScore
from storage.store import Store
from storage.transfer import snapshots
from tests.storage.builders import add_prompt, add_responses, judge


def test_prompts_are_found_paged_and_counted(store: Store) -> None:
    ids = [add_prompt(store, text) for text in ("Write a poem", "Cook rice", "write CODE")]
    a, b = add_responses(store, ids[1], "x", "y")
    judge(store, ids[1], {a: 1, b: 2})
    assert [p.text for p in prompts.listed(store)] == ["Write a poem", "Cook rice", "write CODE"]
    assert [p.prompt_id for p in prompts.listed(store, "WRITE")] == [ids[0], ids[2]]
    assert [p.prompt_id for p in prompts.listed(store, limit=1, offset=1)] == [ids[1]]
    assert prompts.count(store, "rice") == 1
    (rice,) = prompts.listed(store, "rice")
    assert (rice.responses, rice.judgements, rice.source) == (2, 1, "test")
    assert prompts.sources(store) == [("test", 3)]
    overview = prompts.overview(store)
    assert (overview.prompts, overview.responses, overview.judgements, overview.policies) == (3, 2, 1, 1)


def test_a_page_behind_a_prompt_is_that_of_its_place(store: Store) -> None:
    with store.transaction():
        for n in range(40):
            add_prompt(store, f"{'Even' if n % 2 == 0 else 'Odd'} number {n}")
        store.write(
            "UPDATE prompts SET created_at = TIMESTAMP '2026-01-01' + to_days((hash(text) % 5)::INTEGER)"
        )
    for search in ("", "odd"):
        whole = prompts.listed(store, search)
        for place in (0, 7, len(whole) - 1):
            behind = prompts.listed(store, search, limit=5, after=whole[place].prompt_id)
            assert behind == whole[place + 1 : place + 6]


def test_a_search_is_text_and_no_pattern(store: Store) -> None:
    add_prompt(store, "100 % sure")
    assert prompts.count(store, "%") == 1
    assert prompts.count(store, "_") == 0
    assert prompts.count(store, "'") == 0


def test_the_same_prompt_and_response_are_stored_once(store: Store) -> None:
    first = add_prompt(store)
    assert add_prompt(store) == first
    assert responses.add(store, first, "base", "x") == responses.add(store, first, "base", "x")
    assert responses.add(store, first, "base", "x") != responses.add(store, first, "other", "x")
    assert prompts.overview(store).responses == 2


def test_several_turns_are_shown_as_a_transcript(store: Store) -> None:
    chat = [
        {"role": "system", "content": "Be kind."},
        {"role": "user", "content": "Hi"},
        {"role": "assistant", "content": "Hello"},
        {"role": "user", "content": "Bye"},
    ]
    prompt = prompts.add(store, chat)
    assert prompts.listed(store)[0].text == "User: Hi\n\nAssistant: Hello\n\nUser: Bye"
    assert prompts.messages(store, prompt) == chat
    with pytest.raises(NotFoundError):
        prompts.messages(store, "p0")


def test_responses_carry_mean_rank_and_scores(store: Store) -> None:
    prompt, other = add_prompt(store), add_prompt(store, "other")
    a, b = add_responses(store, prompt, "one", "two")
    add_responses(store, other, "three")
    judge(store, prompt, {a: 1, b: 2})
    judge(store, prompt, {a: 2, b: 1}, annotator="ben")
    judge(store, prompt, {a: 1, b: 2}, annotator="cem")
    model = insert_artifact(store, run_id="r", kind="reward_model", name="rm", path="/m")
    scores.upsert(store, [NewScore(a, model, 1.5, "onnx-int8")])
    found = responses.of_prompts(store, [prompt, other])
    ranked = {r.response_id: r for r in found[prompt]}
    assert ranked[a].mean_rank == pytest.approx(4 / 3)
    assert ranked[a].scores == {"rm": 1.5}
    assert ranked[b].scores == {}
    assert [r.mean_rank for r in found[other]] == [None]


def test_an_unknown_policy_is_told_with_the_near_one(store: Store) -> None:
    with pytest.raises(NotFoundError, match="none is registered yet"):
        policies.by_name(store, "smollm2")
    policies.ensure(store, "smollm2")
    with pytest.raises(NotFoundError, match="did you mean “smollm2”"):
        policies.by_name(store, "smolm2")


def test_snapshots_are_what_a_job_reads_and_their_hash_is_the_files(store: Store, tmp_path: Path) -> None:
    prompt = add_prompt(store)
    a, b = add_responses(store, prompt, "one", "two")
    judge(store, prompt, {a: 1, b: 2})
    model = insert_artifact(store, run_id="r", kind="reward_model", name="rm", path="/m")
    scores.upsert(store, [NewScore(a, model, 1.5, "x")])
    taken = {
        "prompts": snapshots.write_prompts(store, tmp_path / "in" / "prompts.parquet"),
        "rankings": snapshots.write_rankings(store, tmp_path / "in" / "rankings.parquet"),
        "responses": snapshots.write_responses(
            store, tmp_path / "in" / "responses.parquet", unscored_by=model
        ),
    }
    expected = {
        "prompts": (1, ["prompt_id", "messages", "reference", "metadata", "split"]),
        "rankings": (
            2,
            [
                *("judgement_id", "annotator", "annotator_kind", "criterion", "kind", "prompt_id"),
                *("messages", "response_id", "text", "rank", "rating", "finish_reason"),
                *("unordered", "strength"),
            ],
        ),
        "responses": (1, ["response_id", "prompt_id", "messages", "text", "finish_reason"]),
    }
    for name, snapshot in taken.items():
        columns = [c for c, *_ in store.rows("DESCRIBE SELECT * FROM read_parquet(?)", [str(snapshot.path)])]
        assert (snapshot.rows, columns) == expected[name]
        assert snapshot.sha256 == hashlib.sha256(snapshot.path.read_bytes()).hexdigest()
    assert snapshots.write_rankings(store, tmp_path / "x.parquet", annotator="nobody").rows == 0
    assert snapshots.write_rankings(store, tmp_path / "x.parquet", criteria=["helpful"]).rows == 0
    assert snapshots.write_rankings(store, tmp_path / "x.parquet", criteria=None).rows == 2
    again = snapshots.write_rankings(store, tmp_path / "again.parquet")
    assert again.sha256 == taken["rankings"].sha256


def test_history_and_saved_queries(store: Store) -> None:
    queries.remember(store, "SELECT 1", rows=1, seconds=0.1)
    queries.remember(store, "SELECT oops", error="no such column")
    queries.save(store, "mine", "SELECT 2")
    queries.save(store, "mine", "SELECT 3")
    assert [(q.sql, q.error) for q in queries.history(store)] == [
        ("SELECT oops", "no such column"),
        ("SELECT 1", None),
    ]
    assert [(q.name, q.sql) for q in queries.saved(store)] == [("mine", "SELECT 3")]
    tree = {t.name: t for t in queries.tree(store)}
    assert tree["preference_pairs"].kind == "view"
    assert tree["prompts"].columns[0] == ("prompt_id", "VARCHAR")
