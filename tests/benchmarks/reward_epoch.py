"""One epoch over PandaLM's rankings: seconds of training and peak memory, ours and TRL's RewardTrainer's.

The same judgements (majority of three people, ties dropped), model and longest text (384 tokens), full
fine-tuning with float32 master weights.  Seconds are those of the training itself, as the peer's script
counts them: loading, evaluating and saving are left out on both sides.  Each run is a process of its own, in
turn; peak memory is the largest resident set of that process.  `ratio` is the peer's median seconds over
ours, `memory_ratio` the peer's peak over ours.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

from tests.benchmarks.common import PEERS, parser, report, say, summary, versions
from tests.benchmarks.reward_quality import DATA, rankings, train


def measured(command: list[str]) -> tuple[dict[str, object], float]:
    """Run a command; the JSON line that it prints last, and the GiB of its largest resident set."""
    from engine.protocol.launch import SPEED

    environment = {"GOMP_SPINCOUNT": SPEED["GOMP_SPINCOUNT"]} | dict(os.environ)  # as workers start
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True, env=environment) as process:
        assert process.stdout is not None
        lines = process.stdout.read().strip().splitlines()
        _, status, usage = os.wait4(process.pid, 0)
        process.returncode = os.waitstatus_to_exitcode(status)
    if process.returncode or not lines:
        raise SystemExit(f"{' '.join(command[:3])} … failed with {process.returncode}.")
    found: dict[str, object] = json.loads(lines[-1])
    return found, round(usage.ru_maxrss / 2**20, 2)


def main() -> None:
    """Measure, in turn with the peer if one is given."""
    arguments = parser(__doc__ or "")
    arguments.add_argument("--model", default="smollm2", help="folder, hub id or smollm2")
    arguments.add_argument("--data", type=Path, default=DATA)
    arguments.add_argument("--runs", type=int, default=1)
    arguments.add_argument(
        "--set", action="append", default=[], metavar="FIELD=VALUE", help="of RewardConfig"
    )
    arguments.add_argument("--ours", action="store_true", help="train here and print a JSON line")
    options = arguments.parse_args()
    if not options.data.exists():
        raise SystemExit(f"{options.data} does not exist; name the file with --data.")
    if options.ours:
        settings = {"max_tokens": "384"} | dict(item.split("=", 1) for item in options.set)
        print(json.dumps(train(rankings(options.data), options.model, settings)))
        return
    words = [item for field in options.set for item in ("--set", field)]
    mine = [sys.executable, "-m", "tests.benchmarks.reward_epoch", "--ours", "--model", options.model]
    mine += ["--data", str(options.data), *words]
    ours, theirs = [], []
    for run in range(options.runs):
        ours.append(measured(mine))
        say(f"run {run}: ours {ours[-1]}")
        if options.peer:
            from engine.models.catalogue import resolve_model

            script = [str(options.peer), str(PEERS / "trl_reward.py"), "--model"]
            theirs.append(
                measured([*script, str(resolve_model(options.model)), "--train", str(options.data)])
            )
            say(f"run {run}: peer {theirs[-1]}")
    seconds = summary([float(str(found["seconds"])) for found, _ in ours])
    figures: dict[str, object] = {
        "seconds": seconds,
        "seconds_in_all": ours[-1][0]["seconds_in_all"],
        "peak_gib": max(peak for _, peak in ours),
        "pairs": ours[-1][0]["pairs"],
        "steps": ours[-1][0]["steps"],
        "heldout_accuracy": ours[-1][0]["heldout/accuracy"],
        "heldout_log_loss": ours[-1][0]["heldout/log_loss"],
    }
    if theirs:
        peer = summary([float(str(found["seconds"])) for found, _ in theirs])
        figures["peer"] = {"seconds": peer, "peak_gib": max(peak for _, peak in theirs), **theirs[-1][0]}
        figures["ratio"] = round(peer["median"] / seconds["median"], 2)
        figures["memory_ratio"] = round(max(peak for _, peak in theirs) / max(peak for _, peak in ours), 2)
    report("reward epoch", **figures, versions=versions("torch", "transformers"))


if __name__ == "__main__":
    main()
