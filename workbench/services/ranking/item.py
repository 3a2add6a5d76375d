"""What an annotator meets: a prompt and its responses, with what has been said of them already."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

from engine.errors import UsageError
from storage.ids import random_id
from storage.records import JudgedItem, JudgementRow, NewJudgement
from workbench.services.ranking.draft import LETTERS, Draft, Mode
from workbench.services.ranking.sorting import answers_for

EMPTY = Draft()
MOST_SORTED = 26
"""Responses that are put in order pair by pair; more would be a morning's work."""
MODE_OF: Mapping[str, Mode] = {
    "pair": "pair",
    "partial": "best",
    "best_of": "best",
    "best_worst": "best_worst",
    "rating": "rate",
}
"""How a judgement of a kind is made; every other is a ranking."""


def way_of(kind: str, count: int) -> Mode:
    """How a judgement of a kind of so many responses is made, and made again."""
    if kind == "ranking" and count > len(LETTERS):
        return "sort"
    return MODE_OF.get(kind, "rank")


def letter(position: int) -> str:
    """What stands before the response at `position` on the screen: A, B, … Z, AA, …"""
    text = ""
    position += 1
    while position:
        position, digit = divmod(position - 1, 26)
        text = chr(ord("A") + digit) + text
    return text


@dataclass(frozen=True)
class Candidate:
    """A response as the annotator meets it: no policy name."""

    response_id: str
    text: str


@dataclass(frozen=True)
class RankItem:
    """One prompt with the responses to judge, in the order of the screen."""

    prompt_id: str
    messages: list[dict[str, str]]
    responses: tuple[Candidate, ...]
    mode: Mode = "rank"
    criterion: str = "overall"
    previous: Mapping[str, int] = field(default_factory=dict)
    """Ranks of an earlier judgement of the same responses, by response id; empty otherwise."""
    supersedes: Mapping[str, str] = field(default_factory=dict)
    """By criterion, the standing judgement that recording this item replaces."""
    assignment: str | None = None
    """The entry of a project's queue that recording this item answers."""
    draft: Draft = EMPTY
    """What stands there already: what was begun, an earlier judgement, or nothing."""

    def shown(self, draft: Draft) -> list[Candidate]:
        """The responses that a draft wants to be seen, in the order of the screen."""
        of = {candidate.response_id: candidate for candidate in self.responses}
        return [of[key] for key in draft.on_screen]


def draft_of(made: Sequence[JudgementRow], mode: Mode, shown: tuple[str, ...]) -> Draft:
    """What was said, as a draft that can be changed; the rest of a partial judgement is left open again."""
    last = made[-1]
    ranks = ranks_of(last)
    open_rank = {"partial": max(ranks.values(), default=0), "best_of": 2, "best_worst": 2}.get(last.kind)
    ratings = tuple(
        (judgement.criterion, entry.response_id, int(entry.rating))
        for judgement in made
        for entry in judgement.items
        if judgement.kind == "rating" and entry.rating is not None
    )
    draft = Draft.of(shown, {key: rank for key, rank in ranks.items() if rank != open_rank}, mode)
    return replace(
        draft,
        flagged=last.flagged,
        note=last.note or "",
        confidence=last.confidence,
        strength=last.strength if last.kind == "pair" else None,
        outcome=last.outcome,
        ratings=ratings,
        seconds=sum(judgement.seconds or 0.0 for judgement in made),
        answers=answers_for(shown, ranks) if mode == "sort" else (),
        placed=() if mode == "sort" else draft.placed,
        spans=tuple(span for judgement in made for span in judgement.spans),
    )


def kept_assignment(content: Mapping[str, Any] | None) -> str | None:
    """The entry of a queue that a kept draft belongs to."""
    assignment = None if content is None else content.get("assignment")
    return assignment if isinstance(assignment, str) else None


def ranks_of(judgement: JudgementRow) -> dict[str, int]:
    """Rank by response id, 1 best; responses that were shown and not ranked are missing."""
    return {entry.response_id: entry.rank for entry in judgement.items if entry.rank is not None}


def ranked(item: RankItem, ranks: Mapping[str, int]) -> tuple[JudgedItem, ...]:
    """The responses with dense ranks and their positions on the screen."""
    missing = [letter(place) for place, c in enumerate(item.responses) if c.response_id not in ranks]
    if missing:
        raise UsageError(f"Every response needs a rank; without one: {', '.join(missing)}.")
    levels = sorted({ranks[candidate.response_id] for candidate in item.responses})
    return tuple(
        JudgedItem(c.response_id, rank=levels.index(ranks[c.response_id]) + 1, position=place)
        for place, c in enumerate(item.responses)
    )


def said_of(item: RankItem, annotator: str, draft: Draft, seconds: float | None) -> list[NewJudgement]:
    """What a complete draft says, one judgement a criterion; their seconds add up.

    Raises `UsageError` for a draft that is not complete.
    """
    if not draft.complete:
        raise UsageError(f"Every response needs a place; without one: {', '.join(draft.left)}.")
    verdict = draft.verdict()
    place = {c.response_id: position for position, c in enumerate(item.responses)}
    by_criterion: dict[str, Mapping[str, JudgedItem]] = {
        name: {key: JudgedItem(key, rating=float(v), position=place[key]) for key, v in values.items()}
        for name, values in verdict.ratings.items()
    } or {
        item.criterion: {
            key: JudgedItem(key, rank=rank, position=place[key]) for key, rank in verdict.ranks.items()
        }
    }
    sitting = random_id("t") if len(by_criterion) > 1 else None
    return [
        NewJudgement(
            prompt_id=item.prompt_id,
            annotator=annotator,
            kind=verdict.kind,
            items=tuple(items[c.response_id] for c in item.responses),
            criterion=criterion,
            seconds=None if seconds is None else seconds / len(by_criterion),
            flagged=draft.flagged,
            note=draft.note or None,
            supersedes=item.supersedes.get(criterion),
            strength=verdict.strength,
            outcome=verdict.outcome,
            confidence=verdict.confidence,
            sitting=sitting,
            assignment_id=item.assignment,
            spans=draft.spans if place_of == 0 else (),
        )
        for place_of, (criterion, items) in enumerate(by_criterion.items())
    ]
