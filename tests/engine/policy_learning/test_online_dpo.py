"""Online DPO on the fake model: by a reward, and by people for whom the run waits."""

import itertools
import math
import sys
from pathlib import Path
from typing import Any

import msgspec
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from safetensors.torch import load_file

from engine.errors import UsageError
from engine.objectives.preference import antisymmetric, intransitive_share, mean_wins, win_probabilities
from engine.policy_learning import online_dpo
from engine.policy_learning import prompts as policy_prompts
from engine.policy_learning.online_dpo import pairs_of
from engine.protocol.configs import OnlineDPOConfig
from engine.protocol.events import Artifact, Event, Finished, Message, Metrics, Output, Stopped
from tests.engine.training.runs import make_run, only, prompts, rise

COMMON: dict[str, Any] = {
    "name": "better", "policy": "p", "device": "cpu", "dtype": "float32", "steps": 2, "prompts_per_step": 2,
    "samples": 3, "max_new_tokens": 6, "learning_rate": 5e-3, "checkpoint_every": 1, "trace_every": 1,
}  # fmt: skip
REWARD = OnlineDPOConfig(**COMMON, rewards=("online_rewards:ascii_share",))
PEOPLE = OnlineDPOConfig(**COMMON, compare="people", policy_every=1)
PREFERENCE = OnlineDPOConfig(**COMMON, compare="preference", preference="online_rewards:more_ascii")
FUNCTIONS = """
def more_ascii(prompt, first, second):  # and the first one shown has the better of it
    return 0.2 + 0.7 * (ascii_share(prompt, first) > ascii_share(prompt, second))

def certain(prompt, first, second):
    return 2.0

def ascii_share(prompt, response):
    return sum(c.isascii() for c in response) / (len(response) or 1)
"""


