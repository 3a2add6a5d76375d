"""The report as people read it: what is told, how it is drawn, on the store of PandaLM too."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest

from storage import artifacts, runs, scores
from storage.errors import NotFoundError
from storage.records import NewScore
from storage.store import Store
from tests.storage.measures.test_reports import MODEL, make_world, train
from workbench.services.reports.length import length_word
from workbench.services.reports.lines import bar, box, columns, distance, fit, shown
from workbench.services.reports.reports import RewardReport
from workbench.services.reports.text import heading, notes, sections, wrong_line
from workbench.services.reports.words import EXPLAINED
from workbench.services.workspace import Workspace
from workbench.settings import Settings

PANDALM = Path(__file__).parents[5] / "shared" / "data" / "pandalm_pairs.jsonl"


@pytest.fixture(scope="module")
def report() -> RewardReport:
    with Workspace.open(Settings(db=":memory:", annotator="ada")) as workspace:
        train(workspace.store, make_world(workspace.store))
        return workspace.reports.reward(MODEL)


@pytest.mark.parametrize("width", [30, 49, 76, 120])
def test_every_section_is_drawn_within_its_width(report: RewardReport, width: int) -> None:
    drawn = sections(report, width)
    assert [section.key for section in drawn] == [
        key for key in EXPLAINED if key not in ("wrong", "benchmarks")
    ]
    for section in drawn:
        assert section.lines
        for line in section.lines:
            assert len(shown(line)) <= max(44, width), (section.key, shown(line))
    for pair in report.wrong:
        assert len(shown(wrong_line(pair, max(44, width)))) <= max(44, width)


def test_the_heading_counts_and_the_notes_warn(report: RewardReport) -> None:
    assert f"{report.basis.pairs:,} pairs on 5 held-out prompts" in heading(report)
    assert notes(report) == []
    blind = replace(
        report, basis=replace(report.basis, splits_known=False, unscored=3, annotator="ana", scored_as="x")
    )
    told = " ".join(notes(blind))
    for word in ("flatter", "3 judged pairs", "“x”", "ana"):
        assert word in told


def test_the_word_on_length_follows_the_figures(report: RewardReport) -> None:
    def word(wins: float, loses: float) -> str:
        figure = report.figures["accuracy"]
        changed = {"longer_wins": replace(figure, value=wins), "longer_loses": replace(figure, value=loses)}
        found = length_word(replace(report, figures={**report.figures, **changed}))
        assert found is not None
        return found[0]

    assert "follows length" in word(0.9, 0.3)
    assert "leans on length" in word(0.9, 0.6)
    assert "does not explain" in word(0.8, 0.75)
    assert length_word(replace(report, figures={})) is None


def test_what_is_missing_is_said(report: RewardReport) -> None:
    empty = replace(report.basis, pairs=0)
    assert report.missing == ""
    unscored = replace(report, basis=replace(empty, responses=0))
    assert "export it to ONNX, then run `workbench score" in replace(unscored, exported=False).missing
    assert "yet: run `workbench score" in replace(unscored, exported=True).missing
    assert (
        "has not scored both responses of 2 judged pairs"
        in replace(report, basis=replace(empty, unscored=2)).missing
    )
    nobody = replace(report, basis=empty)
    assert nobody.missing.startswith("Nobody has judged")
    assert "Nobody has judged" in shown(sections(nobody, 80)[0].lines[0])


def test_an_unknown_model_is_told_with_the_near_one(workspace: Workspace) -> None:
    artifacts.insert(workspace.store, run_id="r", kind="reward_model", name="concise", path="/m")
    with pytest.raises(NotFoundError, match="did you mean “concise”"):
        workspace.reports.reward("concis")
    report = workspace.reports.reward("concise")
    assert report.missing
    assert report.calibration_error is None


def test_marks_stand_where_the_numbers_say() -> None:
    assert bar(0.5, cells=11) == "██████     "
    assert bar(0.5, 0.3, 0.7, cells=11) == "███▒▒┃▒▒   "
    assert bar(0.2, cells=11, mark=0.5) == "███  ┊     "
    assert bar(9.0, -9.0, 12.0, cells=5).strip("▒┃") == ""
    assert distance(0.2, 0.6, 11) == "  ●───│    "
    assert distance(0.5, 0.5, 3) == " ● "
    assert box((0.0, 0.25, 0.5, 0.75, 1.0), (0.0, 1.0), 9) == "├─▒▒┃▒▒─┤"
    assert columns((0, 1, 8)) == " ▁█"
    assert fit("漢字漢字", 5) == "漢字…"
    assert fit("a\x1b]52;\nb", 9).isprintable()


def test_pandalm_as_people_judged_it() -> None:
    """Against the plain file: majorities of three, ties dropped, and the longer response."""
    if not PANDALM.exists():
        pytest.skip("shared/data/pandalm_pairs.jsonl is not here")
    with Workspace.open(Settings(db=":memory:", annotator="ada")) as workspace:
        workspace.library.import_file(PANDALM)
        score_by_rule(workspace.store)
        report = workspace.reports.reward(MODEL)
    assert report.basis.pairs == 686
    assert report.basis.prompts == 130
    assert report.figures["longer"].value == pytest.approx(0.67, abs=0.005)
    assert report.figures["accuracy"].value == report.figures["longer"].value
    assert report.figures["longer_loses"].value == 0.0
    assert report.figures["length_balanced"].value == 0.5
    over = report.figures["over_longer"]
    assert over.value == 0.0
    assert -0.05 < over.low < 0 < over.high < 0.05, "121 prompts without a difference are no certainty"
    assert report.figures["accuracy"].low < 0.67 < report.figures["accuracy"].high
    assert {each.annotator for each in report.annotators} == {f"annotator_{n}" for n in (1, 2, 3)}


def score_by_rule(store: Store) -> None:
    """A reward model that counts characters."""
    runs.insert_run(store, "reward-1", "reward", {"name": MODEL})
    model = artifacts.insert(store, run_id="reward-1", kind="reward_model", name=MODEL, path="/m")
    rows = store.rows("SELECT response_id, length(text) FROM responses")
    scores.upsert(store, [NewScore(r, model, n / 100, "torch-float32") for r, n in rows])
