"""Peak memory of a job beside its estimate, on random models of three sizes, saving included.

`python -m tests.benchmarks.memory` makes the models and runs each job in a process of its own, whose largest
resident size (VmHWM) is taken, also of each stage.  Prompts are as long as `max_prompt_tokens`, and a random
model hardly ever stops, so responses are as long as `max_new_tokens`: what the estimate counts with.
Linux only.  `--jobs` and `--sizes` choose, `--dtype` the number format, by default what a job would take.
"""

from __future__ import annotations

import argparse
import json
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import Any

import msgspec
import torch

from engine.models.device import resolve_dtype
from engine.protocol.configs import DPOConfig, GRPOConfig, JobConfig, PPOConfig
from engine.protocol.estimate import sizes_of
from engine.protocol.memory import memory_of
from tests.benchmarks.common import report, say, versions

SIZES: dict[str, dict[str, int]] = {
    "small": {"hidden_size": 256, "intermediate_size": 704, "num_hidden_layers": 8, "vocab_size": 8192},
    "middle": {"hidden_size": 512, "intermediate_size": 1408, "num_hidden_layers": 12, "vocab_size": 32768},
    "large": {"hidden_size": 768, "intermediate_size": 2048, "num_hidden_layers": 20, "vocab_size": 49152},
}
PROMPT = 96  # tokens
SHARED: dict[str, Any] = {
    "name": "x", "policy": "p", "device": "cpu", "max_new_tokens": 64,
    "max_prompt_tokens": PROMPT, "steps": 1, "prompts_per_step": 8, "samples": 4, "checkpoint_every": 1,
    "trace_every": 0, "epochs": 2, "collapse": "ignore", "kl": "fixed",
}  # fmt: skip
DPO = DPOConfig(
    name="x", policy="p", device="cpu", max_tokens=PROMPT + 64, batch_prompts=4, holdout=0.0,
    checkpoint_every=1,
)  # fmt: skip
JOBS: dict[str, tuple[str, JobConfig]] = {
    "ppo lora": ("ppo", PPOConfig(**SHARED, reward_model="r")),
    "ppo full": ("ppo", PPOConfig(**SHARED, reward_model="r", tuning="full")),
    "grpo lora, two reward models": ("grpo", GRPOConfig(**SHARED, reward_model="r", rewards=("s",))),
    "dpo lora": ("dpo", DPO),
    "dpo lora, recomputed": ("dpo", msgspec.structs.replace(DPO, activations="recompute")),
}  # fmt: skip


def job_of(kind: str, dtype: str) -> JobConfig:
    """A job's settings in a number format."""
    changed: JobConfig = msgspec.structs.replace(JOBS[kind][1], dtype=dtype)
    return changed


def make_models(folder: Path, size: dict[str, int]) -> None:
    """A random policy and two reward models in bfloat16."""
    from transformers import GenerationConfig, LlamaConfig, LlamaForCausalLM

    from engine.models.reward_classifier import init_reward_classifier
    from engine.models.saving import save_model
    from tests.fakes import tiny_tokeniser_files

    config = LlamaConfig(
        **size, num_attention_heads=size["hidden_size"] // 64, num_key_value_heads=2, head_dim=64,
        max_position_embeddings=512, tie_word_embeddings=True, bos_token_id=1, eos_token_id=2,
    )  # fmt: skip
    model = LlamaForCausalLM(config).to(torch.bfloat16)
    model.generation_config = GenerationConfig(bos_token_id=1, eos_token_id=2)
    model.save_pretrained(folder / "p")
    tiny_tokeniser_files(folder / "p")
    for seed, name in enumerate("rs"):
        save_model(
            init_reward_classifier(folder / "p", dtype="bfloat16", seed=seed), folder / "p", folder / name
        )


