"""Every number of a reward model's report against a naive computation on plain lists."""

from __future__ import annotations

import math
import re
from collections import Counter, defaultdict
from collections.abc import Iterator

import pytest

from storage import artifacts, judgements, runs, scores
from storage.measures import reports
from storage.measures.report_records import Figure
from storage.records import JudgedItem, NewJudgement, NewScore
from storage.sql_guard import check_locked
from storage.store import Store
from tests.storage.naive_report import (
    MODEL,
    REPLICATES,
    SEED,
    World,
    expected,
    half,
    make_world,
    naive_interval,
    naive_tau,
    quantile,
    settled,
    train,
)

NUMBER = re.compile(r"\d+\.\d+(e-?\d+)?")


@pytest.fixture(scope="module")
def kept() -> Iterator[tuple[Store, World]]:
    """A store that tests only read."""
    with Store.open(":memory:") as opened:
        made = make_world(opened)
        train(opened, made)
        yield opened, made


def figures(store: Store) -> dict[str, Figure]:
    return reports.figures(store, MODEL, "overall", seed=SEED, replicates=REPLICATES)


@pytest.mark.parametrize("seed", [1, 2])
def test_every_figure_and_its_interval(store: Store, seed: int) -> None:
    world = make_world(store, seed)
    train(store, world)
    wanted = expected(world, world.heldout, set(world.prompts) - world.heldout)
    found = figures(store)
    balanced = found.pop("length_balanced")
    assert balanced.value == pytest.approx((found["longer_wins"].value + found["longer_loses"].value) / 2)
    assert found.keys() == wanted.keys()
    prompts = sorted({prompt for values in wanted.values() for prompt in values})
    for name, values in wanted.items():
        pooled = [value for each in values.values() for value in each]
        assert found[name].value == pytest.approx(sum(pooled) / len(pooled)), name
        assert (found[name].n, found[name].prompts) == (len(pooled), len(values)), name
        assert (found[name].low, found[name].high) == pytest.approx(naive_interval(name, values, prompts)), (
            name
        )


def test_without_splits_all_judged_prompts_are_measured_and_trained(store: Store) -> None:
    world = make_world(store)
    train(store, world, splits=False)
    everything = set(world.prompts)
    wanted = expected(world, everything, everything)
    found = figures(store)
    for name, values in wanted.items():
        pooled = [value for each in values.values() for value in each]
        assert found[name].value == pytest.approx(sum(pooled) / len(pooled)), name
    assert not reports.basis(store, MODEL, "overall").splits_known


def test_only_the_annotator_that_was_learned_counts(store: Store) -> None:
    world = make_world(store)
    train(store, world, annotator="ben")
    pairs = [p for p in settled(world, world.heldout, ("ben",)) if not p.tied]
    assert figures(store)["accuracy"].value == pytest.approx(sum(p.correct for p in pairs) / len(pairs))
    assert reports.basis(store, MODEL, "overall").annotator == "ben"


def test_what_it_is_measured_on(store: Store) -> None:
    world = make_world(store)
    train(store, world)
    pairs = settled(world, world.heldout)
    basis = reports.basis(store, MODEL, "overall")
    assert (basis.prompts, basis.pairs, basis.tied, basis.unscored) == (
        len(world.heldout),
        sum(not p.tied for p in pairs),
        sum(p.tied for p in pairs),
        0,
    )
    store.write("DELETE FROM scores WHERE response_id = ?", [pairs[0].better])
    lost = sum(pairs[0].better in (p.better, p.worse) for p in pairs)
    assert reports.basis(store, MODEL, "overall").unscored == lost


