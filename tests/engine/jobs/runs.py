"""Run directories for the tests of jobs."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pyarrow.parquet as pq

from engine.protocol.events import Event, Output
from engine.protocol.rundir import RunDir


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
