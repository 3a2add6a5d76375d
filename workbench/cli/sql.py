"""The command `sql`: any query, streamed to stdout as a table, JSON or CSV."""

from __future__ import annotations

import csv
import sys
from collections.abc import Iterable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager, suppress
from itertools import chain, count, islice
from pathlib import Path
from queue import Empty, Queue
from threading import Event, Thread
from typing import TYPE_CHECKING, Annotated, Any

import typer

from engine.errors import UsageError
from engine.wording import counted
from storage.interchange.clean import clean_text
from workbench.cli.output import Table, cell, json_text, print_table
from workbench.cli.session import session

if TYPE_CHECKING:
    from workbench.services.sql.sql import Sql
    from workbench.services.workspace import Workspace

SEVERAL = "All {} statements were run; the rows are those of the last."
PLAN = ["explain_key", "explain_value"]
WIDTH_ROWS = 1000  # a table's columns are as wide as the first rows need
Rows = Iterator[Sequence[Any]]


def register(app: typer.Typer) -> None:
    """Adds `sql`."""
    app.command("sql")(sql)


def sql(
    query: Annotated[str | None, typer.Argument(help="The SQL; - reads it from standard input.")] = None,
    as_json: Annotated[bool, typer.Option("--json", help="Print a JSON array of objects.")] = False,
    as_csv: Annotated[bool, typer.Option("--csv", help="Print CSV with a header.")] = False,
    output: Annotated[
        Path | None, typer.Option("--output", "-o", help="Write to a .csv, .parquet or .jsonl file instead.")
    ] = None,
    unlock: Annotated[bool, typer.Option("--unlock", help="Allow statements that write.")] = False,
    question: Annotated[
        str | None,
        typer.Option(metavar="NAME", help="Run a query of the gallery, or one saved; list names them."),
    ] = None,
    values: Annotated[
        list[str] | None,
        typer.Option("--set", metavar="NAME=VALUE", help="Value of the parameter $NAME; repeatable."),
    ] = None,
    how: Annotated[
        bool, typer.Option("--how", help="Say how notebooks, duckdb and other programs read the store.")
    ] = False,
) -> None:
    """Run SQL on the store; read-only unless unlocked."""
    if as_json and as_csv:
        raise UsageError("Choose one of --json and --csv.")
    if how:
        from workbench.services.sql.how import how as told_how

        print(told_how(Path(session.settings().db)), end="")
        return
    if question == "list":
        from workbench.services.sql.gallery import gallery

        print_table(("name", "question"), [(each.name, each.question) for each in gallery()])
        return
    text = _text(query, question, values or [])
    if output is not None:
        rows = _exported(session.reading(), text, output)
        session.narrator.say(f"{counted(rows, 'row')} written to {output}.")
        return
    with _result(text, unlock) as (columns, result):
        if as_json:
            _write_json(columns, result)
        elif as_csv:
            _write_csv(columns, result)
        else:
            _write_table(columns, result)


def _text(query: str | None, question: str | None, values: list[str]) -> str:
    """The SQL that was given or named, with the values of its parameters."""
    from workbench.services.sql.values import parameters_of, with_values

    if (query is None) == (question is None):
        raise UsageError(
            'Give the SQL, as in workbench sql "SELECT * FROM run_summary"; or --question NAME, or --how.'
        )
    text = sys.stdin.read() if query == "-" else query or session.reading().sql.named(str(question))
    given: dict[str, str] = {}
    for pair in values:
        name, equals, value = pair.partition("=")
        if not equals or name not in parameters_of(text):
            raise UsageError(f"--set takes NAME=VALUE of a parameter of the query, not “{pair}”.")
        given[name] = value
    return with_values(text, given) if parameters_of(text) else text


def _exported(workspace: Workspace, text: str, output: Path) -> int:
    sql = workspace.sql
    with ThreadPoolExecutor(1) as executor:
        future = executor.submit(sql.export, text, output)
        try:
            return future.result()
        except KeyboardInterrupt:
            sql.cancel()
            raise


@contextmanager
def _result(text: str, unlock: bool) -> Iterator[tuple[list[str], Rows]]:
    """Columns and rows of the query, from our own store or through the workbench that holds it."""
    workspace = session.workspace() if unlock else session.reading()
    if not unlock:
        workspace.store.lock_down(settings=True)
    with _computed_in_a_thread(workspace.sql, text, unlock) as batches:
        columns = next(batches)
        yield columns, chain.from_iterable(_rows(batch) for batch in batches)


@contextmanager
def _computed_in_a_thread(sql: Sql, text: str, unlock: bool) -> Iterator[Iterator[Any]]:
    """The columns, then the batches.

    DuckDB does not look for Ctrl-C while it computes, so it computes in a thread and the main thread looks.
    """
    ready: Queue[Any] = Queue(maxsize=4)
    left = Event()

    def compute() -> None:
        try:
            with sql.stream(text, unlocked=unlock) as batches:
                if batches.statements > 1:
                    session.narrator.say(SEVERAL.format(batches.statements))
                ready.put(batches.schema.names)
                for batch in batches:
                    if left.is_set():
                        return
                    ready.put(batch)
            ready.put(None)
        except BaseException as error:
            ready.put(error)

    def take() -> Iterator[Any]:
        while (item := ready.get()) is not None:
            if isinstance(item, BaseException):
                raise item
            yield item

    thread = Thread(target=compute, name="query", daemon=True)
    thread.start()
    try:
        yield take()
    finally:
        left.set()
        while thread.is_alive():
            sql.cancel()
            with suppress(Empty):  # the thread may be waiting for room
                ready.get(timeout=0.05)


def _rows(batch: Any) -> Iterable[Sequence[Any]]:
    return zip(*(column.to_pylist() for column in batch.columns), strict=True)


def _write_json(columns: list[str], rows: Rows) -> None:
    names = _distinct(columns)
    print("[", end="")
    separator = "\n"
    for row in rows:
        print(separator + json_text(dict(zip(names, row, strict=True))), end="")
        separator = ",\n"
    print("\n]")


def _distinct(columns: Sequence[str]) -> list[str]:
    """Names for an object: `a`, `a_2` where two columns are called `a`."""
    names: list[str] = []
    for column in columns:
        numbered = (f"{column}_{n}" for n in count(2))
        free = (name for name in numbered if name not in names and name not in columns)
        names.append(next(free) if column in names else column)
    return names


def _write_csv(columns: list[str], rows: Rows) -> None:
    terminal = sys.stdout.isatty()
    writer = csv.writer(sys.stdout, lineterminator="\n")
    writer.writerow([cell(name, None) for name in columns] if terminal else columns)
    for row in rows:
        texts = [json_text(v) if isinstance(v, list | dict) else v for v in row]
        writer.writerow([cell(v, None) if terminal and isinstance(v, str) else v for v in texts])


def _write_table(columns: list[str], rows: Rows) -> None:
    if columns == PLAN:  # a drawing of many lines, which a cell would fold into one
        for _, plan in rows:
            print("\n".join(clean_text(line) for line in str(plan).splitlines()))
        return
    first = list(islice(rows, WIDTH_ROWS))
    table = Table(columns, first)
    table.head()
    written = 0
    for row in chain(first, rows):
        table.row(row)
        written += 1
    session.narrator.say(f"{counted(written, 'row')}.")
