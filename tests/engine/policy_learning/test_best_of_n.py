"""The best-of-n job on the fake model."""

import json
from pathlib import Path

import msgspec
import pyarrow.parquet as pq
import pytest

from engine.objectives.best_of import kl_bound
from engine.policy_learning.best_of_n import run
from engine.protocol.configs import BestOfNConfig
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
        top = max(own, key=lambda sample: float(sample["score"]))  # type: ignore[arg-type]
        assert row["text"] == top["text"]
        assert json.loads(str(top["components"]))["gold"] == pytest.approx(top["score"], abs=1e-5)
    metrics = {event.step: event.values for event in only(events, Metrics)}
    assert list(metrics) == [1, 2, 4, 5]
    scores = [float(sample["score"]) for sample in samples]  # type: ignore[arg-type]
    assert metrics[1]["bon/proxy"] == pytest.approx(sum(scores) / 20, abs=1e-5)
    tops = [max(scores[i : i + 5]) for i in range(0, 20, 5)]
    assert metrics[5]["bon/proxy"] == pytest.approx(sum(tops) / 4, abs=1e-5)
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
    assert [set(event.values) for event in metrics] == [{"bon/proxy", "bon/kl"}] * 2
