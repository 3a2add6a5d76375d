"""Scoring the store and files through a scorer that gives the length of the text as its score."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path

import pytest

from engine.errors import UsageError
from storage import artifacts
from storage.errors import ImportFileError, NotFoundError
from workbench.services import scoring
from workbench.services.workspace import Workspace


@dataclass
class LengthScored:
    score: float
    cut: bool = False
    uncertainty: float | None = 0.5
    criteria: dict[str, float] = field(default_factory=dict)


class LengthScorer:
    backend = "onnx-int8"

    def score_many(self, items: Sequence[tuple[list[dict[str, str]], str]]) -> list[LengthScored]:
        return [LengthScored(float(len(text))) for _, text in items]


@pytest.fixture
def exported(filled: Workspace, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Workspace:
    import engine.scoring

    monkeypatch.setattr(engine.scoring.Scorer, "open", lambda folder, precision: LengthScorer())
    model = artifacts.insert(
        filled.store, run_id="reward-1", kind="reward_model", name="rm", path=str(tmp_path)
    )
    artifacts.insert(
        filled.store,
        run_id="export-1",
        kind="onnx",
        name="int8",
        path=str(tmp_path / "int8.onnx"),
        parent_id=model,
    )
    return filled


def test_every_response_is_scored_once(exported: Workspace, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(scoring, "PAGE_RESPONSES", 2)
    heard: list[tuple[int, int]] = []
    assert exported.scoring.score_store("rm", lambda *at: heard.append(at)) == 5
    assert heard == [(2, 5), (4, 5), (5, 5)]
    assert exported.scoring.score_store("rm") == 0
    rows = exported.store.rows(
        "SELECT r.text, s.score, s.backend FROM scores s JOIN responses r USING (response_id)"
    )
    assert all(score == len(text) and backend == "onnx-int8" for text, score, backend in rows)


def test_a_stopped_scoring_goes_on(exported: Workspace, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(scoring, "PAGE_RESPONSES", 2)
    answers = iter([False, True])
    assert exported.scoring.score_store("rm", stop=lambda: next(answers)) == 2
    assert exported.scoring.score_store("rm") == 3


def test_scores_of_a_file_land_in_the_store(exported: Workspace, tmp_path: Path) -> None:
    path = tmp_path / "answers.jsonl"
    path.write_text(
        '{"prompt": "Say hi.", "response": "Hi.", "policy": "a"}\n'
        '{"prompt": "Say hi.", "response": "Good day.", "policy": "c"}\n'
    )
    for _ in range(2):
        rows = exported.scoring.score_file(path, "rm")
        assert [(row.policy, row.response, row.score) for row in rows] == [
            ("a", "Hi.", 3.0),
            ("c", "Good day.", 9.0),
        ]
    assert exported.library.overview().responses == 6
    assert exported.library.overview().scores == 2


def test_a_file_that_cannot_be_scored_adds_nothing(exported: Workspace, tmp_path: Path) -> None:
    path = tmp_path / "prompts.jsonl"
    before = exported.library.overview()
    path.write_text('{"prompt": "Something new."}\n')
    with pytest.raises(UsageError, match="no responses"):
        exported.scoring.score_file(path, "rm")
    path.write_text('{"prompt": "New.", "response": "Yes."}\n{"prompt": "New.", "response": \n{"prom\n')
    with pytest.raises(ImportFileError, match="line 2"):
        exported.scoring.score_file(path, "rm")
    assert exported.library.overview() == before


def test_what_is_missing_is_told(exported: Workspace) -> None:
    with pytest.raises(NotFoundError):
        exported.scoring.scorer("mr")
    with pytest.raises(UsageError, match="export onnx rm"):
        exported.scoring.scorer("rm", "fp32")
    with pytest.raises(UsageError, match="Did you mean “int8”"):
        exported.scoring.scorer("rm", "int")


def test_a_prompt_that_the_model_refuses_is_left_out_and_the_rest_is_scored(
    exported: Workspace, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Neither the page that it lies on nor the whole store fails by it."""

    def strict(self: LengthScorer, items: Sequence[tuple[list[dict[str, str]], str]]) -> list[LengthScored]:
        if any("sky" in chat[-1]["content"] for chat, _ in items):
            raise UsageError("The chat template of rm does not accept this prompt.")
        return [LengthScored(float(len(text)), cut=len(text) > 3) for _, text in items]

    monkeypatch.setattr(LengthScorer, "score_many", strict)
    told = scoring.ScoringNotes()
    assert exported.scoring.score_store("rm", notes=told) == 2
    assert len(told.left_out) == 1
    (message,) = told.left_out.messages()
    assert "“Why is the sky blue?”" in message.text
    marked = exported.store.rows("SELECT count(*) FILTER (cut), count(*) FROM scores")
    assert marked == [(told.cut, 2)]
