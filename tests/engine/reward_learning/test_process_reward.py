"""The process reward job: learns judged steps, saves a model that scores the ends of steps."""

from __future__ import annotations

import json
import random
from pathlib import Path
from typing import Any

import pyarrow.parquet as pq
import pytest
import torch

from engine.errors import UsageError
from engine.models.reward_model import load_reward_model
from engine.models.step_scores import step_scores, stepped
from engine.protocol.configs import ProcessRewardConfig
from engine.protocol.events import Artifact, Event, Finished, Metrics, Output
from engine.protocol.rundir import RunDir
from engine.reward_learning.steps.data import good_steps, shares_of
from engine.reward_learning.steps.job import run as run_job
from engine.steps import step_ends
from tests.engine.training.runs import chat, make_run, only

CONFIG = ProcessRewardConfig(name="prm", policy="tiny", dtype="float32", device="cpu", seed=1)


def judged(prompts: int = 24, seed: int = 0) -> list[dict[str, Any]]:
    """Two solutions a prompt of three lines; a line of `b` is bad, one of `a` good."""
    draw = random.Random(seed)
    rows = []
    for p in range(prompts):
        for r in range(2):
            labels = [draw.choice((1, -1)) for _ in range(3)]
            lines = [("a" if label > 0 else "b") * draw.randint(3, 6) for label in labels]
            text = "\n".join(lines)
            rows.append(
                {
                    "prompt_id": f"p{p}",
                    "messages": chat(f"say {p}"),
                    "response_id": f"r{p}-{r}",
                    "text": text,
                    "annotator": "ann",
                    "ends": step_ends(text),
                    "labels": labels,
                }
            )
    return rows


@pytest.fixture(scope="module")
def done(tiny_model: Path, tmp_path_factory: pytest.TempPathFactory) -> tuple[RunDir, list[Event]]:
    folder = tmp_path_factory.mktemp("prm") / "run"
    run = make_run(folder, CONFIG, {"policy": tiny_model}, {"steps": judged()})
    return run, list(run_job(CONFIG, run))


def test_it_tells_good_steps_from_bad_ones(done: tuple[RunDir, list[Event]]) -> None:
    _, events = done
    values = {name: value for event in only(events, Metrics) for name, value in event.values.items()}
    assert values["heldout/accuracy"] > 0.85
    assert values["heldout/accuracy"] > values["heldout/majority"] + 0.1
    assert values["heldout/log_loss"] < 0.5
    assert values["heldout/first_wrong"] > 0.6
    assert values["heldout/steps"] == 5 * 2 * 3
    assert isinstance(events[-1], Finished)


def test_the_folder_gives_the_announced_scores(done: tuple[RunDir, list[Event]]) -> None:
    run, events = done
    (artifact,) = only(events, Artifact)
    assert artifact.details["steps"] == "\n"
    model = load_reward_model(run.path / artifact.path, "float32")
    assert model.steps == "\n"
    outputs = {event.kind: pq.read_table(run.path / event.path).to_pylist() for event in only(events, Output)}
    row = judged()[3]
    text = stepped(model.tokeniser, json.loads(row["messages"]), row["text"], model.tokeniser.score_tokens)
    (scores,) = step_scores(model, [text])
    told = [one for one in outputs["step_scores"] if one["response_id"] == row["response_id"]]
    assert [one["ends_at"] for one in told] == row["ends"] == text.ends
    torch.testing.assert_close(
        torch.tensor([one["score"] for one in told]).float(), scores, atol=1e-4, rtol=0
    )
    (whole,) = [one["score"] for one in outputs["scores"] if one["response_id"] == row["response_id"]]
    assert whole == pytest.approx(float(scores.min()), abs=1e-4)


def test_a_step_is_scored_as_the_text_that_ends_with_it(done: tuple[RunDir, list[Event]]) -> None:
    """The trunk reads from left to right: what comes after a step cannot change its score."""
    run, _ = done
    model = load_reward_model(run.path / "model", "float32")
    messages = [{"role": "user", "content": "say 1"}]
    limit = model.tokeniser.score_tokens
    long, other = (
        step_scores(model, [stepped(model.tokeniser, messages, text, limit)])[0]
        for text in ("aaaa\nbbbb\naaaa", "aaaa\nbbbb\nbbbbbb\naa")
    )
    torch.testing.assert_close(long[:2], other[:2], atol=1e-5, rtol=0)
    whole = model.tokeniser.encode_for_score(messages, "aaaa\nbbbb\naaaa", limit)
    assert float(model.scores_of([(whole.prompt, whole.response)])[0, 0]) == pytest.approx(
        float(long.min()), abs=1e-5
    )


def test_labels_become_what_the_settings_say() -> None:
    row = {"ends": [1, 2, 3, 4], "labels": [0, -1, 1, 0]}

    def said(**settings: Any) -> list[bool]:
        return list(good_steps(row, ProcessRewardConfig(name="x", **settings)).values())

    assert said() == [True, False, True, True]
    assert said(neutral="bad") == [False, False, True, False]
    assert said(neutral="left_out") == [False, True]
    assert said(after_wrong="bad") == [True, False, False, False]
    assert shares_of([{1: True, 2: False}, {1: False}]) == {1: 0.5, 2: 0.0}


def test_what_cannot_be_learned_is_said(tiny_model: Path, tmp_path: Path) -> None:
    rows = [row | {"labels": [1, 1, 1]} for row in judged(4)]
    run = make_run(tmp_path / "run", CONFIG, {"policy": tiny_model}, {"steps": rows})
    with pytest.raises(UsageError, match="All judged steps are good"):
        list(run_job(CONFIG, run))
    with pytest.raises(UsageError, match="separator"):
        ProcessRewardConfig(name="x", separator="")
