"""The demo: the whole loop on a small real model, as jobs that a person can watch.

Prompts → responses → a rule's rankings → reward model → ONNX → PPO → new responses → comparison.  Every stage
leaves its trace in the store, so a demo that is run again goes on after the stages that are done, and
every number of the closing table can be recomputed from the database.
"""

from __future__ import annotations

import json
import time
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from importlib.resources import files
from typing import TYPE_CHECKING, Any, Literal

import msgspec

from engine.errors import WorkbenchError
from engine.protocol.configs import ExportConfig, GenerateConfig, JobConfig, PPOConfig, RewardConfig
from engine.wording import counted
from workbench.services.ranking.rules import PREFIX

if TYPE_CHECKING:
    from engine.protocol.events import Progress
    from storage.measures.report_records import Figure
    from storage.records import RunRow
    from workbench.services.workspace import Workspace

TRAIN_SOURCE = "demo/train"
EVAL_SOURCE = "demo/eval"
POLL_SECONDS = 0.25


class DemoPlan(msgspec.Struct, frozen=True, kw_only=True):
    """Every setting of the demo, chosen so that it takes less than eight minutes on two usual cores."""

    rule: str = "concise"
    precision: str = "fp32"
    """Precision of the ONNX model that scores the policies."""
    generate: GenerateConfig = GenerateConfig(policy="smollm2", samples=4, max_new_tokens=32, seed=1)
    """The first responses, to training and evaluation prompts alike."""
    reward: RewardConfig = RewardConfig(
        name="demo-reward",
        prompts=TRAIN_SOURCE,
        tuning="full",
        epochs=2,
        learning_rate=2e-5,
        batch_prompts=4,
        checkpoint_every=0,
        seed=1,
    )
    export: ExportConfig = ExportConfig(reward_model="demo-reward", samples=24)
    ppo: PPOConfig = PPOConfig(
        name="demo-ppo",
        reward_model="demo-reward",
        prompts=TRAIN_SOURCE,
        steps=5,
        prompts_per_step=8,
        samples=4,
        max_new_tokens=32,
        epochs=2,
        minibatches=2,
        learning_rate=3e-4,
        critic_learning_rate=3e-4,
        checkpoint_every=3,
        seed=1,
    )

    @classmethod
    def small(cls) -> DemoPlan:
        """About a third of the work: shorter responses, one pass of reward training, half the PPO steps."""
        whole, change = cls(), msgspec.structs.replace
        return cls(
            generate=change(whole.generate, max_new_tokens=20),
            reward=change(whole.reward, epochs=1),
            export=change(whole.export, int8=False, samples=8),
            ppo=change(whole.ppo, steps=3, max_new_tokens=20, checkpoint_every=0),
        )


Stage = Literal["prompts", "generate", "judge", "reward", "export", "ppo", "answer", "score"]
STAGES: dict[Stage, str] = {
    "prompts": "Prompts",
    "generate": "Responses of SmolLM2 to 64 prompts",
    "judge": "Rankings by a rule",
    "reward": "Reward model",
    "export": "Export to ONNX",
    "ppo": "PPO",
    "answer": "Responses of the new policy to 16 unseen prompts",
    "score": "Scores and comparison",
}


@dataclass(frozen=True)
class StageUpdate:
    """Where the demo is."""

    stage: Stage
    title: str
    number: int
    """From 1."""
    of: int
    state: Literal["running", "done"]
    progress: float | None = None
    """0 … 1 of what `detail` names; None where it is not known."""
    detail: str = ""
    rate: str = ""
    """How fast it goes, “320.5 tokens/s”; empty where it is not known."""
    run_id: str | None = None


@dataclass(frozen=True)
class DemoTable:
    """The closing table: what was made, and the policy before and after."""

    reward_model: str
    policy_before: str
    policy_after: str
    accuracy: float | None
    log_loss: float | None
    onnx: dict[str, dict[str, Any]]
    """By precision: max_difference, mean_difference, kendall_tau, samples."""
    score_before: float
    score_before_error: float
    score_after: float
    score_after_error: float
    difference: float
    difference_error: float
    """Of the mean over prompts of (after − before): the prompts are the same, so they are paired."""
    kl: float | None
    """Nats a response, in the rollouts of the last step; before PPO it is 0."""
    kl_bound: float
    tokens_before: float | None
    tokens_after: float | None
    win_rate: float | None
    win_low: float | None
    win_high: float | None
    eval_prompts: int
    seconds: dict[str, float] = field(default_factory=dict)
    """Of each run, by stage."""
    accuracy_range: tuple[float, float] | None = None
    """95 % interval of accuracy on the held-out prompts of the one split, by resampling prompts."""
    log_loss_range: tuple[float, float] | None = None
    longer: float | None = None
    """Accuracy of taking the longer response, on the same pairs."""


