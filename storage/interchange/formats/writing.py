"""Rows of a format into a file or a folder, whole or not at all, readable for their owner alone."""

from __future__ import annotations

import json
import os
import shutil
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from dataclasses import dataclass
from itertools import islice
from pathlib import Path
from typing import TYPE_CHECKING, Any

from storage.errors import FileNameError, NotFoundError, StoreError
from storage.interchange.exporting import listed
from storage.interchange.formats.card import card, split_name
from storage.interchange.formats.columns import Columns, Row
from storage.interchange.formats.format import Format
from storage.interchange.formats.leaving import BATCH, Leaving
from storage.interchange.formats.registry import find
from storage.sql import block
from storage.store import Store

if TYPE_CHECKING:
    import pyarrow

LINES = (".jsonl", ".ndjson")
TABLES = (".csv", ".tsv")
ENDINGS = (*LINES, ".json", *TABLES, ".parquet")
NESTED = ("messages", "texts", "truths", "json")
FORMULA = ("=", "+", "-", "@", "\t", "\r")  # a cell that begins so is run by spreadsheets


@dataclass(frozen=True)
class Exported:
    """Rows written, and what of the store the format cannot say, by what it is."""

    rows: int
    left_out: dict[str, int]


def export_as(
    store: Store,
    what: str,
    path: Path | str,
    name: str,
    *,
    anonymous: bool = False,
    spreadsheet: bool = False,
) -> Exported:
    """Write `what` (pairs, prompts, responses) in the format `name`; a path without an ending is a folder.

    `anonymous` leaves out who and where from; `spreadsheet` makes a CSV file of which no cell is run.
    Raises NotFoundError, FileNameError, StoreError.
    """
    chosen, target = find(name), Path(path)
    if what != chosen.what:
        raise NotFoundError(f"{name} is made of {chosen.what}, not of {what[:40]}; say {chosen.what}.")
    _check(chosen, target)
    if spreadsheet and target.suffix.lower() not in TABLES:
        raise FileNameError(f"{target.name} is not a file for a spreadsheet; end the name in .csv or .tsv.")
    leaving = Leaving(store, anonymous)
    columns = chosen.columns(leaving)
    rows = chosen.rows(leaving)
    unfinished = target.with_name(f".{target.name}.{os.getpid()}.part")
    try:
        count = _write(chosen, leaving, target, unfinished, columns, rows, spreadsheet)
        os.replace(unfinished, target)
    except OSError as error:
        raise StoreError(f"{target} cannot be written: {error.strerror}.") from error
    finally:
        if unfinished.is_dir():
            shutil.rmtree(unfinished)
        unfinished.unlink(missing_ok=True)
    return Exported(count, {reason: n for reason, n in leaving.left_out.most_common() if n})


def _check(chosen: Format, target: Path) -> None:
    """Raises FileNameError where the name says no form, or nothing can be written there."""
    ending = target.suffix.lower()
    endings = [".json"] if chosen.documents else list(ENDINGS)
    if ending not in endings and (ending or chosen.documents):
        folder = "" if chosen.documents else ", or in nothing for a folder of Parquet files with a data card"
        raise FileNameError(
            f"{target.name} cannot be written as {chosen.name}; end the name in {listed(endings)}{folder}."
        )
    folder_above = target.absolute().parent
    if not folder_above.is_dir():
        raise FileNameError(f"{target} cannot be written: there is no folder {folder_above}.")
    if target.is_dir() and (ending or any(target.iterdir())):
        raise FileNameError(
            f"{target} cannot be written: it is a folder{'' if ending else ' with files in it'}."
        )
    if not ending and target.exists() and not target.is_dir():
        raise FileNameError(f"{target} cannot be written: it is a file, and a folder is meant.")
    if not os.access(folder_above, os.W_OK):
        raise StoreError(f"{target} cannot be written: the folder {folder_above} is read-only.")


def _write(
    chosen: Format,
    leaving: Leaving,
    target: Path,
    unfinished: Path,
    columns: Columns,
    rows: Iterator[Row],
    spreadsheet: bool,
) -> int:
    ending = target.suffix.lower()
    if ending == "":
        return _folder(chosen, leaving, unfinished, target.name, columns, rows)
    with open(os.open(unfinished, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600), "wb") as file:
        if ending in LINES:
            return _text(file, rows, "", "\n", "")
        if ending == ".json":
            return _text(file, rows, "[\n", ",\n", "\n]\n")
        writer = _table_writer(leaving, columns, ending, spreadsheet)
        return _batches(writer, file, rows)


def _text(file: Any, rows: Iterator[Row], start: str, between: str, end: str) -> int:
    """JSON, one object a line."""
    count = 0
    file.write(start.encode())
    for row in rows:
        if count and between != "\n":
            file.write(between.encode())
        file.write(json.dumps(row, ensure_ascii=False).encode())
        if between == "\n":
            file.write(b"\n")
        count += 1
    file.write(end.encode())
    return count


