"""Rows of Python values as bytes and back, each value as DuckDB gave it.

MessagePack as msgspec writes it holds most of them; the others travel as extensions of it, a code and a text
(or what a container holds).  Pickle would too, and would run what a stranger has written.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence
from datetime import date, datetime, time, timedelta
from decimal import Decimal
from typing import Any
from uuid import UUID

import msgspec
from msgspec.msgpack import Ext

from storage.errors import StoreError

AS_THEY_ARE = re.compile(
    r"(BOOLEAN|U?(TINYINT|SMALLINT|INTEGER|BIGINT)|FLOAT|DOUBLE|VARCHAR|BLOB|JSON|ENUM\(.*\)|\"?NULL\"?)(\[\])*"
)
"""Types of columns whose values MessagePack has itself."""
LEAST, MOST = -(2**63), 2**64 - 1
"""Whole numbers that MessagePack has itself."""
_pack = msgspec.msgpack.Encoder().encode


def packed(rows: Sequence[Sequence[Any]], kinds: Sequence[str]) -> bytes:
    """Rows as bytes; `kinds`: DuckDB's type of each column.  Raises StoreError for what cannot be sent."""
    strange = [place for place, kind in enumerate(kinds) if not AS_THEY_ARE.fullmatch(kind)]
    if strange:
        columns: list[Sequence[Any]] = list(zip(*rows, strict=True))
        for place in strange:
            columns[place] = [_tagged(value) for value in columns[place]]
        rows = list(zip(*columns, strict=True))
    return _pack(rows)


def unpacked(data: bytes | memoryview) -> list[tuple[Any, ...]]:
    """The rows of `packed`.  Raises ValueError for other bytes."""
    return _unpack(data)


def _tagged(value: Any) -> Any:
    kind = type(value)
    if value is None or kind in (bool, float, str, bytes):
        return value
    if kind is int:
        return value if LEAST <= value <= MOST else Ext(_CODES[int], str(value).encode())
    if kind is list:
        return [_tagged(each) for each in value]
    if kind is tuple:
        return Ext(_CODES[tuple], _pack([_tagged(each) for each in value]))
    if kind is dict:
        return Ext(_CODES[dict], _pack([[_tagged(key), _tagged(held)] for key, held in value.items()]))
    if kind is timedelta:
        return Ext(_CODES[kind], _pack([value.days, value.seconds, value.microseconds]))
    if kind in (datetime, date, time):
        return Ext(_CODES[kind], value.isoformat().encode())
    if kind in (Decimal, UUID):
        return Ext(_CODES[kind], str(value).encode())
    raise StoreError(
        f"A value of the kind {kind.__name__} cannot be sent to another process; cast it to text."
    )


def _dictionary(data: bytes) -> dict[Any, Any]:
    return dict(_unpack_any(data))


READERS: dict[type, Callable[[bytes], Any]] = {
    int: lambda data: int(data),
    tuple: lambda data: tuple(_unpack_any(data)),
    dict: _dictionary,
    timedelta: lambda data: timedelta(*_unpack_any(data)),
    datetime: lambda data: datetime.fromisoformat(data.decode()),
    date: lambda data: date.fromisoformat(data.decode()),
    time: lambda data: time.fromisoformat(data.decode()),
    Decimal: lambda data: Decimal(data.decode()),
    UUID: lambda data: UUID(data.decode()),
}
_CODES = {kind: code for code, kind in enumerate(READERS)}
_BY_CODE = list(READERS.values())


def _extension(code: int, data: memoryview) -> Any:
    return _BY_CODE[code](bytes(data))


_unpack: Callable[[bytes | memoryview], list[tuple[Any, ...]]] = msgspec.msgpack.Decoder(
    list[tuple[Any, ...]], ext_hook=_extension
).decode
_unpack_any: Callable[[bytes], Any] = msgspec.msgpack.Decoder(ext_hook=_extension).decode
