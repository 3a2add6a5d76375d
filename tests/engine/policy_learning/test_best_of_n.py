"""The best-of-n job on the fake model."""

import json
from pathlib import Path

import msgspec
import pyarrow.parquet as pq
import pytest

from engine.objectives.best_of import kl_bound
from engine.policy_learning import rloo
from engine.policy_learning.best_of_n import run
from engine.protocol.configs import BestOfNConfig, RLOOConfig
from engine.protocol.events import Finished, Metrics, Output
from engine.protocol.rundir import RunDir
from tests.engine.training.runs import make_run, only, prompts

CONFIG = BestOfNConfig(
    name="best", policy="p", reward_model="reward_model", gold="gold", device="cpu", dtype="float32",
    samples=5, max_new_tokens=6, batch_sequences=10,
)  # fmt: skip


def prepared(path: Path, models: dict[str, Path], config: BestOfNConfig = CONFIG) -> RunDir:
    return make_run(path, config, {**models, "gold": models["reward_model"]}, {"prompts": prompts(4)})


def rows(directory: RunDir, kind: str) -> list[dict[str, object]]:
    files = sorted(directory.output_path(kind, 0).parent.glob(f"{kind}-*.parquet"))
    return [row for file in files for row in pq.read_table(file).to_pylist()]


def test_the_best_by_the_proxy_become_responses(tmp_path: Path, ppo_models: dict[str, Path]) -> None:
    directory = prepared(tmp_path / "run", ppo_models)
    events = list(run(CONFIG, directory))
    samples, best = rows(directory, "rollouts"), rows(directory, "responses")
    assert len(samples) == 20
    assert [row["prompt_id"] for row in best] == ["p0", "p1", "p2", "p3"]
    for row in best:
        own = [sample for sample in samples if sample["prompt_id"] == row["prompt_id"]]
        top = max(own, key=lambda sample: float(sample["reward"]))  # type: ignore[arg-type]
        assert row["text"] == top["text"]
        assert json.loads(str(top["components"]))["gold"] == pytest.approx(top["score"], abs=1e-5)
    metrics = {event.step: event.values for event in only(events, Metrics)}
    assert list(metrics) == [1, 2, 4, 5]
    scores = [float(sample["score"]) for sample in samples]  # type: ignore[arg-type]
    assert metrics[1]["bon/proxy"] == pytest.approx(sum(scores) / 20, abs=1e-5)
    rewards = [float(sample["reward"]) for sample in samples]  # type: ignore[arg-type]
    tops = [max(range(i, i + 5), key=rewards.__getitem__) for i in range(0, 20, 5)]
    assert metrics[5]["bon/proxy"] == pytest.approx(sum(scores[n] for n in tops) / 4, abs=1e-5)
    assert metrics[5]["bon/objective"] == pytest.approx(sum(rewards[n] for n in tops) / 4, abs=1e-5)
    assert metrics[4]["bon/gold"] == pytest.approx(metrics[4]["bon/proxy"], abs=1e-5)
    assert metrics[4]["bon/kl"] == kl_bound(4)
    assert isinstance(events[-1], Finished)


def test_a_job_that_was_killed_goes_on_to_the_same_end(tmp_path: Path, ppo_models: dict[str, Path]) -> None:
    whole, broken = prepared(tmp_path / "whole", ppo_models), prepared(tmp_path / "broken", ppo_models)
    expected = only(run(CONFIG, whole), Metrics)
    job = run(CONFIG, broken)
    for event in job:
        if isinstance(event, Output) and event.path.endswith("rollouts-000002.parquet"):
            break  # its best responses are not written yet
    job.close()  # type: ignore[attr-defined]
    assert only(run(CONFIG, broken), Metrics) == expected
    for kind in ("rollouts", "responses"):
        assert rows(broken, kind) == rows(whole, kind)


def test_without_gold_there_is_only_the_proxy(tmp_path: Path, ppo_models: dict[str, Path]) -> None:
    config = msgspec.structs.replace(CONFIG, gold="", samples=2)
    metrics = only(run(config, prepared(tmp_path / "run", ppo_models, config)), Metrics)
    assert [set(event.values) for event in metrics] == [{"bon/proxy", "bon/objective", "bon/kl"}] * 2


def test_the_objective_is_that_of_policy_learning(tmp_path: Path, ppo_models: dict[str, Path]) -> None:
    """The rewards of both jobs on the same texts: one scale, one penalty."""
    config = msgspec.structs.replace(CONFIG, gold="", samples=8, seed=3)
    directory = prepared(tmp_path / "best", ppo_models, config)
    list(run(config, directory))
    shared = {
        name: getattr(config, name)
        for name in ("name", "reward_model", "policy", "device", "dtype", "max_new_tokens", "seed")
    }
    learning = RLOOConfig(**shared, samples=8, prompts_per_step=4, steps=1, kl="fixed", beta=0.0)
    other = make_run(tmp_path / "rloo", learning, ppo_models, {"prompts": prompts(4)})
    list(rloo.run(learning, other))
    for job, samples in (("best", rows(directory, "rollouts")), ("rloo", rows(other, "rollouts"))):
        scale = json.loads((directory.path / "scale.json").read_text())
        mean, std = scale["means"]["reward_model"][0], scale["stds"]["reward_model"][0]
        assert scale["samples"] == 96
        assert any(sample["stopped"] for sample in samples), job
        assert any(not sample["stopped"] for sample in samples), job
        for sample in samples:
            own = [s for s in samples if s["prompt_id"] == sample["prompt_id"]]
            ended = [(float(s["score"]) - mean) / std for s in own if s["stopped"]]  # type: ignore[arg-type]
            if sample["stopped"]:
                expected = (float(sample["score"]) - mean) / std  # type: ignore[arg-type]
            elif ended:
                expected = sum(ended) / len(ended) - 1
            else:
                continue
            assert sample["reward"] == pytest.approx(expected, abs=1e-4), job
