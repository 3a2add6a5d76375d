"""A reward model learned from PandaLM's judgements, held out by prompt: accuracy, log-loss, mean of seeds.

The judgements are the majority of three people, ties dropped, as the peer's script reads them; every fifth
prompt is held out, as there.  Ours learns all pairs of a prompt as one batch element.  With `--peer PYTHON`,
TRL's RewardTrainer learns the same judgements with the same seeds; `--peer-results FILE…` reads the JSON
lines of runs of its script instead.  `ratio` is the peer's mean log-loss over ours, `accuracy_ratio` our mean
accuracy over the peer's.

`--splits N` takes N random splits instead, the same for every setting: run n holds out another fifth of the
prompts and has seed n.  One split says little, so figures to quote are means over 20 or more.
"""

from __future__ import annotations

import collections
import hashlib
import json
import random
import statistics
import tempfile
import time
from pathlib import Path

from tests.benchmarks.common import PEERS, parser, peer_json, report, say, versions

DATA = PEERS.parent / "data" / "pandalm_pairs.jsonl"
Figures = dict[str, object]


def rankings(path: Path, split: int | None = None) -> list[dict[str, object]]:
    """Rows of the table `rankings`: two for each pair on which a majority agrees.

    Every fifth prompt is held out, or that random fifth which `split` numbers.
    """
    pairs = []
    for line in path.read_text().splitlines():
        row = json.loads(line)
        label, votes = collections.Counter([row[f"annotator_{n}"] for n in (1, 2, 3)]).most_common(1)[0]
        if label == "tie" or votes < 2 or row["response_a"] == row["response_b"]:
            continue
        other = "b" if label == "a" else "a"
        pairs.append((row["prompt"], row[f"response_{label}"], row[f"response_{other}"]))
    order = {prompt: index for index, prompt in enumerate(sorted({pair[0] for pair in pairs}))}
    held = set(range(0, len(order), 5))
    if split is not None:
        held = set(random.Random(split).sample(range(len(order)), len(held)))
    rows: list[dict[str, object]] = []
    for number, (prompt, *ranked) in enumerate(pairs):
        for rank, text in enumerate(ranked, 1):
            key = hashlib.sha256(f"{prompt}\0{text}".encode()).hexdigest()[:16]
            rows.append(
                {
                    "judgement_id": f"j{number}",
                    "annotator": "majority",
                    "prompt_id": f"p{order[prompt]}",
                    "messages": json.dumps([{"role": "user", "content": prompt}]),
                    "response_id": f"r{key}",
                    "text": text,
                    "rank": rank,
                    "split": "heldout" if order[prompt] in held else "train",
                }
            )
    return rows


def train(rows: list[dict[str, object]], model: str, overrides: dict[str, str]) -> Figures:
    """Run the reward job in this process on a fresh run directory; its last metrics and its seconds.

    `seconds` is the time of the training steps, `seconds_in_all` that of the job, which also loads the model,
    evaluates and saves.
    """
    import polars as pl

    from engine.models.device import resolve_device, resolve_dtype
    from engine.protocol.building import build
    from engine.protocol.configs import RewardConfig
    from engine.protocol.events import Finished, Metrics
    from engine.protocol.rundir import Inputs, ModelRef, RunDir
    from engine.reward_learning import job as reward

    fixed = {
        "name": "benchmark",
        "policy": model,
        "tuning": "full",
        "device": str(resolve_device()),
        "dtype": resolve_dtype("auto", resolve_device()),
    }
    settings = fixed | overrides
    if settings["tuning"] != "frozen":  # a fitted head has neither
        settings = {"checkpoint_every": "0", "max_tokens": "384"} | settings
    config = build(RewardConfig, settings)
    assert isinstance(config, RewardConfig)
    figures: Figures = {}
    training = 0.0
    with tempfile.TemporaryDirectory() as folder:
        run = RunDir.create(Path(folder) / "run", config)
        (run.path / "inputs").mkdir()
        pl.DataFrame(rows).write_parquet(run.path / "inputs" / "rankings.parquet")
        run.write_inputs(
            Inputs(
                models={"policy": ModelRef(name=model, folder=model)},
                tables={"rankings": Path("inputs/rankings.parquet")},
            )
        )
        started = before = time.perf_counter()
        for event in reward.run(config, run):
            now = time.perf_counter()
            if isinstance(event, Metrics):
                figures.update(event.values)
                training += now - before if "train/loss" in event.values else 0.0
                if "heldout/accuracy" in event.values:
                    say(f"step {event.step}: {event.values}")
            if isinstance(event, Finished):
                figures.update(event.summary)
            before = time.perf_counter()
        figures["seconds_in_all"] = round(time.perf_counter() - started, 1)
    return figures | {"seconds": round(training, 1)}


