"""What there is to know of one GPU, in eight minutes: `make gpu-check`, on a bare machine with one.

1. the tests that need a GPU
2. rollouts of 32 prompts × 8 samples × 128 tokens: recorded steps beside transformers' `generate_batch`
3. an update of PPO on 64 episodes × 128 tokens, adapters and a shared critic, with its peak memory
4. the passes of an update on a random model of 1.5 billion parameters: tokens a second, and the share of
   what the device multiplies at best (MFU), by a product of large matrices just before

Each stage is a process of its own that ends with the time that is left; what fails or does not fit is said
and the others go on.  The result is one JSON file and a table on stdout.  `--dry` does the same on a
processor with models and sizes that take seconds: whether the script runs to its end, and no figure.
"""

from __future__ import annotations

import argparse
import json
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from tests.benchmarks.common import machine, say
from tests.benchmarks.rollouts import questions

BUDGET = 480.0  # seconds in all
ROOT = Path(__file__).resolve().parents[2]
LARGE = {
    "hidden_size": 1536, "intermediate_size": 8960, "num_hidden_layers": 28, "num_attention_heads": 12,
    "num_key_value_heads": 2, "vocab_size": 151_936, "tie_word_embeddings": True,
}  # fmt: skip
"""As Qwen2.5-1.5B has them."""
TINY = LARGE | {"hidden_size": 48, "intermediate_size": 96, "num_hidden_layers": 2, "vocab_size": 1024}
SIDE = 8192  # of the matrices that say what the device multiplies at best


@dataclass(frozen=True)
class Stage:
    """One part of the check."""

    name: str
    command: list[str]  # of Python
    figures: Callable[[dict[str, Any]], dict[str, object]]  # of its JSON line


def stages(prompts: Path, *, dry: bool) -> list[Stage]:
    """All parts; the small ones of a dry run have the same code behind them."""
    b, k, t = (2, 2, 4) if dry else (32, 8, 128)
    episodes, tokens = (4, 8) if dry else (64, 128)
    tests = ["tests/engine/rollout/test_cuda_graph.py"] if dry else ["-m", "gpu", "tests"]
    return [
        Stage("tests", ["-m", "pytest", "-q", "-x", *tests], lambda _: {}),
        Stage(
            "rollouts",
            [
                *("-m", "tests.benchmarks.rollouts", "--prompts", str(b), "--samples", str(k)),
                *("--tokens", str(t), "--turns", "1", *([] if dry else ["--continuous"])),
            ],
            lambda found: {
                "tokens/s": found["tokens_per_second"]["median"],
                "× generate_batch": found.get("ratio_to_generate_batch"),
            },
        ),
        Stage(
            "PPO update",
            [
                *("-m", "tests.benchmarks.ppo_update", "--data", str(prompts), "--critic", "shared"),
                *("--tuning", "lora", "--episodes", str(episodes), "--tokens", str(tokens)),
                *("--updates", "1" if dry else "2", "--epochs", "1" if dry else "4"),
            ],
            lambda found: {"s": found["seconds"]["median"], "peak GiB": found["peak_gib"]},
        ),
        Stage(
            "passes of 1.5 B parameters",
            ["-m", "tests.benchmarks.gpu_check", "--passes", *(["--dry"] if dry else [])],
            lambda found: found,
        ),
    ]


def passes(*, dry: bool) -> dict[str, object]:
    """Forward and backward of a policy with adapters: tokens a second, and the share of the device's best."""
    import torch
    from transformers import LlamaConfig, LlamaForCausalLM

    from engine.models.device import resolve_device, resolve_dtype
    from engine.models.operations import Shape, Work
    from engine.models.packing import Row
    from engine.models.trunk import Trunk, make_trainable

    device = resolve_device()
    dtype = getattr(torch, resolve_dtype("auto", device))
    with device:
        model = LlamaForCausalLM(LlamaConfig(**(TINY if dry else LARGE))).to(dtype)
    make_trainable(model, lora_rank=16, seed=0)
    shape = Shape.of(model, logits=False)
    assert shape is not None
    trunk = Trunk.of(model, 0, device)
    length = 16 if dry else 256
    rows = [Row(range(1, length), [range(1, length)] * 4) for _ in range(1 if dry else 8)]
    tokens = sum(row.length for row in rows)

    def once() -> None:
        trunk.last(rows).float().square().mean().backward()

    seconds = _seconds(once, device, 1 if dry else 5)
    best = _best_flops(device, dtype, 256 if dry else SIDE)
    peak = torch.cuda.max_memory_allocated() / 2**30 if device.type == "cuda" else None
    return {
        "tokens/s": round(tokens / seconds),
        "MFU": round(shape.update(Work.of(rows)) / seconds / best, 3),
        "TFLOP/s at best": round(best / 1e12, 2),
        "peak GiB": peak and round(peak, 2),
    }


