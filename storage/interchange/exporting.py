"""Export tables, views, queries and pairs to CSV, Parquet or JSON Lines (what the file's name ends in).

A file appears under its name only when it is whole, readable for its owner alone. `pairs` is the layout
that trainers read (prompt, chosen, rejected), and that `import_file` reads back: plain text where every
prompt is one turn of the user, otherwise lists of messages (in CSV and Parquet as JSON text).
"""

from __future__ import annotations

import json
import os
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import duckdb

from storage.errors import DiskFullError, FileNameError, NotFoundError, StoreError
from storage.file.faults import fault_of, told
from storage.file.walls import hand_over
from storage.ids import Chat
from storage.interchange.mapping.cells import parsed
from storage.interchange.mapping.conversations import messages_in
from storage.interchange.mapping.transcripts import transcript_of
from storage.policies import unknown
from storage.share.remote import RemoteCursor
from storage.sql import block
from storage.store import CONFIG, Store

FORMATS = {
    ".csv": "FORMAT csv, HEADER",
    ".tsv": "FORMAT csv, HEADER, DELIMITER '\t'",
    ".parquet": "FORMAT parquet",
    ".json": "FORMAT json, ARRAY true",
    ".jsonl": "FORMAT json",
    ".ndjson": "FORMAT json",
}
BATCH = 1000  # rows


def export(store: Store, what: str, path: Path | str) -> int:
    """Write a table, a view or `pairs`; the number of rows.  Raises NotFoundError, StoreError."""
    if what == "pairs":
        return _export_pairs(store, Path(path))
    known = [
        name for (name,) in store.rows("SELECT DISTINCT table_name FROM information_schema.tables ORDER BY 1")
    ]
    if what not in known:
        raise NotFoundError(unknown("table or view", what, ["pairs", *known]))
    return export_query(store, f'SELECT * FROM "{what}"', path)


def export_query(store: Store, sql: str, path: Path | str, *, settings: str | None = None) -> int:
    """Write what one SELECT gives; the number of rows."""
    with told(store.path):
        return copy_to_file(store.cursor(), sql, Path(path), settings=settings, outbox=store.outbox)


def copy_to_file(
    cursor: duckdb.DuckDBPyConnection,
    select: str,
    target: Path,
    *,
    settings: str | None = None,
    outbox: Path | None = None,
) -> int:
    """Write the rows of one SELECT, without a semicolon, to `target`, whole or not at all; their number.

    `outbox` is that of a store that is locked down: DuckDB writes there, and the file is moved.
    Raises FileNameError, DiskFullError, StoreError; DuckDB's own errors pass.
    """
    options = settings or export_options(target)
    unfinished = _unfinished(target, outbox)
    try:
        row = _copied(cursor, select, f"'{_escaped(unfinished)}'", options).fetchone()
        unfinished.chmod(0o600)
        hand_over(unfinished, target)
    except duckdb.Error as error:
        fault = fault_of(error, target)
        if isinstance(fault, DiskFullError):
            raise fault from error
        raise
    except OSError as error:
        raise StoreError(f"{target} cannot be written: {error.strerror}.") from error
    finally:
        unfinished.unlink(missing_ok=True)
    return int(row[0]) if row else 0


def _copied(cursor: duckdb.DuckDBPyConnection, select: str, target: str, options: str) -> Any:
    if isinstance(cursor, RemoteCursor):
        return cursor.copy(select, target, options)
    return cursor.execute(f"COPY ({select}\n) TO {target} ({options})")


def _export_pairs(store: Store, target: Path) -> int:
    """Rows stream through a JSON Lines file; DuckDB makes CSV and Parquet of that."""
    export_options(target)
    unfinished = _unfinished(target)
    lines = unfinished.with_name(unfinished.name + ".jsonl")
    try:
        count = 0
        with open(os.open(lines, os.O_WRONLY | os.O_CREAT, 0o600), "w", encoding="utf-8") as file:
            for row in _pairs(store):
                count += 1
                file.write(json.dumps(row, ensure_ascii=False) + "\n")
        if target.suffix.lower() in (".jsonl", ".ndjson"):
            os.replace(lines, target)
        else:
            _convert(lines, target)
    except OSError as error:
        raise StoreError(f"{target} cannot be written: {error.strerror}.") from error
    finally:
        lines.unlink(missing_ok=True)
    return count


def _convert(lines: Path, target: Path) -> None:
    columns = "{" + ", ".join(f"'{name}': 'VARCHAR'" for name in _row([], "", "", "", "", "", False)) + "}"
    reading = f"read_json('{_escaped(lines)}', format = 'newline_delimited', columns = {columns})"
    # Every cell in quotation marks: an empty response is not a missing one.
    settings = export_options(target) + (
        ", FORCE_QUOTE *" if target.suffix.lower() in (".csv", ".tsv") else ""
    )
    with told(target), duckdb.connect(":memory:", config=CONFIG) as connection:
        copy_to_file(connection, f"SELECT * FROM {reading}", target, settings=settings)


def _pairs(store: Store) -> Iterator[dict[str, Any]]:
    conversational = any(
        len(chat := json.loads(values[0])) != 1
        or any(map(_ambiguous, (chat[0]["content"], values[1], values[2])))
        for values in _stream(store, block("exports", "pairs"))
    )
    for messages, chosen, rejected, annotator, chosen_policy, rejected_policy, *_ in _stream(
        store, block("exports", "pairs")
    ):
        yield _row(
            json.loads(messages), chosen, rejected, annotator, chosen_policy, rejected_policy, conversational
        )


def _row(
    chat: Chat, chosen: str, rejected: str, annotator: str, winner: str, loser: str, conversational: bool
) -> dict[str, Any]:
    def said(text: str) -> Any:
        return [{"role": "assistant", "content": text}] if conversational else text

    return {
        "prompt": chat if conversational else "".join(m["content"] for m in chat),
        "chosen": said(chosen),
        "rejected": said(rejected),
        "annotator": annotator,
        "chosen_policy": winner,
        "rejected_policy": loser,
    }


def _ambiguous(text: str) -> bool:
    """Plain text that a reader would take for a conversation."""
    return messages_in(text) is not None or transcript_of(text) is not None or parsed(text) is not None


def _stream(store: Store, sql: str) -> Iterator[tuple[Any, ...]]:
    cursor = store.new_cursor()
    try:
        with told(store.path):
            cursor.execute(sql)
            while rows := cursor.fetchmany(BATCH):
                yield from rows
    finally:
        cursor.close()


def export_options(target: Path) -> str:
    """COPY's options for the ending of `target`.  Raises FileNameError."""
    options = FORMATS.get(target.suffix.lower())
    if options is None:
        raise FileNameError(
            f"{target.name} names no format that can be written; end the name in {listed(list(FORMATS))}."
        )
    folder = target.absolute().parent
    if not folder.is_dir():
        raise FileNameError(f"{target} cannot be written: there is no folder {folder}.")
    if target.is_dir():
        raise FileNameError(f"{target} cannot be written: it is a folder.")
    if not os.access(folder, os.W_OK):
        raise StoreError(f"{target} cannot be written: the folder {folder} is read-only.")
    return options


def _unfinished(target: Path, outbox: Path | None = None) -> Path:
    unfinished = target.with_name(f".{target.name}.{os.getpid()}.part")
    return unfinished if outbox is None else outbox / unfinished.name


def _escaped(path: Path) -> str:
    return str(path).replace("'", "''")


def listed(names: Sequence[str]) -> str:
    """`a, b and c`."""
    return ", ".join(names[:-1]) + " and " + names[-1] if len(names) > 1 else "".join(names)
