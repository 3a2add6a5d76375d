"""What judges write into the store: judgements of kind ai, with the answer in each order."""

from __future__ import annotations

import random
from collections.abc import Iterator
from itertools import combinations
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from storage import judgements
from storage.ids import annotator_id
from storage.measures import judges
from storage.store import Store
from storage.transfer import snapshots
from tests.storage import naive_judges
from tests.storage.builders import add_prompt, add_responses, judge


@pytest.fixture
def store() -> Iterator[Store]:
    with Store.open(":memory:") as opened:
        yield opened


def two_rows(
    prompt: str, a: str, b: str, verdict: int, said: tuple[int, int], **more: Any
) -> list[dict[str, Any]]:
    shared = {
        "annotator": "ai:x", "prompt_id": prompt, "criterion": "overall", "response_a": a, "response_b": b,
        "verdict": verdict, "mass": 0.5, "answer": None, "tokens_in": 10, "tokens_out": 1, "cost": 0.25,
        "seconds": 1.0, "cached": False,
    }  # fmt: skip
    return [
        {**shared, "first_id": a, "said": said[0], "share": 0.75, **more},
        {**shared, "first_id": b, "said": said[1], "share": 0.5, **more},
    ]


def test_judgements_come_once_with_both_orders(store: Store, tmp_path: Path) -> None:
    prompt = add_prompt(store)
    a, b, c = sorted(add_responses(store, prompt, "one", "two", "three"))
    rows = two_rows(prompt, a, b, 1, (1, -1)) + two_rows(prompt, a, c, 0, (1, 1))
    rows += two_rows(prompt, a, "r-gone", 1, (1, -1))
    path = tmp_path / "judgements.parquet"
    pq.write_table(pa.Table.from_pylist(rows), path)
    assert judges.insert_from_parquet(store, path, run_id="judge-1", rows=(0, 3)) == 3
    assert judges.insert_from_parquet(store, path, run_id="judge-1") == 1
    assert judges.insert_from_parquet(store, path, run_id="judge-1") == 0
    assert judgements.annotators(store) == [("ai:x", "ai")]
    assert store.rows("SELECT annotator_id FROM annotators") == [(annotator_id("ai:x"),)]
    assert store.rows("SELECT winner_id, loser_id, annotator_kind FROM preference_pairs") == [(a, b, "ai")]
    assert store.rows("SELECT response_a, response_b FROM preference_ties") == [(a, c)]
    found = store.rows(
        "SELECT x, y, shown_first, shown_second, orders_agree, share, cost FROM judge_pairs ORDER BY y"
    )
    assert found == [(a, b, 1, 1, True, 0.625, 0.5), (a, c, 1, -1, False, 0.625, 0.5)]


def test_the_pairs_to_judge(store: Store, tmp_path: Path) -> None:
    first, second, third = (add_prompt(store, text) for text in ("one?", "two?", "three?"))
    a, b, c = sorted(add_responses(store, first, "x", "y", "z"))
    add_responses(store, second, "same")
    add_responses(store, second, "same", policy="other")
    d, e = sorted(add_responses(store, third, "v", "w"))
    judge(store, first, {a: 1, b: 2})
    judge(store, first, {b: 1, c: 2}, "rule:concise")
    judge(store, first, {a: 1, c: 1}, "ai:x", criterion="kind")

    def pairs(**options: Any) -> list[tuple[str, str, list[str]]]:
        path = tmp_path / "pairs.parquet"
        assert snapshots.write_pairs(store, path, **options).rows == pq.read_metadata(path).num_rows
        return [(r["response_a"], r["response_b"], r["judged"]) for r in pq.read_table(path).to_pylist()]

    assert pairs() == [(a, b, []), (a, c, []), (b, c, []), (d, e, [])]
    assert pairs(annotator="ai:x")[1] == (a, c, ["kind"])
    assert pairs(judged_by_people=True) == [(a, b, [])]
    assert pairs(limit=1) == [(a, b, []), (a, c, []), (b, c, [])]
    assert pairs(source="absent") == []
    few = pairs(pairs_a_prompt=1, seed=3)
    assert few == pairs(pairs_a_prompt=1, seed=3)
    assert len(few) == 2
    assert len({tuple(pair[:2]) for seed in range(20) for pair in pairs(pairs_a_prompt=1, seed=seed)}) == 4


