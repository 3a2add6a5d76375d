"""What a column says about two responses: which is better, by how much, or neither.

A `Coding` reads one column. It is found from all values of a sample together, because one value alone does
not tell: 1 is the first of 1 and 2, and the second of 0 and 1. Where the values leave it open, `warning`
says what was taken and how to turn it.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace

from storage.interchange import remedies
from storage.interchange.mapping.cells import missing, number_of
from storage.interchange.mapping.verdict_words import PLAIN, SKIP, Verdict, worded

MOST_UNREAD = 0.2  # share of values of another kind in a column of verdicts
MEANING_OF_INDEX = re.compile(
    r"winner|choice|chosen|better|best|index|_id$|^id$|safer|preferred|selected|pick|position", re.I
)
MEANING_OF_PROBABILITY = re.compile(r"prob|^p_|_p$|win_?rate|likelihood|confidence|score|soft", re.I)
MEANING_OF_DIFFERENCE = re.compile(r"margin|diff|delta|gap", re.I)
_OTHER = {"a": "b", "b": "a"}


@dataclass(frozen=True)
class Coding:
    """How one column is read.  `kind`: words, index, likert, signed, probability, truth, given."""

    kind: str
    table: Mapping[str, Verdict] = field(default_factory=dict)
    middle: float = 0.0
    a_below: bool = True  # values below the middle say a
    warning: str | None = None  # what was taken where the values leave it open
    turned: bool = False  # every verdict means the other side

    def reversed(self) -> Coding:
        """The same values, each for the other side; the user has said so, and nothing is left open."""
        return replace(self, turned=not self.turned, warning=None)

    def read(self, value: object) -> Verdict | None:
        """The verdict, SKIP for a missing value, None for a value that the coding does not know."""
        verdict = self._as_it_stands(value)
        if self.turned and verdict is not None and verdict.better in _OTHER:
            return replace(verdict, better=_OTHER[verdict.better])
        return verdict

    def _as_it_stands(self, value: object) -> Verdict | None:
        verdict = self.table.get(_key(value))
        if verdict is not None:
            return verdict
        if missing(value):
            return SKIP
        if self.kind in ("likert", "signed", "probability"):
            number = number_of(value)
            if number is None:
                return worded(value)
            if self.kind == "probability" and not 0 <= number <= 1:
                return None
            return self._against_middle(number)
        return worded(value) if self.kind == "words" else None

    def _against_middle(self, number: float) -> Verdict:
        distance = abs(number - self.middle)
        if self.kind == "probability":
            distance = round(2 * distance, 12)
        if number == self.middle:
            return Verdict("tie", 0.0)
        return Verdict("a" if (number < self.middle) == self.a_below else "b", distance)

    @property
    def statement(self) -> dict[str, str] | None:
        """The coding as a mapping writes it, where it is a table."""
        return (
            {k: v.better for k, v in self.table.items()} if self.kind in ("index", "truth", "given") else None
        )


def given(table: Mapping[str, str]) -> Coding:
    """A coding that the user, or a preset, has written."""
    return Coding("given", {_key(k): PLAIN[v] for k, v in table.items()})


def find_coding(
    values: Iterable[object], column: str = "", ends: Sequence[str] = ("a", "b")
) -> Coding | None:
    """The coding that reads every value of a sample, or None.

    `column` is the column's name, `ends` how the two responses' columns end (a and b, 1 and 2, 0 and 1):
    0 and 1 mean something else beside response_0 and response_1 than beside response_1 and response_2.
    """
    present = [v for v in values if not missing(v)]
    if not present:
        return None
    if all(isinstance(v, bool) for v in present):
        return _truth(column)
    numbers = [number_of(v) if not isinstance(v, bool) else None for v in present]
    if any(n is None for n in numbers):
        if table := _places_among_words(numbers, tuple(ends)):
            present = [v for v, n in zip(present, numbers, strict=True) if n is None]
        read = [worded(v) for v in present]
        unread = sum(v is None for v in read)
        readable = unread <= MOST_UNREAD * len(read) and unread < len(read)
        return Coding("words", {k: PLAIN[v] for k, v in table.items()}) if readable else None
    return _numbers(sorted({n for n in numbers if n is not None}), column, tuple(ends), len(present))


def _places_among_words(numbers: Sequence[float | None], ends: tuple[str, ...]) -> dict[str, str]:
    """`1`, `2` and `tie` in one column: what the numbers mean."""
    places = {n for n in numbers if n is not None}
    if places and ends == ("0", "1") and places <= {0, 1}:
        return {"0": "a", "1": "b"}
    return {"1": "a", "2": "b"} if places and ends != ("0", "1") and places <= {1, 2} else {}


def _truth(column: str) -> Coding:
    return _index(
        {"true": "a", "false": "b"},
        (
            None
            if re.search(r"(^|_)(a|1|first|left)(_|$)", column, re.I)
            else _open(column, "true means the first response is better", {"true": "b", "false": "a"})
        ),
        kind="truth",
    )


def _numbers(numbers: list[float], column: str, ends: tuple[str, ...], count: int) -> Coding | None:
    values = set(numbers)
    if values <= {0, 1} and ends == ("0", "1"):
        return _index({"0": "a", "1": "b"})
    if values <= {1, 2} and 2 in values | {2} and (values != {1} or ends == ("1", "2")):
        return _index({"1": "a", "2": "b"})
    if values <= {0, 1, 2} and 2 in values:
        if ends == ("0", "1"):
            return _index(
                {"0": "a", "1": "b", "2": "tie"},
                _open(
                    column, "0 and 1 are the responses' numbers and 2 a tie", {"1": "a", "2": "b", "0": "tie"}
                ),
            )
        return _index(
            {"1": "a", "2": "b", "0": "tie"},
            _open(column, "1 is the first response, 2 the second, 0 a tie", {"0": "a", "1": "b", "2": "tie"}),
        )
    if values <= {1, 2, 3} and 3 in values:
        return _index(
            {"1": "a", "2": "b", "3": "tie"},
            _open(column, "1 is the first response, 2 the second, 3 a tie", {"1": "a", "2": "tie", "3": "b"}),
        )
    if min(values) < 0:
        return _signed(values, column)
    if values <= {0, 0.5, 1}:
        if not MEANING_OF_INDEX.search(column) and MEANING_OF_PROBABILITY.search(column):
            return _probability(column)
        turned = {"0": "b", "1": "a", **({"0.5": "tie"} if 0.5 in values else {})}
        taken = "0 is the first response and 1 the second" + (", 0.5 a tie" if 0.5 in values else "")
        return _index({"0": "a", "1": "b", "0.5": "tie"}, _open(column, taken, turned))
    if max(values) <= 1:
        return _probability(column)
    whole = all(v == int(v) for v in values)
    if min(values) >= 1 and max(values) <= 2:
        return Coding(
            "likert",
            middle=1.5,
            warning=_open(column, "1 is the first response, 2 the second, 1.5 a tie", None),
        )
    low, high = 1 if min(values) >= 1 else 0, max(values)
    if whole and 4 <= high <= 10 and len(values) <= 10 and count >= len(values):
        top = next(t for t in (4, 5, 6, 7, 8, 9, 10) if t >= high)
        middle = (low + top) / 2
        return Coding(
            "likert",
            middle=middle,
            warning=_open(
                column,
                f"{low} … {top} run from the first response to the second, {middle:g} is the middle",
                None,
            ),
        )
    return None


def _signed(values: set[float], column: str) -> Coding:
    a_below = not MEANING_OF_DIFFERENCE.search(column)
    side = "negative" if a_below else "positive"
    turned = (
        {f"{v:g}": "b" if (v < 0) == a_below else "tie" if v == 0 else "a" for v in sorted(values)}
        if len(values) <= 7
        else None
    )
    return Coding(
        "signed",
        a_below=a_below,
        warning=_open(column, f"{side} means the first response is better, 0 a tie", turned),
    )


def _probability(column: str) -> Coding:
    return Coding(
        "probability",
        middle=0.5,
        a_below=False,
        warning=_open(column, "the number is the probability that the first response is better", None),
    )


def _index(table: dict[str, str], warning: str | None = None, kind: str = "index") -> Coding:
    return Coding(kind, {k: PLAIN[v] for k, v in table.items()}, warning=warning)


def _open(column: str, taken: str, turned: Mapping[str, str] | None) -> str:
    """What was taken, and how to say it is otherwise."""
    sentence = f'"{column}" leaves open which is better: {taken}'
    if turned is None:
        return sentence + f"; where it is the other way round: {remedies.reverse('winner', column)}"
    return sentence + f"; where it is not so: {remedies.column('winner', column, turned)}"


def _key(value: object) -> str:
    """A value as a coding's table names it: 1 for 1, 1.0 and "1"."""
    if isinstance(value, bool):
        return str(value).lower()
    number = number_of(value)
    if number is not None:
        return f"{number:g}"
    return value.strip().lower() if isinstance(value, str) else ""
