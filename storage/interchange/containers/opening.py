"""What the user names (files, a folder, a pattern, standard input, a data set of the hub) as one source."""

from __future__ import annotations

import glob
import json
import os
import re
import select
import stat
import sys
import tempfile
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import IO, Any

from storage.errors import ImportFileError
from storage.interchange.containers.columnar import open_arrow, open_parquet
from storage.interchange.containers.csv_table import delimiter_of, open_csv
from storage.interchange.containers.json_document import open_json
from storage.interchange.containers.json_lines import open_json_lines
from storage.interchange.containers.parts import Numbered, Part, Source, wrong
from storage.interchange.containers.plugged import has_reader, open_plugged
from storage.interchange.containers.streams import encoding_of, opened, packing, start_of
from storage.interchange.containers.text_lines import open_text
from storage.interchange.endings import ENDINGS, PACKED_ENDINGS

NO_ROWS = {
    "dataset_infos.json",
    "dataset_info.json",
    "dataset_dict.json",
    "state.json",
    "config.json",
    "package.json",
}
SPLIT = re.compile(
    r"(?:^|[-_./])(train|training|test|testing|validation|valid|val|dev|eval|heldout)(?=$|[-_./])",
    re.IGNORECASE,
)
SPLIT_NAMES = {"training": "train", "testing": "test", "valid": "validation", "val": "validation"}
HUB = re.compile(r"^(hub:)?[\w.-]+/[\w.-]+$")
MOST_FILES = 10_000
COPIED = 2**20  # bytes of a stream at once
KEPT_FREE = 2**30  # bytes of the disk that a copy of a stream leaves, or a twentieth of a small one
WRITER_WITHIN = 10.0  # seconds that a named pipe may wait for its writer


def open_source(named: Path | str | Sequence[Path | str], encoding: str | None = None) -> Source:
    """Raises ImportFileError for what is not there, cannot be read, or holds no rows of text."""
    names = [named] if isinstance(named, Path | str) else list(named)
    try:
        if [str(n) for n in names] == ["-"]:
            return _piped("standard input", sys.stdin.buffer, encoding)
        if len(names) == 1 and not (first := Path(names[0]).expanduser()).is_file() and is_pipe(first):
            with _pipe(first) as stream:
                return _piped(str(first), stream, encoding)
        if len(names) == 1 and (folder := Path(names[0]).expanduser()).is_dir():
            return _folder(folder, encoding)
        paths = [path for name in names for path in _paths(name)]
        if len(names) == 1 and not paths:
            return _hub(str(names[0]))
        parts = [open_part(path, encoding) for path in paths]
    except OSError as error:
        raise ImportFileError(
            f"{error.filename or names[0]} cannot be read: {error.strerror or error}."
        ) from None
    for part in parts:
        part.split = split_of(part.path.name)
    first = paths[0]
    name = first.name if len(paths) == 1 else f"{len(paths)} files ({first.name} …)"
    return Source(name, first, parts, **_card(first.parent, own=False))


def _paths(name: Path | str) -> list[Path]:
    path = Path(name).expanduser()
    if path.is_dir():
        return _files_in(path)
    if is_pipe(path):
        raise ImportFileError(f"{path} is a pipe; import it alone, without other files.")
    if path.exists():
        return [path]
    if any(c in str(name) for c in "*?["):
        files = sorted(Path(f) for f in glob.glob(str(path), recursive=True) if Path(f).is_file())
        if not files:
            raise ImportFileError(f"No file fits {name}.")
        return files[:MOST_FILES]
    if HUB.match(str(name)) and not os.path.isabs(str(name)) and not path.suffix and not path.parent.exists():
        return []
    raise ImportFileError(f"There is no file {name}.")


def open_part(path: Path, encoding: str | None = None) -> Part:
    """The reader of one file, by what it begins with and then by its name.  Raises ImportFileError."""
    with path.open("rb") as file:
        start = file.read(16)
    if not start:
        raise wrong(path, "the file is empty")
    if start.startswith(b"PAR1"):
        return open_parquet(path)
    ending = _ending(path)
    if start.startswith(b"ARROW1") or ending == ".arrow":
        return open_arrow(path)
    if ending not in ENDINGS and has_reader(ending):
        return open_plugged(path, ending)
    if ending in (".parquet", ".pq"):
        raise wrong(path, "this is not a whole Parquet file; it is truncated or something else")
    if start.startswith(b"PK\x03\x04"):
        what = (
            "an Excel workbook; save it as CSV"
            if path.suffix.lower() in (".xlsx", ".ods")
            else "a ZIP archive; unpack it"
        )
        raise wrong(path, f"this is {what} and import that")
    return _open_text(path, ending, encoding)