@pytest.fixture(autouse=True)
def _own(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(policy_prompts, "REFERENCE_SAMPLES", 6)
    (tmp_path / "online_rewards.py").write_text(FUNCTIONS)
    monkeypatch.syspath_prepend(str(tmp_path))
    monkeypatch.delitem(sys.modules, "online_rewards", raising=False)


class Job:
    def __init__(self, path: Path, models: dict[str, Path], base: OnlineDPOConfig, **changes: Any) -> None:
        self.config = msgspec.structs.replace(base, **changes)
        tables: dict[str, list[dict[str, Any]]] = {"prompts": prompts()}
        if self.config.compare == "people":
            tables["rankings"] = []
        self.run = make_run(path, self.config, {"policy": models["policy"]}, tables)

    def events(self) -> list[Event]:
        return list(online_dpo.run(self.config, self.run))

    def weights(self) -> dict[str, torch.Tensor]:
        return load_file(self.run.path / "model" / "model.safetensors")

    def rank(self, step: int, *, fewer: int = 0) -> None:
        """What the workbench writes when the run is resumed: ranks by length, the shortest first."""
        rows = pq.read_table(self.run.output_path("responses", step)).to_pylist()
        shown = sorted({row["prompt_id"] for row in rows})[fewer:]
        table = [
            {
                "judgement_id": f"j-{row['prompt_id']}-{step}",
                "prompt_id": row["prompt_id"],
                "text": row["text"],
                "rank": 1
                + sum(len(o["text"]) < len(row["text"]) for o in rows if o["prompt_id"] == row["prompt_id"]),
            }
            for row in rows
            if row["prompt_id"] in shown
        ]
        pq.write_table(pa.Table.from_pylist(table), self.run.table("rankings"))


@given(st.lists(st.floats(-5, 5), min_size=1, max_size=5), st.lists(st.floats(-5, 5), min_size=1, max_size=5))
def test_win_probabilities_are_means_within_a_group_and_add_up(one: list[float], two: list[float]) -> None:
    scores = torch.tensor(one + two, dtype=torch.float64)
    groups = torch.tensor([0] * len(one) + [1] * len(two))
    found = win_probabilities(scores, groups)
    for members in (range(len(one)), range(len(one), len(one) + len(two))):
        own = [float(found[i]) for i in members]
        assert sum(own) == pytest.approx(len(own) / 2)  # every pair gives one win
        for i in members:
            others = [float(torch.sigmoid(scores[i] - scores[j])) for j in members if j != i]
            assert float(found[i]) == pytest.approx(sum(others) / len(others) if others else 0.5)


def test_pairs_stay_within_a_prompt_and_what_is_equal_gives_none() -> None:
    scores, groups = torch.tensor([1.0, 3.0, 1.0, 9.0, 9.0]), torch.tensor([0, 0, 0, 1, 1])
    assert pairs_of(scores, groups, best_worst=False).tolist() == [[1, 0], [1, 2]]
    assert pairs_of(scores, groups, best_worst=True).tolist() == [[1, 0]]


@pytest.mark.parametrize("changes", [{}, {"loss": "ipo", "pairs": "best_worst"}, {"loss": "sppo"}])
def test_raises_a_synthetic_reward(
    tmp_path: Path, ppo_models: dict[str, Path], changes: dict[str, Any]
) -> None:
    job = Job(
        tmp_path / "run", ppo_models, REWARD, steps=16, samples=8, tuning="full", learning_rate=1e-2,
        target_kl_update=0.0, kl_bound=1e9, missing_stop_penalty=0.0, checkpoint_every=0, trace_every=0,
        collapse="ignore", **{"epochs": 2, **changes},
    )  # fmt: skip
    metrics = only(job.events(), Metrics)
    assert rise([event.values["policy/score"] for event in metrics]) > 0.1  # type: ignore[misc]


def test_the_cut_into_micro_batches_is_no_matter(tmp_path: Path, ppo_models: dict[str, Path]) -> None:
    one = Job(tmp_path / "one", ppo_models, REWARD, microbatch=1)  # a prompt is never cut
    other = Job(tmp_path / "other", ppo_models, REWARD, microbatch=64)
    one.events()
    other.events()
    for (_, a), (_, b) in zip(sorted(one.weights().items()), sorted(other.weights().items()), strict=True):
        torch.testing.assert_close(a, b, atol=2e-4, rtol=1e-3)


def test_the_first_step_has_the_loss_of_equal_policies(tmp_path: Path, ppo_models: dict[str, Path]) -> None:
    job = Job(tmp_path / "run", ppo_models, REWARD, steps=1, reference="start")
    (metrics,) = only(job.events(), Metrics)
    rows = pq.read_table(job.run.output_path("rollouts", 1)).to_pylist()
    by_prompt: dict[str, set[float]] = {}
    for row in rows:
        by_prompt.setdefault(row["prompt_id"], set()).add(row["reward"])
    varied = sum(len(rewards) > 1 for rewards in by_prompt.values())
    expected = 0.6931472 * varied / len(by_prompt)
    assert metrics.values["policy/policy_loss"] == pytest.approx(expected, abs=1e-5)
    assert metrics.values["policy/ratio_mean"] == pytest.approx(1, abs=1e-5)


def test_a_run_waits_for_people_and_goes_on_from_what_they_rank(
    tmp_path: Path, ppo_models: dict[str, Path]
) -> None:
    job = Job(tmp_path / "run", ppo_models, PEOPLE)
    first = job.events()
    assert first[-1] == Stopped(paused=True)
    (output,) = [event for event in only(first, Output) if event.kind == "responses"]
    assert (output.rows, output.step, output.policy) == (6, 1, "")
    assert only(first, Message)[-1].text.startswith("Rank the responses to 2 of 2 prompts (F3), then resume")
    job.rank(1, fewer=1)
    again = job.events()
    assert again[-1] == Stopped(paused=True)
    assert "1 of 2 prompts" in only(again, Message)[-1].text
    job.rank(1)
    second = job.events()  # learns from step 1, samples step 2, waits
    assert second[-1] == Stopped(paused=True)
    assert [event.step for event in only(second, Metrics)] == [1]
    (kept,) = only(second, Artifact)
    assert (kept.name, kept.step) == ("better 1", 1)
    new = [event for event in only(second, Output) if event.kind == "responses" and event.step == 2]
    assert [event.policy for event in new] == ["better 1"]
    both = [pq.read_table(job.run.output_path("responses", n)).to_pylist() for n in (1, 2)]
    keys = {(row["prompt_id"], row["sample_index"]) for rows in both for row in rows}
    assert len(keys) == 12  # known apart in the store
    rollouts = pq.read_table(job.run.output_path("rollouts", 1)).to_pylist()
    assert {row["text"] for row in rollouts} == {row["text"] for row in both[0]}
    for row in rollouts:  # by people: from −1 to 1, the shortest is best
        own = [len(o["text"]) for o in rollouts if o["prompt_id"] == row["prompt_id"]]
        others = {o["text"] for o in rollouts if o["prompt_id"] == row["prompt_id"]} - {row["text"]}
        balance = sum((len(o) > len(row["text"])) - (len(o) < len(row["text"])) for o in others)
        assert row["reward"] == pytest.approx(balance / max(1, len(others)), abs=1e-6)
        assert own
    job.rank(2)
    last = job.events()
    assert isinstance(last[-1], Finished)
    assert [event.step for event in only(last, Metrics)] == [2]


def test_people_or_a_reward_but_not_both() -> None:
    with pytest.raises(UsageError, match="People compare the samples: leave out reward_model"):
        OnlineDPOConfig(**COMMON, compare="people", reward_model="rm")
    with pytest.raises(UsageError, match="nothing to maximise"):
        OnlineDPOConfig(**COMMON)


@given(st.integers(0, 999), st.integers(3, 6))
def test_a_preference_is_antisymmetric_and_its_circles_are_counted(seed: int, size: int) -> None:
    generator = torch.Generator().manual_seed(seed)
    wins = antisymmetric(torch.rand(size, size, generator=generator, dtype=torch.float64))
    torch.testing.assert_close(wins + wins.T, torch.ones_like(wins))
    groups = torch.zeros(size, dtype=torch.long)
    assert float(mean_wins(wins, groups).sum()) == pytest.approx(size / 2)
    beats = (wins > 0.5).tolist()
    circles = [
        (beats[i][j] and beats[j][k] and beats[k][i]) or (beats[j][i] and beats[k][j] and beats[i][k])
        for i, j, k in itertools.combinations(range(size), 3)
    ]
    assert intransitive_share(wins, groups) == pytest.approx(sum(circles) / len(circles))
    scores = torch.rand(size, generator=generator, dtype=torch.float64)
    assert intransitive_share(torch.sigmoid(scores[:, None] - scores), groups) == 0
    two = torch.block_diag(wins, wins)
    both = torch.arange(2).repeat_interleave(size)
    assert intransitive_share(two, both) == pytest.approx(sum(circles) / len(circles))
    assert math.isnan(intransitive_share(wins, torch.arange(size)))


@pytest.mark.parametrize("changes", [{}, {"loss": "sppo"}])
def test_a_preference_of_pairs_is_learned(
    tmp_path: Path, ppo_models: dict[str, Path], changes: dict[str, Any]
) -> None:
    job = Job(
        tmp_path / "run", ppo_models, PREFERENCE, steps=12, samples=8, tuning="full", learning_rate=1e-2,
        target_kl_update=0.0, kl_bound=1e9, checkpoint_every=0, trace_every=0, collapse="ignore",
        **{"epochs": 2, **changes},
    )  # fmt: skip
    metrics = only(job.events(), Metrics)
    texts = [pq.read_table(job.run.output_path("rollouts", n))["text"].to_pylist() for n in (1, 12)]
    first, last = (
        sum(sum(c.isascii() for c in t) / (len(t) or 1) for t in part) / len(part) for part in texts
    )
    assert last - first > 0.1
    assert metrics[0].values["policy/objective"] == pytest.approx(0.5, abs=1e-6)
    assert metrics[0].values["policy/intransitive"] in (0, None) or math.isnan(
        metrics[0].values["policy/intransitive"]  # type: ignore[arg-type]
    )


def test_a_preference_that_is_no_probability_is_named(tmp_path: Path, ppo_models: dict[str, Path]) -> None:
    job = Job(tmp_path / "run", ppo_models, PREFERENCE, preference="online_rewards:certain")
    with pytest.raises(UsageError, match=r"preference online_rewards:certain gave 2\.0; it must give a prob"):
        job.events()
    with pytest.raises(UsageError, match="A preference needs compare preference"):
        OnlineDPOConfig(**COMMON, compare="preference")