def test_calibration_bins(kept: tuple[Store, World]) -> None:
    store, world = kept
    bins: dict[int, list[tuple[float, float]]] = defaultdict(list)
    for pair in settled(world, world.heldout):
        if not pair.tied:
            confidence = 1 / (1 + math.exp(-abs(pair.difference)))
            bins[min(int((confidence - 0.5) * 20), 9)].append((confidence, pair.correct))
    found = reports.calibration(store, MODEL, "overall")
    assert [each.low for each in found] == [round(0.5 + b / 20, 2) for b in sorted(bins)]
    for each, (_, values) in zip(found, sorted(bins.items()), strict=True):
        assert each.pairs == len(values)
        assert each.predicted == pytest.approx(sum(c for c, _ in values) / len(values))
        assert each.observed == pytest.approx(sum(right for _, right in values) / len(values))


def test_each_annotator_apart(kept: tuple[Store, World]) -> None:
    store, world = kept
    found = {each.annotator: each for each in reports.annotators(store, MODEL, "overall")}
    for annotator in ("ana", "ben", "cem"):
        own = [p for p in settled(world, world.heldout, (annotator,)) if not p.tied]
        if not own:
            assert annotator not in found
            continue
        assert found[annotator].pairs == len(own)
        assert found[annotator].accuracy == pytest.approx(sum(p.correct for p in own) / len(own))
        assert found[annotator].log_loss == pytest.approx(sum(p.loss for p in own) / len(own))


def test_taus_and_their_spread(kept: tuple[Store, World]) -> None:
    store, world = kept
    taus = [naive_tau(world, p) for p in world.prompts if p in world.heldout]
    known = [tau for tau in taus if tau is not None]
    spread = reports.taus(store, MODEL, "overall")
    assert (spread.prompts, sum(spread.counts)) == (len(known), len(known))
    assert spread.mean == pytest.approx(sum(known) / len(known))
    assert spread.quantiles == pytest.approx([quantile(known, q) for q in (0.1, 0.25, 0.5, 0.75, 0.9)])
    bins = Counter(min(math.floor((tau + 1) * 5), 9) for tau in known)
    assert spread.counts == tuple(bins[n] for n in range(10))


def test_length_within_prompts_and_the_rows_of_the_regression(kept: tuple[Store, World]) -> None:
    store, world = kept
    xs, ys = [], []
    for prompt in world.heldout:
        ids = [r for r, p in world.prompt_of.items() if p == prompt]
        mean_score = sum(world.score[r] for r in ids) / len(ids)
        mean_length = sum(len(world.texts[r]) for r in ids) / len(ids)
        xs += [world.score[r] - mean_score for r in ids]
        ys += [len(world.texts[r]) - mean_length for r in ids]
    wanted = sum(x * y for x, y in zip(xs, ys, strict=True)) / math.sqrt(
        sum(x * x for x in xs) * sum(y * y for y in ys)
    )
    found = reports.length(store, MODEL, "overall")
    assert (found.correlation, found.responses) == (pytest.approx(wanted), len(xs))
    rows = sorted((r.difference, r.longer_by) for r in reports.length_rows(store, MODEL, "overall"))
    pairs = [p for p in settled(world, world.heldout) if not p.tied]
    assert rows == pytest.approx(
        sorted(
            (p.difference, math.log((1 + len(world.texts[p.better])) / (1 + len(world.texts[p.worse]))))
            for p in pairs
        )
    )


def test_the_most_confidently_wrong_come_first_and_can_be_opened(kept: tuple[Store, World]) -> None:
    store, world = kept
    wrong = sorted(p.difference for p in settled(world, world.heldout) if not p.tied and p.correct == 0)
    found = reports.wrong(store, MODEL, "overall")
    assert [w.score_better - w.score_worse for w in found] == pytest.approx(wrong)
    assert found[0].probability == pytest.approx(1 / (1 + math.exp(-wrong[0])))
    first = found[0]
    (better, worse), verdicts = reports.pair(store, MODEL, "overall", first.better_id, first.worse_id)
    assert (better.text, worse.text) == (world.texts[first.better_id], world.texts[first.worse_id])
    assert (better.policy, better.score) == (world.policy[first.better_id], world.score[first.better_id])
    said = [v.verdict for v in verdicts]
    assert (said.count(1), said.count(-1), said.count(0)) == (
        first.votes_better,
        first.votes_worse,
        first.votes_tie,
    )
    assert len(reports.wrong(store, MODEL, "overall", limit=1)) == min(1, len(wrong))


