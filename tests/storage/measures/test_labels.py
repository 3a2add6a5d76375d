"""The views of labels against naive computations."""

from __future__ import annotations

import json
from collections import Counter
from itertools import combinations
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from engine.labels.verdicts import composite_weight
from storage import judgements
from storage.measures import labels
from storage.records import JudgedItem, NewJudgement
from storage.store import Store
from tests.engine.labels.test_agreement import naive_alpha
from tests.storage.builders import add_prompt, add_responses, judge

PANDALM = Path(__file__).parents[3].parent / "shared" / "data" / "pandalm_pairs.jsonl"


def _say(store: Store, prompt: str, a: str, b: str, who: str, verdict: int, **more: object) -> str:
    return judge(store, prompt, {a: 2 - (verdict >= 0), b: 2 - (verdict <= 0)}, annotator=who, **more)


@settings(max_examples=25, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    ranks=st.lists(st.integers(1, 4), min_size=2, max_size=5),
    kind=st.sampled_from(("ranking", "best_of", "partial", "best_worst")),
)
def test_weights_of_pairs_are_those_of_the_judgement(store: Store, ranks: list[int], kind: str) -> None:
    if kind == "best_of":
        ranks = [1, *[2] * (len(ranks) - 1)]
    elif kind == "best_worst" and len(ranks) > 2:
        ranks = [1, *[2] * (len(ranks) - 2), 3]
    last = max(ranks)
    unordered = [
        kind == "best_of" or (kind == "best_worst" and rank == 2) or (kind == "partial" and rank == last)
        for rank in ranks
    ]
    prompt = add_prompt(store)
    responses = add_responses(store, prompt, *(f"answer {n}" for n in range(len(ranks))))
    items = tuple(
        JudgedItem(r, rank, None, place) for place, (r, rank) in enumerate(zip(responses, ranks, strict=True))
    )
    made = judgements.record(store, NewJudgement(prompt, "ana", kind, items))
    rows = store.rows(
        "SELECT x, y, verdict, first_shown, weight FROM pair_verdicts WHERE judgement_id = ?", [made]
    )
    place = {response: number for number, response in enumerate(responses)}
    expected = {}
    for i, j in combinations(range(len(ranks)), 2):
        if ranks[i] == ranks[j] and unordered[i]:
            continue
        sign = 1 if responses[i] < responses[j] else -1
        verdict = (ranks[j] > ranks[i]) - (ranks[j] < ranks[i])
        expected[tuple(sorted((responses[i], responses[j])))] = (sign * verdict, sign)
    assert {(x, y): (v, f) for x, y, v, f, _ in rows} == expected
    for x, y, _, _, weight in rows:
        assert place[x] != place[y]
        assert weight == pytest.approx(composite_weight(ranks, unordered))


def test_habits_and_repeats(store: Store) -> None:
    for number in range(4):
        prompt = add_prompt(store, str(number))
        a, b = add_responses(store, prompt, "short", "a longer answer")
        _say(store, prompt, a, b, "ana", 1, seconds=10.0)
        _say(store, prompt, a, b, "ana", 1 if number else -1, seconds=30.0)
        _say(store, prompt, b, a, "ben", 1 if number else 0)
    ana, ben = sorted(labels.annotators(store, "overall"), key=lambda row: row.annotator)
    assert (ana.repeats, ana.self_agreement) == (4, 0.75)
    assert ana.self_agreement_low < 0.75 < ana.self_agreement_high
    assert (ana.verdicts, ana.ties, ana.prefers_first, ana.prefers_longer) == (8, 0.0, 7 / 8, 1 / 8)
    assert (ben.shown, ben.ties, ben.prefers_first, ben.prefers_longer, ben.repeats) == (3, 0.25, 1.0, 1.0, 0)
    assert ben.prefers_first_low < 0.6 < ben.prefers_first_high == pytest.approx(1)
    assert ana.median_seconds == 20.0
    assert ana.accuracy is None  # nothing has been fitted


def test_what_was_taken_back_counts_no_more(store: Store) -> None:
    prompt = add_prompt(store)
    a, b = add_responses(store, prompt, "one", "two")
    made = _say(store, prompt, a, b, "ana", 1)
    _say(store, prompt, a, b, "ben", -1)
    assert labels.count_disagreements(store, "overall") == (1, 1)
    judgements.retract(store, made)
    assert labels.count_disagreements(store, "overall") == (0, 0)
    assert labels.shared(store, "overall") == []


def test_disagreements_come_worst_first(store: Store) -> None:
    said = {"all alike": (1, 1, 1), "one ties": (1, 1, 0), "one against two": (1, 1, -1)}
    for text, verdicts in said.items():
        prompt = add_prompt(store, text)
        a, b = add_responses(store, prompt, "one", "two")
        for who, verdict in zip(("ana", "ben", "cat"), verdicts, strict=True):
            _say(store, prompt, a, b, who, verdict)
    found = labels.disagreements(store, "overall")
    assert [(row.text, row.contradicted, row.compared) for row in found] == [
        ("one against two", 2.0, 3),
        ("one ties", 1.0, 3),
    ]


def test_reliability_leaves_rules_out(store: Store) -> None:
    prompt = add_prompt(store)
    a, b = add_responses(store, prompt, "one", "two")
    for who in ("ana", "rule:longer"):
        _say(store, prompt, a, b, who, 1)
    assert labels.reliability(store, "overall") == []
    _say(store, prompt, a, b, "ben", 1)
    ((alpha,),) = store.rows("SELECT alpha FROM reliability")
    assert alpha == 1.0


@pytest.mark.skipif(not PANDALM.exists(), reason="the judgements of PandaLM are not there")
def test_agreement_on_pandalm_is_that_of_the_file(store: Store) -> None:
    codes = {"a": 1, "b": -1, "tie": 0}
    rows = [json.loads(line) for line in PANDALM.read_text(encoding="utf-8").splitlines()][:240]
    units, taus = [], Counter[str]()
    people = ("annotator_1", "annotator_2", "annotator_3")
    new = []
    with store.transaction():
        prompts = {text: add_prompt(store, text) for text in dict.fromkeys(row["prompt"] for row in rows)}
        sides = [
            add_responses(store, prompts[row["prompt"]], row[f"response_{side}"], policy=row[f"model_{side}"])
            for row in rows
            for side in "ab"
        ]
    for row, (a,), (b,) in zip(rows, sides[::2], sides[1::2], strict=True):
        prompt = prompts[row["prompt"]]
        if a == b:
            continue
        units.append([codes[row[who]] for who in people])
        taus[prompt] += 1
        for who, verdict in zip(people, units[-1], strict=True):
            items = (JudgedItem(a, 2 - (verdict >= 0), None, 0), JudgedItem(b, 2 - (verdict <= 0), None, 1))
            new.append(NewJudgement(prompt, who, "pair", items))
    judgements.record_many(store, new)
    ((alpha, pairs),) = store.rows("SELECT alpha, pairs FROM reliability")
    assert pairs == len(units)
    assert alpha == pytest.approx(naive_alpha(units))
    for row in judgements.agreement(store):
        i, j = (people.index(name) for name in (row.annotator_a, row.annotator_b))
        agreed = sum(1 - abs(unit[i] - unit[j]) / 2 for unit in units) / len(units)
        assert (row.pairs, row.agreement) == (len(units), pytest.approx(agreed))
    shared = labels.shared(store, "overall")
    assert sum(row.pairs for row in shared) == 3 * len(units)
    for row in shared:
        assert row.pairs == taus[row.prompt_id]
        if row.tau is not None:
            assert -1 <= row.tau <= 1
