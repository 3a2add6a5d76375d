"""Objectives, criteria, annotators, ratings and ensembles of the reward job, on the fake model."""

import math
from pathlib import Path
from typing import Any

import msgspec
import pyarrow.parquet as pq
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from transformers import AutoModelForSequenceClassification

from engine.errors import UsageError
from engine.models.packing import Row
from engine.models.reward_model import load_reward_model
from engine.protocol.configs import RewardConfig
from engine.protocol.events import Artifact, Finished, Message, Metrics, Output
from engine.reward_learning.fine_tuning.annotators import annotators_of
from engine.reward_learning.fine_tuning.data import Element, Judgement, majority_of, read_rankings
from engine.reward_learning.fine_tuning.objective import Objective, standards_of, terms_of
from engine.reward_learning.fine_tuning.plan import TrainingPlan
from engine.reward_learning.job import run
from engine.text import Tokeniser
from tests.engine.training.runs import make_run, only, rankings

CONFIG = RewardConfig(
    name="r", tuning="full", epochs=2, learning_rate=3e-3, batch_prompts=4, warmup_steps=2, dtype="float32",
    device="cpu", checkpoint_every=3, holdout=0.25,
)  # fmt: skip


def config(**changes: Any) -> RewardConfig:
    return msgspec.structs.replace(CONFIG, **changes)


def judgement(ranks: list[int], annotator: str = "ann", criterion: int = 0, **more: Any) -> Judgement:
    return Judgement(annotator, criterion, torch.arange(len(ranks)), torch.tensor(ranks), **more)


def element(*judgements: Judgement, prompt: str = "p", responses: int = 4) -> Element:
    row = Row([1], [[2, 3]] * responses)
    return Element(prompt, (row,), tuple(f"r{k}" for k in range(responses)), judgements, frozenset(), None)


def two_criteria(prompts: int = 16) -> list[dict[str, Any]]:
    """The more `a` the better overall; the fewer the better for `brief`, which only ann judges."""
    rows = [{**row, "criterion": "overall", "kind": "ranking", "rating": None} for row in rankings(prompts)]
    worst = {
        row["prompt_id"]: max(r["rank"] for r in rows if r["prompt_id"] == row["prompt_id"]) for row in rows
    }
    brief = [
        {
            **row,
            "judgement_id": row["judgement_id"] + "b",
            "criterion": "brief",
            "rank": 1 + worst[row["prompt_id"]] - row["rank"],
        }
        for row in rows
        if row["annotator"] == "ann"
    ]
    return rows + brief


@pytest.mark.parametrize("objective", ["plackett_luce", "davidson", "rao_kupper", "rating"])
def test_every_objective_learns(tmp_path: Path, tiny_model: Path, objective: Any) -> None:
    chosen = config(objective=objective, epochs=6)
    rows = [{**row, "kind": "ranking", "rating": 5.0 - row["rank"]} for row in rankings(24)]
    for row in rows:
        if objective in ("davidson", "rao_kupper") and row["annotator"] == "ben":
            row["rank"] = min(row["rank"], 3)
    directory = make_run(tmp_path / "run", chosen, {"policy": tiny_model}, {"rankings": rows})
    events = list(run(chosen, directory))
    heldout = [event.values for event in only(events, Metrics) if "heldout/accuracy" in event.values]
    assert float(heldout[-1]["heldout/accuracy"] or 0) > 0.85
    assert float(heldout[-1]["heldout/loss"] or 0) < float(heldout[0]["heldout/loss"] or 0)
    ties = [event.values["train/tie"] for event in only(events, Metrics) if "train/tie" in event.values]
    assert bool(ties) == (objective in ("davidson", "rao_kupper"))
    if ties:
        assert abs(float(ties[-1] or 0) - float(ties[0] or 0)) > 0.01  # learned, faster than weights are