def _best_flops(device: Any, dtype: Any, side: int) -> float:
    """Operations a second of a product of two square matrices."""
    import torch

    a = torch.randn(side, side, device=device, dtype=dtype)
    return float(2 * side**3 / _seconds(lambda: a @ a, device, 5))


def _seconds(work: Callable[[], object], device: Any, rounds: int) -> float:
    """Median seconds of a call, after one that is not counted."""
    import torch

    taken = []
    for _ in range(rounds + 1):
        began = time.perf_counter()
        work()
        if device.type == "cuda":
            torch.cuda.synchronize()
        taken.append(time.perf_counter() - began)
    return sorted(taken[1:])[rounds // 2]


def run(stage: Stage, seconds: float) -> dict[str, object]:
    """Figures of a stage, or why there are none."""
    say(f"{stage.name} …")
    began = time.monotonic()
    try:
        done = subprocess.run(
            [sys.executable, *stage.command], cwd=ROOT, capture_output=True, text=True, timeout=seconds
        )
    except subprocess.TimeoutExpired:
        return {"failed": f"not done in the {seconds:.0f} s that were left"}
    took = {"seconds": round(time.monotonic() - began, 1)}
    if done.returncode:
        return took | {"failed": (done.stderr or done.stdout).strip()[-1500:]}
    last = (done.stdout.strip().splitlines() or [""])[-1]
    if not last.startswith("{"):
        return took | {"said": last}
    found = json.loads(last)
    return took | {"figures": stage.figures(found), "all": found}


def device_name() -> str:
    import torch

    return torch.cuda.get_device_name() if torch.cuda.is_available() else "no GPU"


def table(results: dict[str, dict[str, Any]]) -> str:
    """The results as Markdown."""
    lines = ["| | seconds | result |", "| --- | --- | --- |"]
    for name, found in results.items():
        figures = ", ".join(
            f"{key} {value}" for key, value in found.get("figures", {}).items() if value is not None
        )
        failed = str(found.get("failed", "")).strip().splitlines()[-1:]
        words = figures or " ".join(["failed:", *failed] if failed else [str(found.get("said", ""))])
        lines.append(f"| {name} | {found.get('seconds', '–')} | {words} |")
    return "\n".join(lines)


def main() -> int:
    arguments = argparse.ArgumentParser(description=__doc__)
    arguments.add_argument("--dry", action="store_true", help="small, also without a GPU")
    arguments.add_argument("--passes", action="store_true", help="be the last stage")
    arguments.add_argument("--out", type=Path, default=ROOT / "build" / "gpu-check.json")
    options = arguments.parse_args()
    if options.passes:
        print(json.dumps(passes(dry=options.dry)))
        return 0
    name = device_name()
    if name == "no GPU" and not options.dry:
        print("torch sees no GPU here; --dry tries the script on the processor.", file=sys.stderr)
        return 2
    deadline = time.monotonic() + BUDGET
    results: dict[str, dict[str, Any]] = {}
    with tempfile.TemporaryDirectory() as folder:
        prompts = Path(folder) / "prompts.jsonl"
        prompts.write_text("".join(json.dumps({"prompt": text}) + "\n" for text in questions(64)))
        for stage in stages(prompts, dry=options.dry):
            results[stage.name] = run(stage, max(1.0, deadline - time.monotonic()))
    options.out.parent.mkdir(parents=True, exist_ok=True)
    options.out.write_text(json.dumps({"device": name, "machine": machine(), "results": results}, indent=1))
    print(f"{name}\n\n{table(results)}\n\nAll figures: {options.out}")
    return 1 if any("failed" in found for found in results.values()) else 0


if __name__ == "__main__":
    sys.exit(main())
