"""A crossed study from its file to its report, with simulated people on a real store."""

from __future__ import annotations

import itertools
import json
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from engine.errors import UsageError
from storage import remembered
from storage.store import Store
from tests.workbench.services.live_helpers import Study
from workbench.cli import run
from workbench.services.projects.ways import Ways
from workbench.services.projects.ways_text import as_text
from workbench.services.ranking.draft import Draft
from workbench.services.ranking.judging import Judging, RankItem

PEOPLE = ("ada", "bert", "cleo", "dora")
SLIPS = {"rank": 0.1, "rate": 1.5}
"""Standard deviation of what a simulated person adds to the truth: they rank better than they rate.

Who slips where differs from run to run; these lie so far apart that every bound is five deviations off.
"""
SECONDS = {"rank": 20.0, "rate": 30.0}


def answered(item: RankItem, truth: dict[str, float], rng: np.random.Generator) -> Draft:
    """What a simulated person says: the truth with noise, in ranks or on a scale of five."""
    seen = {c.response_id: truth[c.response_id] + SLIPS[item.mode] * rng.normal() for c in item.responses}
    draft = item.draft
    if item.mode == "rank":
        for response in sorted(seen, key=lambda key: -seen[key]):
            draft = draft.place_next(response)
        return draft
    for response, value in seen.items():
        draft = draft.rate("overall", response, int(np.clip(round(3 + value), 1, 5)))
    return draft


def work_through(store: Store, truth: dict[str, float]) -> dict[str, list[str]]:
    """Everybody judges all that waits; the ways in which each has judged, in order."""
    judging, rng, ways = Judging(store), np.random.default_rng(2), {}
    for name in PEOPLE:
        ways[name] = []
        while (item := judging.next_item(name)) is not None:
            draft = answered(item, truth, rng)
            seconds = SECONDS[item.mode] * float(np.exp(0.3 * rng.normal()))
            judging.submit(item, name, draft, seconds=seconds)
            ways[name].append(item.mode)
    return ways


def crossed(path: Path, *options: str) -> int:
    people = [word for name in PEOPLE for word in ("--annotator", name)]
    return run(["project", "crossed", str(path / "ways.toml"), *people, "--repeats", "0.2", *options])


@pytest.fixture(scope="module")
def study(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[Path, Study]]:
    """Two dozen prompts with three responses and their features, the truth in the first feature."""
    folder = tmp_path_factory.mktemp("ways")
    with pytest.MonkeyPatch.context() as patch, Store.open(folder / "study.duckdb") as store:
        patch.setenv("WORKBENCH_DB", str(folder / "study.duckdb"))
        made = Study(store, folder, prompts_=24)
        made.write()
        yield folder, made


@pytest.fixture(scope="module")
def judged(study: tuple[Path, Study]) -> tuple[Path, dict[str, list[str]], Ways]:
    """Made by one command, worked through by four, and reported on by another."""
    folder, made = study
    made.store.close()
    assert crossed(folder) == 0
    truth = {key: float(values[0]) for key, values in made.features.items()}
    with Store.open(folder / "study.duckdb") as store:
        ways = work_through(store, truth)
        return folder, ways, Judging(store).projects.ways("ways")


def test_everybody_judges_as_much_in_both_ways_one_after_the_other(
    judged: tuple[Path, dict[str, list[str]], Ways],
) -> None:
    _, ways, found = judged
    for mine in ways.values():
        assert abs(mine.count("rank") - mine.count("rate")) <= 2
        assert sum(a != b for a, b in itertools.pairwise(mine)) == 1, "two blocks"
    assert sorted(mine[0] for mine in ways.values()) == ["rank", "rank", "rate", "rate"]
    assert found.judged == (
        sum(m.count("rank") for m in ways.values()),
        sum(m.count("rate") for m in ways.values()),
    )
    assert (found.first, found.second, found.annotators, found.prompts) == ("rank", "rate", 4, 24)


def test_what_was_put_in_comes_out(judged: tuple[Path, dict[str, list[str]], Ways]) -> None:
    """They rank more reliably than they rate, in less time, and what is learned from it is better."""
    _, _, found = judged
    assert found.reliability.first.value > 0.6 > found.reliability.second.value
    assert found.reliability.difference.high < 0
    assert found.repeats.difference.value < 0
    assert found.ties.first.value == 0 < found.ties.second.value
    assert found.ratio is not None
    assert found.ratio.low < 1.5 < found.ratio.high
    assert found.ratio.low > 1, "that ratings take longer is seen"
    assert found.over_people
    assert 0.4 < found.across.value < 0.95
    assert found.models is not None, found.missing
    both = found.models.accuracy["both"]
    assert both.first.value > 0.75
    assert both.difference.low < 0
    assert found.models.log_loss["both"].difference.value > 0


