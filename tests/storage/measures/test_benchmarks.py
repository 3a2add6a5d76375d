"""Measurements on benchmarks in the store: ties, sections, intervals, and the newest of several."""

from __future__ import annotations

import math
from collections.abc import Iterator
from itertools import permutations
from statistics import mean

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from storage import artifacts
from storage.measures import benchmarks
from storage.measures.benchmark_records import Benchmark, BenchmarkAbout, BenchmarkItem
from storage.store import Store

ABOUT = BenchmarkAbout(
    name="bench",
    reward_model_id="",
    criterion="overall",
    scored_as="overall",
    backend="onnx-fp32",
    split=None,
    path="/bench.jsonl",
    preset=None,
    mapping="prompt=prompt",
    licence=None,
    origin=None,
    rows=9,
    left_out={"a reason": 2},
)


def item(
    prompt: str, scores: tuple[float, ...], lengths: tuple[int, ...], *, good: int = 1, subset: str = ""
) -> BenchmarkItem:
    return BenchmarkItem(
        prompt_id=prompt,
        subset=subset,
        kind="pair" if len(scores) == 2 else "best_of",
        place="line 1",
        external_id=None,
        votes=(1, 0, 0),
        good=good,
        policies=("y",) * len(scores),
        characters=lengths,
        scores=scores,
        cut=(False,) * len(scores),
    )


def measured(
    store: Store,
    items: list[BenchmarkItem],
    sections: dict[str, dict[str, float]] | None = None,
    run_id: str = "reward-1",
) -> Benchmark:
    model = artifacts.insert(store, run_id=run_id, kind="reward_model", name="rm", path="/rm")
    about = BenchmarkAbout(**{**{f: getattr(ABOUT, f) for f in ABOUT.__slots__}, "reward_model_id": model})
    made = benchmarks.add(store, about, items, sections=sections or {}, seed=0, replicates=200)
    return benchmarks.listed(store, "rm", made)[0]


def by_all_orders(good: list[float], bad: list[float]) -> float:
    """The share of orders of equal scores in which every good one comes before every bad one."""
    marked = [(value, True) for value in good] + [(value, False) for value in bad]
    right = total = 0
    for order in permutations(range(len(marked))):
        ranked = sorted(range(len(marked)), key=lambda n: (-marked[n][0], order[n]))
        total += 1
        right += all(marked[n][1] for n in ranked[: len(good)])
    return right / total


@settings(max_examples=40)
@given(
    scores=st.lists(st.integers(0, 2), min_size=2, max_size=6),
    good=st.integers(1, 3),
)
def test_ties_are_broken_at_random(store_of_module: Store, scores: list[int], good: int) -> None:
    good = min(good, len(scores) - 1)
    values = tuple(float(score) for score in scores)
    made = measured(store_of_module, [item("p", values, tuple(scores), good=good)])
    ((correct, longer, chance),) = store_of_module.rows(
        "SELECT correct, longer, chance FROM benchmark_results WHERE benchmark_id = ?", [made.benchmark_id]
    )
    expected = by_all_orders(list(values[:good]), list(values[good:]))
    assert correct == longer == pytest.approx(expected)
    assert chance == pytest.approx(1 / math.comb(len(scores), good))


@pytest.fixture(scope="module")
def store_of_module() -> Iterator[Store]:
    with Store.open(":memory:") as store:
        yield store


@pytest.fixture
def store() -> Iterator[Store]:
    with Store.open(":memory:") as opened:
        yield opened


def test_figures_are_means_and_their_intervals_hold_them(store: Store) -> None:
    items = [
        item("p1", (2.0, 1.0), (9, 5), subset="x"),  # right, longer wins
        item("p1", (1.0, 2.0), (5, 9), subset="x"),  # wrong, longer loses
        item("p2", (1.0, 1.0), (5, 9), subset="x"),  # a tie, longer loses
        item("p3", (3.0, 1.0), (4, 4), subset="y"),  # right, alike in length
        item("p4", (0.0, 1.0, -1.0), (9, 1, 1), subset="y"),  # not the best of three, though above one
    ]
    found = measured(store, items)
    value = {f.figure: f.value for f in found.figures if f.level == "all"}
    assert value["accuracy"] == pytest.approx(mean([1, 0, 0.5, 1, 0]))
    assert value["longer"] == pytest.approx(mean([1, 0, 0, 0.5, 1]))
    assert value["over_longer"] == pytest.approx(value["accuracy"] - value["longer"])
    assert value["longer_wins"] == pytest.approx(mean([1, 0]))
    assert value["longer_loses"] == pytest.approx(mean([0, 0.5]))
    assert value["length_balanced"] == pytest.approx(mean([0.5, 0.25]))
    assert value["pairs"] == pytest.approx(mean([1, 0, 0.5, 1, 0, 1]))
    assert value["chance"] == pytest.approx(mean([0.5, 0.5, 0.5, 0.5, 1 / 3]))
    assert found.figure("accuracy", "mean").value == pytest.approx(mean([0.5, 0.5]))  # type: ignore[union-attr]
    assert found.parts("subset") == ("x", "y")
    for figure in found.figures:
        assert figure.low is not None
        assert figure.high is not None
        assert figure.low <= figure.value <= figure.high
    accuracy = found.figure("accuracy")
    assert accuracy is not None
    assert (accuracy.n, accuracy.prompts) == (5, 4)
    assert accuracy.low < accuracy.high  # type: ignore[operator]
    assert found.left_out == {"a reason": 2}


