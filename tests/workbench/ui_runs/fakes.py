"""Jobs, scoring and SQL over plain values, deterministic."""

from __future__ import annotations

import math
from collections.abc import Sequence
from datetime import UTC, datetime, timedelta
from types import SimpleNamespace
from typing import Any

from tests.workbench.ui_rank.fakes import fake_workspace
from workbench.services.sql import result_rows
from workbench.services.sql.sql import Fetched
from workbench.services.text_diff import word_diff

START = datetime(2026, 3, 4, 9, 30, tzinfo=UTC)
TEXTS = (
    "How do I keep basil alive on a window sill in winter?",
    "Give it the brightest window you have, and water it when the top of the soil is dry.\n\n"
    "Pinch the tips every week: a bushy plant lives longer.",
    "Basil needs light:\n\n- a south-facing window\n- water from below\n- no draught",
    "Buy a new one every month.",
)
HOSTILE = (
    "\x1b]52;c;aGVsbG8=\x07 clipboard",
    "[/foo] closes nothing",
    '[type=x, v={"a[0]"}] [bold]not bold[/bold]',
    "\u202egnp.exe\u2066 bidi \x9b31m C1",
    "lone \ud83d surrogate \x00 nul \x7f del",
)


def run(run_id: str, kind: str, status: str, name: str = "", **more: Any) -> Any:
    values: dict[str, Any] = {
        "run_id": run_id,
        "kind": kind,
        "name": name or run_id,
        "status": status,
        "stage": "training" if status == "running" else None,
        "progress": 0.62 if status == "running" else None,
        "created_at": START,
        "started_at": None if status == "queued" else START,
        "ended_at": START + timedelta(seconds=252) if status in ("done", "failed", "stopped") else None,
        "reason": None,
        "device": "cpu",
        "dtype": None,
        "latest": None,
        "config": {"name": name or run_id, "learning_rate": 2e-5, "epochs": 1, "tuning": "lora"},
        "summary": {"heldout/accuracy": 0.71, "pairs": 412} if status == "done" else {},
        "stderr_tail": "",
        "artifacts": (),
        "messages": (),
    }
    return SimpleNamespace(**{**values, **more})


def ppo_metrics(steps: int = 40) -> dict[str, list[tuple[int, float]]]:
    """Curves that look like a run that works, without randomness."""

    def wave(step: int, speed: float) -> float:
        return math.sin(step * speed) * 0.1

    return {
        "policy/score": [(s, -0.4 + 1.3 * (1 - math.exp(-s / 15)) + wave(s, 2.1)) for s in range(steps)],
        "policy/kl": [(s, 6 * (1 - math.exp(-s / 20)) + wave(s, 1.3)) for s in range(steps)],
        "policy/entropy": [(s, 2.9 - 0.02 * s + wave(s, 0.9)) for s in range(steps)],
        "policy/clip_fraction": [(s, 0.12 + wave(s, 1.7)) for s in range(steps)],
        "policy/value_loss": [(s, 0.8 * math.exp(-s / 12) + 0.05) for s in range(steps)],
        "policy/length": [(s, 40 - 0.3 * s + wave(s, 3.0) * 10) for s in range(steps)],
        "policy/stopped": [(s, min(1.0, 0.3 + s / 60)) for s in range(steps)],
        "policy/explained_variance": [(s, 0.9 * (1 - math.exp(-s / 10))) for s in range(steps)],
        "policy/beta": [(s, 0.05 + s * 0.0005) for s in range(steps)],
    }


def rollout(step: int, index: int, text: str) -> Any:
    return SimpleNamespace(
        run_id="ppo-7f3a9c",
        prompt=TEXTS[0] if index < 2 else None,
        components={"helpful": 0.4} if index else {},
        step=step,
        prompt_id=f"p{index // 2:016x}",
        sample_index=index % 2,
        text=text,
        score=0.3 * index - 0.5,
        reward=0.25 * index - 0.6,
        kl=1.5 + index,
        tokens=20 + index,
        stopped=index % 3 != 0,
    )


