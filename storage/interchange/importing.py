"""Import a file: read it in bounded memory, check every row, then merge all of it in one transaction.

What identifies a thing is its content (see `storage.ids`), so importing a file again adds nothing. Two rows
in which one annotator judges the same responses alike are one judgement; if the verdicts differ they are
two, and both stand.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from pathlib import Path

from storage.errors import ImportFileError
from storage.interchange.annotated_pairs import ANNOTATED_PAIRS
from storage.interchange.clean import clean_text
from storage.interchange.csv_file import open_csv
from storage.interchange.jsonl import open_jsonl
from storage.interchange.pairs import PAIRS
from storage.interchange.parquet import open_parquet
from storage.interchange.prompts_file import PROMPTS
from storage.interchange.ranked import RANKED, RANKED_LISTS, RESPONSES
from storage.interchange.rows import Row, RowError, Table, listed, wrong
from storage.interchange.shapes import Job, Options, Shape, choose, find_columns, require
from storage.interchange.staging import Staging
from storage.records import ImportReport
from storage.store import Store

# In the order in which they are tried: the first whose columns are there is the file's shape.
SHAPES: tuple[Shape, ...] = (ANNOTATED_PAIRS, PAIRS, RANKED_LISTS, RANKED, RESPONSES, PROMPTS)
FORMATS: dict[str, Callable[[Path], Table]] = {
    ".jsonl": open_jsonl,
    ".ndjson": open_jsonl,
    ".json": open_jsonl,
    ".csv": open_csv,
    ".tsv": open_csv,
    ".parquet": open_parquet,
    ".pq": open_parquet,
}
TELL_EVERY = 500  # rows


def import_file(
    store: Store,
    path: Path | str,
    *,
    shape: str = "auto",
    columns: Mapping[str, str] | None = None,
    policy: str | None = None,
    annotator: str | None = None,
    source: str | None = None,
    criterion: str = "overall",
    on_progress: Callable[[int, float], None] | None = None,
) -> ImportReport:
    """Import a JSON Lines, CSV or Parquet file.

    `shape` is one of SHAPES' names or auto; `columns` says which column fills a role (role → column);
    `policy` and `annotator` are for files that name none; before columns that are one annotator each,
    `annotator` stands as the name of their group; `on_progress` gets rows read and the share of the
    file, 0 … 1. Raises ImportFileError (nothing is imported then), DiskFullError.
    """
    file = Path(path)
    table = _open(file)
    roles = find_columns(table, columns)
    chosen = _shape(table, roles, shape)
    used = {role: column for role, column in roles.items() if role in chosen.roles}
    extra = tuple(c for c in table.columns if c not in used.values())
    staging = Staging(store, source or file.name, criterion)
    prefix = f"{annotator} " if annotator else ""
    job = Job(staging, used, Options(policy or "imported", annotator or "imported", prefix), extra)
    try:
        rows = _take_all(table, chosen, job, on_progress)
        prompts, responses, judgements, alone = staging.merge()
    finally:
        staging.close()
    if alone:
        job.skipped["only one response is ranked"] += alone
    return ImportReport(file, chosen.name, rows, prompts, responses, judgements, dict(job.skipped))


def _take_all(table: Table, shape: Shape, job: Job, on_progress: Callable[[int, float], None] | None) -> int:
    count = 0
    for row in taken(table, shape, job):
        count += 1
        if on_progress is not None and count % TELL_EVERY == 0:
            on_progress(count, row.share)
    if on_progress is not None:
        on_progress(count, 1.0)
    if count == 0:
        raise wrong(table.path, "there are no rows in it")
    return count


def taken(table: Table, shape: Shape, job: Job) -> Iterator[Row]:
    """The rows, each after the shape has taken it.  Raises ImportFileError with the place of a bad row."""
    for row in table.rows:
        try:
            shape.take(job, row.values, row.number)
        except RowError as error:
            raise wrong(
                table.path, f"{table.word} {row.number}: {_complete(error, row.values, job)}"
            ) from None
        yield row


def _complete(error: RowError, values: Mapping[str, object], job: Job) -> str:
    """A column that is not there at all in this row is said to be missing, not to be empty."""
    gone = [
        column
        for column in job.columns.values()
        if f'"{column}" is empty' in str(error) and column not in values
    ]
    return f'there is no "{gone[0]}"' if gone else clean_text(str(error))


def _open(path: Path) -> Table:
    if path.is_dir():
        raise ImportFileError(f"{path} is a folder; give a file.")
    try:
        with path.open("rb") as file:
            start = file.read(16)
        if not start:
            raise wrong(path, "the file is empty")
        return _reader(path, start)(path)
    except FileNotFoundError:
        raise ImportFileError(f"There is no file {path}.") from None
    except OSError as error:
        raise ImportFileError(f"{path} cannot be read: {error.strerror or error}.") from None


def _reader(path: Path, start: bytes) -> Callable[[Path], Table]:
    if start.startswith(b"PAR1"):
        return open_parquet
    by_name = FORMATS.get(path.suffix.lower())
    if by_name is not None:
        return by_name
    if start.lstrip(b"\xef\xbb\xbf \t\r\n").startswith(b"{"):
        return open_jsonl
    raise wrong(path, f"it is not known how to read this; files end in {listed(sorted(FORMATS))}")


def _shape(table: Table, roles: Mapping[str, str], name: str) -> Shape:
    if name == "auto":
        return choose(table, roles, SHAPES)
    known = {shape.name: shape for shape in SHAPES}
    if name not in known:
        raise ImportFileError(f'There is no shape "{name}"; there are {listed(list(known))}.')
    require(table, roles, known[name])
    return known[name]
