"""A judge of pairs as the preference that online DPO and Nash-MD compare samples by."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pyarrow.parquet as pq
import pytest

from engine.errors import UsageError
from engine.policy_learning import nash_md, online_dpo
from engine.policy_learning import prompts as policy_prompts
from engine.protocol.building import build
from engine.protocol.configs import NashMDConfig, OnlineDPOConfig
from engine.protocol.estimate import estimate
from engine.protocol.events import Metrics
from tests.engine.chat_serving import ChatFake, ok, shorter
from tests.engine.chat_serving import completion as completed
from tests.engine.policy_learning.jobs import COMMON
from tests.engine.policy_learning.judge_files import SHORT, judging, says, written
from tests.engine.training.runs import make_run, only, prompts


@pytest.fixture(autouse=True)
def _quick(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(policy_prompts, "REFERENCE_SAMPLES", 4)


@pytest.mark.parametrize("kind", ["online_dpo", "nash_md"])
def test_a_judge_of_pairs_is_the_preference_that_samples_are_compared_by(
    tmp_path: Path, ppo_models: dict[str, Path], fake: ChatFake, kind: str
) -> None:
    """Each pair in both orders and no other: of Nash-MD samples with opponents alone."""
    changes: dict[str, Any] = {"reward_model": "", "steps": 1, "compare": "preference", "name": kind}
    make, job = {
        "online_dpo": (OnlineDPOConfig, online_dpo.run), "nash_md": (NashMDConfig, nash_md.run)
    }[kind]  # fmt: skip
    config = make(**{**COMMON, **changes}, preference=f"judge:{judging(fake, tmp_path)}")
    run = make_run(tmp_path / "a" / "run", config, {"policy": ppo_models["policy"]}, {"prompts": prompts(3)})
    for name, path in config.inputs().files.items():
        run.keep_file(name, Path(path))
    ((values,),) = [[event.values for event in only(job(config, run), Metrics)]]
    assert values["judge/cook/failed"] == values["judge/cook/disagree"] == 0
    assert len(fake.asked) <= config.questions(3)["judge:cook"]
    rows = pq.read_table(run.output_path("rollouts", 1)).to_pylist()
    if kind == "nash_md":
        assert all(0.2 < row["reward"] < 0.8 for row in rows)
        return
    for row in rows:  # how likely it wins is what the endpoint says, which prefers the shorter one
        others = [o for o in rows if o["prompt_id"] == row["prompt_id"] and o is not row]
        shorter_by = [len(o["text"]) - len(row["text"]) for o in others]
        wins = [0.5 + 0.25 / 0.9 * ((by > 0) - (by < 0)) for by in shorter_by]
        assert row["reward"] == pytest.approx(sum(wins) / len(wins), abs=1e-4)


def test_pairs_that_a_judge_of_preferences_leaves_open_prefer_neither(
    tmp_path: Path, ppo_models: dict[str, Path], fake: ChatFake
) -> None:
    """An endpoint that is asked about a pair in both orders, and answers about every second pair."""

    def sometimes(asked: dict[str, Any]) -> Any:
        question = asked["messages"][-1]["content"]
        if len(question) % 2:
            return says("I cannot tell.")
        return ok(completed(asked, shorter(question)))

    fake.answer = sometimes
    file = judging(fake, tmp_path, failed_share=0.9, retries=0)
    config = OnlineDPOConfig(
        **{**COMMON, "reward_model": "", "steps": 1}, compare="preference", preference=f"judge:{file}"
    )
    run = make_run(tmp_path / "a" / "run", config, {"policy": ppo_models["policy"]}, {"prompts": prompts(3)})
    run.keep_file("judge cook", file)
    (metrics,) = only(online_dpo.run(config, run), Metrics)
    assert 0 < metrics.values["judge/cook/failed"] < 1
    for row in (rows := pq.read_table(run.output_path("rollouts", 1)).to_pylist()):
        others = [o for o in rows if o["prompt_id"] == row["prompt_id"] and o is not row]
        won = (row["reward"] - 0.5) * len(others) / (0.25 / 0.9)  # pairs won less pairs lost
        assert won == pytest.approx(round(won), abs=1e-3)


def test_a_model_here_is_the_preference_of_a_run(tmp_path: Path, ppo_models: dict[str, Path]) -> None:
    file = written(tmp_path, rubric=SHORT, policy="p")
    config = OnlineDPOConfig(
        **{**COMMON, "reward_model": "", "steps": 1}, compare="preference", preference=f"judge:{file}"
    )
    assert config.inputs().policies == {"judge cook": "p"}
    assert config.cost().models == 2
    models = {"policy": ppo_models["policy"], "judge cook": ppo_models["policy"]}
    run = make_run(tmp_path / "a" / "run", config, models, {"prompts": prompts(3)})
    run.keep_file("judge cook", file)
    (metrics,) = only(online_dpo.run(config, run), Metrics)
    assert metrics.values["judge/cook/failed"] == 0
    assert 0 < metrics.values["policy/objective"] < 1


def test_a_judge_of_numbers_is_no_preference_and_a_preference_has_no_weight(tmp_path: Path) -> None:
    preferred: dict[str, Any] = {"name": "x", "compare": "preference"}
    file = written(tmp_path, asks="score")
    with pytest.raises(UsageError, match=r"gives each sample a number: leave out asks in its file"):
        build(OnlineDPOConfig, preferred | {"preference": f"judge:{file}"})
    with pytest.raises(UsageError, match="has no weight"):
        build(NashMDConfig, preferred | {"preference": f"judge:{file}*2"})
    file = written(tmp_path)
    alone = build(NashMDConfig, preferred | {"preference": f"judge:{file}", "samples": 1, "steps": 3})
    assert alone.questions(100) == {"judge:cook": 3 * 8 * 2}
    told = estimate(
        alone, {"hidden_size": 8, "num_attention_heads": 2, "num_hidden_layers": 1, "vocab_size": 9}
    )
    assert "judge:cook is asked about 48 times" in told.sentence
