"""Run directories on the fake model, and how to drive a job in them."""

from __future__ import annotations

import json
import random
from collections.abc import Callable, Iterable, Sequence
from pathlib import Path
from typing import Any, TypeVar

import pyarrow as pa
import pyarrow.parquet as pq
from safetensors.torch import load_file
from torch import Tensor

from engine.protocol.configs import JobConfig
from engine.protocol.events import Event
from engine.protocol.rundir import Inputs, ModelRef, RunDir

Kind = TypeVar("Kind", bound=Event)


def chat(text: str) -> str:
    return json.dumps([{"role": "user", "content": text}])


def make_run(
    path: Path, config: JobConfig, models: dict[str, Path], tables: dict[str, list[dict[str, Any]]]
) -> RunDir:
    """A run directory as the workbench prepares it."""
    run = RunDir.create(path, config)
    (path / "inputs").mkdir()
    for name, rows in tables.items():
        pq.write_table(pa.Table.from_pylist(rows), path / "inputs" / f"{name}.parquet")
    run.write_inputs(
        Inputs(
            models={role: ModelRef(name=role, folder=str(folder)) for role, folder in models.items()},
            tables={name: Path("inputs") / f"{name}.parquet" for name in tables},
        )
    )
    return run


class TrainingJob:
    """A run of one kind in a directory of its own; `start` is the job's function."""

    def __init__(self, config: Any, run: RunDir, function: Callable[..., Any]) -> None:
        self.config, self.run, self._function = config, run, function

    def start(self) -> Any:
        return self._function(self.config, self.run)

    def events(self) -> list[Event]:
        return list(self.start())

    def weights(self) -> dict[str, Tensor]:
        return load_file(self.run.path / "model" / "model.safetensors")


def rankings(prompts: int = 16, seed: int = 0) -> list[dict[str, Any]]:
    """Four short responses a prompt; the more `a` the better; two of three annotators agree on everything."""
    draw = random.Random(seed)
    rows = []
    for p in range(prompts):
        counts = draw.sample(range(6), 4)
        texts = ["".join(draw.sample("a" * n + "b" * (5 - n), 5)) for n in counts]
        for annotator in ("ann", "ben"):
            for r, (count, text) in enumerate(zip(counts, texts, strict=True)):
                rows.append(
                    {
                        "judgement_id": f"j{p}-{annotator}",
                        "annotator": annotator,
                        "prompt_id": f"p{p}",
                        "messages": chat(f"say {p}"),
                        "response_id": f"r{p}-{r}",
                        "text": text,
                        "rank": 1 + sum(other > count for other in counts),
                    }
                )
    return rows


def prompts(count: int = 6) -> list[dict[str, Any]]:
    return [{"prompt_id": f"p{i}", "messages": chat("go" + "!" * i)} for i in range(count)]


def rise(scores: Sequence[float]) -> float:
    """Mean score of the last three steps over that of the first three."""
    return sum(scores[-3:]) / 3 - sum(scores[:3]) / 3


def only(events: Iterable[Event], kind: type[Kind]) -> list[Kind]:
    return [event for event in events if isinstance(event, kind)]


def finished(generator: Any) -> Any:
    """What a generator returns once its progress has been heard."""
    while True:
        try:
            next(generator)
        except StopIteration as end:
            return end.value