def test_sections_weigh_their_subsets(store: Store) -> None:
    items = [
        *(item(f"p{n}", (1.0, 0.0), (1, 1), subset="x") for n in range(3)),
        *(item(f"q{n}", (0.0, 1.0), (1, 1), subset="y") for n in range(2)),
        item("r", (1.0, 0.0), (1, 1), subset="z"),
        item("s", (0.0, 1.0), (1, 1), subset="of no section"),
    ]
    found = measured(store, items, {"First": {"x": 30, "y": 10, "not there": 99}, "Second": {"z": 5}})
    assert found.figure("accuracy", "section", "First").value == pytest.approx(0.75)  # type: ignore[union-attr]
    assert found.figure("accuracy", "section", "Second").value == 1.0  # type: ignore[union-attr]
    assert found.figure("accuracy", "mean").value == pytest.approx(0.875)  # type: ignore[union-attr]
    assert found.figure("accuracy").value == pytest.approx(4 / 7)  # type: ignore[union-attr]


def test_intervals_are_those_of_resampled_prompts(store: Store) -> None:
    """Of independent comparisons the width is that of a share, and comparisons of one prompt are one draw."""
    apart = measured(store, [item(f"p{n}", (float(n % 2), 0.5), (1, 1)) for n in range(400)])
    together = measured(store, [item(f"p{n // 40}", (float(n // 40 % 2), 0.5), (1, 1)) for n in range(400)])
    widths = []
    for found in (apart, together):
        accuracy = found.figure("accuracy")
        assert accuracy is not None
        assert accuracy.value == 0.5
        widths.append(accuracy.high - accuracy.low)  # type: ignore[operator]
    assert widths[0] == pytest.approx(2 * 1.96 * 0.5 / 20, rel=0.25)
    assert widths[1] == pytest.approx(2 * 1.96 * 0.5 / math.sqrt(10), rel=0.25)


def test_few_prompts_are_never_sure(store: Store) -> None:
    """Three of three is no certainty: where every resample agrees, an interval has a width."""
    items = [item(f"p{n}", (1.0, 0.0), (n % 2, 1), subset="xyz"[n % 3]) for n in range(3)]
    found = measured(store, items, {"One": {"x": 1, "y": 1}, "Other": {"z": 1}})
    for figure in found.figures:
        if figure.figure != "chance":
            assert figure.high - figure.low > 0.3, figure  # type: ignore[operator]
    accuracy = {(f.level, f.part): f.low for f in found.figures if f.figure == "accuracy"}
    assert accuracy["all", ""] == pytest.approx(0.38, abs=0.01)  # Agresti and Coull for 3 of 3
    assert accuracy["subset", "x"] == pytest.approx(0.17, abs=0.01)  # and for 1 of 1
    assert accuracy["subset", "x"] < accuracy["section", "One"] < accuracy["all", ""]


def test_a_prompt_of_several_subsets_counts_once(store: Store) -> None:
    items = [item("p", (1.0, 0.0), (1, 1), subset=subset) for subset in "xyz"]
    for sections in ({}, {"One": {"x": 1, "y": 1}, "Other": {"z": 1}}):
        found = measured(store, items, sections)
        for figure in found.figures:
            if figure.figure == "accuracy":
                assert figure.low == pytest.approx(0.17, abs=0.01)  # of Agresti and Coull for 1 of 1


def test_the_summary_has_the_newest_and_says_what_was_learned_from(store: Store) -> None:
    measured(store, [item("p1", (0.0, 1.0), (1, 1))])
    store.write("UPDATE benchmarks SET measured_at = measured_at - INTERVAL 1 DAY")
    store.write("INSERT INTO run_prompts VALUES ('reward-1', 'p1', 'train'), ('reward-1', 'p2', 'heldout')")
    newest = measured(store, [item("p1", (1.0, 0.0), (1, 1)), item("p2", (1.0, 0.0), (1, 1))])
    (found,) = benchmarks.listed(store, "rm")
    assert found.benchmark_id == newest.benchmark_id
    assert (found.comparisons, found.prompts, found.learned) == (2, 2, 1)
    ((accuracy, longer_loses),) = store.rows("SELECT accuracy, longer_loses FROM benchmark_summary")
    assert accuracy == 1.0
    assert longer_loses is None
    assert store.rows("SELECT count(*) FROM benchmarks") == [(2,)]