def test_scores_by_policy(kept: tuple[Store, World]) -> None:
    store, world = kept
    by_policy: dict[str, list[float]] = defaultdict(list)
    for response, score in world.score.items():
        by_policy[world.policy[response]].append(score)
    low, high = min(world.score.values()), max(world.score.values())
    found = reports.policies(store, MODEL, "overall")
    assert {p.policy for p in found} == set(by_policy)
    for each in found:
        values = by_policy[each.policy]
        assert each.mean == pytest.approx(sum(values) / len(values))
        assert each.quantiles == pytest.approx(
            [quantile(values, q) for q in (0, 0.05, 0.25, 0.5, 0.75, 0.95, 1)]
        )
        bins = Counter(min(int((v - low) / (high - low) * 20), 19) for v in values)
        assert each.counts == tuple(bins[n] for n in range(20))


def test_learning_curve(store: Store) -> None:
    world = make_world(store)
    train(store, world)
    for seq, (step, name, value) in enumerate(
        [(50, "curve/accuracy", 0.6), (50, "curve/log_loss", 0.68), (100, "curve/accuracy", 0.7)]
    ):
        store.write(
            "INSERT INTO metrics VALUES ('reward-1', ?, ?, ?, ?, '2026-01-01')", [seq, step, name, value]
        )
    found = [(p.pairs, p.accuracy, p.log_loss) for p in reports.learning_curve(store, MODEL)]
    assert found == [(50, 0.6, 0.68), (100, 0.7, None)]


def test_a_criterion_is_measured_with_its_own_score_or_the_models_first(store: Store) -> None:
    world = make_world(store)
    train(store, world)
    (model,) = artifacts.listed(store, kind="reward_model")
    prompt = sorted(world.heldout)[0]
    x, y = sorted(r for r, p in world.prompt_of.items() if p == prompt)[:2]
    items = (JudgedItem(x, 1, None, 0), JudgedItem(y, 2, None, 1))
    judgements.record(store, NewJudgement(prompt, "ana", "pair", items, criterion="brief"))
    before = reports.by_criterion(store, MODEL, "brief")
    assert (before.scored_as, before.pairs) == ("overall", 1)
    assert before.accuracy == half(world.score[x], world.score[y])
    scores.upsert(
        store,
        [
            NewScore(x, model.artifact_id, 9.0, "torch-float32", criterion="brief"),
            NewScore(y, model.artifact_id, -9.0, "torch-float32", criterion="brief"),
        ],
    )
    after = reports.by_criterion(store, MODEL, "brief")
    assert after.accuracy == 1.0
    assert after.log_loss == pytest.approx(math.log1p(math.exp(-18)))
    assert [name for name, _ in reports.criteria(store, MODEL)] == ["overall", "brief"]
    store.write("UPDATE runs SET config = json_object('name', ?, 'criterion', 'brief, helpful')", [MODEL])
    assert [name for name, _ in reports.criteria(store, MODEL)] == ["brief", "overall"]


def test_a_constant_model_is_right_half_the_time(store: Store) -> None:
    world = make_world(store)
    train(store, world)
    store.write("UPDATE scores SET score = 1.25")
    found = figures(store)
    assert found["accuracy"].value == 0.5
    assert found["log_loss"].value == pytest.approx(math.log(2))
    assert "tau" not in found
    assert reports.taus(store, MODEL, "overall").mean is None
    assert reports.wrong(store, MODEL, "overall") == []


def test_nothing_judged_and_nothing_scored(store: Store) -> None:
    runs.insert_run(store, "reward-1", "reward", {"name": MODEL})
    artifacts.insert(store, run_id="reward-1", kind="reward_model", name=MODEL, path="/m")
    basis = reports.basis(store, MODEL, "overall")
    assert (basis.pairs, basis.responses, basis.scored_as) == (0, 0, None)
    assert figures(store) == {}
    assert reports.calibration(store, MODEL, "overall") == []
    assert reports.policies(store, MODEL, "overall") == []
    assert reports.by_criterion(store, MODEL, "overall").accuracy is None