def test_the_command_says_so(
    judged: tuple[Path, dict[str, list[str]], Ways],
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    folder, _, found = judged
    monkeypatch.setenv("WORKBENCH_DB", str(folder / "study.duckdb"))
    assert run(["report", "ways", "--json"]) == 0
    told = json.loads(capsys.readouterr().out.splitlines()[-1])
    assert told["reliability"]["first"]["value"] == pytest.approx(found.reliability.first.value)
    text = as_text(found)
    assert "reliability (Krippendorff's α)" in text
    assert "ways: rankings against ratings, each prompt by others; 4 annotators, 24 prompts." in text
    assert max(map(len, text.splitlines()[:12])) <= 110
    assert max(map(len, as_text(found, 72).splitlines()[:24])) <= 72


def test_alpha_is_that_of_the_agreement_of_all_labels(
    judged: tuple[Path, dict[str, list[str]], Ways],
) -> None:
    """α of the rankings alone, from the judgements of that kind, by the view that knows no ways."""
    folder, _, found = judged
    with Store.open(folder / "study.duckdb") as store:
        ((alpha,),) = store.rows(
            "WITH said AS (SELECT v.* FROM pair_verdicts v JOIN judgements j USING (judgement_id) "
            "  JOIN assignments s USING (assignment_id) WHERE v.kind = 'ranking' AND s.kind = 'label'), "
            "pairs AS (SELECT x, y, count(*) m, sum(verdict * verdict) q, sum(verdict) t FROM said "
            "  GROUP BY x, y HAVING count(*) > 1) "
            "SELECT alpha(sum(2 * (m * q - t * t) / (m - 1)), sum(m), sum(q)) FROM pairs"
        )
    assert found.reliability.first.value == pytest.approx(alpha)


def test_the_same_people_a_week_later(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """The second way opens a week after the first, prompt by prompt, and not before."""
    monkeypatch.setenv("WORKBENCH_DB", str(tmp_path / "study.duckdb"))
    with Store.open(tmp_path / "study.duckdb") as store:
        made = Study(store, tmp_path, prompts_=9)
    assert crossed(tmp_path, "--same-people", "--overlap", "1") == 0
    truth = {key: float(values[0]) for key, values in made.features.items()}
    with Store.open(tmp_path / "study.duckdb") as store:
        first = work_through(store, truth)
        assert all(len(set(mine)) == 1 for mine in first.values())
        pace = Judging(store).pace("ada")
        assert pace.resting == pace.remaining == len(first["ada"])
        assert pace.opens_at is not None
        store.write("UPDATE judgements SET created_at = created_at - INTERVAL 6 DAY")
        assert not any(work_through(store, truth).values()), "a week, not six days"
        store.write("UPDATE judgements SET created_at = created_at - INTERVAL 1 DAY")
        second = work_through(store, truth)
        assert {name: len(mine) for name, mine in first.items()} == {n: len(m) for n, m in second.items()}
        assert all(first[name][0] != second[name][0] for name in PEOPLE)
        found = Judging(store).projects.ways("ways")
        assert found.same_people
        assert found.across.prompts == 9
        assert "the same person's" in as_text(found)
    assert run(["report", "ways"]) == 0
    said = capsys.readouterr()
    assert "seconds a judgement" in said.out
    assert "no features" in said.err


def test_a_study_that_cannot_be_says_why(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("WORKBENCH_DB", str(tmp_path / "study.duckdb"))
    with Store.open(tmp_path / "study.duckdb") as store:
        Study(store, tmp_path, prompts_=2)
    assert crossed(tmp_path, "--overlap", "3") == 2
    assert "overlap 3 in each way needs 6 annotators" in capsys.readouterr().err
    (tmp_path / "ways.toml").unlink()
    (tmp_path / "ways.md").unlink()
    assert crossed(tmp_path, "--against", "rank") == 2
    assert "two different ways" in capsys.readouterr().err
    assert not (tmp_path / "ways.toml").exists(), "nothing is written that cannot be"
    with Store.open(tmp_path / "study.duckdb") as store:
        judging = Judging(store)
        judging.projects.apply_text('name = "one"\nannotators = ["ada"]')
        with pytest.raises(UsageError, match=r"judged in one way; .* \[crossed\]"):
            judging.projects.ways("one")


def test_a_ranking_that_was_begun_is_of_the_project_s_criterion_after_a_crash(tmp_path: Path) -> None:
    with Store.open(tmp_path / "study.duckdb") as store:
        Study(store, tmp_path, prompts_=2)
        judging = Judging(store)
        judging.projects.follow_text('name = "one"\nannotators = ["ada"]\ncriterion = "helpfulness"')
        item = judging.next_item("ada")
        assert item is not None
        judging.keep(item, "ada", item.draft.place_next(item.responses[0].response_id))
        again = Judging(store).resume("ada")
        assert again is not None
        assert again.criterion == item.criterion == "helpfulness"
        assert replace(again.draft, placed=()) == item.draft
        assert remembered.get(store, "project") == "one"