@pytest.mark.parametrize("tuning", ["full", "lora"])
def test_several_criteria_and_an_ensemble(tmp_path: Path, tiny_model: Path, tuning: Any) -> None:
    chosen = config(tuning=tuning, criterion="all", ensemble=3, epochs=6, learning_rate=1e-2)
    directory = make_run(tmp_path / "run", chosen, {"policy": tiny_model}, {"rankings": two_criteria()})
    events = list(run(chosen, directory))
    heldout = [event.values for event in only(events, Metrics) if "heldout/accuracy" in event.values][-1]
    assert float(heldout["heldout/overall/accuracy"] or 0) > 0.8
    assert float(heldout["heldout/brief/accuracy"] or 0) > 0.8
    assert {"heldout/annotator/ann/accuracy", "heldout/annotator/ben/log_loss"} <= heldout.keys()
    artifact = only(events, Artifact)[0]
    assert artifact.details["criteria"] == ("overall", "brief")
    outputs = {output.kind: directory.path / output.path for output in only(events, Output)}
    kinds = [type(event).__name__ for event in events[-4:]]
    assert kinds == ["Artifact", "Output", "Output", "Finished"]
    splits = pq.read_table(outputs["splits"]).to_pylist()
    assert sorted(row["split"] for row in splits) == ["heldout"] * 4 + ["train"] * 12

    scores = pq.read_table(outputs["scores"]).to_pylist()
    assert len(scores) == 16 * 4 * 2
    assert all(row["uncertainty"] > 0 and row["backend"] == "torch-float32" for row in scores)
    model = AutoModelForSequenceClassification.from_pretrained(directory.path / "model").eval()
    assert model.config.id2label == {0: "overall", 1: "brief"}
    reward_model = load_reward_model(directory.path / "model", "float32", "cpu")
    tokeniser = Tokeniser.from_folder(tiny_model)
    data = read_rankings(directory.table("rankings"), tokeniser, max_tokens=512, holdout=0.25, seed=0)
    found = {(row["response_id"], row["criterion"]): row for row in scores}
    for some in data.train[:3]:
        for row in some.rows:
            members = reward_model.members([row])
            assert members is not None
            for k, response in enumerate(row.responses):
                with torch.no_grad():
                    logits = model(input_ids=torch.tensor([[*row.prompt, *response]])).logits[0]
                for c, name in enumerate(("overall", "brief")):
                    told = found[some.response_ids[k], name]
                    assert float(logits[c]) == pytest.approx(told["score"], abs=1e-4)
                    assert float(members[:, k, c].mean()) == pytest.approx(told["score"], abs=1e-4)
                    spread = float(members[:, k, c].std(unbiased=False))
                    assert spread == pytest.approx(told["uncertainty"], abs=1e-4)


def test_an_unknown_criterion_is_told(tmp_path: Path, tiny_model: Path) -> None:
    chosen = config(criterion="overall, kind")
    directory = make_run(tmp_path / "run", chosen, {"policy": tiny_model}, {"rankings": two_criteria(4)})
    with pytest.raises(
        UsageError, match=r"Nobody has judged by the criterion “kind”; there are .* brief, overall"
    ):
        list(run(chosen, directory))


def test_annotators_are_told_apart_and_the_learning_curve_counts_pairs(
    tmp_path: Path, tiny_model: Path
) -> None:
    chosen = config(weights="agreement", evaluations=4, epochs=1, batch_prompts=1, lm_coefficient=0.1)
    directory = make_run(tmp_path / "run", chosen, {"policy": tiny_model}, {"rankings": rankings(16)})
    events = list(run(chosen, directory))
    told = [message.text for message in only(events, Message)]
    assert any(text.startswith("“ann”: ") and "agrees with the others on 100%" in text for text in told)
    assert any(text.startswith("“ben”: ") and "weight 1.00" in text for text in told)
    curve = [event for event in only(events, Metrics) if "curve/accuracy" in event.values]
    lessons = only(events, Finished)[0].summary
    assert len(curve) == 5
    assert (curve[0].step, curve[-1].step) == (0, lessons["pairs"])
    assert [event.step for event in curve] == sorted({event.step for event in curve})
    assert all("train/lm_loss" in e.values for e in only(events, Metrics) if "train/loss" in e.values)


