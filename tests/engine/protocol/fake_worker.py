"""A worker that also knows fake jobs: `python fake_worker.py RUN_DIR`.

The jobs of this file need no torch and behave as the name of their policy says, so that tests can start, stop
and kill real processes quickly.  The catalog of the application knows nothing of them.
"""

from __future__ import annotations

import os
import subprocess
import sys
import time
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

ROOT = Path(__file__).resolve().parents[3]
sys.path.insert(0, str(ROOT))

from engine.errors import WorkbenchError  # noqa: E402
from engine.protocol.catalog import JOBS  # noqa: E402
from engine.protocol.configs import GenerateConfig, PPOConfig  # noqa: E402
from engine.protocol.events import (  # noqa: E402
    Artifact,
    Event,
    Finished,
    Message,
    Metrics,
    Output,
    Progress,
    Stopped,
)
from engine.protocol.rundir import RunDir  # noqa: E402


def generate(config: GenerateConfig, run: RunDir) -> Iterator[Event]:
    """What happens is named by the model: `fake/steps`, `fake/slow`, `fake/error`, …"""
    yield Message(level="info", text="here we go")
    behaviour = Path(run.model("policy").folder).name
    if "error" in behaviour:
        raise ValueError("the tokens\nran away")
    if "sentence" in behaviour:
        raise WorkbenchError("The model is broken; choose another.")
    if "memory" in behaviour:
        raise MemoryError
    if "disk" in behaviour:
        raise OSError(28, "No space left on device")
    if "vanish" in behaviour:
        print("cannot write: no space left", file=sys.stderr, flush=True)
        os._exit(1)
    if "family" in behaviour:
        _start_a_family(run)
    if "stubborn" in behaviour or "family" in behaviour:
        print("I do not listen", file=sys.stderr, flush=True)
        time.sleep(60)
    delay = 0.05 if "slow" in behaviour else 0.0
    try:
        for step in range(1, config.samples + 1):
            yield Metrics(step=step, values={"fake/step": float(step), "fake/nan": float("nan")})
            yield Progress(stage="sampling", done=step, total=config.samples, unit="responses")
            time.sleep(delay)
        if "liar" in behaviour:
            yield Output(kind="responses", path="../../elsewhere.parquet", rows=1)
            (run.path / "broken.parquet").write_bytes(b"PAR1 but not really")
            yield Output(kind="responses", path="broken.parquet", rows=1)
        if "responses" in behaviour:
            yield _responses(config, run)
    finally:
        (run.path / "closed").touch()
    yield Finished(summary={"responses": config.samples})


def _start_a_family(run: RunDir) -> None:
    """A child in a session of its own, and a grandchild whose parent has gone; their pids go to a file."""
    sleeper = [sys.executable, "-c", "import time; time.sleep(60)"]
    child = subprocess.Popen(sleeper, start_new_session=True)
    orphaner = (
        "import subprocess, sys; print(subprocess.Popen(sys.argv[1:], start_new_session=True, "
        "stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL).pid)"
    )
    told = subprocess.run([sys.executable, "-c", orphaner, *sleeper], capture_output=True, text=True)
    (run.path / "family.tmp").write_text(f"{child.pid} {told.stdout.strip()}")
    (run.path / "family.tmp").rename(run.path / "family")


def _responses(config: GenerateConfig, run: RunDir) -> Output:
    import polars as pl

    prompts = pl.read_parquet(run.table("prompts"))["prompt_id"].to_list()
    rows = [(prompt, index) for prompt in prompts for index in range(config.samples)]
    path = run.output_path("responses", 1)
    pl.DataFrame(
        {
            "prompt_id": [prompt for prompt, _ in rows],
            "sample_index": [index for _, index in rows],
            "text": [f"answer {index} to {prompt}" for prompt, index in rows],
            "token_ids": [[1, 2, index] for _, index in rows],
            "token_logprobs": [[-0.5, -1.0, -2.0] for _ in rows],
            "finish_reason": ["stop" for _ in rows],
        },
        schema_overrides={
            "sample_index": pl.Int32,
            "token_ids": pl.List(pl.Int32),
            "token_logprobs": pl.List(pl.Float32),
        },
    ).write_parquet(path)
    return Output(kind="responses", path=run.relative(path), rows=len(rows))


def ppo(config: PPOConfig, run: RunDir) -> Iterator[Event]:
    """Counts steps, with checkpoints to resume from; a patient one waits at step 10 until it is ended."""
    latest = run.latest_checkpoint()
    done = int((latest / "step").read_text()) if latest else 0
    for step in range(done + 1, config.steps + 1):
        yield Metrics(step=step, values={"policy/score": float(step)})
        if config.checkpoint_every and step % config.checkpoint_every == 0:
            with run.writing_checkpoint(step) as folder:
                (folder / "step").write_text(str(step))
            path = run.relative(run.checkpoint_dir(step))
            yield Artifact(kind="checkpoint", name=str(step), path=path, step=step)
        patient = step == 10 and run.model("policy").folder.endswith("patient")
        while latest is None and patient and not run.pause_path.exists():
            yield Progress(stage="waiting", done=step, total=config.steps)
            time.sleep(0.01)
        if run.pause_path.exists():
            with run.writing_checkpoint(step) as folder:
                (folder / "step").write_text(str(step))
            yield Stopped(paused=True)
    (run.artifact_dir("model") / "config.json").write_text("{}")
    yield Artifact(kind="policy", name=config.name, path="model", step=config.steps)
    yield Finished(summary={"steps": config.steps})


def install() -> None:
    """Replace the jobs of the catalog, in this process only, with those of this file."""
    sys.modules.setdefault("fake_jobs", sys.modules[__name__])
    for kind in ("generate", "ppo"):
        JOBS[kind] = replace(JOBS[kind], module="fake_jobs", function=kind, needs=())


if __name__ == "__main__":
    from engine.worker import main

    install()
    sys.exit(main())
