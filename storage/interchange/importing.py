"""Import files: read in bounded memory, row by row, then merged all at once in one transaction.

What identifies a thing is its content (see `storage.ids`), so importing a file again adds nothing. Two rows
in which one annotator judges the same responses alike are one judgement; if the verdicts differ they are
two, and both stand.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from storage.ids import random_id
from storage.import_records import ColumnFate, ImportReport, LeftOut
from storage.interchange import remedies
from storage.interchange.asking import require_sure
from storage.interchange.clean import clean_text
from storage.interchange.columns.batches import batches
from storage.interchange.columns.taking import ColumnTaker
from storage.interchange.containers.parts import Part, wrong
from storage.interchange.mapping.cells import NothingNewError, RowError, as_json
from storage.interchange.mapping.language import Statement, parse_statement
from storage.interchange.mapping.taking import Taker
from storage.interchange.planning import Plan, propose
from storage.interchange.staging import Staging
from storage.store import Store
from storage.wording import counted

TELL_EVERY = 500  # rows
MOST_BAD = 0.5  # share of rows left out above which the file is refused
EARLY = 5000  # rows after which a file of nothing but bad rows is refused
SHOWN = 5  # numbers of rows that are told for a reason
OF_THEIR_OWN = 8  # kinds of what was changed or not kept that have a line each
WORTH = 1000  # rows of a batch that go as columns
Progress = Callable[[int, float], None]


@dataclass
class _Count:
    """Rows as they go by."""

    rows: int = 0
    bad: int = 0  # that cannot be read
    left_out: Counter[str] = field(default_factory=Counter)
    of_file: Counter[str] = field(default_factory=Counter)  # rows of each file
    bad_of_file: Counter[str] = field(default_factory=Counter)
    places: dict[str, list[str]] = field(default_factory=dict)
    late: dict[str, str] = field(
        default_factory=dict
    )  # columns that the sample did not have, with the first place

    def leave(self, reason: str, place: str) -> None:
        self.left_out[reason] += 1
        seen = self.places.setdefault(reason, [])
        if len(seen) < SHOWN:
            seen.append(place)


def import_file(
    store: Store,
    path: Path | str | Sequence[Path | str],
    *,
    shape: str = "auto",
    columns: Mapping[str, str] | Iterable[Statement] | None = None,
    policy: str | None = None,
    annotator: str | None = None,
    source: str | None = None,
    criterion: str = "overall",
    preset: str | None = None,
    encoding: str | None = None,
    strict: bool = False,
    most_bad: float = MOST_BAD,
    on_progress: Progress | None = None,
) -> ImportReport:
    """Propose and run in one.  Raises ImportFileError (nothing is imported then), DiskFullError.

    `columns` says what a column is (role → path, or statements); `policy` and `annotator` are for files that
    name none; before columns that are one annotator each, `annotator` stands as the name of their group.
    """
    plan = propose(
        path,
        kind=shape,
        columns=statements(columns),
        policy=policy,
        annotator=annotator,
        source=source,
        criterion=criterion,
        preset=preset,
        encoding=encoding,
    )
    return run(store, plan, strict=strict, most_bad=most_bad, on_progress=on_progress)


def statements(columns: Mapping[str, str] | Iterable[Statement] | None) -> list[Statement]:
    """`{"prompt": "info.post"}` as statements."""
    if isinstance(columns, Mapping):
        return [parse_statement(f"{role}={path}") for role, path in columns.items()]
    return list(columns or ())


def run(
    store: Store,
    plan: Plan,
    *,
    strict: bool = False,
    most_bad: float = MOST_BAD,
    on_progress: Progress | None = None,
) -> ImportReport:
    """Import what the plan says.  `strict` refuses one bad row, `most_bad` is the largest share of them."""
    require_sure(plan)
    for part in plan.source.parts:
        part.room = store.spill_folder
    staging = Staging(store, plan.name, sum(part.size for part in plan.source.parts))
    taker = plan.taker()
    rows = _Rows(plan, taker, staging, strict, most_bad, on_progress)
    count = rows.count
    try:
        rows.stage_all()
        _refuse_bad(plan, count, most_bad)
        fates = _fates(plan, count)
        prompts, responses, judgements, alone = staging.merge(_record(plan, count, fates))
        notes = _notes(plan, taker.dropped, staging)
    finally:
        staging.close()
    if alone:
        count.left_out["only one response is ranked"] += alone
    left_out = [
        LeftOut(reason, n, tuple(count.places.get(reason, ()))) for reason, n in count.left_out.most_common()
    ]
    return ImportReport(
        plan.source.path,
        plan.layout or "",
        count.rows,
        prompts,
        responses,
        judgements,
        dict(count.left_out),
        plan.source.name,
        plan.preset.name if plan.preset else None,
        plan.confidence,
        tuple(fates),
        tuple(left_out),
        tuple(notes),
        str(plan.mapping),
    )


@dataclass
class _Rows:
    """Rows of a file on their way to `staging`, one at a time or in batches, and the count of them."""

    plan: Plan
    taker: Taker
    staging: Staging
    strict: bool
    most_bad: float
    on_progress: Progress | None
    count: _Count = field(default_factory=_Count)

    def __post_init__(self) -> None:
        self._known = {key for row in self.plan.sample for key in row}

    def stage_all(self) -> None:
        preset = self.plan.preset
        if not (preset and preset.unfold) and ColumnTaker.can(self.taker):
            self._in_batches()
        else:
            for part, number, row in self.plan.rows():
                self.count.rows += 1
                self.count.of_file[part.path.name] += 1
                self._stage(part, number, row)
                if self.count.rows == EARLY:
                    self._refuse_early()
                if self.count.rows % TELL_EVERY == 0:
                    self._tell(part)
        self._tell(None)

    def _in_batches(self) -> None:
        """Plain rows as columns, the others one at a time.  Few rows are not worth the import of pyarrow."""
        columns = ColumnTaker(self.taker, self.plan.name)
        for batch in batches(self.plan.source):
            first, early = self.count.rows + 1, self.count.rows < EARLY
            table, rest = columns.take(batch) if len(batch) >= WORTH else (None, list(range(len(batch))))
            if not batch.names() <= self._known:
                for place, row in enumerate(batch.rows_at(list(range(len(batch))))):
                    self._see_columns(batch.part, batch.numbers[place], row)
            for place, row in zip(rest, batch.rows_at(rest), strict=True):
                self.staging.at(first + place)
                self._stage(batch.part, batch.numbers[place], batch.broken.get(place, row))
            if table is not None:
                self.staging.add_table(table, first, len(batch))
            self.count.rows += len(batch)
            self.count.of_file[batch.part.path.name] += len(batch)
            if early and self.count.rows >= EARLY:
                self._refuse_early()
            self._tell(batch.part)

    def _stage(self, part: Part, number: int, row: dict[str, Any] | RowError) -> None:
        try:
            if isinstance(row, RowError):
                raise row
            self._see_columns(part, number, row)
            self.staging.add(self.taker.take(row), part.split, part.subset)
        except RowError as error:
            place = _place(self.plan, part, number)
            readable = isinstance(error, NothingNewError)
            self.count.bad += not readable
            self.count.bad_of_file[part.path.name] += not readable
            if self.strict and not readable:
                raise wrong(self.plan.source.name, f"{place}: {clean_text(str(error))}") from None
            self.count.leave(clean_text(str(error)), place)

    def _see_columns(self, part: Part, number: int, row: dict[str, Any]) -> None:
        """Columns that the sample did not have."""
        if not row.keys() <= self._known:
            for key in row.keys() - self._known:
                self.count.late[key] = _place(self.plan, part, number)
            self._known |= row.keys()

    def _refuse_early(self) -> None:
        """A file of which nothing can be kept is not read to its end."""
        reason, number = next(iter(self.count.left_out.most_common(1)), ("", 0))
        if number == self.count.rows and self.most_bad < 1:
            place = self.count.places[reason][0]
            raise wrong(self.plan.source.name, f"{place}: {reason} (so in all of the first {number:,} rows)")
        _refuse_bad(self.plan, self.count, max(self.most_bad, 0.95))

    def _tell(self, part: Part | None) -> None:
        if self.on_progress is not None:
            self.on_progress(self.count.rows, self.plan.source.share(part) if part else 1.0)


def _place(plan: Plan, part: Any, number: int) -> str:
    where = f"{part.word} {number}"
    return where if len(plan.source.parts) == 1 else f"{part.path.name} {where}"


def _refuse_bad(plan: Plan, count: _Count, most_bad: float) -> None:
    if count.rows == 0:
        raise wrong(plan.source.name, "there are no rows in it")
    for name, rows in count.of_file.items():
        if count.bad_of_file[name] == rows and most_bad < 1:
            _refuse_other_shape(plan, count, name)
    if count.bad <= most_bad * count.rows:
        return
    reason, number = count.left_out.most_common(1)[0]
    place = count.places[reason][0]
    if number == count.rows:
        raise wrong(
            plan.source.name, f"{place}: {reason}" + (f" (so in all {number:,} rows)" if number > 1 else "")
        )
    raise wrong(
        plan.source.name,
        f"{count.bad:,} of {count.rows:,} rows cannot be read, most because {reason} (first {place}); "
        f"{remedies.MOST_BAD}",
    )


def _refuse_other_shape(plan: Plan, count: _Count, name: str) -> None:
    """A file beside others of which no row can be read is another kind of file, and would be lost whole."""
    if len(count.of_file) == 1:
        return
    reason = next(
        (r for r, places in count.places.items() if any(p.startswith(f"{name} ") for p in places)),
        "of several reasons",
    )
    raise wrong(
        plan.source.name,
        f"no row of {name} can be read as the other files are ({reason}); import it by itself",
    )


def _fates(plan: Plan, count: _Count) -> list[ColumnFate]:
    fates = [ColumnFate(f.column, f.became, f.warning) for f in plan.fates]
    seen = {f.column for f in fates}
    fates += [
        ColumnFate(
            clean_text(name),
            f"metadata; first in {place}",
            f'"{clean_text(name)}" is not in the first rows and is only metadata',
        )
        for name, place in count.late.items()
        if name not in seen
    ]
    return fates


def _record(plan: Plan, count: _Count, fates: list[ColumnFate]) -> dict[str, Any]:
    """The row of `imports`."""
    return {
        "import_id": random_id("i"),
        "name": plan.name,
        "path": str(plan.source.path.absolute()),
        "preset": plan.preset.name if plan.preset else None,
        "mapping": str(plan.mapping),
        "licence": plan.licence,
        "origin": plan.origin,
        "rows": count.rows,
        "left_out": as_json(dict(count.left_out)),
        "columns": as_json({f.column: f.became for f in fates}),
    }


def _notes(plan: Plan, dropped: Counter[str], staging: Staging) -> list[str]:
    """What a person should know beside the columns."""
    notes = [
        *plan.warnings,
        *plan.source.notes,
        *dict.fromkeys(note for part in plan.source.parts for note in part.notes),
    ]
    most_first = sorted(dropped.items(), key=lambda item: (-item[1], item[0]))
    notes += [f"{what}: {number:,}" for what, number in most_first[:OF_THEIR_OWN]]
    if rest := most_first[OF_THEIR_OWN:]:
        notes.append("; ".join(f"{what}: {number:,}" for what, number in rest))
    if staging.repeated:
        repeated = counted(staging.repeated, "judgement")
        notes.append(f"the same response twice in one row counts once: {repeated}")
    alike, differing, with_other_metadata = staging.merged_rows()
    if alike:
        notes.append(
            "judgements that another row of the file has made alike count once, with the first one's notes"
            f" and metadata: {alike:,}"
        )
    if differing:
        notes.append(
            "prompts that stand in several rows with another id, reference, source, split or subset have"
            f" those of the first: {differing:,}"
        )
    if with_other_metadata:
        notes.append(
            "prompts and responses that stand in several rows with other metadata have that of the first:"
            f" {with_other_metadata:,}"
        )
    return [clean_text(note) for note in notes]