class DemoInterruptedError(WorkbenchError):
    """The demo was told to end; its jobs go on."""


class Demo:
    """Runs the stages on a workspace; `run` may be consumed in a thread of its own."""

    def __init__(self, workspace: Workspace, plan: DemoPlan | None = None) -> None:
        self.workspace = workspace
        self.plan = plan or DemoPlan()
        self._closing = False
        self._prompt_ids: dict[str, list[str]] = {}
        self._runs: dict[Stage, RunRow] = {}
        self.current_run: str | None = None
        """The run that is being waited for."""

    def run(self, on_event: Callable[[StageUpdate], None] | None = None) -> Iterator[StageUpdate]:
        """The stages one after another; updates are yielded, and told to `on_event`, about four times a
        second.

        Raises `WorkbenchError` when a job fails or is stopped.
        """
        work: dict[Stage, Callable[[Stage], Iterator[StageUpdate]]] = {
            "prompts": self._prompts,
            "generate": self._generate,
            "judge": self._judge,
            "reward": self._train_reward,
            "export": self._export,
            "ppo": self._train_policy,
            "answer": self._answer,
            "score": self._score,
        }
        for stage, updates in work.items():
            for update in updates(stage):
                if self._closing:
                    raise DemoInterruptedError("The demo was closed; run it again to go on.")
                if on_event is not None:
                    on_event(update)
                yield update

    def close(self) -> None:
        """Make `run` end soon, from any thread; jobs that run go on."""
        self._closing = True

    # The stages

    def _prompts(self, stage: Stage) -> Iterator[StageUpdate]:
        for split, source in (("train", TRAIN_SOURCE), ("eval", EVAL_SOURCE)):
            texts = [prompt["prompt"] for prompt in demo_prompts() if prompt["split"] == split]
            self._prompt_ids[split] = self.workspace.library.add_prompts(texts, source=source)
        total = sum(len(ids) for ids in self._prompt_ids.values())
        yield self._update(stage, "done", detail=counted(total, "prompt"))

    def _generate(self, stage: Stage) -> Iterator[StageUpdate]:
        both = [*self._prompt_ids["train"], *self._prompt_ids["eval"]]
        yield from self._job(stage, "generate", self.plan.generate, prompt_ids=both)

    def _judge(self, stage: Stage) -> Iterator[StageUpdate]:
        added = self.workspace.judging.apply_rule(self.plan.rule, only=self._prompt_ids["train"])
        yield self._update(stage, "done", detail=f"{PREFIX}{self.plan.rule}, {counted(added, 'new ranking')}")

    def _train_reward(self, stage: Stage) -> Iterator[StageUpdate]:
        config = msgspec.structs.replace(self.plan.reward, annotator=PREFIX + self.plan.rule)
        yield from self._job(stage, "reward", config)

    def _export(self, stage: Stage) -> Iterator[StageUpdate]:
        config = msgspec.structs.replace(self.plan.export, reward_model=self._made("reward"))
        yield from self._job(stage, "export", config)

    def _train_policy(self, stage: Stage) -> Iterator[StageUpdate]:
        config = msgspec.structs.replace(self.plan.ppo, reward_model=self._made("reward"))
        yield from self._job(stage, "ppo", config)

    def _answer(self, stage: Stage) -> Iterator[StageUpdate]:
        config = msgspec.structs.replace(self.plan.generate, policy=self._made("ppo"), prompts=EVAL_SOURCE)
        yield from self._job(stage, "generate", config)

    def _score(self, stage: Stage) -> Iterator[StageUpdate]:
        yield self._update(stage, "running", detail="scoring")
        scored = self.workspace.scoring.score_prompts(
            self._made("reward"), self._prompt_ids["eval"], precision=self.plan.precision
        )
        yield self._update(stage, "done", detail=f"{counted(scored, 'response')} scored")

    # Jobs

    def _job(
        self, stage: Stage, kind: str, config: JobConfig, *, prompt_ids: list[str] | None = None
    ) -> Iterator[StageUpdate]:
        """Wait for the run of this configuration, starting it unless an earlier demo has."""
        from workbench.services.runs.run_names import with_free_name

        jobs = self.workspace.jobs
        run_id = self._known_run(kind, config)
        if run_id is None:
            named = with_free_name(self.workspace.store, config, jobs.list())
            run_id = jobs.submit(kind, named, prompt_ids=prompt_ids)
        elif jobs.show(run_id).status == "stopped":
            jobs.resume(run_id)
        self.current_run, seen = run_id, -1
        while True:
            jobs.pump()
            if seen != jobs.moves:
                seen = jobs.moves
                row, latest = jobs.glance(run_id)
                if row.status not in ("queued", "running"):
                    break
                detail, rate = row.stage or row.status, _rate(latest)
                update = self._update(
                    stage, "running", progress=row.progress, detail=detail, rate=rate, run_id=run_id
                )
            yield update
            time.sleep(POLL_SECONDS)
        self.current_run = None
        if row.status != "done":
            reason = row.reason or "it was stopped"
            raise WorkbenchError(f"The demo ended at “{STAGES[stage]}”, run {run_id}: {reason}")
        self._runs[stage] = row
        yield self._update(stage, "done", progress=1.0, detail=_duration(row), run_id=run_id)

    def _known_run(self, kind: str, config: JobConfig) -> str | None:
        """The newest run of this configuration that has not failed; the name it registers may differ."""
        wanted = _comparable(msgspec.to_builtins(config))
        for row in self.workspace.jobs.list():
            if row.kind == kind and row.status != "failed" and _comparable(row.config) == wanted:
                return row.run_id
        return None

    def _made(self, stage: Stage) -> str:
        """The name that the run of a stage registered."""
        return str(self._runs[stage].config["name"])

    def _update(self, stage: Stage, state: Literal["running", "done"], **more: Any) -> StageUpdate:
        return StageUpdate(stage, STAGES[stage], list(STAGES).index(stage) + 1, len(STAGES), state, **more)

    # The closing table

    def table(self) -> DemoTable:
        """What came out, computed from the database; to be called when `run` has ended."""
        jobs, comparing = self.workspace.jobs, self.workspace.comparing
        reward_model, after = self._made("reward"), self._made("ppo")
        before = str(self._runs["generate"].config["policy"])
        prompt_ids = self._prompt_ids["eval"]
        old = comparing.policy_score(before, reward_model, prompt_ids)
        new = comparing.policy_score(after, reward_model, prompt_ids)
        difference, error = comparing.paired_difference(new, old)
        wins = comparing.win_rate(after, before, reward_model)
        reward_metrics = jobs.metrics(self._runs["reward"].run_id)
        ppo_metrics = jobs.metrics(self._runs["ppo"].run_id)
        figures = self.workspace.reports.reward(reward_model).figures
        exported = jobs.show(self._runs["export"].run_id).artifacts
        return DemoTable(
            reward_model=reward_model,
            policy_before=before,
            policy_after=after,
            accuracy=_last(reward_metrics, "heldout/accuracy"),
            log_loss=_last(reward_metrics, "heldout/log_loss"),
            onnx={artifact.name: dict(artifact.details) for artifact in exported if artifact.kind == "onnx"},
            score_before=old.mean,
            score_before_error=old.standard_error,
            score_after=new.mean,
            score_after_error=new.standard_error,
            difference=difference,
            difference_error=error,
            kl=_last(ppo_metrics, "policy/kl"),
            kl_bound=self.plan.ppo.kl_bound,
            tokens_before=old.mean_tokens,
            tokens_after=new.mean_tokens,
            win_rate=wins.rate,
            win_low=wins.low,
            win_high=wins.high,
            eval_prompts=old.prompts,
            seconds={stage: _seconds(row) for stage, row in self._runs.items()},
            accuracy_range=_range(figures.get("accuracy")),
            log_loss_range=_range(figures.get("log_loss")),
            longer=figures["longer"].value if "longer" in figures else None,
        )


