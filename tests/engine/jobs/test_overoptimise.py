"""The experiment on over-optimisation: labels of a gold model, proxies, best of n by each."""

from __future__ import annotations

import json
import shutil
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow.parquet as pq
import pytest
import torch

from engine.errors import UsageError
from engine.jobs import overoptimise
from engine.jobs.overoptimise import curve, labels
from engine.jobs.overoptimise_proxies import ProxyKey, Yardstick, beaten, within
from engine.protocol.configs import OveroptimiseConfig
from engine.protocol.events import Event, Finished, Message, Metrics, Output, Progress
from engine.protocol.rundir import RunDir
from tests.engine.training.runs import chat, make_run, only

CONFIG = OveroptimiseConfig(
    gold="gold", policy="p", labels="40,5000", replicates=2, samples=6, max_new_tokens=8, device="cpu",
    dtype="float32", conservative=("minimum",), members=4, steps=2, prompts_per_step=2, step_samples=2,
    learning_rate=1e-2,
)  # fmt: skip
WAYS = ("40/0", "40/1")


@pytest.fixture(scope="module")
def done(
    tiny_model: Path, tiny_reward: Path, tmp_path_factory: pytest.TempPathFactory
) -> tuple[RunDir, list[Event]]:
    asked = [{"prompt_id": f"p{n}", "messages": chat("go" + "!" * n)} for n in range(10)]
    folder = tmp_path_factory.mktemp("gold") / "run"
    run = make_run(folder, CONFIG, {"policy": tiny_model, "gold": tiny_reward}, {"prompts": asked})
    return run, list(overoptimise.run(CONFIG, run))


def chosen(events: list[Event]) -> dict[int, dict[str, float | None]]:
    """Figures of best of n by the heads alone, by n."""
    return {
        event.step: {name: value for name, value in event.values.items() if name.count("/") == 3}
        for event in only(events, Metrics)
        if any(name.count("/") == 3 for name in event.values)
    }


def base(run: RunDir, events: list[Event]) -> tuple[np.ndarray, list[str]]:
    """Gold scores of the first policy's samples, and their prompts."""
    (told,) = (event for event in only(events, Output) if event.kind == "rollouts" and event.step is None)
    rows = pq.read_table(run.path / told.path).to_pylist()
    return np.array([row["score"] for row in rows]), [row["prompt_id"] for row in rows]


def test_every_proxy_has_a_curve_and_gold_itself_is_the_ceiling(done: tuple[RunDir, list[Event]]) -> None:
    _, events = done
    metrics = chosen(events)
    assert sorted(metrics) == [1, 2, 4, 6]
    names = {name.removesuffix("/gold") for name in metrics[6] if name.endswith("/gold")}
    assert names == {f"gold_curves/{key}" for key in ("0/0", *WAYS)}
    for name in names:
        assert metrics[1][f"{name}/wins"] == pytest.approx(0.5)
        assert metrics[1][f"{name}/gold"] == pytest.approx(0, abs=1e-9)  # any sample: the mean of its prompt
        proxy = [metrics[n][f"{name}/proxy"] or 0.0 for n in (1, 2, 4, 6)]
        assert proxy == sorted(proxy)
        gold, ceiling = metrics[6][f"{name}/gold"], metrics[6]["gold_curves/0/0/gold"]
        assert gold is not None
        assert ceiling is not None
        assert gold <= ceiling + 1e-9
    assert metrics[6]["gold_curves/0/0/gold"] == pytest.approx(metrics[6]["gold_curves/0/0/proxy"])
    assert any("5000 labels" in event.text for event in only(events, Message))
    assert isinstance(events[-1], Finished)
    assert set(events[-1].summary) == {
        "prompts", "gold_of_0_labels", "gold_of_40_labels", "learned_gold_of_40_labels"
    }  # fmt: skip


def test_a_policy_learns_from_every_proxy_and_its_rollouts_tell_its_figures(
    done: tuple[RunDir, list[Event]],
) -> None:
    run, events = done
    figures: dict[tuple[int, str], float | None] = {}
    for event in only(events, Metrics):
        figures |= {(event.step, name): value for name, value in event.values.items() if "/rl/" in name}
    ways = [ProxyKey(40, n, variant) for n in (0, 1) for variant in ("plain", "minimum")]
    assert len(figures) == len(ways) * CONFIG.steps * len(("kl", "proxy", "gold", "length", "wins"))
    for way in ways:
        assert figures[1, way.metric("rl", "kl")] == pytest.approx(0, abs=1e-4)  # the first policy itself
        assert (figures[2, way.metric("rl", "kl")] or 0) != 0
    rows = {
        event.step: pq.read_table(run.path / event.path).to_pylist()
        for event in only(events, Output)
        if event.kind == "rollouts" and event.step is not None
    }
    assert sorted(rows) == list(range(2, 2 + len(ways) * CONFIG.steps))
    own = rows[3 + 2 * ways.index(ProxyKey(40, 1, "minimum"))]
    assert len(own) == 4
    assert {one for row in own for one in json.loads(row["components"])} == {"gold", "judge", "40/1/minimum"}
    told = figures[2, ProxyKey(40, 1, "minimum").metric("rl", "length")]
    assert told == pytest.approx(sum(row["tokens"] for row in own) / 4)
    gold = Yardstick.on(*base(run, events))
    assert figures[2, ProxyKey(40, 1, "minimum").metric("rl", "gold")] == pytest.approx(
        float(gold.of(np.array([row["score"] for row in own]), [row["prompt_id"] for row in own]).mean()),
        abs=1e-4,
    )