def _open_text(path: Path, ending: str, said: str | None) -> Part:
    start = start_of(path)
    if not start.strip(b" \t\r\n\xef\xbb\xbf"):
        raise wrong(path, "the file is empty")
    encoding = encoding_of(path, start, said)
    text = start.decode(encoding, "ignore").lstrip("\ufeff \t\r\n")
    if ending in (".csv", ".tsv", ".tab"):
        return open_csv(path, encoding, "\t" if ending == ".tsv" and "\t" in text.split("\n", 1)[0] else None)
    if text[:1] == "{" and ending != ".txt":
        lines = _is_lines(path, text, ending, len(start) >= 65536, encoding)
        return open_json_lines(path, encoding) if lines else open_json(path, encoding)
    if ending == ".json" or (text[:1] == "[" and ending not in (".txt", ".md")):
        return open_json(path, encoding)
    if ending in (".jsonl", ".ndjson"):
        return open_json_lines(path, encoding)
    if ending == ".txt":
        return open_text(path, encoding)
    if ending == "-":
        return open_csv(path, encoding) if _is_table(text) else open_text(path, encoding)
    raise wrong(path, f"it is not known how to read this; files end in {', '.join(ENDINGS)}, packed or not")


def _is_lines(path: Path, text: str, ending: str, more: bool, encoding: str) -> bool:
    """Whether an object stands on each line; else it is one document."""
    first, newline, rest = text.partition("\n")
    if not newline and more:  # a very long first line
        first, rest = _long_line(path, encoding)
    try:
        whole = isinstance(json.loads(first), dict)
    except (ValueError, RecursionError):
        whole = False
    following = rest.lstrip()[:1]
    if whole:
        return (
            following == "{"
            or (ending in (".jsonl", ".ndjson") and bool(following))
            or (not following and ending in (".jsonl", ".ndjson") and not _wraps(first))
        )
    return ending in (".jsonl", ".ndjson") and following == "{" and first.rstrip() != "{"


def _wraps(line: str) -> bool:
    from storage.interchange.containers.json_layouts import rows_of

    value = json.loads(line)
    return [value] != list(rows_of(value, []))


def _long_line(path: Path, encoding: str) -> tuple[str, str]:
    with path.open("rb") as raw, opened(path, raw) as stream:
        line = stream.readline(4 * 2**20)
        return line.decode(encoding, "replace").lstrip("\ufeff"), stream.read(4096).decode(
            encoding, "replace"
        )


def _is_table(text: str) -> bool:
    from storage.interchange.mapping.names import named, plain

    lines = text.split("\n")[:5]
    parted = [name.strip(' "\r') for name in lines[0].split(delimiter_of(lines[0]))]
    return len(parted) > 1 and any(
        named(role, plain(n)) >= 0.85 for n in parted for role in ("prompt", "response")
    )


def _ending(path: Path) -> str:
    suffixes = [s.lower() for s in path.suffixes]
    if suffixes and suffixes[-1] in PACKED_ENDINGS:
        suffixes.pop()
    return suffixes[-1] if suffixes else ""


# --- folders, standard input, the hub --------------------------------------------------------------------


def _folder(folder: Path, encoding: str | None) -> Source:
    """A folder of shards, of a data set saved to disk, or of a repository of the hub."""
    paths = _files_in(folder)
    parts = [open_part(path, encoding) for path in paths]
    for part in parts:
        inside = part.path.relative_to(folder)
        part.split = split_of(inside.name) or split_of(str(inside.parent))
    _name_parts(folder, parts)
    return Source(folder.resolve().name, folder, parts, **_card(folder, own=True))


def _name_parts(folder: Path, parts: list[Part]) -> None:
    """`helpful-base/train.jsonl` beside `harmless-base/train.jsonl`: the folders are subsets."""
    inside = {part.path: part.path.relative_to(folder).parent.parts for part in parts}
    for part in parts:
        names = [name for name in inside[part.path] if split_of(name) is None and name not in ("data", ".")]
        part.subset = "/".join(names) or None
    if len({part.subset for part in parts}) == 1:
        for part in parts:
            part.subset = None


def _files_in(folder: Path) -> list[Path]:
    files = sorted(
        path
        for path in folder.rglob("*")
        if path.is_file()
        and (_ending(path) in ENDINGS or has_reader(_ending(path)))
        and path.name not in NO_ROWS
        and not re.match(r"^(readme|licen[cs]e|requirements|cache-)", path.name, re.IGNORECASE)
        and not any(p.startswith(".") for p in path.relative_to(folder).parts)
    )
    if not files:
        raise ImportFileError(
            f"{folder} is a folder without a file that can be imported; files end in {', '.join(ENDINGS)}."
        )
    rows = [p for p in files if _ending(p) != ".txt"]
    return (rows or files)[:MOST_FILES]


def split_of(name: str) -> str | None:
    """train, validation, test … as a file's or a folder's name says it."""
    match = SPLIT.search(name)
    return SPLIT_NAMES.get(match[1].lower(), match[1].lower()) if match else None


