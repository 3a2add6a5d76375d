"""A judgement while it is being made: a frozen value, every key makes a new one.

One item can be judged in several ways (`MODES`): what each needs to be complete, and what it says then.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import cached_property
from typing import Any, Literal, get_args

from engine.wording import counted
from storage.records import Span
from workbench.services.ranking.sorting import Answer, Sorting, sorting

Mode = Literal["rank", "best", "pair", "best_worst", "rate", "sort"]
MODES: Mapping[Mode, str] = {
    "rank": "Rankings",
    "best": "Best few",
    "pair": "Pairs",
    "best_worst": "Best and worst",
    "rate": "Ratings",
    "sort": "Pairs that sort",
}
LETTERS = "ABCDEFGHI"
CONFIDENCE = {1: "a guess", 2: "fairly sure", 3: "certain"}
STRENGTHS = {1.0: "slightly", 2.0: "clearly", 3.0: "much"}
BOTH_BAD = "both_bad"
BEST, MIDDLE, WORST = 1, 2, 3
"""Ranks of a best–worst judgement."""


@dataclass(frozen=True)
class DraftVerdict:
    """What a complete draft says: one row of judgements a criterion."""

    kind: str
    """ranking, partial, pair, best_worst or rating."""
    ranks: Mapping[str, int] = field(default_factory=dict)
    """By response id, 1 the best, without gaps; empty for ratings."""
    ratings: Mapping[str, Mapping[str, int]] = field(default_factory=dict)
    """By criterion, by response id."""
    strength: float | None = None
    outcome: str | None = None
    confidence: int | None = None


@dataclass(frozen=True)
class Draft:
    """Where the responses of one item stand so far."""

    responses: tuple[str, ...] = ()
    """Response ids in the order of the screen: the first has the letter A."""
    placed: tuple[tuple[str, int], ...] = ()
    """(response id, rank) in the order in which they were placed; rank 1 is best."""
    tie_next: bool = False
    """The next response placed by its letter ties with the one placed last."""
    mode: Mode = "rank"
    flagged: bool = False
    note: str = ""
    confidence: int | None = None
    strength: float | None = None
    outcome: str | None = None
    ratings: tuple[tuple[str, str, int], ...] = ()
    """(criterion, response id, value)."""
    criteria: tuple[str, ...] = ()
    """What is rated, in order."""
    answers: tuple[Answer, ...] = ()
    """Of pairs that sort: what was compared, in order."""
    spans: tuple[Span, ...] = ()
    """What is written on passages."""
    seconds: float = 0.0
    """How long the person has looked already, pauses left out."""

    @classmethod
    def of(
        cls, responses: tuple[str, ...], previous: Mapping[str, int] | None = None, mode: Mode = "rank"
    ) -> Draft:
        """An empty draft, or the ranks of a judgement that was taken back."""
        known = {key: rank for key, rank in (previous or {}).items() if key in responses}
        return cls(responses, tuple(sorted(known.items(), key=lambda entry: entry[1])), mode=mode)

    # -- as it is kept ------------------------------

    def content(self) -> dict[str, Any]:
        """Plain values for a store; `read` makes the same draft of them."""
        return {
            "responses": list(self.responses),
            "placed": [list(entry) for entry in self.placed],
            "ratings": [list(entry) for entry in self.ratings],
            "answers": [list(answer) for answer in self.answers],
            "spans": [[s.response_id, s.begins, s.ends, s.comment] for s in self.spans],
            **{
                name: getattr(self, name)
                for name in ("tie_next", "flagged", "note", "confidence", "strength", "outcome", "seconds")
            },
        }

    @classmethod
    def read(cls, mode: str, content: Mapping[str, Any], responses: Sequence[str]) -> Draft | None:
        """The draft of `content`; None when it is about other responses than these, or cannot be read."""
        known = {"tie_next", "flagged", "note", "confidence", "strength", "outcome", "seconds"}
        if mode not in get_args(Mode) or set(content.get("responses", ())) != set(responses):
            return None
        return cls(
            tuple(content["responses"]),
            tuple((str(key), int(rank)) for key, rank in content.get("placed", ()) if key in responses),
            mode=mode,  # type: ignore[arg-type]
            ratings=tuple(
                (str(name), str(key), int(value)) for name, key, value in content.get("ratings", ())
            ),
            answers=tuple(
                (str(first), str(second), int(verdict))
                for first, second, verdict in content.get("answers", ())
                if first in responses and second in responses
            ),
            spans=read_spans(content.get("spans", ()), responses),
            **{name: value for name, value in content.items() if name in known},
        )

    @property
    def begun(self) -> bool:
        """Whether there is anything that a person would miss."""
        said = self.placed or self.ratings or self.answers
        return bool(said or self.note or self.flagged or self.confidence or self.spans)

    # -- reading it ------------------------------

    def rank(self, response: str) -> int | None:
        """Rank as typed, None while it is not placed."""
        return dict(self.placed).get(response)

    def rating(self, criterion: str, response: str) -> int | None:
        """What a response is rated by a criterion; None while it is not."""
        return next((v for name, key, v in self.ratings if (name, key) == (criterion, response)), None)

    @property
    def implied(self) -> str | None:
        """In a ranking, the one response that is left: its place is the last, or beside it after `=`.

        None too where the ranks leave open a place before the last, as digits can.
        """
        left = [key for key in self.responses if self.rank(key) is None]
        if self.mode not in ("rank", "best") or len(left) != 1 or not self.placed:
            return None
        ranks = sorted(rank for _, rank in self.placed)
        dense = {rank: place for place, rank in enumerate(sorted(set(ranks)), 1)}
        open_before = any(rank > dense[rank] and rank > place for place, rank in enumerate(ranks, 1))
        return None if open_before else left[0]

    @property
    def complete(self) -> bool:
        """Whether ⏎ can record it."""
        if not self.responses:
            return False
        placed = len(self.placed) + (self.implied is not None)
        match self.mode:
            case "best":
                return bool(self.placed)
            case "best_worst":
                return len(self.placed) == 2
            case "sort":
                return self.sorting.question is None
            case "rate":
                return bool(self.criteria) and len(self.ratings) == len(self.criteria) * len(self.responses)
        return placed == len(self.responses)

    @cached_property
    def sorting(self) -> Sorting:
        """Of pairs that sort: what to compare next, or the order."""
        return sorting(self.responses, self.answers)

    @property
    def on_screen(self) -> tuple[str, ...]:
        """Responses that are seen: all, or the two that are compared next, and in the end the first two."""
        if self.mode != "sort":
            return self.responses
        order = [key for group in self.sorting.groups for key in group]
        return self.sorting.question or (order[0], order[1])

    def answer(self, verdict: int) -> Draft:
        """Pairs that sort: the first of the two is better (1), the second is (−1), they are equal (0)."""
        question = self.sorting.question
        return self if question is None else replace(self, answers=(*self.answers, (*question, verdict)))

    @property
    def left(self) -> tuple[str, ...]:
        """Letters that are not placed yet."""
        placed = dict(self.placed)
        return tuple(self.letter(key) for key in self.responses if key not in placed)

    def letter(self, response: str) -> str:
        """The letter that stands on a response's card."""
        place = self.responses.index(response)
        return LETTERS[place] if place < len(LETTERS) else str(place + 1)

    # -- placing ------------------------------

    def place_next(self, response: str) -> Draft:
        """Put an unplaced response behind all others, or beside the last one after `=`."""
        if self.mode == "best_worst":
            return self._best_or_worst(response)
        if self.rank(response) is not None:
            return replace(self, tie_next=False)
        return self._with(response, self._next_rank())

    def _next_rank(self) -> int:
        last = self.placed[-1][1] if self.placed else 0
        return (
            last if self.tie_next and self.placed else max((rank for _, rank in self.placed), default=0) + 1
        )

    def _best_or_worst(self, response: str) -> Draft:
        """The first letter is the best, the next the worst; a third begins anew."""
        if len(self.placed) == 1 and self.placed[0][0] != response:
            return self._with(response, WORST)
        return replace(self, placed=((response, BEST),), tie_next=False)

    def _with(self, response: str, rank: int) -> Draft:
        rest = tuple(entry for entry in self.placed if entry[0] != response)
        return replace(self, placed=(*rest, (response, rank)), tie_next=False)

    def place(self, response: str, rank: int) -> Draft:
        """Put a response at `rank`, wherever it stood before."""
        return self._with(response, rank)

    def remove(self, response: str) -> Draft:
        """Without this response's place and ratings."""
        return replace(
            self,
            placed=tuple(entry for entry in self.placed if entry[0] != response),
            ratings=tuple(entry for entry in self.ratings if entry[1] != response),
            tie_next=False,
        )

    def take_back(self) -> Draft:
        """Without what was placed last; first drops a pending tie."""
        if self.mode == "rate":
            return replace(self, ratings=self.ratings[:-1])
        if self.mode == "sort":
            return replace(self, answers=self.answers[:-1])
        return replace(self, tie_next=False) if self.tie_next else replace(self, placed=self.placed[:-1])

    def tie(self) -> Draft:
        """The next letter ties with the last; pressed again, it does not."""
        return replace(self, tie_next=bool(self.placed) and not self.tie_next)

    def prefer(self, better: int | None, strength: float | None = None, outcome: str | None = None) -> Draft:
        """A pair's verdict: which of the two (0, 1) is better, by how much; None is a tie."""
        ranks = (1, 1) if better is None else (1, 2) if better == 0 else (2, 1)
        placed = tuple(sorted(zip(self.responses, ranks, strict=True), key=lambda entry: entry[1]))
        return replace(self, placed=placed, strength=strength, outcome=outcome)

    def rate(self, criterion: str, response: str, value: int) -> Draft:
        """The draft with one rating set; an earlier one of the same criterion gives way."""
        rest = tuple(entry for entry in self.ratings if entry[:2] != (criterion, response))
        return replace(self, ratings=(*rest, (criterion, response, value)))

    # -- what it says ------------------------------

    def ranks(self) -> dict[str, int]:
        """Ranks without gaps: the best is 1, equal stay equal, the last place is implied."""
        if self.mode == "sort":
            return {key: rank for rank, group in enumerate(self.sorting.groups, 1) for key in group}
        known = dict(self.placed)
        if (left := self.implied) is not None:
            known[left] = self._next_rank()
        return _dense(known)

    def verdict(self) -> DraftVerdict:
        """What is recorded; only of a complete draft."""
        if self.mode == "rate":
            ratings: dict[str, dict[str, int]] = {name: {} for name in self.criteria}
            for name, response, value in self.ratings:
                ratings.setdefault(name, {})[response] = value
            return DraftVerdict("rating", ratings=ratings, confidence=self.confidence)
        kind, ranks = {"pair": "pair", "best_worst": "best_worst"}.get(self.mode, "ranking"), self.ranks()
        if self.mode == "best_worst":
            ranks = {key: self.rank(key) or MIDDLE for key in self.responses}
            if len(self.responses) == 2:
                kind, ranks = "ranking", _dense(ranks)
        elif len(ranks) < len(self.responses):
            kind = "partial"
            ranks = {key: ranks.get(key, max(ranks.values()) + 1) for key in self.responses}
        return DraftVerdict(kind, ranks, {}, self.strength, self.outcome, self.confidence)

    def order(self, names: Mapping[str, str] | None = None) -> str:
        """`B > A = C`, best first, ties in the order of the letters; with `names` those by response id."""
        groups: dict[int, list[tuple[str, str]]] = {}
        for response, rank in self.placed:
            letter = self.letter(response)
            name = letter if names is None else names.get(response, "?")
            groups.setdefault(rank, []).append((letter, name))
        return " > ".join(" = ".join(name for _, name in sorted(groups[rank])) for rank in sorted(groups))

    def said(self) -> str:
        """The verdict as a person reads it: `B > A = C > D`, `A, B > the rest`, `both bad`."""
        if self.mode == "rate":
            return counted(len(self.ratings), "rating")
        if self.mode == "sort":
            return f"{counted(len(self.responses), 'response')} in order"
        if self.outcome == BOTH_BAD:
            return "both bad"
        if (left := self.implied) is not None:
            return replace(self._with(left, self._next_rank()), mode=self.mode).order()
        if self.mode == "best_worst" and len(self.responses) > 2 and len(self.placed) == 2:
            best, worst = (self.letter(key) for key, _ in self.placed)
            return f"{best} best, {worst} worst"
        rest = " > the rest" if self.mode == "best" and self.left else ""
        by = f" {STRENGTHS[self.strength]}" if self.strength in (1.0, 3.0) else ""
        return self.order() + by + rest


def read_spans(values: Sequence[Sequence[Any]], responses: Sequence[str]) -> tuple[Span, ...]:
    """Comments on passages from plain values; those on other responses than these are left out."""
    read = (Span(str(key), int(begins), int(ends), str(comment)) for key, begins, ends, comment in values)
    return tuple(span for span in read if span.response_id in responses and 0 <= span.begins < span.ends)


def _dense(ranks: Mapping[str, int]) -> dict[str, int]:
    levels = {rank: place for place, rank in enumerate(sorted(set(ranks.values())), 1)}
    return {response: levels[rank] for response, rank in ranks.items()}