@pytest.fixture
def judged(store: Store, tmp_path: Path) -> list[tuple[str, dict[str, int]]]:
    """Sixteen prompts ranked by three people, a rule and a model with a leaning to what stands first."""
    draw = random.Random(5)
    rankings, rows = [], []
    for number in range(16):
        prompt = add_prompt(store, f"Question {number}?")
        found = add_responses(store, prompt, *("word " * draw.randint(1, 9) + str(n) for n in range(3)))
        for annotator in ("ana", "ben", "cy", "rule:concise"):
            ranks = {response: draw.randint(1, 3) for response in found}
            judge(store, prompt, ranks, annotator)
            if not annotator.startswith("rule"):
                rankings.append((annotator, ranks))
        for a, b in combinations(sorted(found), 2):
            straight, turned = draw.choice((1, 1, 0, -1)), draw.choice((1, 1, 0, -1))
            verdict = straight if straight == -turned else 0
            rows += two_rows(prompt, a, b, verdict, (straight, turned))
            rankings.append(("ai:x", {a: 2 if verdict < 0 else 1, b: 2 if verdict > 0 else 1}))
    path = tmp_path / "judgements.parquet"
    pq.write_table(pa.Table.from_pylist(rows), path)
    assert judges.insert_from_parquet(store, path, run_id="judge-1") == len(rows)
    return rankings


def test_the_calibration_is_what_counting_gives(
    store: Store, judged: list[tuple[str, dict[str, int]]]
) -> None:
    """Every figure twice: by SQL, and in plain Python over the same judgements."""
    found = judges.figures(store, "ai:x", "overall", seed=0, replicates=200)
    length = dict(store.rows("SELECT response_id, length(text) FROM responses"))
    expected = naive_judges.figures(judged, "ai:x", length)
    assert {name: found[name].value for name in expected} == pytest.approx(expected)
    assert all(figure.low <= figure.value <= figure.high for figure in found.values())
    said = store.rows("SELECT said, judgement_id FROM judge_answers ORDER BY judgement_id, first_id")
    orders = [(one[0], other[0]) for one, other in zip(said[::2], said[1::2], strict=True)]
    assert found["orders_disagree"].value == pytest.approx(sum(a != -b for a, b in orders) / len(orders))
    flat = [value for pair in orders for value in pair if value]
    assert found["first"].value == pytest.approx(flat.count(1) / len(flat))
    (listed,) = judges.listed(store)
    assert (listed.judge, listed.judgements, listed.prompts) == ("ai:x", 48, 16)


def test_the_confusion_adds_up_to_the_pairs(store: Store, judged: list[tuple[str, dict[str, int]]]) -> None:
    rows = judges.confusion(store, "ai:x", "overall")
    contested = judges.contested(store, "ai:x", "overall")
    found = judges.figures(store, "ai:x", "overall", seed=0, replicates=200)
    assert sum(row.same + row.tie + row.other for row in rows) == found["agreement"].n == 48 - contested
    decided = next(row for row in rows if row.decided)
    assert found["decided"].value == pytest.approx(decided.same / (decided.same + decided.other))
    bins = judges.reliability(store, "ai:x", "overall")
    assert sum(part.pairs for part in bins) == decided.same + decided.tie + decided.other
    assert {round(part.predicted, 3) for part in bins} == {0.625}


def test_models_are_left_out_of_what_is_learned(store: Store, judged: object, tmp_path: Path) -> None:
    def learned(**options: Any) -> set[str]:
        snapshots.write_rankings(store, tmp_path / "r.parquet", **options)
        return set(pq.read_table(tmp_path / "r.parquet")["annotator"].to_pylist())

    people = {"ana", "ben", "cy", "rule:concise"}
    assert learned(kinds=("human", "import", "rule")) == people
    assert learned(kinds=("human", "ai")) == {"ana", "ben", "cy", "ai:x"}
    assert learned(kinds=("human",), annotator="ai:x") == {"ai:x"}
    assert learned() == people | {"ai:x"}
    votes = judgements.votes(store)
    assert sum(vote.wins + vote.losses + vote.ties for vote in votes) == 4 * 48


def test_models_do_not_move_a_prompt_back_in_the_queue(store: Store, tmp_path: Path) -> None:
    """What a model has judged still waits for people, before what a person has judged."""
    prompts = [add_prompt(store, f"Question {number}?") for number in range(8)]
    responses = {prompt: add_responses(store, prompt, "x", "y") for prompt in prompts}
    unjudged = [prompt for prompt, _ in judgements.least_judged(store, limit=9)]
    for prompt in prompts[:4]:
        judge(store, prompt, dict.fromkeys(responses[prompt], 1), "ai:x")
    assert [prompt for prompt, _ in judgements.least_judged(store, limit=9)] == unjudged
    judge(store, unjudged[0], dict.fromkeys(responses[unjudged[0]], 1), "ana")
    assert [prompt for prompt, _ in judgements.least_judged(store, limit=9)] == [*unjudged[1:], unjudged[0]]
    path = tmp_path / "queue.parquet"
    snapshots.write_queue(store, path, criterion="overall", limit=99)
    first = list(dict.fromkeys(pq.read_table(path)["prompt_id"].to_pylist()))
    assert first == [*unjudged[1:], unjudged[0]]