def test_pairs_made_once_give_the_same_report(store: Store) -> None:
    train(store, make_world(store))

    def report() -> list[str]:
        found = [
            figures(store),
            reports.basis(store, MODEL, "overall"),
            reports.taus(store, MODEL, "overall"),
            reports.wrong(store, MODEL, "overall"),
            reports.by_criterion(store, MODEL, "overall").accuracy,
        ]
        return [NUMBER.sub(lambda number: f"{float(number[0]):.9g}", repr(part)) for part in found]

    def left() -> list[tuple[str]]:
        tables = "SELECT table_name FROM duckdb_tables() WHERE temporary"
        return store.rows(f"{tables} UNION ALL SELECT function_name FROM duckdb_functions() "
                          "WHERE function_name = 'judged_pairs' AND database_name = 'temp'")  # fmt: skip

    before = report()
    with reports.made_once(store, MODEL, ["overall", "other"]):
        store.write("DELETE FROM judgement_items")
        assert report() == before  # nothing is made again
        assert len(left()) == 3
    assert left() == []
    assert report() != before
    with pytest.raises(KeyError), reports.made_once(store, MODEL, []):
        raise KeyError
    assert left() == []


def test_the_shown_sql_can_be_run_by_hand(kept: tuple[Store, World]) -> None:
    store, _ = kept
    for name in (
        "figures",
        "calibration",
        "length_rows",
        "annotators",
        "learning_curve",
        "policies",
        "wrong",
    ):
        values: dict[str, str | int] = {"criterion": "overall", "seed": 1, "replicates": 2, "limit": 3}
        assert (
            store.rows(reports.query_text(name, {**values, "reward_model": MODEL}))
            or name == "learning_curve"
        )
        hostile = reports.query_text(name, {**values, "reward_model": "o'clock'; DROP TABLE scores; --"})
        check_locked(store.cursor(), hostile)
        assert store.rows(hostile) == []


def test_unseen_figures_are_means_over_splits_of_pairs_either_way_round(store: Store) -> None:
    world = make_world(store)
    train(store, world)
    rows = store.rows(
        "SELECT prompt_id, better_id, worse_id, longer FROM judged_pairs($m, 'overall') WHERE NOT tied",
        {"m": MODEL},
    )
    (run_id,) = {run for (run,) in store.rows("SELECT run_id FROM model_run($m)", {"m": MODEL})}
    correct, losses, over = [], [], []
    for number, (prompt, better, worse, longer) in enumerate(rows):
        for split in (0, 1):
            margin = (number % 3 - 1) * 0.7 + split * 0.2
            a, b, said = (better, worse, margin) if number % 2 else (worse, better, -margin)
            store.write(
                "INSERT INTO unseen_margins VALUES ($run, $split, 'overall', $p, $a, $b, $margin)",
                {"run": run_id, "split": split, "p": prompt, "a": a, "b": b, "margin": said},
            )
            correct.append(half(margin, 0.0))
            losses.append(math.log1p(math.exp(-margin)))
            over.append(half(margin, 0.0) - longer)
    with reports.made_once(store, MODEL, ["overall"]):
        basis, found = reports.unseen(store, MODEL, "overall", seed=SEED, replicates=50)
    assert basis.splits == 2
    assert basis.deviation is not None
    for name, values in (("accuracy", correct), ("log_loss", losses), ("over_longer", over)):
        assert found[name].value == pytest.approx(sum(values) / len(values)), name
        assert found[name].low <= found[name].value <= found[name].high
    assert reports.unseen(store, MODEL, "brief", seed=SEED, replicates=50) == (
        reports.unseen(store, MODEL, "none", seed=SEED, replicates=50)
    )