def spread(runs: list[Figures], name: str) -> dict[str, float]:
    """Mean and standard deviation of a figure over the runs, and its values."""
    values = [float(str(run[name])) for run in runs]
    deviation = statistics.stdev(values) if len(values) > 1 else 0.0
    return {
        "mean": statistics.fmean(values),
        "sd": deviation,
        **{f"seed_{i}": v for i, v in enumerate(values)},
    }


def peer_runs(files: list[Path]) -> list[Figures]:
    """What runs of the peer's script have printed, a JSON line each."""
    lines = [line for file in files for line in file.read_text().splitlines() if line.startswith("{")]
    if not lines:
        raise SystemExit(f"No JSON line is in {', '.join(map(str, files))}.")
    return [json.loads(line) for line in lines]


def main() -> None:
    """Train ours, then the peer's, and print both."""
    arguments = parser(__doc__ or "")
    arguments.add_argument("--model", default="smollm2", help="folder, hub id or smollm2")
    arguments.add_argument("--data", type=Path, default=DATA)
    arguments.add_argument("--seeds", type=int, default=5, help="seeds 0, 1, …")
    arguments.add_argument("--splits", type=int, default=0, help="random splits instead of seeds on one")
    arguments.add_argument("--peer-results", type=Path, nargs="+", default=[], metavar="FILE")
    arguments.add_argument(
        "--set", action="append", default=[], metavar="FIELD=VALUE", help="of RewardConfig"
    )
    options = arguments.parse_args()
    if not options.data.exists():
        raise SystemExit(f"{options.data} does not exist; name the file with --data.")
    if options.splits and (options.peer or options.peer_results):
        raise SystemExit("The peer knows one split; leave out --splits or the peer.")
    rows = rankings(options.data)
    settings = dict(item.split("=", 1) for item in options.set)
    ours, peers = [], peer_runs(options.peer_results) if options.peer_results else []
    for seed in range(options.splits or options.seeds):
        if options.splits:
            rows = rankings(options.data, seed)
        ours.append(train(rows, options.model, settings | {"seed": str(seed)}))
        say(f"seed {seed}: {ours[-1]}")
        if options.peer:
            from engine.models.catalogue import resolve_model

            words = ("--model", str(resolve_model(options.model)), "--train", str(options.data))
            peers.append(peer_json(options.peer, "trl_reward.py", *words, "--seed", str(seed)))
    names = ("heldout/accuracy", "heldout/log_loss", "heldout/score_length_correlation", "seconds")
    figures: Figures = {
        "ours": {name: spread(ours, name) for name in names},
        "longer": spread(ours, "heldout/accuracy_longer")["mean"],
        "pairs": len(rows) // 2,
        "settings": settings,
        "seeds": options.splits or options.seeds,
        "splits": options.splits or 1,
    }
    if peers:
        theirs = {name: spread(peers, name) for name in ("heldout_accuracy", "heldout_loss", "seconds")}
        mean_loss, mean_accuracy = (spread(ours, name)["mean"] for name in (names[1], names[0]))
        figures["peer"] = theirs
        figures["ratio"] = round(theirs["heldout_loss"]["mean"] / mean_loss, 3)
        figures["accuracy_ratio"] = round(mean_accuracy / theirs["heldout_accuracy"]["mean"], 3)
    report("reward quality", **figures, versions=versions("torch", "transformers"))


if __name__ == "__main__":
    main()
