"""Columns of a result as what a chart draws: points by one or several names, or bars."""

from __future__ import annotations

import itertools
import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Literal

from engine.wording import counted

if TYPE_CHECKING:
    import numpy as np
    import pyarrow as pa

    from workbench.services.sql.result_rows import ResultRows

Kind = Literal["number", "time", "word", "other"]
BARS = 40
"""Rows that are drawn as bars at most."""
LINES = 8
"""Names that are told apart in one chart at most; the first that come."""
SCATTERED = 4_000
"""Points that are drawn apart at most: every nth row."""
BUCKETS = 1_000
"""Parts of a line, of each of which the lowest and the highest point are drawn."""


@dataclass(frozen=True, slots=True)
class ChartLine:
    """What is drawn in one colour."""

    name: str
    points: list[tuple[float, float]]


@dataclass(frozen=True, slots=True)
class Chart:
    """Points, joined where x never falls along them, or bars."""

    lines: tuple[ChartLine, ...] = ()
    joined: bool = False
    bars: tuple[tuple[str, float | None], ...] = ()
    note: str = ""
    """What is not drawn, a sentence; empty where all is."""


@dataclass(frozen=True, slots=True)
class Charted:
    """Which columns a chart draws, by number; x None is the number of the row."""

    x: int | None
    y: int
    by: int | None = None


def kinds(schema: pa.Schema) -> list[Kind]:
    """What each column holds."""
    return [_kind(field.type) for field in schema]


def _kind(type_: pa.DataType) -> Kind:
    import pyarrow.types as of

    if of.is_dictionary(type_):
        return _kind(type_.value_type)
    if of.is_integer(type_) or of.is_floating(type_) or of.is_decimal(type_) or of.is_boolean(type_):
        return "number"
    if of.is_timestamp(type_) or of.is_date(type_):
        return "time"
    return "word" if of.is_string(type_) or of.is_large_string(type_) else "other"


def suggested(rows: ResultRows, cursor: int) -> Charted | None:
    """What to draw first: the column under the cursor; None where no column is a number or a time."""
    found = kinds(rows.schema)
    numbers = [place for place, kind in enumerate(found) if kind == "number"]
    words = [place for place, kind in enumerate(found) if kind == "word"]
    ordered = [place for place, kind in enumerate(found) if kind in ("number", "time")]
    if not ordered:
        return None
    y = cursor if cursor in numbers else (numbers[-1] if numbers else ordered[0])
    if words and len(rows) <= BARS and (cursor in words or not [each for each in ordered if each != y]):
        return Charted(cursor if cursor in words else words[0], y)
    x = next((place for place in ordered if place != y), None)
    if x is None or drawn(rows, Charted(x, y)).joined:
        return Charted(x, y)
    splits = (Charted(x, y, word) for word in words)
    return next((each for each in splits if drawn(rows, each).joined), Charted(x, y))


def drawn(rows: ResultRows, choice: Charted) -> Chart:
    """The chart of some columns; rows where one of them is missing or not finite are left out."""
    if choice.x is not None and kinds(rows.schema)[choice.x] in ("word", "other"):
        return _bars(rows, choice)
    import numpy as np

    x, y, names, of = _columns(rows, choice)
    whole = np.isfinite(x) & np.isfinite(y)
    missing = int(len(y) - whole.sum())
    lines, joined = [], True
    for number, name in enumerate(names[:LINES]):
        here = whole & (of == number) if choice.by is not None else whole
        joined = joined and bool(np.all(np.diff(x[here]) >= 0))
        lines.append((name, x[here], y[here]))
    every = 1 if joined else max(1, math.ceil(sum(len(xs) for _, xs, _ in lines) / SCATTERED))
    thin = _peaks if joined else _each(every)
    notes = []
    if missing:
        notes.append(f"{counted(missing, 'row')} without a value left out.")
    if every > 1:
        notes.append(f"Every {every}th row is drawn.")
    if len(names) > LINES:
        notes.append(f"The first {LINES} of {len(names)} names are drawn.")
    return Chart(
        tuple(ChartLine(name, thin(xs, ys)) for name, xs, ys in lines), joined=joined, note=" ".join(notes)
    )


def _bars(rows: ResultRows, choice: Charted) -> Chart:
    bars: list[tuple[str, float | None]] = []
    assert choice.x is not None
    for batch in rows.batches():
        part = batch.slice(0, BARS - len(bars))
        names = part.column(choice.x).to_pylist()
        values = _numbers(part.column(choice.y))
        bars += [(str(n), float(v) if math.isfinite(v) else None) for n, v in zip(names, values, strict=True)]
        if len(bars) >= BARS:
            break
    more = len(rows) - len(bars)
    return Chart(bars=tuple(bars), note=f"{counted(more, 'row')} more not drawn." if more else "")


def _columns(rows: ResultRows, choice: Charted) -> tuple[np.ndarray, np.ndarray, list[str], np.ndarray]:
    """x, y, the names that split them, and the number of each row's name."""
    import numpy as np

    known: dict[Any, int] = {} if choice.by is not None else {"": 0}
    xs, ys, of = [np.empty(0)], [np.empty(0)], [np.empty(0, np.int64)]
    count = 0
    for batch in rows.batches():
        ys.append(_numbers(batch.column(choice.y)))
        x = None if choice.x is None else _numbers(batch.column(choice.x))
        xs.append(np.arange(count + 1.0, count + batch.num_rows + 1) if x is None else x)
        if choice.by is not None:
            coded = batch.column(choice.by)
            coded = coded if hasattr(coded, "dictionary") else coded.dictionary_encode("encode")
            numbers = np.array(
                [known.setdefault(value, len(known)) for value in coded.dictionary.to_pylist()]
            )
            of.append(numbers[coded.indices.to_numpy(zero_copy_only=False).astype(np.int64)])
        count += batch.num_rows
    names = ["–" if name is None else str(name) for name in known]
    return np.concatenate(xs), np.concatenate(ys), names, np.concatenate(of)


def _numbers(column: pa.Array) -> np.ndarray:
    """Numbers as they are, moments as seconds since 1970; NaN where there is none."""
    import pyarrow as pa
    import pyarrow.compute as pc

    scale = 1.0
    if _kind(column.type) == "time":
        column, scale = pc.cast(pc.cast(column, pa.timestamp("us"), safe=False), pa.int64()), 1e-6
    floats = pc.cast(column, pa.float64(), safe=False)
    return floats.fill_null(math.nan).to_numpy(zero_copy_only=False) * scale


def _each(every: int) -> Callable[[np.ndarray, np.ndarray], list[tuple[float, float]]]:
    return lambda x, y: list(zip(x[::every].tolist(), y[::every].tolist(), strict=True))


def _peaks(x: np.ndarray, y: np.ndarray) -> list[tuple[float, float]]:
    """Lowest and highest of each of BUCKETS parts, in order."""
    import numpy as np

    if len(y) > 2 * BUCKETS:
        edges = np.linspace(0, len(y), BUCKETS + 1).astype(int)
        kept = {
            a + int(find(y[a:b])) for a, b in itertools.pairwise(edges) for find in (np.argmin, np.argmax)
        }
        places = np.array(sorted(kept))
        x, y = x[places], y[places]
    return list(zip(x.tolist(), y.tolist(), strict=True))
