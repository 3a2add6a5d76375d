"""One store into another: what has the same identifier is the same thing.

Identifiers are hashes of contents, or were drawn at random where the thing was made (`storage.ids`), so two
stores never mean different things by one.  A merge is the least upper bound of rows: of two rows of one key
the fuller stands, then the older, then the one whose text is smaller.  That order is total, so a merge may be
done twice, and several in any order, with the same rows in the end.

A run's figures belong to its row: where two stores hold one run, those of the store in which it has come
farther stand.  Runs that have not ended are left out, and so is what is a store's own: drafts, history,
settings.  A package of an annotator (`storage.transfer.assigning`) gives no project: that is the study's.
"""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryDirectory

import duckdb

from storage import runs
from storage.errors import LockedError, NotADatabaseError, StoreError
from storage.file.faults import told
from storage.share.remote import RemoteStore
from storage.sql import block
from storage.store import CONFIG, Cursor, Store
from storage.transfer.packing import columns, keys, snapshot, tables

OWN = ("drafts", "step_drafts", "store_settings")
OF_A_PROJECT = ("projects", "project_versions", "assignments", "gold_answers")
FIGURES = ("metrics", "run_messages", "run_prompts", "rollouts", "evaluations", "unseen_margins")
"""Tables of what a run has said: they come and go with its row."""
FOUND_ANEW = ("run_latest",)
"""Tables that are read from the others once these are merged."""
KEYS = {"metrics": ["run_id", "seq", "name"]}
BOOKKEEPING = ("created_at", "source", "imported_at", "scored_at", "logged_at")
"""Columns in which two stores that agree may differ."""
HIDDEN = "({row}policy_id <> 'y' || substr(sha256({row}name), 1, 16))"
"""Whether a policy's name was kept from an annotator: a policy's id is the hash of its name."""
SHOWN = 1000


@dataclass(frozen=True, slots=True)
class Conflict:
    """A thing that two stores tell differently."""

    table: str
    key: str
    columns: tuple[str, ...]
    """What differs."""
    kept: str
    """ours or theirs."""


@dataclass(frozen=True, slots=True)
class MergeReport:
    """What a merge has changed."""

    path: str
    added: dict[str, int]
    """New rows by table."""
    changed: dict[str, int]
    """Rows by table that stand now as the other store has them."""
    conflicts: tuple[Conflict, ...]
    """At most the first thousand."""
    unfinished: int
    """Runs left out because they have not ended."""


class MergeError(StoreError):
    """Two stores mean different things by one identifier; nothing was merged."""


def merge(store: Store, path: Path | str) -> MergeReport:
    """Take in everything of the store at `path`, in one transaction; that file stays as it is.

    Raises StoreError for what is no store or the same one, MergeError, LockedError.
    """
    other = Path(path).expanduser().absolute()
    if not other.is_file():
        raise StoreError(f"There is no database {other}.")
    if store.path is not None and other.resolve() == store.path.resolve():
        raise StoreError(f"{other} is the store itself; name another to merge into it.")
    with _readable(store, other) as file, store.transaction() as cursor:
        alias = "incoming"
        with _attached(store.new_cursor(), file, alias):
            return _Merge(store, cursor, alias).run(str(other))


