"""Messages of Quack, version 1, as far as the door before it reads them.

A message is two objects of DuckDB's binary format, a head (1: kind, 2: session, 3: number of the query) and a
body.  An object is its fields, each a number (2 bytes, little-endian) and a value, and ends with 0xFFFF;
lengths and numbers are LEB128.  What is not read here is refused or left as it is.
"""

from __future__ import annotations

from dataclasses import dataclass

CONNECT, PREPARE, FETCH, DISCONNECT = 1, 3, 7, 11
TAKEN = (CONNECT, PREPARE, FETCH, DISCONNECT)
"""What readers send.  The others would write."""
END = b"\xff\xff"
NO_QUERY = b"\xff" * 9 + b"\x01"


@dataclass(frozen=True)
class QuackMessage:
    """One request: its kind, the session it is of, and the SQL of a question, which ends the message."""

    kind: int
    session: str = ""
    sql: str = ""
    head: bytes = b""

    def asking(self, sql: str) -> bytes:
        """The same question with another text."""
        text = sql.encode()
        return self.head + _field(1) + _number(len(text)) + text + END


def read(body: bytes) -> QuackMessage | None:
    """The message that a request carries; None for what is none, or of another version."""
    reader = _Reader(body)
    try:
        kind, session = -1, b""
        while (field := reader.field()) is not None:
            if field == 1:
                kind = reader.number()
            elif field == 2:
                session = reader.text()
            elif field == 3:
                reader.number()
            else:
                return None
        head = body[: reader.place]
        if kind != PREPARE:
            return QuackMessage(kind, session.decode(), head=head)
        sql = reader.text() if reader.field() == 1 else b""
        whole = reader.field() is None and reader.place == len(body)
        return QuackMessage(kind, session.decode(), sql.decode(), head) if whole else None
    except (IndexError, ValueError):
        return None


def farewell(session: str) -> bytes:
    """What a client sends who goes."""
    name = session.encode()
    head = _field(1) + _number(DISCONNECT) + _field(2) + _number(len(name)) + name + _field(3) + NO_QUERY
    return head + END + END


class _Reader:
    def __init__(self, body: bytes) -> None:
        self._body, self.place = body, 0

    def field(self) -> int | None:
        """The number of the next field; None at the end of the object."""
        found = self._take(2)
        return None if found == END else int.from_bytes(found, "little")

    def number(self) -> int:
        value = shift = 0
        while True:
            byte = self._take(1)[0]
            value |= (byte & 0x7F) << shift
            shift += 7
            if byte < 0x80:
                return value
            if shift > 63:
                raise ValueError("no number")

    def text(self) -> bytes:
        return self._take(self.number())

    def _take(self, length: int) -> bytes:
        found = self._body[self.place : self.place + length]
        if len(found) < length:
            raise IndexError
        self.place += length
        return found


def _field(number: int) -> bytes:
    return number.to_bytes(2, "little")


def _number(value: int) -> bytes:
    found = bytearray()
    while value >= 0x80:
        found.append(value & 0x7F | 0x80)
        value >>= 7
    return bytes([*found, value])
