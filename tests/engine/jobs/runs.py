"""Run directories for the tests of jobs."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq

from engine.protocol.configs import JobConfig
from engine.protocol.events import Event, Output
from engine.protocol.rundir import Inputs, ModelRef, RunDir


def chat(text: str) -> str:
    return json.dumps([{"role": "user", "content": text}])


def make_run(
    path: Path, config: JobConfig, models: dict[str, Path], tables: dict[str, list[dict[str, Any]]]
) -> RunDir:
    run = RunDir.create(path, config)
    (path / "inputs").mkdir()
    for name, rows in tables.items():
        pq.write_table(pa.Table.from_pylist(rows), path / "inputs" / f"{name}.parquet")
    references = {role: ModelRef(folder.name, str(folder)) for role, folder in models.items()}
    run.write_inputs(
        Inputs(models=references, tables={name: Path(f"inputs/{name}.parquet") for name in tables})
    )
    return run


def outputs(run: RunDir, events: list[Event]) -> list[dict[str, Any]]:
    """The rows of the files that were announced."""
    return [
        row
        for event in events
        if isinstance(event, Output)
        for row in pq.read_table(run.path / event.path).to_pylist()
    ]


def until_output(events: Iterator[Event], count: int) -> list[Event]:
    """What a job says until its `count`-th file, when it is stopped."""
    said: list[Event] = []
    for event in events:
        said.append(event)
        if sum(isinstance(event, Output) for event in said) == count:
            break
    events.close()  # type: ignore[attr-defined]
    return said
