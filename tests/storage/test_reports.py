"""Every number of a reward model's report against a naive computation on plain lists."""

from __future__ import annotations

import hashlib
import math
import random
import re
from collections import Counter, defaultdict
from collections.abc import Iterator
from dataclasses import dataclass
from itertools import combinations

import pytest

from storage import artifacts, judgements, reports, runs, scores
from storage.records import JudgedItem, NewJudgement, NewScore
from storage.report_records import Figure
from storage.sql_guard import check_locked
from storage.store import Store
from tests.storage.builders import add_prompt, add_responses

MODEL = "panda"
NUMBER = re.compile(r"\d+\.\d+(e-?\d+)?")
SEED, REPLICATES = 3, 40
Pair = tuple[str, str]


@dataclass
class World:
    """What was put into the store."""

    prompts: list[str]
    heldout: set[str]
    texts: dict[str, str]
    policy: dict[str, str]
    prompt_of: dict[str, str]
    score: dict[str, float]
    verdicts: dict[tuple[str, str], dict[Pair, int]]
    """By (prompt, annotator): 1 the first response of the pair (by id) is better, -1 worse, 0 a tie."""


def make_world(store: Store, seed: int = 0) -> World:
    with store.transaction():
        return fill(store, seed)


def fill(store: Store, seed: int) -> World:
    """Nine prompts with four responses of three policies, three annotators who tie and skip now and then."""
    rng = random.Random(seed)
    world = World([], set(), {}, {}, {}, {}, defaultdict(dict))
    for number in range(9):
        prompt = add_prompt(store, f"Prompt {number}?")
        world.prompts.append(prompt)
        ids = []
        for index in range(4):
            text = "x" * rng.choice([20, 21, 30, 60, 61, 90]) + f" {number} {index}"
            policy = f"policy {index % 3}"
            (response,) = add_responses(store, prompt, text, policy=policy)
            ids.append(response)
            world.texts[response], world.policy[response] = text, policy
            world.prompt_of[response] = prompt
            world.score[response] = rng.choice([-1.0, 0.0, 0.5, 1.0, 2.5]) + len(text) / 50
        for annotator in ("ana", "ben", "cem")[: 2 + number % 2]:
            ranks = {response: rng.randint(1, 3) for response in rng.sample(ids, rng.randint(2, 4))}
            record(store, prompt, annotator, ranks)
            for x, y in combinations(sorted(ranks), 2):
                told = ranks[y] - ranks[x]
                world.verdicts[prompt, annotator][x, y] = (told > 0) - (told < 0)
    world.heldout = set(world.prompts[::2])
    return world


def record(store: Store, prompt: str, annotator: str, ranks: dict[str, int]) -> None:
    items = tuple(JudgedItem(r, rank, None, n) for n, (r, rank) in enumerate(ranks.items()))
    judgements.record(store, NewJudgement(prompt, annotator, "ranking", items))


def train(store: Store, world: World, *, splits: bool = True, **config: str) -> None:
    """A run that trained the model, its splits and its scores."""
    runs.insert_run(store, "reward-1", "reward", {"name": MODEL, **config})
    model = artifacts.insert(store, run_id="reward-1", kind="reward_model", name=MODEL, path="/m")
    scores.upsert(store, [NewScore(r, model, s, "torch-float32") for r, s in world.score.items()])
    if splits:
        store.cursor().executemany(
            "INSERT INTO run_prompts VALUES ('reward-1', ?, ?)",
            [(p, "heldout" if p in world.heldout else "train") for p in world.prompts],
        )


@pytest.fixture(scope="module")
def kept() -> Iterator[tuple[Store, World]]:
    """A store that tests only read."""
    with Store.open(":memory:") as opened:
        made = make_world(opened)
        train(opened, made)
        yield opened, made


# -- the naive computation ------------------------------


@dataclass
class Verdict:
    prompt: str
    better: str
    worse: str
    tied: bool
    correct: float
    longer: float
    policy: float
    loss: float
    difference: float


def half(a: float, b: float) -> float:
    return 1.0 if a > b else 0.0 if a < b else 0.5


def settled(world: World, prompts: set[str], annotators: tuple[str, ...] = ()) -> list[Verdict]:
    """The pairs of these prompts by what most annotators say; `policy` is filled in later."""
    votes: dict[tuple[str, Pair], Counter[int]] = defaultdict(Counter)
    for (prompt, annotator), said in world.verdicts.items():
        if prompt in prompts and (not annotators or annotator in annotators):
            for pair, verdict in said.items():
                votes[prompt, pair][verdict] += 1
    made = []
    for (prompt, (x, y)), count in votes.items():
        winner = max((1, -1), key=lambda v: count[v])
        tied = count[winner] <= max(count[0], count[-winner])
        better, worse = (x, y) if winner == 1 else (y, x)
        difference = world.score[better] - world.score[worse]
        longer = half(len(world.texts[better]), len(world.texts[worse]))
        loss = math.log(1 + math.exp(-difference))
        made.append(Verdict(prompt, better, worse, tied, half(difference, 0), longer, 0.5, loss, difference))
    return made


