"""`events.jsonl`: an append-only log that one process writes and another tails by byte offset.

The writer appends whole lines; the reader takes whole lines only, so a line that is half on the disk is read
the next time.  A writer that was killed within a line leaves a torn end, which the next writer cuts off: no
reader has ever taken it.
"""

from __future__ import annotations

import math
import os
import time
from collections import deque
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, NamedTuple

import msgspec

from engine.errors import WorkbenchError
from engine.protocol.events import AnyEvent, Envelope, Event

# A reader takes at most this much at a time; a longer line can only be garbage.
CHUNK = 8 * 2**20


class Tail(NamedTuple):
    """What one reading of the log gave."""

    envelopes: list[Envelope]
    offset: int  # bytes; where the next reading begins
    unreadable: int  # lines that are no event, left out


def read_lines(path: Path, offset: int = 0, *, limit: int = CHUNK) -> bytes:
    """The complete lines behind byte `offset`, at most `limit` bytes of them or one longer line.

    Empty where there is none yet, or no file.  A full chunk without a line end, which is no event,
    comes as it is.
    """
    try:
        with path.open("rb") as file:
            file.seek(offset)
            data = file.read(limit)
            if len(data) == limit < CHUNK and b"\n" not in data:
                data += file.read(CHUNK - limit)  # one long line
    except FileNotFoundError:
        return b""
    end = data.rfind(b"\n") + 1
    return data if end == 0 and len(data) >= CHUNK else data[:end]


def tail(path: Path, offset: int = 0, *, limit: int = CHUNK) -> Tail:
    """The events written after byte `offset`, complete lines only.

    A missing file has no events.  Lines that are no `Envelope` are counted and left out.  Reads at most
    `limit` bytes, or a longer line: call again until the offset stands still to reach the end.
    """
    data = read_lines(path, offset, limit=limit)
    if data and not data.endswith(b"\n"):  # stepped over, or the log would be stuck here
        return Tail([], offset + len(data), 1)
    envelopes: list[Envelope] = []
    unreadable = 0
    for line in data.split(b"\n")[:-1]:
        if not line.strip():
            continue
        envelope = decode_line(line)
        if envelope is None:
            unreadable += 1
        else:
            envelopes.append(envelope)
    return Tail(envelopes, offset + len(data), unreadable)


def every_event(path: Path, offset: int = 0) -> Iterator[Envelope]:
    """All that the log holds behind byte `offset`, from reading to reading until its end."""
    while (part := tail(path, offset)).offset != offset:
        yield from part.envelopes
        offset = part.offset


def last_event(path: Path, offset: int = 0) -> AnyEvent | None:
    """The last of them; None where there is none."""
    last = deque(every_event(path, offset), maxlen=1)
    return last[0].event if last else None


_decoder = msgspec.json.Decoder(Envelope)


def decode_line(line: bytes) -> Envelope | None:
    """One line of the log, or None when it is not an event."""
    try:
        return _decoder.decode(line)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
        return None


def encode_line(envelope: Envelope) -> bytes:
    """One line, its line end included.

    Numbers that are not finite become null (JSON has none of them), lone surrogates a question mark, and
    NumPy or torch scalars plain numbers.
    """
    plain = msgspec.to_builtins(envelope, enc_hook=_as_number)
    return msgspec.json.encode(_wire_safe(plain)) + b"\n"


def _as_number(value: Any) -> Any:
    item = getattr(value, "item", None)
    if callable(item):
        return item()
    raise NotImplementedError(f"An event cannot hold a {type(value).__name__}.")


def _wire_safe(value: Any) -> Any:
    if isinstance(value, float):
        return value if math.isfinite(value) else None
    if isinstance(value, str):
        return value.encode("utf-8", "replace").decode("utf-8")
    if isinstance(value, dict):
        return {key: _wire_safe(item) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [_wire_safe(item) for item in value]
    return value


class EventLog:
    """The writer's end.  One process at a time; the sequence goes on where the last process left it."""

    def __init__(self, path: Path, *, clock: Callable[[], float] = time.time) -> None:
        self._clock = clock
        self._fd = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
        self._size = _cut_torn_line(self._fd)
        self.last_seq = _last_seq(path)

    def append(self, event: Event) -> Envelope:
        """Stamp `event`, write it as one line and return it as written.

        Raises OSError when the line cannot be written (a full disk), WorkbenchError for a line longer than a
        reader takes; the log then ends as it did before.
        """
        envelope = Envelope(seq=self.last_seq + 1, at=self._clock(), event=event)  # type: ignore[arg-type]
        line = encode_line(envelope)
        if len(line) > CHUNK:
            kind = type(event).__name__
            raise WorkbenchError(
                f"The job said something of {len(line):,} bytes at once ({kind}); "
                f"an event may take {CHUNK:,}: what is long belongs into a file."
            )
        try:
            written = 0
            while written < len(line):
                written += os.pwrite(self._fd, line[written:], self._size + written)
        except OSError:
            os.ftruncate(self._fd, self._size)
            raise
        self._size += len(line)
        self.last_seq = envelope.seq
        return envelope

    def close(self) -> None:
        """Close the file; it stays as it is, and `append` raises from now on."""
        if self._fd >= 0:
            os.close(self._fd)
            self._fd = -1

    def __enter__(self) -> EventLog:
        return self

    def __exit__(self, *exc: object) -> None:
        self.close()


def _cut_torn_line(fd: int, block: int = 65536) -> int:
    """Cut everything after the last line end and return the size in bytes that is left."""
    size = os.fstat(fd).st_size
    end = size
    while end > 0:
        start = max(0, end - block)
        newline = os.pread(fd, end - start, start).rfind(b"\n")
        if newline >= 0:
            end = start + newline + 1
            break
        end = start
    if end < size:
        os.ftruncate(fd, end)
    return end


def _last_seq(path: Path) -> int:
    return max((envelope.seq for envelope in every_event(path)), default=0)
