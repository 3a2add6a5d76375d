"""Seconds and peak memory of a PPO update: 4 prompts × 4 samples × 32 tokens, 4 epochs.

An update is a whole step: sampling, scoring, log-probabilities, values, and all epochs.  Ours and, with
`--peer PYTHON`, TRL's (16 prompts, one sample each) run in turn, each in a process of its own, of which the
peak memory is read; `ratio` is the peer's median over ours.  The reward model is the policy with a random
head.  `--tuning full` trains every weight, as TRL does; `lora` is what the workbench does by default.
"""

from __future__ import annotations

import json
import os
import resource
import sys
import tempfile
from pathlib import Path
from typing import Any

from tests.benchmarks.common import (
    add_dtypes,
    parser,
    peer_json,
    report,
    resolve_dtypes,
    say,
    summary,
    versions,
    worker_json,
)

DATA = Path(__file__).resolve().parents[2].parent / "shared" / "data" / "prompts_user_oriented.jsonl"
PROMPT_TOKENS = 96


def child(options: dict[str, Any]) -> None:
    """Train, and print what it took as one JSON line."""
    import polars as pl
    import torch

    from engine.models.device import resolve_device
    from engine.policy_learning import ppo
    from engine.protocol.configs import PPOConfig
    from engine.protocol.events import Metrics, Progress
    from engine.protocol.rundir import Inputs, ModelRef, RunDir

    config = PPOConfig(
        name="benchmark",
        reward_model="benchmark",
        device=str(resolve_device()),
        dtype=options["dtype"],
        critic=options["critic"],
        tuning=options["tuning"],
        steps=options["updates"],
        prompts_per_step=options["episodes"] // options["samples"],
        samples=options["samples"],
        max_new_tokens=options["tokens"],
        max_prompt_tokens=PROMPT_TOKENS,
        epochs=options["epochs"],
        learning_rate=1e-6,
        critic_learning_rate=1e-6,
        target_kl_update=0.0,
        checkpoint_every=0,
        trace_every=0,
        collapse="ignore",
    )
    run = RunDir.create(Path(options["folder"]) / f"run-{os.getpid()}", config)
    (run.path / "inputs").mkdir()
    pl.DataFrame(options["prompts"]).write_parquet(run.path / "inputs" / "prompts.parquet")
    models = {"policy": options["model"], "reward_model": options["reward_model"]}
    run.write_inputs(
        Inputs(
            models={role: ModelRef(name=role, folder=folder) for role, folder in models.items()},
            tables={"prompts": Path("inputs/prompts.parquet")},
        )
    )
    seconds: list[float] = []
    rollouts: list[float] = []
    lengths: list[float] = []
    for event in ppo.run(config, run):
        if isinstance(event, Progress) and event.stage == "saving":
            break  # the peer's script does not save either
        if isinstance(event, Metrics):
            values = {name: float(str(value)) for name, value in event.values.items()}
            seconds.append(sum(values[f"policy/seconds_{part}"] for part in ("rollout", "scoring", "update")))
            rollouts.append(values["policy/seconds_rollout"])
            lengths.append(values["policy/length"])
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024
    if torch.cuda.is_available():
        peak = torch.cuda.max_memory_allocated()
    print(json.dumps({"seconds": seconds, "rollouts": rollouts, "lengths": lengths, "peak_bytes": peak}))


def write_reward_model(policy: Path, destination: Path, dtype: str) -> None:
    """The policy with a random head."""
    from engine.models.reward_classifier import init_reward_classifier
    from engine.models.saving import save_model

    save_model(init_reward_classifier(policy, dtype=dtype), policy, destination)


def read_prompts(data: Path) -> list[dict[str, str]]:
    """The prompts as the store hands them to a job."""
    texts = sorted({json.loads(line)["prompt"] for line in data.read_text().splitlines()})
    return [
        {"prompt_id": f"p{number}", "messages": json.dumps([{"role": "user", "content": text}])}
        for number, text in enumerate(texts)
    ]


def main() -> None:
    """Measure, in turn with the peer if one is given."""
    arguments = parser(__doc__ or "")
    arguments.add_argument("--child", action="store_true", help="read settings on stdin and train")
    arguments.add_argument("--model", default="smollm2", help="folder, hub id or smollm2")
    arguments.add_argument("--data", type=Path, default=DATA)
    add_dtypes(arguments)
    arguments.add_argument("--critic", choices=("separate", "shared"), default="separate")
    arguments.add_argument("--tuning", choices=("full", "lora"), default="full")
    arguments.add_argument("--episodes", type=int, default=16)
    arguments.add_argument("--samples", type=int, default=4)
    arguments.add_argument("--tokens", type=int, default=32)
    arguments.add_argument("--epochs", type=int, default=4)
    arguments.add_argument("--updates", type=int, default=3)
    arguments.add_argument("--turns", type=int, default=1)
    options = arguments.parse_args()
    if options.child:
        child(json.load(sys.stdin))
        return
    resolve_dtypes(options)
    if not options.data.exists():
        raise SystemExit(f"{options.data} does not exist; name the file with --data.")
    with tempfile.TemporaryDirectory() as folder:
        measure(options, Path(folder))


def measure(options: Any, folder: Path) -> None:
    """All turns, and the report."""
    from engine.models.catalogue import resolve_model

    model = Path(resolve_model(options.model))
    write_reward_model(model, folder / "reward", options.dtype)
    names = ("dtype", "critic", "tuning", "episodes", "samples", "tokens", "epochs", "updates")
    settings: dict[str, Any] = {name: getattr(options, name) for name in names}
    places = {"folder": str(folder), "model": str(model), "reward_model": str(folder / "reward")}
    prompts = read_prompts(options.data)
    mine: list[dict[str, Any]] = []
    theirs: list[dict[str, Any]] = []
    for _ in range(options.turns):
        mine.append(worker_json("tests.benchmarks.ppo_update", settings | places | {"prompts": prompts}))
        say(f"ours: {mine[-1]}")
        if options.peer:
            words = ["--model", str(model), "--prompts", str(options.data), "--updates", str(options.updates)]
            words += ["--episodes", str(options.episodes), "--epochs", str(options.epochs)]
            words += ["--response-length", str(options.tokens), "--max-prompt-tokens", str(PROMPT_TOKENS)]
            words += ["--dtype", options.peer_dtype]
            theirs.append(peer_json(options.peer, "trl_ppo.py", *words))
            say(f"peer: {theirs[-1]}")
    seconds = summary([second for run in mine for second in run["seconds"]])
    peak = max(run["peak_bytes"] for run in mine)
    figures: dict[str, Any] = {"seconds": seconds, "peak_gib": round(peak / 2**30, 2), **settings}
    if theirs:
        peer_seconds = summary([second for run in theirs for second in run["all"]])
        peer_peak = max(run["peak_bytes"] for run in theirs)
        figures |= {
            "peer_dtype": options.peer_dtype,
            "peer_seconds": peer_seconds,
            "peer_peak_gib": round(peer_peak / 2**30, 2),
        }
        figures["ratio"] = round(peer_seconds["median"] / seconds["median"], 2)
        figures["memory_ratio"] = round(peak / peer_peak, 2)
    report("ppo update", **figures, versions=versions("torch", "transformers"))


if __name__ == "__main__":
    main()
