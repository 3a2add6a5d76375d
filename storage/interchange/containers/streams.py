"""Bytes of a file: unpacked by what they begin with, and decoded."""

from __future__ import annotations

import codecs
import io
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import IO, Any

from storage.interchange import remedies
from storage.interchange.containers.parts import wrong

PACKED = {
    b"\x1f\x8b": "gzip",
    b"\x28\xb5\x2f\xfd": "zstd",
    b"BZh": "bz2",
    b"\xfd7zXZ\x00": "xz",
    b"\x04\x22\x4d\x18": "lz4",
}
BOMS = (
    (codecs.BOM_UTF8, "utf-8-sig"),
    (codecs.BOM_UTF32_LE, "utf-32"),
    (codecs.BOM_UTF32_BE, "utf-32"),
    (codecs.BOM_UTF16_LE, "utf-16"),
    (codecs.BOM_UTF16_BE, "utf-16"),
)


def packing(start: bytes) -> str | None:
    """gzip, zstd, bz2, xz or lz4; None where the bytes stand as they are."""
    return next((name for sign, name in PACKED.items() if start.startswith(sign)), None)


@contextmanager
def opened(path: Path, raw: IO[bytes]) -> Iterator[IO[bytes]]:
    """The unpacked bytes of `raw`; ImportFileError where they break off."""
    start = raw.read(8)
    raw.seek(0)
    kind = packing(start)
    try:
        yield raw if kind is None else _unpacked(raw, kind)
    except (EOFError, OSError) as error:
        if kind is None:
            raise
        raise wrong(path, f"it cannot be unpacked as {kind} ({error}); is it truncated?") from None
    except Exception as error:
        if kind is None or type(error).__module__ not in ("zlib", "lzma", "_lzma", "pyarrow.lib"):
            raise
        raise wrong(path, f"it cannot be unpacked as {kind} ({error}); is it truncated?") from None


def _unpacked(raw: IO[bytes], kind: str) -> IO[bytes]:
    if kind == "gzip":
        import gzip

        return gzip.open(raw)  # type: ignore[return-value]
    if kind == "bz2":
        import bz2

        return bz2.open(raw)
    if kind == "xz":
        import lzma

        return lzma.open(raw)
    import pyarrow as pa

    return io.BufferedReader(_Raw(pa.CompressedInputStream(pa.PythonFile(raw, mode="r"), kind)))


class _Raw(io.RawIOBase):
    """A stream of pyarrow as Python's buffered reader takes it."""

    def __init__(self, stream: Any) -> None:
        self._stream = stream

    def readable(self) -> bool:
        return True

    def readinto(self, buffer: Any) -> int:
        data = self._stream.read(len(buffer))
        buffer[: len(data)] = data
        return len(data)


def start_of(path: Path, size: int = 65536) -> bytes:
    """The first unpacked bytes."""
    with path.open("rb") as raw, opened(path, raw) as stream:
        return stream.read(size)


def encoding_of(path: Path, start: bytes, said: str | None) -> str:
    """The encoding of a text file by its first bytes.  Raises ImportFileError for what is no text."""
    if said:
        try:
            codecs.lookup(said)
        except LookupError:
            raise wrong(
                path, f"there is no encoding “{said}”; usual ones are utf-8, utf-16, latin-1, cp1252"
            ) from None
        return said
    for bom, name in BOMS:
        if start.startswith(bom):
            return name
    if b"\x00" in start:
        return _wide(path, start)
    try:
        codecs.getincrementaldecoder("utf-8")().decode(start)
    except UnicodeDecodeError as error:
        if _binary(start):
            raise wrong(path, "this is a binary file and not text") from None
        if start[:1] == b"{" and _mostly_utf8(start.split(b"\n")):
            return "utf-8"  # of JSON Lines the lines that are broken are left out
        raise wrong(
            path,
            f"its text is not UTF-8 (byte {error.start + 1}); {remedies.ENCODING}",
        ) from None
    return "utf-8"


def _mostly_utf8(lines: list[bytes]) -> bool:
    """Whether letters beyond ASCII stand in more lines as UTF-8 than as something else."""
    well = broken = 0
    for line in lines[:-1]:  # the last one is cut
        if not line.isascii():
            try:
                line.decode()
                well += 1
            except UnicodeDecodeError:
                broken += 1
    return well > broken


def _wide(path: Path, start: bytes) -> str:
    """UTF-16 without a mark at its start: every other byte of Western text is zero."""
    even, odd = start[0:4096:2].count(0), start[1:4096:2].count(0)
    half = len(start[:4096]) / 2
    if odd > 0.4 * half and even < 0.1 * half:
        return "utf-16-le"
    if even > 0.4 * half and odd < 0.1 * half:
        return "utf-16-be"
    raise wrong(path, "this is a binary file and not text")


def _binary(start: bytes) -> bool:
    control = sum(byte < 9 or 13 < byte < 32 for byte in start[:4096])
    return control > 0.02 * len(start[:4096])
