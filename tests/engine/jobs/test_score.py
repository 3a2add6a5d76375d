"""The score job: right numbers, batches under the budget, stopped and resumed."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch

from engine.errors import NonFiniteError
from engine.jobs import score
from engine.models.reward_classifier import load_reward_classifier, token_scores
from engine.models.reward_model import load_reward_model
from engine.protocol.configs import ScoreConfig
from engine.protocol.events import Finished, Message
from engine.reward_learning.frozen.fit import save_frozen
from engine.scoring.head import RewardHead
from engine.text import Tokeniser
from tests.engine.jobs.runs import outputs, until_output
from tests.engine.training.runs import chat, make_run

CONFIG = ScoreConfig(reward_model="tiny", batch_tokens=128, dtype="float32", device="cpu")
ROWS = [
    {"response_id": f"r{n}", "prompt_id": "p", "messages": chat("Why?"), "text": "yes " * n} for n in range(9)
]


def test_scores_are_those_of_one_response_at_a_time(tiny_reward: Path, tmp_path: Path) -> None:
    run = make_run(tmp_path / "run", CONFIG, {"reward_model": tiny_reward}, {"responses": ROWS})
    events = list(score.run(CONFIG, run))
    found = {row["response_id"]: row for row in outputs(run, events)}
    assert len(found) == 9
    model, tokeniser = load_reward_classifier(tiny_reward, "float32"), Tokeniser.from_folder(tiny_reward)
    for row in ROWS:
        ids = tokeniser.encode_for_score([{"role": "user", "content": "Why?"}], row["text"]).ids
        with torch.no_grad():
            expected = token_scores(model, torch.tensor([ids]))[0, -1].item()
        assert found[row["response_id"]]["score"] == pytest.approx(expected, abs=1e-5)
        assert found[row["response_id"]]["backend"] == "torch-float32"
        assert found[row["response_id"]]["criterion"] == "overall"
        assert found[row["response_id"]]["uncertainty"] is None
    assert isinstance(events[-1], Finished)


def test_a_stopped_job_goes_on_where_it_was(
    tiny_reward: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(score, "SECONDS_A_FILE", 0.0)
    run = make_run(tmp_path / "run", CONFIG, {"reward_model": tiny_reward}, {"responses": ROWS})
    first = outputs(run, until_output(score.run(CONFIG, run), 1))
    assert 0 < len(first) < 9
    rest = outputs(run, list(score.run(CONFIG, run)))
    assert sorted(row["response_id"] for row in rest) == [row["response_id"] for row in ROWS]


def test_a_cut_response_is_told(tiny_reward: Path, tmp_path: Path) -> None:
    rows = [{"response_id": "long", "prompt_id": "p", "messages": chat("Why?"), "text": "x" * 2000}]
    run = make_run(tmp_path / "run", CONFIG, {"reward_model": tiny_reward}, {"responses": rows})
    events = list(score.run(CONFIG, run))
    assert any(
        isinstance(event, Message) and "longer than 512 tokens and cut" in event.text for event in events
    )
    assert len(outputs(run, events)) == 1


def test_a_score_that_is_not_finite_stops_the_job(tiny_reward: Path) -> None:
    reward_model = load_reward_model(tiny_reward, "float32")
    reward_model.weight.fill_(float("nan"))
    with pytest.raises(NonFiniteError, match="not finite"):
        list(reward_model.measured([([5, 6], [2])]))


def test_a_frozen_model_with_criteria_and_an_ensemble_scores_alike(tiny_model: Path, tmp_path: Path) -> None:
    draw, width = np.random.default_rng(0), 2 * 2 * 32
    members = draw.normal(size=(3, 2, width)).astype(np.float32)
    head = RewardHead(
        weight=members.mean(0),
        bias=np.zeros(2, np.float32),
        criteria=("overall", "brief"),
        layers=(1, 2),
        parts=("last", "mean"),
        kind="frozen",
        ensemble_weight=members,
        ensemble_bias=np.zeros((3, 2), np.float32),
        centre=np.zeros(width, np.float32),
        scale=np.ones(width, np.float32),
    )
    save_frozen(tiny_model, tmp_path / "model", head)
    run = make_run(tmp_path / "run", CONFIG, {"reward_model": tmp_path / "model"}, {"responses": ROWS})
    rows = outputs(run, list(score.run(CONFIG, run)))
    assert sorted((row["response_id"], row["criterion"]) for row in rows) == sorted(
        (f"r{n}", criterion) for n in range(9) for criterion in head.criteria
    )
    assert all(row["uncertainty"] > 0 for row in rows)
