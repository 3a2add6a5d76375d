"""What a row says of its responses: verdicts on two, ranks and ratings of several, a rating of one."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Sequence
from collections.abc import Mapping as AnyMapping
from typing import TYPE_CHECKING, Any

from storage.interchange.clean import clean_text
from storage.interchange.mapping.cells import (
    RowError,
    cleaned,
    missing,
    name_of,
    number_of,
    outcome_of,
    parsed,
    same_name,
    truth_of,
)
from storage.interchange.mapping.example import Judged
from storage.interchange.mapping.language import Each, Mapping, Statement, Step, value_at
from storage.interchange.mapping.orders import best_places, order_of, ranks_of_order
from storage.interchange.mapping.verdict_words import SKIP, TIE, Verdict, better_of_outcomes, worded
from storage.interchange.mapping.verdicts import Coding
from storage.wording import counted

if TYPE_CHECKING:
    from storage.interchange.mapping.comparing import Comparison
    from storage.interchange.mapping.defaults import Defaults

Row = AnyMapping[str, Any]
RANKS = {"a": (1.0, 2.0), "b": (2.0, 1.0), "tie": (1.0, 1.0), "bad": (1.0, 1.0)}
BAD = "both are bad"


class JudgementReader:
    """The judgements of a row, by the roles that the mapping fills."""

    def __init__(
        self,
        mapping: Mapping,
        codings: AnyMapping[str, Coding],
        defaults: Defaults,
        value: Callable[[Row, str], Any],
        dropped: Counter[str] | None = None,
    ) -> None:
        self.dropped: Counter[str] = Counter() if dropped is None else dropped
        self.mapping = mapping
        self.codings = codings
        self.defaults = defaults
        self._value = value
        self._simple = not any(
            mapping.has(r) for r in ("annotator", "criterion", "strength", "note", "seconds")
        )
        self.verdict_columns = self._find_verdict_columns()
        sides = [mapping.get(f"response_{side}") for side in "ab"]
        self._side_columns = [s.path.steps[-1] if s and s.path.steps else None for s in sides]

    def made(
        self,
        row: Row,
        kind: str,
        items: Sequence[tuple[int, float | None, float | None]],
        criterion: str | None = None,
    ) -> Judged:
        """A judgement with what the row says about the judging."""
        if self._simple:
            return Judged(self.defaults.annotator, criterion or self.defaults.criterion, kind, list(items))
        said = name_of(self._value(row, "criterion"))
        return Judged(
            name_of(self._value(row, "annotator")) or self.defaults.annotator,
            criterion or said or self.defaults.criterion,
            kind,
            list(items),
            strength=self._number(row, "strength"),
            note=name_of(self._value(row, "note")),
            seconds=self._number(row, "seconds"),
        )

    # --- two responses -----------------------------------------------------------------------------------

    def of_two(self, row: Row) -> list[Judged]:
        """A judgement for each annotator and criterion that says something."""
        ratings = self._number(row, "rating_a"), self._number(row, "rating_b")
        judgements: list[Judged] = []
        if not self.mapping.has("won_a") and self.tied(row):
            return [self._pair(row, TIE, None, ratings)]
        for statement, criterion, annotator in self.verdict_columns:
            judgements += self._said(row, statement, criterion, annotator, ratings)
        if self.mapping.has("won_a"):
            judgements += self._one_hot(row, ratings)
        if not judgements and ratings[0] is not None and ratings[1] is not None and not self.verdict_columns:
            judgements.append(self.made(row, "rating", [(0, None, ratings[0]), (1, None, ratings[1])]))
        names = dict.fromkeys([*self.mapping.under("criterion_a"), *self.mapping.under("criterion_b")])
        for name in names:
            pair = self._number(row, f"criterion_a.{name}"), self._number(row, f"criterion_b.{name}")
            items = [(n, None, rating) for n, rating in enumerate(pair) if rating is not None]
            if items:
                judgements.append(self.made(row, "rating", items, name))
        return judgements

    def tied(self, row: Row) -> bool:
        """Whether a column of its own says that both are alike, whatever another one says."""
        return outcome_of(self._value(row, "won_tie")) == 1.0

    def _find_verdict_columns(self) -> list[tuple[Statement, str | None, str | None]]:
        mapping = self.mapping
        plain: list[tuple[Statement, str | None, str | None]] = [
            (s, None, None) for s in mapping.all("winner")
        ]
        plain += [(s, name, None) for name, many in mapping.under("winner").items() for s in many]
        prefix = self.defaults.annotator_prefix
        plain += [(s, None, prefix + name) for name, many in mapping.under("winner_by").items() for s in many]
        return plain

    def _said(
        self,
        row: Row,
        statement: Statement,
        criterion: str | None,
        annotator: str | None,
        ratings: tuple[float | None, float | None],
    ) -> list[Judged]:
        value = value_at(row, statement.path.steps)
        if statement.path.listed:
            return self._several(row, statement, criterion, value)
        verdict = self._read(statement, value, row)
        if verdict.better == "skip":
            return []
        judged = self._pair(row, verdict, criterion, ratings)
        if annotator is not None:
            judged.annotator = annotator
        return [judged]

    def _several(self, row: Row, statement: Statement, criterion: str | None, values: Any) -> list[Judged]:
        """A list with a verdict of each annotator, whose names stand in the same list or are numbers."""
        if not isinstance(values, list):
            return []
        prefix = statement.path.list_prefix
        people = self._people_beside(row, prefix, len(values))
        elements = value_at(row, prefix)
        used = {
            str(s.path.steps[-1])
            for s in self.mapping.statements
            if s.path.list_prefix == prefix and s.path.listed
        }
        judgements = []
        for place, value in enumerate(values):
            verdict = self._read(statement, value, row)
            if verdict.better == "skip":
                continue
            judged = self._pair(row, verdict, criterion, (None, None))
            name = name_of(people[place]) if isinstance(people, list) else None
            judged.annotator = name or f"{self.defaults.annotator} {place + 1}"
            element = elements[place] if isinstance(elements, list) and place < len(elements) else None
            if isinstance(element, dict) and statement is self._first_of(prefix):
                rest = {k: v for k, v in element.items() if k not in used and v not in (None, "", [], {})}
                judged.metadata = cleaned(rest) if rest else None
            judgements.append(judged)
        return judgements

    def _first_of(self, prefix: tuple[Step, ...]) -> Statement | None:
        """The verdict of a list with which the rest of its elements is kept."""
        return next((s for s, _, _ in self.verdict_columns if s.path.list_prefix == prefix), None)

    def _people_beside(self, row: Row, prefix: tuple[Step, ...], length: int) -> Any:
        """Who judged: names in the same list, or in one of their own that is as long."""
        listed = [s for s in self.mapping.all("annotator") if s.path.listed]
        names = next((s for s in listed if s.path.list_prefix == prefix), None)
        names = names or next((s for s in listed if s.path.steps[-1:] == (Each(),)), None)
        people = value_at(row, names.path.steps) if names else None
        return people if isinstance(people, list) and len(people) == length else None

    def _read(self, statement: Statement, value: Any, row: Row) -> Verdict:
        coding = self.codings.get(str(statement.path))
        verdict = coding.read(value) if coding else worded(value)
        if (verdict is None or not coding) and isinstance(value, str):
            said = ([self._value(row, f"{what}_{side}") for side in "ab"] for what in ("policy", "response"))
            for sides in (*said, self._side_columns):
                named = [same_name(value, side) for side in sides]
                if sum(named) == 1:
                    return Verdict("ab"[named.index(True)])
        if verdict is None:
            if missing(value):
                return SKIP
            raise RowError(f'"{statement.path}" holds a verdict that cannot be read, as {_shown(value)}')
        return verdict

    def _pair(
        self,
        row: Row,
        verdict: Verdict,
        criterion: str | None,
        ratings: tuple[float | None, float | None],
    ) -> Judged:
        ranks = RANKS[verdict.better]
        judged = self.made(row, "pair", [(0, ranks[0], ratings[0]), (1, ranks[1], ratings[1])], criterion)
        if judged.strength is None:
            judged.strength = verdict.strength
        if verdict.better == "bad":
            judged.note = f"{BAD}; {judged.note}" if judged.note else BAD
        return judged

    def _one_hot(self, row: Row, ratings: tuple[float | None, float | None]) -> list[Judged]:
        """One column an outcome: won_a, won_b and, where there is one, won_tie."""
        won = [outcome_of(self._value(row, role)) for role in ("won_a", "won_b", "won_tie")]
        verdict = better_of_outcomes(won, self.mapping.has("won_tie"))
        return [] if verdict is None else [self._pair(row, verdict, None, ratings)]

    # --- several, or one ---------------------------------------------------------------------------------

    def of_list(self, row: Row, places: list[int], length: int) -> list[Judged]:
        """Ranks and ratings of a list.  `places`: where the responses that are kept stand in it."""
        judgements = self._by_people(row, places, length)
        if judgements:
            return judgements
        ranks = self._list(row, "ranks", length)
        if ranks is None and (order := self._list(row, "order", length)) is not None:
            ranks = ranks_of_order(order)
            if ranks is None:
                raise RowError(f"the order does not name each of the {length} responses once")
        ratings = self._list(row, "ratings", length)
        if ranks is not None:
            if any(r is not None and r < 0 for r in ranks):
                ranks = [None if r is not None and r < 0 else r for r in ranks]
            items = [
                (n, ranks[p], ratings[p] if ratings else None)
                for n, p in enumerate(places)
                if ranks[p] is not None
            ]
            judgements.append(self.made(row, "ranking", items))
        elif ratings is not None:
            judgements.append(
                self.made(
                    row,
                    "rating",
                    [(n, None, ratings[p]) for n, p in enumerate(places) if ratings[p] is not None],
                )
            )
        best = self._best(row, length)
        if not best.isdisjoint(places) and not best.issuperset(places):
            items = [(n, 1.0 if place in best else 2.0, None) for n, place in enumerate(places)]
            judgements.append(self.made(row, "best_of", items))
        for name, many in self.mapping.under("criterion").items():
            said = [value_at(row, s.path.steps) for s in many]
            values = self._numbers(said if len(many) > 1 else said[0], name, length)
            if values is not None:
                items = [(n, None, values[p]) for n, p in enumerate(places) if values[p] is not None]
                judgements.append(self.made(row, "rating", items, name))
        return [judged for judged in judgements if judged.items]

    def of_comparison(self, row: Row, said: Comparison, a: int, b: int) -> Judged:
        """One of the comparisons that a row lists; `a` and `b` are the places of its sides."""
        ranks = RANKS[said.better]
        judged = self.made(row, "pair", [(a, ranks[0], None), (b, ranks[1], None)])
        judged.annotator = said.annotator or judged.annotator
        judged.strength = judged.strength if said.strength is None else said.strength
        judged.metadata = said.metadata
        if said.better == "bad":
            judged.note = f"{BAD}; {judged.note}" if judged.note else BAD
        return judged

    def _by_people(self, row: Row, places: list[int], length: int) -> list[Judged]:
        """A rank or a rating of every response by each of a list of people, or by each key of an object."""
        responses = self.mapping.get("responses")
        judgements = []
        for role, kind in (("ranks_by_annotator", "ranking"), ("ratings_by_annotator", "rating")):
            by_person = self._value(row, role)
            if isinstance(by_person, str):
                by_person = parsed(by_person)
            for person, said_by in (by_person if isinstance(by_person, dict) else {}).items():
                values = self._numbers(said_by, role, length)
                if values is not None:
                    judgements.append(self._of_person(row, kind, values, places, str(person)))
        for role, kind in (("ranks", "ranking"), ("ratings", "rating")):
            said = self.mapping.get(role)
            if said is None or responses is None or not said.path.listed:
                continue
            prefix = said.path.list_prefix
            if prefix == responses.path.list_prefix:
                continue
            names = next((s for s in self.mapping.all("annotator") if s.path.list_prefix == prefix), None)
            people = value_at(row, names.path.steps) if names else None
            for number, of_person in enumerate(value_at(row, said.path.steps) or (), 1):
                values = self._numbers(of_person, role, length)
                if values is None:
                    continue
                name = name_of(people[number - 1]) if isinstance(people, list) else None
                judgements.append(
                    self._of_person(row, kind, values, places, name or f"{self.defaults.annotator} {number}")
                )
        return judgements

    def _of_person(
        self, row: Row, kind: str, values: list[float | None], places: list[int], person: str
    ) -> Judged:
        ranked = kind == "ranking"
        items = [
            (n, values[p] if ranked else None, None if ranked else values[p])
            for n, p in enumerate(places)
            if values[p] is not None
        ]
        judged = self.made(row, kind, items)
        judged.annotator = person
        return judged

    def _best(self, row: Row, length: int) -> frozenset[int]:
        """The best of a list, by place."""
        value = self._value(row, "best")
        policies = self._value(row, "policies")
        names = [name_of(p) for p in policies] if isinstance(policies, list) else []
        best = best_places(value, length, [str(s.path) for s in self.mapping.all("responses")], names)
        if best is None:
            raise RowError(f'"{self.mapping.get("best").path}" names no response, as {_shown(value)}')  # type: ignore[union-attr]
        return best

    def of_one(self, row: Row) -> list[Judged]:
        """A rank or ratings of one response; rows of one prompt and annotator are one judgement."""
        group = name_of(self._value(row, "group")) or ""
        judgements = self._of_people(row)
        rank = self._number(row, "rank")
        rating = None if isinstance(self._value(row, "rating"), list) else self._number(row, "rating")
        if rank is not None:
            judgements.append(self.made(row, "ranking", [(0, rank, rating)]))
        elif rating is not None:
            judgements.append(self.made(row, "rating", [(0, None, rating)]))
        if (said := self.mapping.get("label")) is not None:
            label = self._value(row, "label")
            truth = truth_of(label)
            if truth is not None:
                judgements.append(self.made(row, "rating", [(0, None, float(truth))]))
            elif not missing(label):
                raise RowError(f'"{said.path}" is neither true nor false, as {_shown(label)}')
        for name, many in self.mapping.under("criterion").items():
            value = value_at(row, many[0].path.steps)
            number = None if isinstance(value, list) else self.number(value, str(many[0].path))
            if number is not None:
                judgements.append(self.made(row, "rating", [(0, None, number)], name))
        for judged in judgements:
            judged.group = group
        return judgements

    def _of_people(self, row: Row) -> list[Judged]:
        """The ratings of one response where each is a list: the first of the first annotator, and so on."""
        lists: list[tuple[str | None, Any, str]] = [(None, self._value(row, "rating"), "rating")]
        for name, many in self.mapping.under("criterion").items():
            lists.append((name, value_at(row, many[0].path.steps), str(many[0].path)))
        judgements = []
        for criterion, values, column in lists:
            for place, value in enumerate(values if isinstance(values, list) else (), 1):
                number = self.number(value, column)
                if number is not None:
                    judged = self.made(row, "rating", [(0, None, number)], criterion)
                    judged.annotator = f"{judged.annotator} {place}"
                    judgements.append(judged)
        return judgements

    # --- values ------------------------------------------------------------------------------------------

    def number(self, value: Any, column: str) -> float | None:
        """A number among others, which need not all be there; what is no number is counted as not kept."""
        number = number_of(value)
        if number is None and not missing(value):
            self.dropped[f'values of "{column}" that are no numbers and are not kept'] += 1
        return number

    def _number(self, row: Row, role: str) -> float | None:
        """A number; RowError where there is something else than a number or a missing one."""
        value = self._value(row, role)
        if value is None:
            return None
        number = number_of(value)
        if number is None and not missing(value):
            raise RowError(f'"{self.mapping.get(role).path}" is not a number, as {_shown(value)}')  # type: ignore[union-attr]
        return number

    def _list(self, row: Row, role: str, length: int) -> list[float | None] | None:
        return self._numbers(self._value(row, role), role, length)

    def _numbers(self, value: Any, role: str, length: int) -> list[float | None] | None:
        if isinstance(value, str) and not missing(value):
            value = parsed(value) if parsed(value) is not None else order_of(value, length)
            if value is None:
                raise RowError(f"the order of the {length} responses cannot be read from {role}")
        if missing(value):
            return None
        if not isinstance(value, list):
            raise RowError(f"{role} is not a list")
        if len(value) != length:
            raise RowError(f"it has {counted(length, 'response')} and {len(value)} in {role}")
        numbers = [self.number(v, role) for v in value]
        return numbers if any(n is not None for n in numbers) else None


def _shown(value: Any) -> str:
    return f'"{clean_text(value)[:30]}"' if isinstance(value, str) else clean_text(str(value))[:30]