def test_a_majority_settles_pairs(tmp_path: Path, tiny_model: Path) -> None:
    chosen = config(annotators="majority", epochs=1)
    rows = rankings(8)
    for row in rows:
        if row["annotator"] == "ben" and row["prompt_id"] == "p0":
            row["rank"] = 5 - row["rank"]  # no majority on anything
    directory = make_run(tmp_path / "run", chosen, {"policy": tiny_model}, {"rankings": rows})
    events = list(run(chosen, directory))
    assert any("a majority is a strict verdict" in message.text for message in only(events, Message))
    outputs = {output.kind: directory.path / output.path for output in only(events, Output)}
    splits = pq.read_table(outputs["splits"]).to_pylist()
    assert "p0" not in {row["prompt_id"] for row in splits}
    scored = {row["response_id"] for row in pq.read_table(outputs["scores"]).to_pylist()}
    assert "r0-0" in scored  # responses nothing was learned from have scores too


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"objective": "davidson", "margin": 0.1}, "belong to bradley_terry"),
        ({"tie": 0.5}, "has no tie parameter"),
        ({"objective": "rating", "annotators": "majority"}, "strict pairs only"),
        ({"annotators": "majority", "weights": "agreement"}, "no annotators to weigh"),
        ({"annotators": "majority", "weights": "consensus"}, "no annotators to weigh"),
        ({"objective": "rating"}, "There is no rating among the judgements of 4 prompts"),
    ],
)
def test_settings_that_do_not_go_together(
    tmp_path: Path, tiny_model: Path, changes: dict[str, Any], words: str
) -> None:
    chosen = config(**changes)
    directory = make_run(tmp_path / "run", chosen, {"policy": tiny_model}, {"rankings": rankings(4)})
    with pytest.raises(UsageError, match=words):
        list(run(chosen, directory))


# Pieces


def test_two_of_three_decide_and_one_person_has_one_vote() -> None:
    found = majority_of([judgement([1, 2]), judgement([1, 2], "ben"), judgement([2, 1], "cem")])
    assert [(j.indices.tolist(), j.ranks.tolist()) for j in found] == [([0, 1], [1, 2])]
    assert majority_of([judgement([1, 2]), judgement([2, 1], "ben")]) == ()
    assert majority_of([judgement([1, 2]), judgement([1, 2]), judgement([2, 1], "ben")]) == ()
    assert majority_of([judgement([1, 1]), judgement([1, 1], "ben"), judgement([2, 1], "cem")]) == ()


def test_what_a_best_of_leaves_was_not_compared() -> None:
    best = judgement([1, 2, 2], unordered=torch.tensor([False, True, True]))
    assert (best.pairs.winner.numel(), best.ties.first.numel()) == (2, 0)
    assert judgement([1, 2, 2]).ties.first.numel() == 1


def test_a_partial_ranking_keeps_the_ties_above_its_rest() -> None:
    found = judgement([1, 1, 2, 2, 2], unordered=torch.tensor([False, False, True, True, True]))
    assert (found.pairs.winner.numel(), found.ties.first.tolist(), found.ties.second.tolist()) == (
        6,
        [0],
        [1],
    )


def test_how_much_better_is_the_distance_that_a_margin_goes_by() -> None:
    assert judgement([1, 2], strength=3.0).pairs.distance.tolist() == [3.0]
    assert judgement([1, 2]).pairs.distance.tolist() == [1.0]


@given(st.lists(st.lists(st.permutations([1, 2, 3, 4]), min_size=3, max_size=3), min_size=1, max_size=5))
@settings(deadline=None, max_examples=30)
def test_weights_average_one_and_follow_agreement(said: list[list[list[int]]]) -> None:
    elements = [
        element(
            *(judgement(list(ranks), name) for ranks, name in zip(three, ("ann", "ben", "cem"), strict=True)),
            prompt=f"p{i}",
        )
        for i, three in enumerate(said)
    ]
    people = annotators_of(elements, "agreement")
    judged = sum(person.pairs + person.ties for person in people.values())
    mean = sum(person.weight * (person.pairs + person.ties) for person in people.values()) / judged
    assert mean == pytest.approx(1)
    order = sorted(people.values(), key=lambda person: person.shrunk)
    assert [person.weight for person in order] == sorted(person.weight for person in order)
    assert {person.weight for person in annotators_of(elements, "equal").values()} == {1.0}


def test_agreement_is_shrunk_towards_the_average() -> None:
    together = [
        element(judgement([1, 2], "ann"), judgement([1, 2], "ben"), prompt=f"p{i}", responses=2)
        for i in range(30)
    ]
    against = element(judgement([1, 2], "ann"), judgement([2, 1], "cem"), prompt="q", responses=2)
    people = annotators_of([*together, against], "agreement")
    assert people["cem"].agreement == 0
    assert 0.7 < people["cem"].shrunk < people["ann"].shrunk < people["ben"].shrunk < 1
    alone = annotators_of([element(judgement([1, 2, 3, 4]))], "agreement")["ann"]
    assert (alone.weight, alone.shared) == (1.0, 0)
    assert math.isnan(alone.agreement)


