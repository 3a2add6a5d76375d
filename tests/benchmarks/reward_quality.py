"""A reward model learned from PandaLM's judgements, held out by prompt: accuracy, log-loss, seconds.

The judgements are the majority of three people, ties dropped, as the peer's script reads them; every fifth
prompt is held out, as there.  Ours learns all pairs of a prompt as one batch element.  With `--peer PYTHON`,
TRL's RewardTrainer learns the same judgements in the same run; `ratio` is its seconds over ours.
"""

from __future__ import annotations

import collections
import hashlib
import json
import tempfile
import time
from pathlib import Path

from tests.benchmarks.common import PEERS, parser, peer_json, report, say, versions

DATA = PEERS.parent / "data" / "pandalm_pairs.jsonl"


def rankings(path: Path) -> list[dict[str, object]]:
    """Rows of the table `rankings`: two for each pair on which a majority agrees."""
    pairs = []
    for line in path.read_text().splitlines():
        row = json.loads(line)
        label, votes = collections.Counter([row[f"annotator_{n}"] for n in (1, 2, 3)]).most_common(1)[0]
        if label == "tie" or votes < 2 or row["response_a"] == row["response_b"]:
            continue
        other = "b" if label == "a" else "a"
        pairs.append((row["prompt"], row[f"response_{label}"], row[f"response_{other}"]))
    order = {prompt: index for index, prompt in enumerate(sorted({pair[0] for pair in pairs}))}
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
                    "split": "heldout" if order[prompt] % 5 == 0 else "train",
                }
            )
    return rows


def train(rows: list[dict[str, object]], model: str, overrides: dict[str, str]) -> dict[str, object]:
    """Run the reward job in this process on a fresh run directory; its last metrics and its seconds."""
    import polars as pl

    from engine.algorithms import reward
    from engine.models.parts import resolve_device
    from engine.protocol.catalog import build
    from engine.protocol.configs import RewardConfig
    from engine.protocol.events import Finished, Metrics
    from engine.protocol.rundir import Inputs, ModelRef, RunDir

    fixed = {"name": "benchmark", "policy": model, "checkpoint_every": "0", "device": str(resolve_device())}
    config = build(RewardConfig, fixed | overrides)
    figures: dict[str, object] = {}
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
        started = time.perf_counter()
        for event in reward.run(config, run):
            if isinstance(event, Metrics):
                figures.update(event.values)
                if "heldout/accuracy" in event.values:
                    say(f"step {event.step}: {event.values}")
            if isinstance(event, Finished):
                figures.update(event.summary)
        figures["seconds"] = round(time.perf_counter() - started, 1)
    return figures


def main() -> None:
    """Train ours, then the peer's, and print both."""
    arguments = parser(__doc__ or "")
    arguments.add_argument("--model", default="smollm2", help="folder, hub id or smollm2")
    arguments.add_argument("--data", type=Path, default=DATA)
    arguments.add_argument(
        "--set", action="append", default=[], metavar="FIELD=VALUE", help="of RewardConfig"
    )
    options = arguments.parse_args()
    if not options.data.exists():
        raise SystemExit(f"{options.data} does not exist; name the file with --data.")
    rows = rankings(options.data)
    ours = train(rows, options.model, dict(item.split("=", 1) for item in options.set))
    figures: dict[str, object] = {"ours": ours, "pairs": len(rows) // 2}
    if options.peer:
        from engine.models.catalogue import resolve_model

        folder = str(resolve_model(options.model))
        peer = peer_json(options.peer, "trl_reward.py", "--model", folder, "--train", str(options.data))
        figures["peer"] = peer
        figures["ratio"] = round(float(str(peer["seconds"])) / float(str(ours["seconds"])), 2)
    report("reward quality", **figures, versions=versions("torch", "transformers"))


if __name__ == "__main__":
    main()