def with_policy(world: World, pairs: list[Verdict], trained: list[Verdict]) -> list[Verdict]:
    """Fill in the baseline that knows which policy won more often on the trained pairs."""
    won: dict[str, list[float]] = defaultdict(list)
    for pair in trained:
        a, b = world.policy[pair.better], world.policy[pair.worse]
        if a != b:
            won[a].append(0.5 if pair.tied else 1.0)
            won[b].append(0.5 if pair.tied else 0.0)
    share = {policy: sum(values) / len(values) for policy, values in won.items()}
    for pair in pairs:
        a, b = world.policy[pair.better], world.policy[pair.worse]
        pair.policy = half(share[a], share[b]) if a in share and b in share else 0.5
    return pairs


def baseline_loss(trained: list[Verdict], measured: list[Verdict], name: str) -> list[float]:
    known = [getattr(p, name) for p in trained if not p.tied and getattr(p, name) != 0.5]
    right = (sum(known) + 1) / (len(known) + 2)
    by_value = {1.0: -math.log(right), 0.0: -math.log(1 - right), 0.5: math.log(2)}
    return [by_value[getattr(p, name)] for p in measured]


def expected(world: World, heldout: set[str], training: set[str]) -> dict[str, dict[str, list[float]]]:
    """Figure → prompt → the values that are averaged."""
    trained = settled(world, training)
    pairs = [p for p in settled(world, heldout) if not p.tied]
    with_policy(world, trained, trained), with_policy(world, pairs, trained)
    made: dict[str, dict[str, list[float]]] = defaultdict(lambda: defaultdict(list))
    longer, policy = baseline_loss(trained, pairs, "longer"), baseline_loss(trained, pairs, "policy")
    for pair, long_loss, policy_loss in zip(pairs, longer, policy, strict=True):
        lengths = sorted([len(world.texts[pair.better]), len(world.texts[pair.worse])])
        values = {
            "accuracy": pair.correct,
            "log_loss": pair.loss,
            "longer": pair.longer,
            "longer_log_loss": long_loss,
            "policy": pair.policy,
            "policy_log_loss": policy_loss,
            "over_longer": pair.correct - pair.longer,
            "over_policy": pair.correct - pair.policy,
        }
        values |= {"longer_wins": pair.correct} if pair.longer == 1 else {}
        values |= {"longer_loses": pair.correct} if pair.longer == 0 else {}
        values |= {"length_matched": pair.correct} if lengths[0] >= 0.9 * lengths[1] else {}
        for name, value in values.items():
            made[name][pair.prompt].append(value)
    for prompt in heldout:
        if (tau := naive_tau(world, prompt)) is not None:
            made["tau"][prompt].append(tau)
        for name, shares in people(world, prompt).items():
            if shares:
                made[name][prompt] += shares
    return made


def naive_tau(world: World, prompt: str) -> float | None:
    pairs = settled(world, {prompt})
    concordant = sum(not p.tied and p.difference > 0 for p in pairs)
    discordant = sum(not p.tied and p.difference < 0 for p in pairs)
    by_people, by_score = sum(not p.tied for p in pairs), sum(p.difference != 0 for p in pairs)
    scale = math.sqrt(by_people * by_score)
    return (concordant - discordant) / scale if scale else None


def people(world: World, prompt: str) -> dict[str, list[float]]:
    """Agreement of two, and of one with most of the others, pair by pair."""
    said = {a: v for (p, a), v in world.verdicts.items() if p == prompt}
    agreement = [
        1 - abs(said[a][pair] - said[b][pair]) / 2
        for a, b in combinations(sorted(said), 2)
        for pair in said[a].keys() & said[b].keys()
    ]
    person = []
    for annotator, verdicts in said.items():
        for pair, verdict in verdicts.items():
            rest = Counter(v[pair] for a, v in said.items() if a != annotator and pair in v)
            top = max((1, -1), key=lambda v: rest[v])
            if rest[top] > max(rest[0], rest[-top]):
                person.append(1 - abs(verdict - top) / 2)
    return {"agreement": agreement, "person": person}


def naive_interval(values: dict[str, list[float]], prompts: list[str]) -> tuple[float, float]:
    """Percentile bootstrap over prompts with the draws that the query makes."""
    found = []
    for replicate in range(REPLICATES):
        drawn = [prompts[draw(replicate, place) % len(prompts)] for place in range(len(prompts))]
        pooled = [value for prompt in drawn for value in values.get(prompt, [])]
        if pooled:
            found.append(sum(pooled) / len(pooled))
    return quantile(found, 0.025), quantile(found, 0.975)


def draw(replicate: int, place: int) -> int:
    digest = hashlib.md5(f"{SEED}/{replicate}/{place}".encode(), usedforsecurity=False).digest()
    return int.from_bytes(digest[8:], "little")


def quantile(values: list[float], share: float) -> float:
    ordered = sorted(values)
    at = share * (len(ordered) - 1)
    low = math.floor(at)
    high = min(low + 1, len(ordered) - 1)
    return ordered[low] + (at - low) * (ordered[high] - ordered[low])


# -- the tests ------------------------------


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
        assert (found[name].low, found[name].high) == pytest.approx(naive_interval(values, prompts)), name


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