def test_weights_by_consensus_follow_ability_and_average_one() -> None:
    """Dan says the opposite on every second prompt; a rule that always does must not make the consensus."""
    turned = {True: [3, 2, 1], False: [1, 2, 3]}
    elements = [
        element(
            *(judgement([1, 2, 3], name) for name in ("ann", "ben")),
            judgement(turned[i % 2 == 0], "dan"),
            *(judgement([3, 2, 1], f"rule:{n}") for n in range(4)),
            prompt=f"p{i}",
            responses=3,
        )
        for i in range(12)
    ]
    people = annotators_of(elements, "consensus")
    judged = sum(person.pairs + person.ties for person in people.values())
    assert sum(p.weight * (p.pairs + p.ties) for p in people.values()) / judged == pytest.approx(1)
    assert people["ann"].weight == pytest.approx(people["ben"].weight, rel=0.05)
    assert people["ann"].weight > 2 * people["dan"].weight > 0
    assert all(0 < people[f"rule:{n}"].weight < 0.2 * people["ann"].weight for n in range(4))


def test_ratings_are_standardised_for_each_person() -> None:
    strict = judgement([2, 1], "ann", ratings=torch.tensor([1.0, 3.0]).double())
    mild = judgement([2, 1], "ben", ratings=torch.tensor([8.0, 9.0]).double())
    same = judgement([1, 1], "cem", ratings=torch.tensor([5.0, 5.0]).double())
    one = element(strict, mild, same, responses=2)
    standards = standards_of([one])
    assert ("cem", 0) not in standards  # ratings that are all equal say nothing
    assert terms_of(one, 1, {}, standards).target.tolist() == [-1.0, 1.0, -1.0, 1.0]


@given(st.integers(1, 3), st.integers(0, 99))
@settings(deadline=None, max_examples=20)
def test_a_judgement_teaches_its_criterion_only(criteria: int, seed: int) -> None:
    mine = seed % criteria
    one = element(judgement([1, 2, 2, 3], criterion=mine))
    for objective in ("bradley_terry", "plackett_luce", "davidson", "rao_kupper"):
        generator = torch.Generator().manual_seed(seed)
        scores = torch.randn(2, 4, criteria, generator=generator, requires_grad=True)
        terms = terms_of(one, criteria, {}, {})
        Objective(config(objective=objective), 0.1)(scores, terms).sum().backward()
        assert scores.grad is not None
        moved = {c for c in range(criteria) if bool(scores.grad[..., c].any())}
        assert moved == {mine}


def test_every_prompt_comes_once_an_epoch() -> None:
    elements = [element(judgement([1, 2, 3, 4]), prompt=f"p{i}") for i in range(10)]
    plan = TrainingPlan(elements, config(epochs=2, evaluations=3))
    seen = [[e.prompt_id for step in range(at, at + 3) for e in plan.batch(step)] for at in (0, 3)]
    assert sorted(seen[0]) == sorted(seen[1]) == sorted(e.prompt_id for e in elements)
    assert seen[0] != seen[1]
    assert plan.pairs_after(3) == 60
    assert [step for step in range(1, 7) if plan.evaluates_after(step)] == [1, 2, 3, 4, 5, 6]


def test_the_best_response_is_the_one_of_the_best_mean_place() -> None:
    one = element(judgement([1, 2, 3, 4]), judgement([3, 1, 2, 4], "ben"))
    assert terms_of(one, 1, {}, {}).best == 1


def test_heads_of_one_are_the_models_own(tmp_path: Path, tiny_model: Path) -> None:
    from engine.models.parts import output_head
    from engine.reward_learning.fine_tuning.learner import make_learner

    learner = make_learner(tiny_model, Tokeniser.from_folder(tiny_model), CONFIG)
    assert torch.equal(learner.heads.weight[0], output_head(learner.model).weight)
    three = make_learner(tiny_model, Tokeniser.from_folder(tiny_model), config(ensemble=3))
    assert torch.equal(three.heads.weight[0], learner.heads.weight[0])
    assert not torch.equal(three.heads.weight[1], three.heads.weight[2])


@pytest.mark.parametrize("objective", ["davidson", "rao_kupper"])
def test_the_tie_parameter_told_is_the_one_that_is_set(objective: Any) -> None:
    for tie in (0.2, 1.7):
        assert Objective(config(objective=objective, tie=tie), 0.1).tie_setting == pytest.approx(
            tie, rel=1e-5
        )