Writer = Callable[[Any], Any]  # opens a writer on a file


@dataclass(frozen=True)
class _Table:
    schema: pyarrow.Schema
    plain: Callable[[Row], Row]
    opened: Writer


def _table_writer(leaving: Leaving, columns: Columns, ending: str, spreadsheet: bool = False) -> _Table:
    import pyarrow
    from pyarrow import csv, parquet

    as_text = _as_text(leaving, columns, ending)
    schema = pyarrow.schema([(name, _type(kind, name in as_text)) for name, kind in columns.items()])

    def plain(row: Row) -> Row:
        made = {
            name: json.dumps(value, ensure_ascii=False) if name in as_text and value is not None else value
            for name, value in row.items()
        }
        return {name: safe_cell(value) for name, value in made.items()} if spreadsheet else made

    if ending == ".parquet":
        return _Table(schema, plain, lambda file: parquet.ParquetWriter(file, schema, compression="zstd"))
    # Every cell in quotation marks: an empty text is not a missing one.
    options = csv.WriteOptions(quoting_style="all_valid", delimiter="\t" if ending == ".tsv" else ",")
    return _Table(schema, plain, lambda file: csv.CSVWriter(file, schema, write_options=options))


def safe_cell(value: Any) -> Any:
    """A text that a spreadsheet would run gets an apostrophe before it, which spreadsheets do not show."""
    return f"'{value}" if isinstance(value, str) and value.startswith(FORMULA) else value


def _as_text(leaving: Leaving, columns: Columns, ending: str) -> set[str]:
    """The columns that stand as JSON text: in CSV whatever is nested, in Parquet what has no one type."""
    nested = NESTED if ending in TABLES else ("json",)
    as_text = {name for name, kind in columns.items() if kind in nested}
    if ending not in TABLES:
        row = leaving.store.row(block("exports", "tools"))
        if row and row[0]:  # messages that call tools hold more than role and content
            as_text |= {name for name, kind in columns.items() if kind == "messages"}
    return as_text


def _type(kind: str, as_text: bool) -> pyarrow.DataType:
    import pyarrow

    message = pyarrow.struct([("role", pyarrow.string()), ("content", pyarrow.string())])
    return {
        "text": pyarrow.string(),
        "number": pyarrow.float64(),
        "truth": pyarrow.bool_(),
        "messages": pyarrow.list_(message),
        "texts": pyarrow.list_(pyarrow.string()),
        "truths": pyarrow.list_(pyarrow.bool_()),
    }["text" if as_text else kind]


def _batches(table: _Table, file: Any, rows: Iterator[Row]) -> int:
    count = 0
    with table.opened(file) as writer:
        while some := list(islice(rows, BATCH)):
            writer.write_batch(_batch(table, some))
            count += len(some)
    return count


def _batch(table: _Table, rows: list[Row]) -> pyarrow.RecordBatch:
    import pyarrow

    return pyarrow.RecordBatch.from_pylist([table.plain(row) for row in rows], schema=table.schema)


def _folder(
    chosen: Format, leaving: Leaving, folder: Path, name: str, columns: Columns, rows: Iterator[Row]
) -> int:
    """`data/SPLIT-00000-of-00001.parquet` and README.md, as `datasets.load_dataset` reads it."""
    table = _table_writer(leaving, columns, ".parquet")
    data = folder / "data"
    data.mkdir(parents=True, mode=0o700)
    folder.chmod(0o700)
    counts: dict[str, int] = {}
    with ExitStack() as stack:
        writers: dict[str, Any] = {}
        while some := list(islice(rows, BATCH)):
            by_split: dict[str, list[Row]] = {}
            for row in some:
                by_split.setdefault(split_name(row.get("split")), []).append(row)
            for split, members in by_split.items():
                if split not in writers:
                    writers[split] = stack.enter_context(table.opened(_split_file(stack, data, split)))
                writers[split].write_batch(_batch(table, members))
                counts[split] = counts.get(split, 0) + len(members)
        if not counts:
            stack.enter_context(table.opened(_split_file(stack, data, split_name(None))))
            counts[split_name(None)] = 0
    text = card(chosen, leaving, name, columns, counts)
    with open(os.open(folder / "README.md", os.O_WRONLY | os.O_CREAT, 0o600), "w", encoding="utf-8") as file:
        file.write(text)
    return sum(counts.values())


def _split_file(stack: ExitStack, data: Path, split: str) -> Any:
    descriptor = os.open(data / f"{split}-00000-of-00001.parquet", os.O_WRONLY | os.O_CREAT, 0o600)
    return stack.enter_context(open(descriptor, "wb"))
