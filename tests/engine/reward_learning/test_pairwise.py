"""A reward run with a pairwise preference model beside the head, and that model as a judge."""

from __future__ import annotations

from collections.abc import Generator
from pathlib import Path

import msgspec
import numpy as np
import pytest

from engine.errors import UsageError
from engine.judging.question import JudgeAnswer, PairQuestion
from engine.judging.scores import PreferenceJudge
from engine.models.features import fingerprint
from engine.models.reward_model import load_reward_model
from engine.protocol.building import build
from engine.protocol.configs import JudgeConfig, RewardConfig
from engine.protocol.events import Event, Message, Metrics, Progress
from engine.protocol.rundir import RunDir
from engine.reward_learning import job
from engine.reward_learning.frozen.fit import run_frozen
from engine.scoring.preference import PreferenceHead, load_preference
from tests.engine.training.runs import make_run, only, rankings

CONFIG = RewardConfig(
    name="both", policy="tiny", tuning="frozen", dtype="float32", device="cpu", seed=1, pairwise=True
)


@pytest.fixture(scope="module")
def done(tiny_model: Path, tmp_path_factory: pytest.TempPathFactory) -> tuple[RunDir, list[Event]]:
    run = make_run(
        tmp_path_factory.mktemp("pairwise") / "run", CONFIG, {"policy": tiny_model}, {"rankings": rankings()}
    )
    return run, list(run_frozen(CONFIG, run, tiny_model))


def test_it_is_measured_beside_the_scores(done: tuple[RunDir, list[Event]]) -> None:
    _, events = done
    values = {name: value for event in only(events, Metrics) for name, value in event.values.items()}
    for where in ("heldout", "unseen"):
        assert values[f"pairwise/{where}_accuracy"] > 0.7
        assert values[f"pairwise/{where}_log_loss"] < 0.69
        assert f"{where}/accuracy" in values
    assert values["pairwise/triples"] == 3 * 4  # of four responses four triples, on three held-out prompts
    assert values["pairwise/intransitive_judged"] == 0.0
    assert 0 <= values["pairwise/intransitive"] < 0.5
    assert any("triples run in a circle" in event.text for event in only(events, Message))


def test_the_judge_says_what_the_head_says(done: tuple[RunDir, list[Event]]) -> None:
    run, _ = done
    folder = run.path / "model"
    model = load_reward_model(folder, "float32")
    judge = PreferenceJudge(model, load_preference(folder, "both"), ("overall",), 2048)
    texts = ("aaab", "bbba", "abab")
    chat = [{"role": "user", "content": "say 0"}]
    pairs = [(a, b) for a in range(3) for b in range(3) if a != b]
    questions = [PairQuestion("p", chat, "overall", (str(a), str(b)), (texts[a], texts[b])) for a, b in pairs]
    answers = [each[1] for each in judge.answers(questions) if isinstance(each, tuple)]
    tokens = [model.tokeniser.encode_for_score(chat, text) for text in texts]
    features = model.features_of([(each.prompt, each.response) for each in tokens]).numpy()
    logits = PreferenceHead.load(folder).logits(features)
    for (a, b), answer in zip(pairs, answers, strict=True):
        assert isinstance(answer, JudgeAnswer)
        assert answer.share == pytest.approx(1 / (1 + np.exp(-logits[a, b])), abs=1e-4)
        assert answer.said == np.sign(logits[a, b])


def test_features_of_the_trunk_are_known_again_with_the_model_beside_it(
    done: tuple[RunDir, list[Event]], tmp_path: Path
) -> None:
    run, _ = done
    folder = run.path / "model"
    before = fingerprint(folder)
    head = PreferenceHead.load(folder)
    (copy := tmp_path / "copy").mkdir()
    for file in folder.iterdir():
        (copy / file.name).symlink_to(file)
    (copy / "preference.safetensors").unlink()
    assert fingerprint(copy) == before
    assert head.criteria == ("overall",)


def test_what_cannot_be_is_said_in_a_sentence(tiny_reward: Path) -> None:
    with pytest.raises(UsageError, match="pairwise"):
        load_preference(tiny_reward, "plain")
    with pytest.raises(UsageError, match="give reward_model"):
        JudgeConfig(by="preference")
    with pytest.raises(UsageError, match="pairwise"):
        build(RewardConfig, {"name": "rm", "tuning": "lora", "pairwise": "yes"})
    assert JudgeConfig(by="preference", reward_model="both").annotator == "ai:both pairwise"


def test_where_auto_chooses_another_way_it_is_said_that_there_is_none(
    tiny_model: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def compared(*_: object) -> Generator[Event, None, str]:
        yield Progress(stage="comparing", done=1)
        return "lora"

    monkeypatch.setattr(job, "compare", compared)
    monkeypatch.setattr(job, "fine_tune", lambda *_: iter(()))
    config = msgspec.structs.replace(CONFIG, tuning="auto")
    run = make_run(tmp_path / "run", config, {"policy": tiny_model}, {"rankings": rankings()})
    (told,) = only(job.run(config, run), Message)
    assert "lora cross-validated best" in told.text