class _Merge:
    """The steps of one merge on one cursor, in its transaction."""

    def __init__(self, store: Store, cursor: Cursor, other: str) -> None:
        self.store, self.cursor, self.other = store, cursor, other
        self.columns, self.keys = columns(store), {**keys(store), **KEYS}
        self.added: dict[str, int] = {}
        self.changed: dict[str, int] = {}
        self.conflicts: list[Conflict] = []

    def run(self, path: str) -> MergeReport:
        self._refuse_different_things()
        unfinished = self._one(block("merging", "unfinished"))
        self._execute(block("merging", "standing_runs"))
        package = self._one(block("merging", "is_package"))
        left = (*OWN, *FOUND_ANEW, "runs", *(OF_A_PROJECT if package else ()))
        for table in (name for name in tables(self.store) if name not in left):
            self._table(table)
        self._table("runs")  # the last, because figures ask which run stands
        runs.read_latest(
            self.store, [run for (run,) in self._execute(block("merging", "arrived_runs")).fetchall()]
        )
        self._execute(block("merging", "one_query_a_name"), mine=True)
        return MergeReport(path, self.added, self.changed, tuple(self.conflicts[:SHOWN]), unfinished)

    def _refuse_different_things(self) -> None:
        row = self._execute(block("merging", "different_things")).fetchone()
        if row is not None:
            what, key, count = row
            raise MergeError(
                f"Nothing was merged: both stores have {what} {key}"
                f"{f' and {count - 1} more' if count > 1 else ''}, and mean different things by it."
            )

    def _table(self, table: str) -> None:
        names = self.columns[table]
        key = self.keys.get(table, names)
        arrived = f"temp.arrived_{table}"
        self._execute(f"CREATE OR REPLACE TEMP TABLE arrived_{table} AS {self._arriving(table)}")
        on = " AND ".join(f'o."{name}" IS NOT DISTINCT FROM i."{name}"' for name in key)
        if table in FIGURES:
            self._execute(
                f'DELETE FROM "{table}" o WHERE o.run_id IN (SELECT run_id FROM temp.standing WHERE better) '
                f"AND NOT EXISTS (SELECT 1 FROM {arrived} i WHERE {on})"
            )
        rest = [name for name in names if name not in key]
        if rest:
            self._settle(table, arrived, on, key, rest)
        listed = ", ".join(f'"{name}"' for name in names)
        added = self._execute(
            f'INSERT INTO "{table}" ({listed}) SELECT {listed} FROM {arrived} i '
            f'WHERE NOT EXISTS (SELECT 1 FROM "{table}" o WHERE {on})'
        ).fetchone()
        self._count(self.added, table, added)
        self._execute(f"DROP TABLE {arrived}")

    def _settle(self, table: str, arrived: str, on: str, key: list[str], rest: list[str]) -> None:
        """Of rows that both stores have, tell the conflicts, and let the better stand."""
        better = f"{_standing(table, 'i', rest)} < {_standing(table, 'o', rest)}"
        if table in FIGURES:
            better = f"coalesce((SELECT s.better FROM temp.standing s WHERE s.run_id = i.run_id), {better})"
        differs = ", ".join(
            f'CASE WHEN i."{n}" <> o."{n}" THEN \'{n}\' END' for n in rest if n not in BOOKKEEPING
        )
        shown = " || ' ' || ".join(f"coalesce(i.\"{name}\"::VARCHAR, '')" for name in key)
        self._execute(
            f"CREATE OR REPLACE TEMP TABLE met AS SELECT i.*, {better} AS better_, {shown} AS key_, "
            f"{_no_conflict(table)} AS quiet_, "
            f"list_filter([{differs}]::VARCHAR[], lambda name: name IS NOT NULL) AS differs_ "
            f'FROM {arrived} i JOIN "{table}" o ON {on} WHERE i IS DISTINCT FROM o'
        )
        told_apart = self._execute(
            f"SELECT key_, differs_, better_ FROM temp.met WHERE NOT quiet_ AND len(differs_) > 0 "
            f"ORDER BY ALL LIMIT {SHOWN}"
        ).fetchall()
        self.conflicts += [
            Conflict(table, key, tuple(differing), "theirs" if theirs else "ours")
            for key, differing, theirs in told_apart
        ]
        changes = ", ".join('"' + name + '" = i."' + name + '"' for name in rest)
        changed = self._execute(f'UPDATE "{table}" o SET {changes} FROM temp.met i WHERE i.better_ AND {on}')
        self._count(self.changed, table, changed.fetchone())
        self._execute("DROP TABLE temp.met")

    def _arriving(self, table: str) -> str:
        """The rows that the other store gives of a table."""
        special = {
            "runs": "arriving_runs",
            "saved_queries": "arriving_queries",
        }
        if table in special:
            return block("merging", special[table])
        name = "arriving_figures" if table in FIGURES else "arriving"
        return block("merging", name).replace("{table}", f'"{table}"')

    def _execute(self, sql: str, *, mine: bool = False) -> Cursor:
        return self.cursor.execute(sql if mine else sql.replace("{other}", self.other))

    def _one(self, sql: str) -> int:
        row = self._execute(sql).fetchone()
        return int(row[0]) if row else 0

    @staticmethod
    def _count(counts: dict[str, int], table: str, row: tuple[int] | None) -> None:
        if row and row[0]:
            counts[table] = int(row[0])


def _no_conflict(table: str) -> str:
    """When two rows may differ: one's run has come farther, or a name was kept from an annotator."""
    if table in (*FIGURES, "runs"):
        return "i.run_id IN (SELECT run_id FROM temp.standing WHERE better IS NOT NULL)"
    if table == "policies":
        return f"{HIDDEN.format(row='i.')} OR {HIDDEN.format(row='o.')}"
    return "false"


def _standing(table: str, row: str, names: list[str]) -> str:
    """What of two rows with one key stands: the one for which this is smaller."""
    missing = " + ".join(f'({row}."{name}" IS NULL)::INTEGER' for name in names)
    first = f"-{row}.last_seq, " if table == "runs" else ""
    if table == "policies":
        first = f"({HIDDEN.format(row=row + '.')})::INTEGER, "
    when = next((name for name in BOOKKEEPING if name.endswith("_at") and name in names), None)
    then = f"{row}.{when}, " if when else ""
    return f"({first}{missing}, {then}to_json({row})::VARCHAR)"


@contextmanager
def _attached(cursor: Cursor, file: Path, alias: str) -> Iterator[None]:
    quoted = str(file).replace("'", "''")
    with told(file):
        cursor.execute(f"ATTACH '{quoted}' AS {alias} (READ_ONLY)")
    try:
        yield
    finally:
        with suppress(duckdb.Error):
            cursor.execute(f"DETACH {alias}")
        cursor.close()


@contextmanager
def _readable(store: Store, other: Path) -> Iterator[Path]:
    """A file with the tables of this program: the other store itself, or a copy where it is held or older."""
    newest = (store.row(block("merging", "schema")) or (0,))[0]
    with TemporaryDirectory(prefix="workbench-merge-", dir=_beside(store)) as folder:
        copy = Path(folder, "other.duckdb")
        try:
            version = _schema(other)
        except LockedError as locked:
            with RemoteStore.beside(other, locked) as held:
                snapshot(held, copy)
        else:
            if version == newest:
                yield other
                return
            for ending in ("", ".wal"):
                if Path(f"{other}{ending}").exists():
                    shutil.copyfile(f"{other}{ending}", f"{copy}{ending}")
            Store.open(copy).close()  # migrates it, or says that it is newer
        yield copy


def _schema(file: Path) -> int:
    """The version of a store's tables.  Raises NotADatabaseError for a file that is none."""
    try:
        with told(file), duckdb.connect(str(file), read_only=True, config=CONFIG) as connection:
            row = connection.execute(block("merging", "schema")).fetchone()
    except duckdb.Error as error:
        raise NotADatabaseError(f"{file} is not a workbench database.") from error
    return int(row[0]) if row and row[0] else 0


def _beside(store: Store) -> str | None:
    return str(store.path.parent) if store.path is not None else None