def child(kind: str, folder: Path, dtype: str) -> None:
    """Run the job and print its peaks by stage."""
    from engine.protocol.catalog import JOBS as KINDS
    from engine.protocol.events import Progress
    from engine.protocol.rundir import RunDir
    from tests.engine.training.runs import chat, make_run

    config: Any = job_of(kind, dtype)
    text = "a" * (PROMPT - 31)  # the chat template's own tokens are the rest
    prompts = [{"prompt_id": f"p{n}", "messages": chat(text)} for n in range(8)]
    rankings = [
        {
            "judgement_id": f"j{n}", "annotator": "ann", "prompt_id": f"p{n}", "messages": chat(text),
            "response_id": f"r{n}-{k}", "text": "b" * 63, "finish_reason": "stop", "rank": k + 1,
        }
        for n in range(8)
        for k in range(4)
    ]  # fmt: skip
    models = {
        role: folder / name for role, name in (("policy", "p"), ("reward_model", "r"), ("reward:s", "s"))
    }
    run: RunDir = make_run(folder / f"run-{kind}", config, models, {"prompts": prompts, "rankings": rankings})
    import importlib

    job = KINDS[JOBS[kind][0]]
    peaks: dict[str, int] = {}
    stage = "start"
    for event in getattr(importlib.import_module(job.module), job.function)(config, run):
        if isinstance(event, Progress) and event.stage != stage:
            peaks[stage] = max(peaks.get(stage, 0), peak_since_reset())
            stage = event.stage
    peaks[stage] = max(peaks.get(stage, 0), peak_since_reset())
    print(json.dumps(peaks))


def peak_since_reset() -> int:
    """Largest resident size since the last call, in bytes."""
    status = Path("/proc/self/status").read_text()
    kibibytes = next(line.split()[1] for line in status.splitlines() if line.startswith("VmHWM"))
    Path("/proc/self/clear_refs").write_text("5")
    return int(kibibytes) * 1024


def measured(kind: str, folder: Path, dtype: str) -> dict[str, int]:
    """Peaks by stage, bytes, of the job in a process of its own."""
    command = [
        sys.executable,
        "-m",
        "tests.benchmarks.memory",
        "--child",
        kind,
        str(folder),
        "--dtype",
        dtype,
    ]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    if done.returncode:
        raise RuntimeError(done.stderr[-2000:])
    found: dict[str, int] = json.loads(done.stdout.splitlines()[-1])
    return found


def estimated(kind: str, size: dict[str, int], dtype: str) -> int:
    """Bytes that the workbench tells before the job starts."""
    heads = {"num_attention_heads": size["hidden_size"] // 64, "num_key_value_heads": 2, "head_dim": 64}
    sizes = sizes_of({**size, **heads, "tie_word_embeddings": True})
    assert sizes is not None
    return memory_of(job_of(kind, dtype), sizes)


def main() -> None:
    """Every job on every size."""
    arguments = argparse.ArgumentParser(description=__doc__)
    arguments.add_argument("--child", nargs=2, metavar=("JOB", "FOLDER"))
    arguments.add_argument("--jobs", nargs="*", default=list(JOBS))
    arguments.add_argument("--sizes", nargs="*", default=list(SIZES))
    arguments.add_argument("--dtype", choices=("auto", "bfloat16", "float32"), default="auto")
    options = arguments.parse_args()
    dtype = resolve_dtype(options.dtype, torch.device("cpu"))
    if options.child:
        child(options.child[0], Path(options.child[1]), dtype)
        return
    rows = []
    for name in options.sizes:
        with tempfile.TemporaryDirectory() as folder:
            make_models(Path(folder), SIZES[name])
            for kind in options.jobs:
                peaks, guess = measured(kind, Path(folder), dtype), estimated(kind, SIZES[name], dtype)
                peak = max(peaks.values())
                say(f"{name}, {kind}: {peak >> 20} MiB, estimated {guess >> 20}, ratio {guess / peak:.2f}")
                say("  " + ", ".join(f"{stage} {found >> 20}" for stage, found in peaks.items()))
                rows.append({"size": name, "job": kind, "peak": peak, "estimated": guess, "stages": peaks})
    report("memory", dtype=dtype, rows=rows, versions=versions("torch", "transformers"))


if __name__ == "__main__":
    main()
