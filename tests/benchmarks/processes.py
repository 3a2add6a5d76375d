"""Seconds a step of one process with two threads beside two processes with one thread each, on two cores.

The same configuration runs as a job of one process and as a job of two (`devices = 2`), in turn, on
SmolLM2-135M with adapters; the first step is left out.  `ratio` is two processes over one.
"""

from __future__ import annotations

import itertools
import statistics
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

import msgspec
import pyarrow as pa
import pyarrow.parquet as pq

from engine.protocol import launch
from engine.protocol.configs import DPOConfig, GRPOConfig, JobConfig, PPOConfig
from engine.protocol.events import Failed, Metrics
from engine.protocol.log import tail
from engine.protocol.rundir import Inputs, ModelRef, RunDir
from tests.benchmarks.common import parser, report, say, versions
from tests.benchmarks.ppo_update import DATA, PROMPT_TOKENS, read_prompts, write_reward_model

POLICY: dict[str, Any] = {
    "name": "benchmark", "policy": "p", "reward_model": "r", "prompts_per_step": 8, "samples": 4,
    "max_prompt_tokens": PROMPT_TOKENS, "learning_rate": 1e-6, "target_kl_update": 0.0,
    "checkpoint_every": 0, "trace_every": 0, "collapse": "ignore",
}  # fmt: skip
KINDS: dict[str, type[JobConfig]] = {"ppo": PPOConfig, "grpo": GRPOConfig, "dpo": DPOConfig}
PARTS = ("policy/seconds_rollout", "policy/seconds_scoring", "policy/seconds_update")


def configured(options: Any) -> JobConfig:
    """What is measured."""
    if options.kind == "dpo":
        return DPOConfig(
            name="benchmark", policy="p", batch_prompts=8, learning_rate=1e-6, checkpoint_every=0, epochs=1,
            holdout=0.0,
        )  # fmt: skip
    settings = POLICY | {"steps": options.steps, "max_new_tokens": options.tokens, "epochs": options.epochs}
    return KINDS[options.kind](**settings)


def rankings(prompts: list[dict[str, str]], steps: int) -> list[dict[str, Any]]:
    """Four answers a prompt in an order, made of the other prompts' texts."""
    rows = []
    for p, prompt in enumerate(prompts[: 8 * steps]):
        for rank in range(4):
            text = prompts[(p + 7 * rank + 1) % len(prompts)]["messages"][28:200]
            rows.append(
                {**prompt, "judgement_id": f"j{p}", "annotator": "a", "response_id": f"r{p}-{rank}",
                 "text": text, "rank": rank + 1}
            )  # fmt: skip
    return rows


def trained(options: Any, folder: Path, processes: int, models: dict[str, str]) -> dict[str, list[float]]:
    """Seconds of each step but the first, and of its phases, by so many processes."""
    config = msgspec.structs.replace(configured(options), devices=processes)
    run = RunDir.create(folder / f"run-{time.monotonic_ns()}", config)
    (run.path / "inputs").mkdir()
    prompts = read_prompts(options.data)
    tables = {"prompts": prompts, "rankings": rankings(prompts, options.steps)}
    for name, rows in tables.items():
        pq.write_table(pa.Table.from_pylist(rows), run.path / "inputs" / f"{name}.parquet")
    run.write_inputs(
        Inputs(
            models={role: ModelRef(name=role, folder=folder) for role, folder in models.items()},
            tables={name: Path("inputs") / f"{name}.parquet" for name in tables},
        )
    )
    process = launch.spawn(run, processes=processes)
    while launch.alive(process.pid, process.started):
        time.sleep(0.5)
    envelopes = tail(run.events_path).envelopes
    if isinstance(envelopes[-1].event, Failed):
        raise SystemExit(envelopes[-1].event.reason)
    told = [(e.at, e.event) for e in envelopes if isinstance(e.event, Metrics)]
    if options.kind == "dpo":
        told = [(at, event) for at, event in told if "train/loss" in event.values]
    found = {"step": [later - earlier for (earlier, _), (later, _) in itertools.pairwise(told)]}
    for part in PARTS if options.kind != "dpo" else ():
        found[part.rpartition("_")[2]] = [float(event.values[part] or 0) for _, event in told[1:]]
    return found


def main() -> None:
    """Measure both in turn."""
    arguments = parser(__doc__ or "")
    arguments.add_argument("kind", choices=tuple(KINDS))
    arguments.add_argument("--model", default="smollm2", help="folder, hub id or smollm2")
    arguments.add_argument("--data", type=Path, default=DATA)
    arguments.add_argument("--steps", type=int, default=3)
    arguments.add_argument("--tokens", type=int, default=32)
    arguments.add_argument("--epochs", type=int, default=2)
    arguments.add_argument("--turns", type=int, default=1)
    options = arguments.parse_args()
    if not options.data.exists():
        raise SystemExit(f"{options.data} does not exist; name the file with --data.")
    from engine.models.catalogue import resolve_model

    found: dict[int, list[dict[str, list[float]]]] = {1: [], 2: []}
    with tempfile.TemporaryDirectory() as name:
        folder, model = Path(name), Path(resolve_model(options.model))
        models = {"policy": str(model)}
        if options.kind != "dpo":
            write_reward_model(model, folder / "reward", "float32")
            models["reward_model"] = str(folder / "reward")
        for _ in range(options.turns):
            for processes, figures in found.items():
                figures.append(trained(options, folder, processes, models))
                say(f"{processes}: {figures[-1]}")
    medians = {
        processes: {
            part: round(statistics.median(value for one in figures for value in one[part]), 3)
            for part in figures[0]
        }
        for processes, figures in found.items()
    }
    ratio = {part: round(medians[2][part] / value, 3) for part, value in medians[1].items() if value}
    report(
        "two processes",
        kind=options.kind,
        seconds_of_one=medians[1],
        seconds_of_two=medians[2],
        ratio=ratio,
        versions=versions("torch", "transformers"),
    )


if __name__ == "__main__":
    sys.exit(main())
