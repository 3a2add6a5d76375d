"""Judges as rewards: what a sample's score is, what is asked, what happens where no answer comes."""

from __future__ import annotations

import json
import random
import sys
from pathlib import Path
from types import ModuleType
from typing import Any

import pyarrow.parquet as pq
import pytest

from engine.endpoints import client as client_module
from engine.errors import EndpointError, UsageError, WorkbenchError
from engine.policy_learning import best_of_n, online_dpo
from engine.policy_learning import prompts as policy_prompts
from engine.policy_learning.rewards.judges import pairs_within
from engine.protocol.building import build
from engine.protocol.configs import BestOfNConfig, OnlineDPOConfig, RLOOConfig
from engine.protocol.estimate import estimate
from engine.protocol.events import Metrics
from engine.protocol.reward_judge import read_reward_judge
from tests.engine.chat_serving import ChatFake, error, ok, shorter
from tests.engine.chat_serving import completion as completed
from tests.engine.policy_learning.jobs import COMMON, Job
from tests.engine.policy_learning.judge_files import SHORT, judging, opened, said, says, written
from tests.engine.training.runs import finished, make_run, only, prompts


@pytest.fixture(autouse=True)
def _quick(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(policy_prompts, "REFERENCE_SAMPLES", 4)
    monkeypatch.setattr(client_module, "FIRST_WAIT", 0.001)


@pytest.fixture
def prefers(monkeypatch: pytest.MonkeyPatch) -> Any:
    """Names a function that judges, and likes what stands first besides."""
    module = ModuleType("judges_of_rewards")
    module.longer = lambda prompt, first, second, criterion: min(  # type: ignore[attr-defined]
        1.0, 0.1 + (0.8 if len(first) > len(second) else 0.0)
    )
    monkeypatch.setitem(sys.modules, module.__name__, module)
    return {"by": "function", "function": "judges_of_rewards:longer", "function_seconds": 0.0}


def test_a_sample_scores_its_mean_chance_of_winning_against_the_others_of_its_prompt(
    tmp_path: Path, prefers: Any
) -> None:
    part = opened(tmp_path, **prefers)
    here = said("a", "bbb", "cc", "a")
    both = finished(part.judged([*here, *said("dd", prompt="q"), *said("d", prompt="q")]))
    # of "a": loses to two with 0.1, ties with its twin; of another prompt's sample nothing is asked
    assert both.scores.tolist() == pytest.approx([0.7 / 3, 0.9, (0.9 * 2 + 0.1) / 3, 0.7 / 3, 0.9, 0.1])
    assert both.told["judge/cook/failed"].tolist() == [0.0] * 6
    assert both.told["judge/cook/disagree"].tolist() == [0.0] * 6
    shuffled = list(range(4))
    random.Random(3).shuffle(shuffled)
    again = finished(part.judged([here[n] for n in shuffled]))
    alone = finished(part.judged(here)).scores
    assert again.scores.tolist() == pytest.approx([float(alone[n]) for n in shuffled])


def test_of_many_samples_each_meets_as_many_others(tmp_path: Path, prefers: Any) -> None:
    pairs = pairs_within(range(11), 4)
    assert len({frozenset(pair) for pair in pairs}) == len(pairs) == 22
    assert all(sum(n in pair for pair in pairs) == 4 for n in range(11))
    part = opened(tmp_path, **prefers, opponents=2)
    assert part.said.config.asked_of(5) == 10
    judged = finished(part.judged(said("a", "bb", "ccc", "dddd", "eeeee")))
    assert judged.scores.tolist() == pytest.approx([0.1, 0.5, 0.5, 0.5, 0.9])


def test_a_place_that_a_judge_prefers_cancels(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    module = ModuleType("judges_of_rewards")
    module.first = lambda prompt, first, second, criterion: 1.0  # type: ignore[attr-defined]
    monkeypatch.setitem(sys.modules, module.__name__, module)
    judged = finished(
        opened(tmp_path, by="function", function="judges_of_rewards:first", function_seconds=0.0).judged(
            said("a", "b")
        )
    )
    assert judged.scores.tolist() == [0.5, 0.5]
    assert judged.told["judge/cook/disagree"].tolist() == [1.0, 1.0]


def test_an_endpoint_that_reasons_gives_a_number_of_the_scale(tmp_path: Path, fake: ChatFake) -> None:
    def rates(asked: dict[str, Any]) -> Any:
        text = asked["messages"][-1]["content"]
        assert "[[1]] … [[5]]" in text
        assert "leads to the better dish" in text
        assert "logprobs" not in asked
        assert asked["max_tokens"] == 512
        number = 5 if "bbb" in text else 2
        return says(f"It is on a scale of 1 to 5 more like a [[3]] at first, yet: [[{number}]].\x1b[31m")

    fake.answer = rates
    part = opened(
        tmp_path, by="endpoint", endpoint=fake.endpoint, policy="m", asks="score", reasons=True,
        rubric={"criteria": {"overall": "what leads to the better dish."}},
    )  # fmt: skip
    assert finished(part.judged(said("a", "bbb"))).scores.tolist() == [0.25, 1.0]
    assert finished(part.judged(said("bbb", "bbb", "a"))).scores.tolist() == [1.0, 1.0, 0.25]
    assert len(fake.asked) == 2  # what has been asked is in the cache
    part.close()


def test_questions_without_an_answer_are_counted_and_end_the_run_beyond_a_share(
    tmp_path: Path, fake: ChatFake
) -> None:
    busy = {"bad"}

    def sometimes(asked: dict[str, Any]) -> Any:
        text = asked["messages"][-1]["content"]
        return error(503, "busy") if any(f"\n{word}\n" in text for word in busy) else says("4")

    fake.answer = sometimes
    settings = {
        "by": "endpoint", "endpoint": fake.endpoint, "policy": "m", "asks": "score", "retries": 1,
        "failed_share": 0.25, "at_once": 2,
    }  # fmt: skip
    part = opened(tmp_path, **settings)
    judged = finished(part.judged(said("a", "b", "bad", "d")))
    assert judged.told["judge/cook/failed"].tolist() == [0, 0, 1, 0]
    assert judged.scores.tolist() == [0.75] * 4  # the mean of the others where there is no answer
    busy.add("worse")
    with pytest.raises(WorkbenchError, match=r"gave no answer to 2 of 4 questions.*failed_share of 0.25"):
        finished(part.judged(said("a", "worse", "bad", "d")))
    part.close()


def test_an_endpoint_that_is_gone_ends_the_run_at_once(tmp_path: Path, fake: ChatFake) -> None:
    fake.answer = lambda _: error(503, "down")
    part = opened(
        tmp_path, by="endpoint", endpoint=fake.endpoint, policy="m", asks="score", retries=0, at_once=2,
        failed_share=0.9,
    )  # fmt: skip
    with pytest.raises(EndpointError, match="503: down"):
        finished(part.judged(said(*map(str, range(40)))))
    assert len(fake.asked) <= 5
    part.close()


@pytest.mark.parametrize("asks", ["score", "pairs"])
def test_a_model_here_judges_by_the_probabilities_of_its_next_token(
    tmp_path: Path, ppo_models: dict[str, Path], asks: str
) -> None:
    part = opened(tmp_path, {"judge cook": ppo_models["policy"]}, asks=asks, rubric=SHORT)
    judged = finished(part.judged(said("a", "bb")))
    assert judged.told["judge/cook/failed"].tolist() == [0, 0]
    assert all(0 < score < 1 for score in judged.scores.tolist())
    turned = finished(part.judged(said("bb", "a"))).scores.flip(0)
    assert turned.tolist() == pytest.approx(judged.scores.tolist(), abs=1e-5)
    if asks == "pairs":
        assert float(judged.scores.sum()) == pytest.approx(1)


def test_a_model_here_writes_its_reasons(
    tmp_path: Path, ppo_models: dict[str, Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    models = {"judge cook": ppo_models["policy"]}
    settings: dict[str, Any] = {
        "asks": "score", "reasons": True, "rubric": SHORT, "max_new_tokens": 4, "failed_share": 0.5
    }  # fmt: skip
    part = opened(tmp_path, models, **settings)
    with pytest.raises(WorkbenchError, match="without a verdict, it answered"):  # a random model's letters
        finished(part.judged(said("a", "bb")))
    texts = iter(["well: [[4]]", "no"])
    monkeypatch.setattr("engine.policy_learning.rewards.writing_judge.response_text", lambda *_: next(texts))
    judged = finished(part.judged(said("a", "bb")))
    assert (judged.scores.tolist(), judged.told["judge/cook/failed"].tolist()) == ([0.75, 0.75], [0.0, 1.0])


# In the jobs


def test_a_run_learns_from_a_judge_and_resumes_to_the_same_weights(
    tmp_path: Path, ppo_models: dict[str, Path], fake: ChatFake
) -> None:
    file = judging(fake, tmp_path)
    changes: dict[str, Any] = {"rewards": (f"judge:{file}*0.5",), "steps": 2}
    jobs = [Job(tmp_path / name / "run", ppo_models, "rloo", **changes) for name in ("whole", "broken")]
    for job in jobs:
        for name, path in job.config.inputs().files.items():
            job.run.keep_file(name, Path(path))
    file.unlink()  # the run has its own copy
    first, second = (event.values for event in only(jobs[0].events(), Metrics))
    assert first["judge/cook/failed"] == second["judge/cook/failed"] == 0
    assert first["judge/cook/disagree"] == 0
    rows = pq.read_table(jobs[0].run.output_path("rollouts", 1)).to_pylist()
    for row in rows:
        others = [o for o in rows if o["prompt_id"] == row["prompt_id"] and o is not row]
        wins = [
            0.5 if len(o["text"]) == len(row["text"]) else (0.5 + 0.25 / 0.9)
            if len(row["text"]) < len(o["text"]) else (0.5 - 0.25 / 0.9)
            for o in others
        ]  # fmt: skip
        assert json.loads(row["components"])["judge:cook"] == pytest.approx(sum(wins) / len(wins), abs=1e-4)
    before = len(fake.asked)
    jobs[1].run.pause_path.touch()
    jobs[1].events()
    jobs[1].run.pause_path.unlink()
    jobs[1].events()
    one, other = (job.weights() for job in jobs)
    assert all(bool((one[name] == other[name]).all()) for name in one)
    assert len(fake.asked) > before  # a store of its own, a cache of its own


def test_best_of_n_and_online_dpo_take_a_judge(
    tmp_path: Path, ppo_models: dict[str, Path], fake: ChatFake
) -> None:
    file = judging(fake, tmp_path)
    settings = {name: COMMON[name] for name in ("policy", "device", "dtype", "max_new_tokens", "samples")}
    best = BestOfNConfig(name="best", rewards=(f"judge:{file}",), normalise_score=False, **settings)
    run = make_run(tmp_path / "a" / "run", best, {"policy": ppo_models["policy"]}, {"prompts": prompts(3)})
    run.keep_file("judge cook", file)
    list(best_of_n.run(best, run))
    rows = pq.read_table(run.output_path("rollouts", 1)).to_pylist()
    assert {json.loads(row["components"])["judge/cook/failed"] for row in rows} == {0.0}
    chosen = pq.read_table(run.output_path("responses", 1)).to_pylist()
    stopped = [row for row in rows if row["stopped"]]
    for row in chosen:
        own = [len(r["text"]) for r in stopped if r["prompt_id"] == row["prompt_id"]]
        assert row["finish_reason"] != "stop" or len(row["text"]) == min(own)
    dpo = OnlineDPOConfig(**{**COMMON, "reward_model": "", "steps": 1}, rewards=(f"judge:{file}",))
    run = make_run(tmp_path / "b" / "run", dpo, {"policy": ppo_models["policy"]}, {"prompts": prompts(3)})
    run.keep_file("judge cook", file)
    (metrics,) = only(online_dpo.run(dpo, run), Metrics)
    assert metrics.values["judge/cook/failed"] == 0


def test_what_a_job_with_judges_reads_keeps_and_asks(tmp_path: Path) -> None:
    (tmp_path / "dish.md").write_text("Judge.\n\n## taste\nHow it tastes.\n")
    local = written(tmp_path, policy="smollm2", rubric="dish.md", criterion="taste")
    config = build(
        RLOOConfig,
        {"name": "x", "reward_model": "rm", "rewards": f"judge:{local}*0.5", "steps": 3, "samples": 4},
    )
    inputs = config.inputs()
    assert inputs.policies == {"judge cook": "smollm2"}
    assert inputs.reward_models == {"reward_model": "rm"}
    assert inputs.files == {
        "judge cook": str(local), "rubric of judge cook": str(tmp_path / "dish.md")
    }  # fmt: skip
    assert config.questions(100) == {"judge:cook": 24 * 12 + 3 * 8 * 12}
    assert config.cost().models == 3
    told = estimate(
        config, {"hidden_size": 8, "num_attention_heads": 2, "num_hidden_layers": 1, "vocab_size": 9}
    )
    assert "judge:cook is asked about 576 times" in told.sentence
    local.unlink()
    assert config.inputs().policies == {}  # a stored run may outlive the person's file
    with pytest.raises(UsageError, match=r"cook.toml cannot be read: No such file"):
        build(RLOOConfig, {"name": "x", "rewards": f"judge:{local}"})


@pytest.mark.parametrize(
    ("settings", "sentence"),
    [
        ({"by": "endpoint"}, "Say which endpoint judges"),
        ({"reason": True}, "no setting “reason”.*Did you mean"),
        ({"opponents": 3}, "opponents must be even"),
        ({"scale": 3}, r"scale \(a pair has no number\)"),
        ({"asks": "score", "by": "function", "function": "a:b"}, "is a reward itself"),
        ({"criterion": "taste"}, "no criterion “taste”"),
        ({"rubric": 3}, "rubric must be the name of a file, or a table"),
        ({"rubric": {"labels": 1}}, "cook.toml, rubric: labels must be"),
        ({"seed": 4}, r"seed \(they are the run's\)"),
        ({"failed_share": 1.0}, "failed_share must be"),
    ],
)
def test_a_judge_file_that_is_not_right_is_refused_in_a_sentence(
    tmp_path: Path, settings: Any, sentence: str
) -> None:
    with pytest.raises(UsageError, match=sentence):
        read_reward_judge(written(tmp_path, **settings))


def test_a_fake_endpoint_answers_as_the_judge_of_pairs_is_asked(tmp_path: Path, fake: ChatFake) -> None:
    fake.answer = lambda asked: ok(completed(asked, shorter(asked["messages"][-1]["content"])))
    part = opened(tmp_path, by="endpoint", endpoint=fake.endpoint, policy="m")
    judged = finished(part.judged(said("a", "bb")))
    assert judged.scores.tolist() == pytest.approx([0.5 + 0.25 / 0.9, 0.5 - 0.25 / 0.9], abs=1e-4)
    part.close()
