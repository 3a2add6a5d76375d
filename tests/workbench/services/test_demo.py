"""The demo: its stages in order, what a second call repeats, and what it does after a stop or a failure."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from typing import Any

import msgspec
import pytest

from engine.errors import WorkbenchError
from engine.protocol.configs import JobConfig
from workbench.services.demo import STAGES, Demo, demo_prompts
from workbench.services.workspace import Workspace

NOW = datetime(2026, 1, 1, tzinfo=UTC)


@dataclass(frozen=True)
class Run:
    run_id: str
    kind: str
    config: Mapping[str, Any]
    status: str
    stage: str | None = None
    progress: float | None = None
    reason: str | None = None
    latest: None = None
    created_at: datetime = NOW
    ended_at: datetime = NOW


class InstantJobs:
    """Every job is done when it is next looked at, unless its kind is to end otherwise."""

    def __init__(self) -> None:
        self.runs: dict[str, Run] = {}
        self.ends: dict[str, str] = {}
        self.submitted: list[str] = []
        self.resumed: list[str] = []

    def submit(self, kind: str, config: JobConfig, *, prompt_ids: list[str] | None = None) -> str:
        run_id = f"{kind}-{len(self.runs)}"
        self.runs[run_id] = Run(run_id, kind, msgspec.to_builtins(config), "queued")
        self.submitted.append(kind)
        return run_id

    def resume(self, run_id: str) -> None:
        self.runs[run_id] = replace(self.runs[run_id], status="queued")
        self.resumed.append(run_id)

    def pump(self) -> None:
        for run_id, run in self.runs.items():
            if run.status == "queued":
                self.runs[run_id] = replace(run, status=self.ends.get(run.kind, "done"))

    @property
    def moves(self) -> int:
        return len(self.submitted) + len(self.resumed)

    def glance(self, run_id: str) -> tuple[Run, None]:
        return self.runs[run_id], None

    def show(self, run_id: str) -> Run:
        return self.runs[run_id]

    def list(self) -> list[Run]:
        return list(self.runs.values())[::-1]


class NoScoring:
    def score_prompts(self, reward_model: str, prompt_ids: list[str], *, precision: str) -> int:
        return len(prompt_ids)

    def close(self) -> None:
        pass


@pytest.fixture
def jobs(workspace: Workspace) -> InstantJobs:
    workspace.__dict__["jobs"] = instant = InstantJobs()
    workspace.__dict__["scoring"] = NoScoring()
    return instant


def test_the_prompts_are_different_and_split() -> None:
    prompts = demo_prompts()
    assert len({prompt["prompt"] for prompt in prompts}) == len(prompts) == 64
    assert sum(prompt["split"] == "eval" for prompt in prompts) == 16


def test_stages_come_in_order_and_once(workspace: Workspace, jobs: InstantJobs) -> None:
    updates = list(Demo(workspace).run())
    assert [update.stage for update in updates if update.state == "done"] == list(STAGES)
    assert jobs.submitted == ["generate", "reward", "export", "ppo", "generate"]
    assert [(update.number, update.of) for update in updates][-1] == (8, 8)
    list(Demo(workspace).run())
    assert len(jobs.submitted) == 5
    assert workspace.library.count() == 64


def test_training_reads_only_training_prompts_and_the_rule(workspace: Workspace, jobs: InstantJobs) -> None:
    list(Demo(workspace).run())
    configs = {run.kind: run.config for run in jobs.runs.values()}
    assert configs["reward"]["prompts"] == configs["ppo"]["prompts"] == "demo/train"
    assert configs["reward"]["annotator"] == "rule:concise"
    assert configs["generate"]["prompts"] == "demo/eval"
    assert configs["generate"]["policy"] == configs["ppo"]["name"]


def test_a_stopped_stage_is_resumed(workspace: Workspace, jobs: InstantJobs) -> None:
    jobs.ends["ppo"] = "stopped"
    with pytest.raises(WorkbenchError, match="PPO"):
        list(Demo(workspace).run())
    jobs.ends.clear()
    list(Demo(workspace).run())
    assert jobs.resumed == ["ppo-3"]
    assert jobs.submitted.count("ppo") == 1


def test_a_failed_stage_is_done_anew(workspace: Workspace, jobs: InstantJobs) -> None:
    jobs.ends["reward"] = "failed"
    with pytest.raises(WorkbenchError, match="Reward model"):
        list(Demo(workspace).run())
    jobs.ends.clear()
    list(Demo(workspace).run())
    assert jobs.submitted.count("reward") == 2


def test_a_changed_plan_makes_new_names(workspace: Workspace, jobs: InstantJobs) -> None:
    first = Demo(workspace)
    list(first.run())
    reward = msgspec.structs.replace(first.plan.reward, epochs=9)
    list(Demo(workspace, msgspec.structs.replace(first.plan, reward=reward)).run())
    names = [run.config["name"] for run in jobs.runs.values() if "name" in run.config]
    assert names == ["demo-reward", "demo-ppo", "demo-reward-2", "demo-ppo-2"]
    assert [run.config["reward_model"] for run in jobs.runs.values() if run.kind == "ppo"] == [
        "demo-reward",
        "demo-reward-2",
    ]


def test_closing_ends_it(workspace: Workspace, jobs: InstantJobs) -> None:
    demo = Demo(workspace)
    updates = demo.run()
    next(updates)
    demo.close()
    with pytest.raises(WorkbenchError, match="run it again"):
        next(updates)
