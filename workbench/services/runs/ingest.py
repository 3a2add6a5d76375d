"""What a job says becomes rows, each event exactly once.

A reading of `events.jsonl` is stored in slices, each with its rows and the place reached in one
transaction, so this process may be killed at any moment: the next one goes on where the last committed slice
ended.  Slices are short, because a judgement that is recorded meanwhile waits for the one being stored.
"""

from __future__ import annotations

import time
from collections.abc import Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, NamedTuple

import msgspec

from engine.protocol.catalog import JOBS
from engine.protocol.events import Envelope, Failed, Finished, Started, Stopped
from engine.protocol.log import tail
from engine.protocol.rundir import RunDir
from storage import runs
from storage.errors import DiskFullError
from storage.ingest import Line, slices
from storage.ingest import ingest as store_lines
from storage.interchange.clean import clean_text
from storage.records import RunRow
from storage.store import Store

STDERR_LINES = 20
CLOSING = (Started, Finished, Stopped, Failed)
READ_BYTES = 2**18
"""Of a log at once, about as much as two slices: reading it holds up the thread that records a judgement."""


class TakenIn(NamedTuple):
    """What was taken in of a log."""

    new: int
    """Events."""
    fault: str = ""
    """Why the log cannot be trusted: a line that is not an event, or that the store refused; a sentence."""


def catch_up(store: Store, row: RunRow, *, ended: bool = False) -> TakenIn:
    """Read what the run `row` has said since the last time.

    A line that cannot be stored, for whatever reason, is left out and told as the fault; the others are
    stored.  Of a worker that has `ended`, nothing that it said about beginning and ending counts.  Raises
    StoreError when the store cannot take anything now (a full disk); nothing is lost by that.
    """
    run = RunDir(Path(row.run_dir or ""))
    new, fault = 0, ""
    while True:
        part = tail(run.events_path, row.last_offset, limit=READ_BYTES)
        if part.offset == row.last_offset:
            return TakenIn(new, fault)
        envelopes = [one for one in part.envelopes if not (ended and isinstance(one.event, CLOSING))]
        stored = _take_in(store, row, run, envelopes, part.offset)
        new += stored.new
        unreadable = f"{run.events_path.name} has a line that is not an event." if part.unreadable else ""
        fault = fault or stored.fault or unreadable
        row = runs.run_row(store, row.run_id)


def _take_in(store: Store, row: RunRow, run: RunDir, envelopes: Sequence[Envelope], offset: int) -> TakenIn:
    """One reading by slices; where a line of one cannot be stored, line by line without that line."""
    lines = [_line(row, envelope) for envelope in envelopes]
    if any(isinstance(envelope.event, Failed) for envelope in envelopes):
        runs.update_run(store, row.run_id, stderr_tail=stderr_tail(run))
    new, fault = 0, ""
    for part in slices(lines):
        # The offset moves with the last slice; until then a line is known by its number.
        reached = offset if part[-1] is lines[-1] else row.last_offset
        try:
            new += store_lines(store, row.run_id, part, reached)
        except DiskFullError:
            raise
        except Exception:
            singly = _take_in_singly(store, row, part, reached)
            new, fault = new + singly.new, fault or singly.fault
    if not lines:
        runs.update_run(store, row.run_id, last_offset=offset)
    return TakenIn(new, fault)


def _take_in_singly(store: Store, row: RunRow, lines: Sequence[Line], offset: int) -> TakenIn:
    new, fault = 0, ""
    for line in lines:
        try:
            new += store_lines(store, row.run_id, [line], row.last_offset)
        except DiskFullError:
            raise
        except Exception as error:
            first = (str(error).strip() or type(error).__name__).splitlines()[0]
            note = clean_text(f"An event of the kind “{line['event']['type']}” could not be stored: {first}")
            with store.transaction():
                runs.add_message(store, row.run_id, line["seq"], "warning", note, utc(time.time()))
                runs.update_run(store, row.run_id, last_seq=line["seq"])
            new, fault = new + 1, fault or note
    runs.update_run(store, row.run_id, last_offset=offset)
    return TakenIn(new, fault)


def _line(row: RunRow, envelope: Envelope) -> dict[str, Any]:
    """An event as plain values.  A training that begins anew after a kill repeats every step it had told."""
    event = envelope.event
    begins_anew = isinstance(event, Started) and event.resumed_from_step is None and envelope.seq > 1
    if begins_anew and JOBS[row.kind].trains:
        event = msgspec.structs.replace(event, resumed_from_step=0)
    line: dict[str, Any] = msgspec.to_builtins(msgspec.structs.replace(envelope, event=event))
    return line


def stderr_tail(run: RunDir, lines: int = STDERR_LINES) -> str:
    """The last lines that the worker wrote to its error output, without control characters."""
    try:
        with run.stderr_path.open("rb") as file:
            file.seek(max(0, file.seek(0, 2) - 16384))
            text = file.read().decode("utf-8", "replace")
    except FileNotFoundError:
        return ""
    # A progress bar repaints its line after a carriage return: only its last state counts.
    last = [line.rstrip("\r").rsplit("\r", 1)[-1] for line in text.split("\n")]
    return "\n".join(clean_text("\n".join(last)).strip().split("\n")[-lines:])


def utc(seconds: float) -> datetime:
    """A time as the store keeps it: UTC without a zone."""
    return datetime.fromtimestamp(seconds, UTC).replace(tzinfo=None)
