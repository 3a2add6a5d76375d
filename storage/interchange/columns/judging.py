"""What columns say of answers, read a column at a time as `mapping.judging` reads it a row at a time."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from storage.interchange.columns.batches import Batch
from storage.interchange.mapping.cells import missing, number_of, outcome_of, truth_of
from storage.interchange.mapping.judging import BAD, RANKS
from storage.interchange.mapping.language import Mapping
from storage.interchange.mapping.taking import Taker
from storage.interchange.mapping.verdict_words import Verdict, better_of_outcomes, worded

Said = tuple[
    str, str | None, float | None, float | None
]  # kind, criterion (None: the row's own), rank, rating


class Verdicts:
    """The one verdict of each row on its two answers: in words or numbers, or in one column an outcome."""

    def __init__(self, taker: Taker) -> None:
        self._mapping = taker.mapping
        self.criterion: str | None = None
        self.annotator: str | None = None
        self._statement = None
        for statement, criterion, annotator in taker.judging.verdict_columns:
            self._statement, self.criterion, self.annotator = statement, criterion, annotator
        self._coding = taker.codings.get(str(self._statement.path)) if self._statement else None
        self._known: dict[Any, Verdict | None] = {}

    @staticmethod
    def can(taker: Taker) -> bool:
        """One verdict at most; ratings alone are a judgement of another kind."""
        mapping, winners = taker.mapping, len(taker.judging.verdict_columns)
        rated = mapping.has("rating_a") or mapping.has("rating_b")
        tied = mapping.has("won_tie") and not mapping.has("won_a")  # above what another column says
        return not tied and winners + mapping.has("won_a") <= 1 and (winners == 1 or not rated)

    def take(self, batch: Batch, columns: dict[str, Any], odd: set[int]) -> list[bool]:
        """Adds ranks, strength and note; gives which rows are judged."""
        import pyarrow as pa

        verdicts = self._outcomes(batch) if self._mapping.has("won_a") else self._read(batch, odd)
        ranks = [RANKS[v.better] if v is not None else (None, None) for v in verdicts]
        columns["rank_a"] = pa.array([a and int(a) for a, _ in ranks], pa.int32())
        columns["rank_b"] = pa.array([b and int(b) for _, b in ranks], pa.int32())
        columns["strength"] = pa.array([v and v.strength for v in verdicts], pa.float64())
        columns["note"] = pa.array([BAD if v and v.better == "bad" else None for v in verdicts], pa.string())
        return [v is not None for v in verdicts]

    def _read(self, batch: Batch, odd: set[int]) -> list[Verdict | None]:
        if self._statement is None:
            return [None] * len(batch)
        verdicts: list[Verdict | None] = []
        for place, value in enumerate(batch.values(self._statement)):
            verdict = self._one(value)
            if verdict is None:
                odd.add(place)
            verdicts.append(None if verdict is None or verdict.better == "skip" else verdict)
        return verdicts

    def _one(self, value: Any) -> Verdict | None:
        """The verdict; None where only the row as a whole can tell."""
        if isinstance(value, list | dict):
            return None
        key = (type(value), value)
        if key not in self._known:
            if self._coding is not None:
                self._known[key] = self._coding.read(value)
            else:  # a text can be the name of one of the two policies
                self._known[key] = None if isinstance(value, str) else worded(value)
        return self._known[key]

    def _outcomes(self, batch: Batch) -> list[Verdict | None]:
        columns = [
            [outcome_of(v) for v in batch.values(statement)]
            if (statement := self._mapping.get(role))
            else None
            for role in ("won_a", "won_b", "won_tie")
        ]
        nothing: list[float | None] = [None] * len(batch)
        tied = self._mapping.has("won_tie")
        rows = zip(*(column or nothing for column in columns), strict=True)
        return [better_of_outcomes(list(won), tied) for won in rows]


def columns_of_one(mapping: Mapping, batch: Batch, odd: set[int]) -> tuple[Any, list[bool]]:
    """Rank and ratings of one answer, a list of `Said` a row; and which rows say something."""
    import pyarrow as pa

    size = len(batch)
    ranks, ratings = (
        strict_numbers(batch.values(s), odd) if (s := mapping.get(role)) else [None] * size
        for role in ("rank", "rating")
    )
    said: list[list[Said]] = [[] for _ in range(size)]
    for place, (rank, rating) in enumerate(zip(ranks, ratings, strict=True)):
        if rank is not None:
            said[place].append(("ranking", None, rank, rating))
        elif rating is not None:
            said[place].append(("rating", None, None, rating))
    if (statement := mapping.get("label")) is not None:
        for place, value in enumerate(batch.values(statement)):
            truth = truth_of(value)
            if truth is not None:
                said[place].append(("rating", None, None, float(truth)))
            elif not missing(value):
                odd.add(place)
    for name, many in mapping.under("criterion").items():
        for place, value in enumerate(batch.values(many[0])):
            if (number := number_of(value)) is not None:
                said[place].append(("rating", name, None, number))
            elif not missing(value):
                odd.add(place)
    return _lists(said, pa), [bool(row) for row in said]


def _lists(said: list[list[Said]], pa: Any) -> Any:
    """As Arrow's list of objects; built flat, because Arrow reads Python's objects slowly."""
    flat = [one for row in said for one in row]
    offsets = [0]
    for row in said:
        offsets.append(offsets[-1] + len(row))
    kinds = (pa.string(), pa.string(), pa.float64(), pa.float64())
    arrays = [pa.array([one[n] for one in flat], kind) for n, kind in enumerate(kinds)]
    objects = pa.StructArray.from_arrays(arrays, ["kind", "criterion", "rank", "rating"])
    return pa.ListArray.from_arrays(pa.array(offsets, pa.int32()), objects)


def strict_numbers(values: Sequence[Any], odd: set[int]) -> list[float | None]:
    """Numbers; the places of what is neither a number nor missing are added to `odd`."""
    numbers = []
    for place, value in enumerate(values):
        number = None if value is None else number_of(value)
        if number is None and not missing(value):
            odd.add(place)
        numbers.append(number)
    return numbers