# Within the class, `list` is the method.
Rows = list[Any]
Series = dict[str, list[tuple[int, float]]]


class FakeJobs:
    """Runs from a list; remembers what was submitted, stopped and resumed."""

    def __init__(self, texts: tuple[str, ...] = ("Water it once a week.", "Basil likes light.")) -> None:
        self.texts = texts
        self.runs = [
            run("ppo-7f3a9c", "ppo", "running", "concise-ppo"),
            run("export-11aa22", "export", "queued", "concise-rm"),
            run("reward-5b2c1d", "reward", "done", "concise-rm"),
            run(
                "generate-99ffee",
                "generate",
                "failed",
                "smollm2",
                reason="The model folder /models/x has no tokenizer.json; download it again.",
                stderr_tail="Traceback (most recent call last):\n  x.py:3\nOSError: no tokenizer",
            ),
        ]
        self.metric_rows = {"ppo-7f3a9c": ppo_metrics()}
        self.submitted: list[tuple[str, Any]] = []
        self.stopped: list[str] = []
        self.resumed: list[str] = []
        self.paused: list[str] = []

    def pump(self) -> list[Any]:
        return []

    moves = 0

    def unfinished(self) -> Rows:
        return [item for item in self.runs if item.status in ("queued", "running")]

    def list(self) -> Rows:
        return [*self.runs]

    def show(self, run_id: str) -> Any:
        return next(item for item in self.runs if item.run_id == run_id)

    def metrics(self, run_id: str) -> Series:
        return self.metric_rows.get(run_id, {})

    def rollout_steps(self, run_id: str) -> Sequence[int]:
        return [5, 10, 15] if run_id == "ppo-7f3a9c" else []

    def rollouts(self, run_id: str, step: int | None = None) -> Rows:
        return [rollout(step or 5, i, f"{self.texts[i % len(self.texts)]} (step {step})") for i in range(4)]

    def submit(self, kind: str, config: Any, *, after: str | None = None) -> str:
        self.submitted.append((kind, config))
        self.runs.insert(0, run(f"{kind}-000001", kind, "queued"))
        return f"{kind}-000001"

    def submit_with_export(self, kind: str, config: Any) -> tuple[str, str | None]:
        run_id = self.submit(kind, config)
        if kind != "reward":
            return run_id, None
        self.submitted.append(("export", config.name))
        return run_id, f"export-after-{run_id}"

    def stop(self, run_id: str) -> None:
        self.stopped.append(run_id)

    def resume(self, run_id: str) -> None:
        self.resumed.append(run_id)

    def pause(self, run_id: str) -> None:
        self.paused.append(run_id)


QUANTITIES = ("logprob", "ref_logprob", "kl", "reward", "value", "advantage", "return_", "ratio")


def token(position: int, word: str) -> Any:
    numbers = {name: math.sin(position * (3 + k)) * (k + 1) for k, name in enumerate(QUANTITIES)}
    return SimpleNamespace(position=position, token_id=position, token=word, **numbers)


class FakePolicyLearning:
    """Steps 5, 10 and 15 of the first run, of which 5 and 15 have traces."""

    def __init__(self, jobs: FakeJobs) -> None:
        self.jobs = jobs
        self.traced_steps = [5, 15]

    def step(self, run_id: str, step: int, *, against: str = "previous") -> Any:
        before = {"previous": step - 5, "first": 5, "nothing": 0}[against]
        earlier: Rows = self.jobs.rollouts(run_id, before) if 0 < before < step else [None] * 4
        samples = [
            SimpleNamespace(row=row, earlier=old, difference=word_diff(old.text, row.text) if old else None)
            for row, old in zip(self.jobs.rollouts(run_id, step), earlier, strict=True)
        ]
        return SimpleNamespace(run_id=run_id, step=step, against=against, samples=tuple(samples))

    def trace_steps(self, run_id: str) -> list[int]:
        return self.traced_steps

    def torn(self, run_id: str) -> list[Any]:
        return []

    def traced(self, run_id: str, step: int) -> list[tuple[str, int]]:
        return [("p0", 0), ("p0", 1)] if step in self.traced_steps else []

    def trace(self, run_id: str, step: int, prompt_id: str, sample_index: int) -> Any:
        words = [*self.jobs.texts, "", " end", "\n", " of", f" {sample_index}"]
        tokens = tuple(token(position, word) for position, word in enumerate(words))
        return SimpleNamespace(
            run_id=run_id, step=step, prompt_id=prompt_id, sample_index=sample_index,
            prompt=self.jobs.texts[0], score=0.5, tokens=tokens,
        )  # fmt: skip