def test_a_resumed_run_learns_only_from_the_proxies_that_are_left(
    done: tuple[RunDir, list[Event]], tiny_model: Path, tiny_reward: Path, tmp_path: Path
) -> None:
    run, events = done
    again = RunDir(tmp_path / "run")
    shutil.copytree(run.path, again.path)
    left = again.path / "curves" / "40-1-minimum.json"
    kept = json.loads(left.read_text())
    left.unlink()
    resumed = list(overoptimise.run(CONFIG, again))
    assert json.loads(left.read_text()) == kept
    stages = {event.stage for event in only(resumed, Progress) if event.stage.startswith("proxy ")}
    assert stages == {f"proxy 40/1/minimum, step {step} of 2" for step in (1, 2)}
    numbers = [(event.step, dict(event.values)) for event in only(events, Metrics)]
    assert [(event.step, dict(event.values)) for event in only(resumed, Metrics)] == numbers


def test_a_share_that_is_beaten_counts_ties_as_one_half() -> None:
    scores, groups = np.array([1.0, 2.0, 2.0, 9.0]), torch.tensor([0, 0, 0, 1])
    assert beaten(scores, groups, scores, groups, itself=True).tolist() == [0.0, 0.75, 0.75, 0.0]
    assert beaten(np.array([2.0]), torch.tensor([0]), scores, groups).tolist() == pytest.approx([2 / 3])


def test_the_curves_can_be_computed_again_from_the_rows(done: tuple[RunDir, list[Event]]) -> None:
    run, events = done
    (told,) = (event for event in only(events, Output) if event.kind == "rollouts" and event.step is None)
    rows = pq.read_table(run.path / told.path).to_pylist()
    assert len(rows) == 5 * 6
    number = {prompt: n for n, prompt in enumerate(dict.fromkeys(row["prompt_id"] for row in rows))}
    group = np.array([number[row["prompt_id"]] for row in rows])
    scores = [json.loads(row["components"]) for row in rows]

    def standard(name: str) -> torch.Tensor:
        apart, spread = within(np.array([one[name] for one in scores]), group)
        return torch.from_numpy(apart / spread)

    metrics = chosen(events)
    found = curve(standard("40/1"), standard("gold"), torch.from_numpy(group), 4)
    assert metrics[4]["gold_curves/40/1/gold"] == pytest.approx(found)


def test_more_labels_are_more_of_the_same_and_say_what_gold_says() -> None:
    draw = np.random.default_rng(0)
    gold, group = draw.normal(size=400) * 3, np.repeat(np.arange(50), 8)
    pool = [(int(group[i]), i, j) for i in range(400) for j in range(i + 1, 400) if group[i] == group[j]]
    few, many = (labels(pool, gold, group, count, (0, 1)) for count in (100, 1000))

    def said(found: Any) -> dict[tuple[int, int], float]:
        pairs = zip(found.left.tolist(), found.right.tolist(), strict=True)
        return dict(zip(pairs, found.win.tolist(), strict=True))

    assert said(few).items() <= said(many).items()
    assert said(few).items() != said(labels(pool, gold, group, 100, (0, 2))).items()
    apart, spread = within(gold, group)
    chance = 1 / (1 + np.exp(-(apart[many.left] - apart[many.right]) / spread))
    assert many.win.mean() == pytest.approx(float(chance.mean()), abs=0.05)
    assert float(((many.win > 0.5) == (chance > 0.5)).mean()) == pytest.approx(
        float(np.maximum(chance, 1 - chance).mean()), abs=0.05
    )


def test_bad_numbers_are_refused(tiny_model: Path, tiny_reward: Path, tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="no variant"):
        OveroptimiseConfig(gold="g", conservative=("largest",))
    with pytest.raises(UsageError, match="one label at least"):
        OveroptimiseConfig(gold="g", labels="0,10")
    config = OveroptimiseConfig(
        gold="gold", policy="p", labels="1000", samples=2, max_new_tokens=4, device="cpu", dtype="float32"
    )
    asked = [{"prompt_id": f"p{n}", "messages": chat("go" + "!" * n)} for n in range(4)]
    run = make_run(tmp_path / "run", config, {"policy": tiny_model, "gold": tiny_reward}, {"prompts": asked})
    with pytest.raises(UsageError, match="fewer than 1000"):
        list(overoptimise.run(config, run))
