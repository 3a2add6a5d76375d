"""The views against naive computations, and on cases small enough to count by hand."""

from __future__ import annotations

from itertools import combinations

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from storage import artifacts, judgements, responses, runs, scores
from storage.measures import comparisons
from storage.measures.comparisons import ComparedTotal
from storage.records import JudgedItem, NewJudgement, NewScore
from storage.store import Store
from tests.storage.builders import add_prompt, add_responses, judge


@settings(max_examples=20, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(ranks=st.lists(st.integers(1, 4), min_size=2, max_size=6))
def test_a_ranking_implies_all_its_pairs_and_ties(store: Store, ranks: list[int]) -> None:
    prompt = add_prompt(store)
    responses = add_responses(store, prompt, *(f"answer {n}" for n in range(len(ranks))))
    judgement = judge(store, prompt, dict(zip(responses, ranks, strict=True)))
    pairs, ties = set(), set()
    for (r, rank), (s, other) in combinations(zip(responses, ranks, strict=True), 2):
        if rank == other:
            ties.add(tuple(sorted((r, s))))
        else:
            winner, loser = (r, s) if rank < other else (s, r)
            pairs.add((winner, loser, abs(rank - other)))
    query = "SELECT winner_id, loser_id, rank_distance FROM preference_pairs WHERE judgement_id = ?"
    assert set(store.rows(query, [judgement])) == pairs
    query = "SELECT response_a, response_b FROM preference_ties WHERE judgement_id = ?"
    assert set(store.rows(query, [judgement])) == ties


def test_the_best_of_three_beats_the_others_which_do_not_tie(store: Store) -> None:
    prompt = add_prompt(store)
    a, b, c = add_responses(store, prompt, "one", "two", "three")
    items = (JudgedItem(a, 2), JudgedItem(b, 1), JudgedItem(c, 2))
    judgements.record(store, NewJudgement(prompt, "ana", "best_of", items))
    assert set(store.rows("SELECT winner_id, loser_id FROM preference_pairs")) == {(b, a), (b, c)}
    assert store.rows("SELECT * FROM preference_ties") == []


def test_ratings_rank(store: Store) -> None:
    prompt = add_prompt(store)
    a, b, c = add_responses(store, prompt, "one", "two", "three")
    items = (JudgedItem(a, rating=2.5), JudgedItem(b, rating=4.0), JudgedItem(c, rating=2.5))
    judgements.record(store, NewJudgement(prompt, "ana", "rating", items))
    assert dict(store.rows("SELECT response_id, rank FROM rankings")) == {b: 1, a: 2, c: 2}
    assert len(store.rows("SELECT * FROM preference_ties")) == 1


def test_agreement_counts_a_tie_half_and_corrects_for_chance(store: Store) -> None:
    verdicts = [(1, 1), (1, -1), (1, 0), (0, 0)]  # of ana and of ben; their agreement is 1, 0, 1/2, 1
    for number, (ana, ben) in enumerate(verdicts):
        prompt = add_prompt(store, str(number))
        a, b = add_responses(store, prompt, "one", "two")
        for name, verdict in (("ana", ana), ("ben", ben)):
            judge(store, prompt, {a: 2 - (verdict >= 0), b: 2 - (verdict <= 0)}, annotator=name)
    (row,) = judgements.agreement(store)
    assert (row.annotator_a, row.annotator_b, row.pairs) == ("ana", "ben", 4)
    assert row.agreement == pytest.approx(2.5 / 4)
    assert (row.ties_a, row.ties_b) == (0.25, 0.5)
    chance = (1 + 0.25 * 0.5) / 2
    assert row.kappa == pytest.approx((2.5 / 4 - chance) / (1 - chance))


def _two_policies(store: Store) -> tuple[str, list[str], list[str]]:
    prompt = add_prompt(store)
    return (
        prompt,
        add_responses(store, prompt, "a0", "a1", policy="A"),
        add_responses(store, prompt, "b0", policy="B"),
    )


def test_win_rates_by_people(store: Store) -> None:
    prompt, (a0, a1), (b0,) = _two_policies(store)
    judge(store, prompt, {a0: 1, b0: 2, a1: 2})
    rates = {(r.policy_a, r.policy_b): r for r in comparisons.win_rates(store)}
    ours = rates["A", "B"]
    assert (ours.judged_by, ours.wins, ours.ties, ours.losses, ours.rate) == ("human", 1, 1, 0, 0.75)
    assert rates["B", "A"].rate == 0.25
    assert comparisons.total(store, "A", "B", None) == ComparedTotal(1, 1, 1, 0, 0.75)
    assert comparisons.outcomes(store, "A", "B", None) == [(prompt, 0.75)]
    assert comparisons.total(store, "A", "B", None, criterion="kindness").prompts == 0
    assert comparisons.outcomes(store, "A", "B", None, criterion="kindness") == [(prompt, None)]


def _reward_model(store: Store, name: str = "rm", run: str = "reward-1") -> str:
    return artifacts.insert(store, run_id=run, kind="reward_model", name=name, path=f"/models/{run}")


def test_win_rates_by_a_reward_model(store: Store) -> None:
    prompt, (a0, a1), (b0,) = _two_policies(store)
    model = _reward_model(store)
    given_scores = ((a0, 2.0), (a1, 0.5), (b0, 1.0))
    scores.upsert(store, [NewScore(r, model, s, "onnx-int8") for r, s in given_scores])
    assert comparisons.total(store, "A", "B", "rm") == ComparedTotal(1, 1, 0, 1, 0.5)
    rates = {(r.policy_a, r.policy_b): r.rate for r in comparisons.win_rates(store)}
    assert rates == {("A", "B"): 0.5, ("B", "A"): 0.5}
    (pair,) = comparisons.side_by_side(store, "A", "B", "rm")
    assert (pair.prompt_id, pair.text_b, pair.score_b) == (prompt, "b0", 1.0)


def test_the_most_exact_score_of_a_model_counts(store: Store) -> None:
    prompt, (a0, _), _ = _two_policies(store)
    model = _reward_model(store)
    scores.upsert(store, [NewScore(a0, model, 3.0, "onnx-int8")])
    scores.upsert(store, [NewScore(a0, model, 4.0, "onnx-int8")])
    assert store.rows("SELECT score, reward_model, policy FROM response_scores") == [(4.0, "rm", "A")]
    scores.upsert(store, [NewScore(a0, model, 1.0, "onnx-fp32")])
    scores.upsert(store, [NewScore(a0, model, 5.0, "onnx-int8")])
    assert store.rows("SELECT score FROM response_scores") == [(1.0,)]
    assert {row.scores.get("rm") for row in responses.of_prompt(store, prompt)} == {1.0, None}
    assert scores.count_unscored(store, model, "onnx-int8") == 2
    assert [u.text for u in scores.unscored(store, model, "onnx-fp32")].count("a0") == 0


def test_the_newest_reward_model_of_a_name_is_in_use_with_its_export(store: Store) -> None:
    _reward_model(store, run="reward-1")
    newest = _reward_model(store, run="reward-2")
    for precision in ("int8", "fp32"):
        path = f"/runs/export-1/onnx/{precision}.onnx"
        artifacts.insert(store, run_id="export-1", kind="onnx", name=precision, path=path, parent_id=newest)
    runs.insert_run(store, "reward-2", "reward", {"name": "rm"})
    at = runs.run_row(store, "reward-2").created_at
    runs.insert_metrics(
        store,
        [("reward-2", 1, 5, "heldout/accuracy", 0.6, at), ("reward-2", 2, 9, "heldout/accuracy", 0.7, at)],
    )
    (model,) = artifacts.reward_models(store)
    assert (model.reward_model_id, model.folder) == (newest, "/models/reward-2")
    assert (model.onnx_folder, model.precisions) == ("/runs/export-1/onnx", ("fp32", "int8"))
    assert model.accuracy == 0.7
    (summary,) = store.rows("SELECT run_id, name, heldout_accuracy, last_step FROM run_summary")
    assert summary == ("reward-2", "rm", 0.7, 9)
