"""What a carrier and an agent say to each other, and how it goes over a pipe.

Each message is four bytes of length, the highest first, and as many of MessagePack.  Before its first the
agent sends `GREETING`, so that whatever a login prints is passed over.
"""

from __future__ import annotations

import threading
from collections.abc import Mapping
from queue import SimpleQueue
from typing import BinaryIO

import msgspec

from engine.protocol.launch import Nodes

GREETING = b"\nworkbench agent 1\n"
BANNER = 2**16
"""Bytes that a login may print."""
MOST = 16 * 2**20
"""Bytes of one message; a part of a file or log has at most `PART`."""
PART = 2**20


class WireMessage(msgspec.Struct, frozen=True, tag=True):
    """Base of all of them."""


class Given(msgspec.Struct, frozen=True):
    """A file of the run directory that the worker reads."""

    path: str
    sha256: str


class Begin(WireMessage, frozen=True):
    """The carrier's first: the run, what it is given, and what of it has come back already."""

    version: str
    run: str
    folder: str
    launcher: str
    processes: int
    offset: int
    """Bytes of the log that are here."""
    files: tuple[Given, ...]
    have: Mapping[str, tuple[int, int]]
    """Size and time of change, in nanoseconds, of what is here, by path."""
    slurm: Mapping[str, str | int | bool] | None = None
    """Options of `sbatch` for a run that is a batch job; None for a process."""
    nodes: Nodes | None = None
    """The machines, where there are several."""


class Needs(WireMessage, frozen=True):
    """The agent's answer: contents that it has not; each then comes in parts, in this order."""

    sha256: tuple[str, ...]


class Chunk(WireMessage, frozen=True):
    """A piece of a content that was asked for."""

    data: bytes
    last: bool


class Ask(WireMessage, frozen=True):
    """The person wants the run to `stop`, or to `pause`."""

    what: str


class Log(WireMessage, frozen=True):
    """Whole lines of the log.  All files that they name have come before."""

    data: bytes


class File(WireMessage, frozen=True):
    """A piece of a file that the worker made."""

    path: str
    changed: int
    data: bytes
    last: bool


class Alive(WireMessage, frozen=True):
    """Nothing has happened, and the worker is at work, or waits for its turn."""

    words: str = ""
    """What a person should know of that."""


class Ended(WireMessage, frozen=True):
    """The worker has ended; the log is complete."""

    code: int | None
    words: str
    """The last that it wrote to its error output."""


class Refused(WireMessage, frozen=True):
    """The agent cannot do it: one sentence."""

    why: str


AnyMessage = Begin | Needs | Chunk | Ask | Log | File | Alive | Ended | Refused
_decoder = msgspec.msgpack.Decoder(AnyMessage)


def write_message(stream: BinaryIO, message: AnyMessage) -> None:
    """Send one.  Raises OSError when nobody is there any more."""
    body = msgspec.msgpack.encode(message)
    stream.write(len(body).to_bytes(4) + body)
    stream.flush()


def read_message(stream: BinaryIO) -> AnyMessage | None:
    """The next one; None at the end of the stream, also within one.  Raises ValueError for what is none."""
    head = _exactly(stream, 4)
    if head is None:
        return None
    length = int.from_bytes(head)
    if length > MOST:
        raise ValueError(f"a message of {length:,} bytes")
    body = _exactly(stream, length)
    if body is None:
        return None
    try:
        return _decoder.decode(body)
    except msgspec.DecodeError as error:
        raise ValueError(str(error)) from None


def _exactly(stream: BinaryIO, count: int) -> bytes | None:
    data = b""
    while len(data) < count:
        more = stream.read(count - len(data))
        if not more:
            return None
        data += more
    return data


def pass_greeting(stream: BinaryIO) -> str | None:
    """Read up to the agent's greeting; None when it came, else what was printed instead of it."""
    seen = b"\n"
    while len(seen) < BANNER:
        byte = stream.read(1)
        if not byte:
            break
        seen += byte
        if seen.endswith(GREETING):
            return None
    return seen.decode("utf-8", "replace").strip()


def hear(stream: BinaryIO) -> SimpleQueue[AnyMessage | Exception | None]:
    """What comes, as it comes: messages, then None at the end, or why nothing more can be read."""
    came: SimpleQueue[AnyMessage | Exception | None] = SimpleQueue()

    def listen() -> None:
        try:
            while (message := read_message(stream)) is not None:
                came.put(message)
            came.put(None)
        except (OSError, ValueError) as error:
            came.put(error)

    threading.Thread(target=listen, daemon=True).start()
    return came