class FakeScorer:
    """Scores a response by its length; a word a token."""

    provider = "CPUExecutionProvider"

    def __init__(self, precision: str) -> None:
        self.backend = f"onnx-{precision}"

    def score(self, messages: Any, responses: list[str]) -> list[Any]:
        scored = []
        for text in responses:
            tokens = [f"{word} " for word in text.split(" ")]
            running = [math.sin(i) * 0.5 + i * 0.05 for i in range(len(tokens))]
            scored.append(
                SimpleNamespace(
                    score=running[-1],
                    tokens=tokens,
                    token_scores=running,
                    cut=len(tokens) > 400,
                    uncertainty=None,
                    by_step=False,
                )
            )
        return scored


class FakeScoring:
    def __init__(self) -> None:
        self.opened: list[tuple[str, str]] = []

    def scorer(self, name: str, precision: str = "int8") -> FakeScorer:
        self.opened.append((name, precision))
        return FakeScorer(precision)


class FakeSql:
    """Answers every query with the table it was given."""

    def __init__(self, table: Any = None) -> None:
        self.table = table
        self.ran: list[tuple[str, bool]] = []
        self.error: Exception | None = None
        self.saved: list[Any] = []

    def functions(self) -> list[str]:
        return ["avg", "count"]

    def tree(self) -> list[Any]:
        column, text = ("prompt_id", "VARCHAR"), ("text", "VARCHAR")
        return [
            SimpleNamespace(name="prompts", kind="table", columns=(column, text)),
            SimpleNamespace(name="win_rates", kind="view", columns=(column,)),
        ]

    def question(self, sql: str, *, unlocked: bool = False) -> Any:
        def rows(came: Any, most: int | None = None) -> Fetched:
            self.ran.append((sql, unlocked))
            if self.error is not None:
                raise self.error
            came(result_rows.ResultRows.of(self.table))
            return Fetched(seconds=0.004, truncated=False, statements=1)

        return SimpleNamespace(rows=rows, cancel=lambda: None)

    def offered(self, parameter: str) -> list[str]:
        return ["concise-rm"] if parameter == "reward_model" else []

    def history(self) -> list[Any]:
        return [
            SimpleNamespace(sql="SELECT 1", name=None, rows=1, seconds=0.001, error=None, created_at=START)
        ]


def reward_model(
    name: str = "concise-rm", onnx: str | None = "/rm/onnx", accuracy: float | None = 0.71
) -> Any:
    return SimpleNamespace(
        reward_model_id="a1", name=name, folder="/rm", run_id=None, onnx_folder=onnx,
        precisions=("fp32", "int8") if onnx else (), accuracy=accuracy, created_at=START,
    )  # fmt: skip


def workspace(**parts: Any) -> Any:
    """A filled workspace for the screens of jobs, scores and queries; `parts` replace services."""
    made = fake_workspace(texts=TEXTS)
    made.jobs = parts.get("jobs") or FakeJobs()
    made.scoring = parts.get("scoring") or FakeScoring()
    made.sql = parts.get("sql") or FakeSql()
    made.policy_learning = FakePolicyLearning(made.jobs)
    made.estimating = SimpleNamespace(
        sentence=lambda config: f"About {getattr(config, 'samples', 1)}.0 GB of memory at its peak."
    )
    made.overoptimisation = SimpleNamespace(ways=lambda run_ids: parts.get("ways", []))
    models = parts.get("reward_models", [reward_model()])
    made.library.reward_models = lambda: list(models)
    return made
