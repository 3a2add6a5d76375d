"""Nash-MD on the real language model, through a preference of pairs that was learned from the demo's rule."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from statistics import fmean

import pytest

from engine.protocol.configs import GenerateConfig, JobConfig, NashMDConfig, RewardConfig
from workbench.services.demo import TRAIN_SOURCE, demo_prompts
from workbench.services.ranking import rule_judging
from workbench.services.workspace import Workspace
from workbench.settings import load_settings

pytestmark = [pytest.mark.real, pytest.mark.slow, pytest.mark.long, pytest.mark.timeout(1500)]
TOKENS = 32
START = GenerateConfig(policy="smollm2", samples=4, max_new_tokens=TOKENS, seed=1)
PREFERENCE = RewardConfig(name="pairs", prompts=TRAIN_SOURCE, pairwise=True, folds=2, seed=1)
NASH = NashMDConfig(
    name="nash", prompts=TRAIN_SOURCE, compare="preference", preference="pairs", steps=8, prompts_per_step=4,
    samples=4, max_new_tokens=TOKENS, learning_rate=5e-4, beta=0.008, checkpoint_every=0, trace_every=0,
    seed=1,
)  # fmt: skip


def run(workspace: Workspace, kind: str, config: JobConfig) -> str:
    run_id = workspace.jobs.submit(kind, config)
    row = workspace.jobs.wait(run_id)
    assert row.status == "done", (kind, row.reason, row.stderr_tail)
    return run_id


@pytest.fixture(scope="module")
def played(smollm2: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[Workspace, str]]:
    """A store in which the preference was learned and the policy has played against its mixtures."""
    folder = tmp_path_factory.mktemp("nash")
    with Workspace.open(load_settings(db=str(folder / "nash.duckdb"))) as workspace:
        texts = [prompt["prompt"] for prompt in demo_prompts() if prompt["split"] == "train"][:32]
        workspace.library.add_prompts(texts, source=TRAIN_SOURCE)
        run(workspace, "generate", START)
        rule_judging.apply(workspace.store, "concise")
        run(workspace, "reward", PREFERENCE)
        yield workspace, run(workspace, "nash_md", NASH)


def test_the_policy_comes_to_win_against_the_one_it_started_as(played: tuple[Workspace, str]) -> None:
    """By the rule itself, which the preference has only heard of through rankings: shorter answers."""
    workspace, run_id = played
    metrics = workspace.jobs.metrics(run_id)
    won = [value for _, value in metrics["policy/objective"]]  # against the mixtures, by the preference
    assert len(won) == NASH.steps
    assert all(0 <= share <= 1 for share in won)
    assert metrics["policy/kl"][0][1] == pytest.approx(0, abs=0.05)
    assert metrics["policy/kl"][-1][1] > 0.1
    length = [value for _, value in metrics["policy/length"]]
    assert fmean(length[-3:]) < fmean(length[:2])


def test_the_policy_that_was_saved_answers_in_fewer_words(played: tuple[Workspace, str]) -> None:
    workspace, _ = played
    run(workspace, "generate", GenerateConfig(policy="nash", samples=2, max_new_tokens=TOKENS, seed=2))
    rule_judging.apply(workspace.store, "concise")
    (row,) = [
        row
        for row in workspace.comparing.win_rates()
        if {row.policy_a, row.policy_b} == {"nash", "smollm2"} and "concise" in row.judge
    ]
    rate = row.rate if row.policy_a == "nash" else 1 - row.rate
    assert rate > 0.5