def _card(folder: Path, *, own: bool) -> dict[str, Any]:
    """Licence and origin, as a data set's card or its description says them."""
    said: dict[str, Any] = {}
    for place in (folder, *(p for p in (folder.glob("*/") if own else ()) if p.is_dir())):
        info = place / "dataset_info.json"
        if info.is_file():
            try:
                read = json.loads(info.read_text(encoding="utf-8"))
            except (OSError, ValueError):
                read = {}
            if isinstance(read, dict):
                said.setdefault("licence", read.get("license") or None)
                said.setdefault("origin", read.get("homepage") or read.get("dataset_name") or None)
    card = folder / "README.md"
    if own and card.is_file():
        text = card.read_text(encoding="utf-8", errors="replace")[:20_000]
        head = text.split("---")[1] if text.startswith("---") else ""
        for key, name in (("license", "licence"), ("pretty_name", "origin")):
            if line := re.search(rf"^{key}:\s*(?:\n-\s*)?(.+)$", head, re.MULTILINE):
                said[name] = said.get(name) or line[1].strip(" '\"")
    return {k: v for k, v in said.items() if isinstance(v, str)}


def is_pipe(path: Path) -> bool:
    """Whether what stands there can be read once only: a pipe, a socket, a terminal."""
    try:
        mode = path.stat().st_mode
    except OSError:
        return False
    return stat.S_ISFIFO(mode) or stat.S_ISSOCK(mode) or stat.S_ISCHR(mode)


@contextmanager
def _pipe(path: Path) -> Iterator[IO[bytes]]:
    """A pipe opened for reading; ImportFileError when nobody writes into it for WRITER_WITHIN seconds."""
    descriptor = os.open(path, os.O_RDONLY | os.O_NONBLOCK)
    with os.fdopen(descriptor, "rb") as stream:
        poller = select.poll()
        poller.register(descriptor, select.POLLIN)
        # With no writer yet a named pipe reports nothing at all; one that has been closed hangs up.
        if not poller.poll(WRITER_WITHIN * 1000):
            raise ImportFileError(f"Nothing is written into {path}; nothing was imported.")
        os.set_blocking(descriptor, True)
        device = stat.S_ISCHR(os.fstat(descriptor).st_mode) and not os.isatty(descriptor)
        if device and stream.read(1):
            raise ImportFileError(f"{path} is a device without an end; nothing was imported.")
        yield stream


def _piped(name: str, stream: IO[bytes], encoding: str | None) -> Source:
    """Kept in a file that only this process can name, because a source is read more than once."""
    copy = tempfile.NamedTemporaryFile(prefix="workbench-", suffix="")  # noqa: SIM115 lives as long as the source
    _copy(name, stream, copy)
    copy.flush()
    path = Path(copy.name)
    if copy.tell() == 0:
        raise ImportFileError(f"{name[:1].upper() + name[1:]} is empty; nothing was imported.")
    with path.open("rb") as file:
        start = file.read(16)
    part = (
        open_part(path, encoding)
        if start.startswith((b"PAR1", b"ARROW1"))
        else _open_text(path, "-", encoding)
    )
    source = Source(name, path, [part])
    source.kept = copy  # type: ignore[attr-defined]
    return source


def _copy(name: str, stream: IO[bytes], copy: IO[bytes]) -> None:
    """All of a stream, which need not have an end, while the disk has room for more."""
    import shutil

    folder = tempfile.gettempdir()
    while chunk := stream.read(COPIED):
        disk = shutil.disk_usage(folder)
        if disk.free - len(chunk) < min(KEPT_FREE, disk.total // 20):
            raise ImportFileError(
                f"{name[:1].upper() + name[1:]} is longer than {folder} has room for; nothing was imported."
            )
        copy.write(chunk)


def _hub(name: str) -> Source:
    """A data set of the hub, streamed by `datasets` where it is installed."""
    name = name.removeprefix("hub:")
    try:
        import datasets
    except ImportError:
        raise ImportFileError(
            f"There is no file {name}. If a data set of the hub is meant: pip install"
            " 'preference-workbench[hub]' first."
        ) from None
    try:
        loaded = datasets.load_dataset(name, streaming=True)
    except Exception as error:
        raise ImportFileError(
            f"The data set {name} cannot be had from the hub: {str(error).splitlines()[0]}"
        ) from None
    parts = []
    for split, rows in dict(loaded).items():

        def read(rows: Any = rows) -> Iterator[Numbered]:
            yield from enumerate(map(dict, rows), 1)

        parts.append(Part(Path(f"{split} of {name}"), read, split=str(split)))
    return Source(name, Path(name), parts, origin=f"https://huggingface.co/datasets/{name}")


__all__ = ["open_part", "open_source", "packing"]