def _range(figure: Figure | None) -> tuple[float, float] | None:
    return None if figure is None else (figure.low, figure.high)


def demo_prompts() -> list[dict[str, str]]:
    """The packaged prompts: {"prompt": …, "split": "train" or "eval"}."""
    text = files("workbench").joinpath("demo", "prompts.jsonl").read_text(encoding="utf-8")
    return [json.loads(line) for line in text.splitlines()]


def _comparable(config: Mapping[str, Any]) -> dict[str, Any]:
    """A configuration without the name of its product, as JSON would give it back."""
    plain: dict[str, Any] = json.loads(json.dumps(dict(config)))
    plain.pop("name", None)
    return plain


def _last(metrics: Mapping[str, list[tuple[int, float]]], name: str) -> float | None:
    points = metrics.get(name)
    return points[-1][1] if points else None


def _seconds(row: RunRow) -> float:
    """From the request to the end: what a person waited, the start of the worker included."""
    return 0.0 if row.ended_at is None else (row.ended_at - row.created_at).total_seconds()


def _rate(latest: Progress | None) -> str:
    return "" if latest is None or latest.rate is None else f"{latest.rate:,.1f} {latest.rate_unit}"


def _duration(row: RunRow) -> str:
    return f"{_seconds(row):.0f} s"
