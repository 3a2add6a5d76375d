"""Judgements of people and of rules: what to judge next, recording it, taking it back.

A judgement is committed before `record` returns.  Judgements are append-only: undo adds a retraction.
"""

from __future__ import annotations

import random
from collections.abc import Callable, Collection, Mapping
from dataclasses import dataclass, field
from typing import Literal

from engine.errors import UsageError
from engine.protocol.suggest import did_you_mean
from storage import judgements, prompts
from storage.store import Store
from workbench.services.rules import PREFIX, RULES, Rule

Mode = Literal["rank", "pair"]
MAX_RESPONSES = 9  # the letters A to I; more cannot be held in mind, nor on a screen
RULE_BATCH = 500
"""Judgements of a rule written in one transaction."""


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
    """Ranks of a judgement that was taken back, by response id; empty otherwise."""


@dataclass(frozen=True)
class Pace:
    """How far an annotator has come."""

    done: int
    remaining: int
    """Prompts (rank mode) or pairs (pair mode) that still wait."""
    today: int
    per_hour: float | None
    """From the seconds that recent judgements took; None before the first."""


class Judging:
    """Judgements on one store."""

    def __init__(self, store: Store) -> None:
        self.store = store

    def next_item(
        self,
        annotator: str,
        *,
        mode: Mode = "rank",
        criterion: str = "overall",
        seed: int | None = None,
        exclude: Collection[str] = (),
    ) -> RankItem | None:
        """What `annotator` should judge next, None when nothing waits.

        Rank mode gives a prompt with up to nine of its responses, those first that the annotator has not judged;
        pair mode two responses of a prompt that the annotator has not compared.  `exclude` holds prompt ids.
        The order is random; with a `seed` the same item comes in the same order again.
        """
        waiting = judgements.next_prompt if mode == "rank" else judgements.next_pair
        found = waiting(self.store, annotator=annotator, criterion=criterion, exclude=tuple(exclude))
        if found is None:
            return None
        prompt_id, responses = found
        candidates = [Candidate(response.response_id, response.text) for response in responses]
        candidates = candidates[: MAX_RESPONSES if mode == "rank" else 2]
        shuffler = random.Random() if seed is None else random.Random(f"{seed} {annotator} {prompt_id}")
        shuffler.shuffle(candidates)
        messages = prompts.messages(self.store, prompt_id)
        return RankItem(prompt_id, messages, tuple(candidates), mode, criterion)

    def record(
        self,
        item: RankItem,
        annotator: str,
        ranks: Mapping[str, int],
        *,
        seconds: float | None,
        flagged: bool = False,
        note: str | None = None,
        criterion: str | None = None,
    ) -> str:
        """Store a ranking (1 is best, equal ranks are ties); on disk when this returns the judgement's id.

        Ranks are stored dense: 1, 1, 3 becomes 1, 1, 2.  Raises `UsageError` for a response without rank,
        `StoreError` when it could not be written.
        """
        return judgements.record(
            self.store,
            prompt_id=item.prompt_id,
            annotator=annotator,
            kind="pair" if item.mode == "pair" else "ranking",
            criterion=criterion or item.criterion,
            items=_ranked(item, ranks),
            seconds=seconds,
            flagged=flagged,
            note=note,
        )

    def skip(
        self,
        item: RankItem,
        annotator: str,
        reason: str,
        *,
        seconds: float | None,
        flagged: bool = False,
        note: str | None = None,
        criterion: str | None = None,
    ) -> str:
        """Store that the annotator would not judge these responses, so that they do not come again."""
        return judgements.record(
            self.store,
            prompt_id=item.prompt_id,
            annotator=annotator,
            kind="skip",
            criterion=criterion or item.criterion,
            items=[(candidate.response_id, None, place) for place, candidate in enumerate(item.responses)],
            seconds=seconds,
            reason=reason,
            flagged=flagged,
            note=note,
        )

    def undo(self, annotator: str) -> RankItem | None:
        """Take back the annotator's last judgement or skip and give its item again, None without one.

        The item stands in the order of that time, with the ranks in `previous`.
        """
        last = judgements.last_of(self.store, annotator)
        if last is None:
            return None
        judgements.retract(self.store, last.judgement_id)
        items = sorted(last.items, key=lambda entry: entry.position or 0)
        return RankItem(
            prompt_id=last.prompt_id,
            messages=prompts.messages(self.store, last.prompt_id),
            responses=tuple(Candidate(entry.response_id, entry.text) for entry in items),
            mode="pair" if last.kind == "pair" else "rank",
            criterion=last.criterion,
            previous={entry.response_id: entry.rank for entry in items if entry.rank is not None},
        )

    def pace(self, annotator: str, *, mode: Mode = "rank", criterion: str = "overall") -> Pace:
        """How many judgements are done and wait, and how fast the recent ones went."""
        return Pace(**judgements.pace(self.store, annotator=annotator, mode=mode, criterion=criterion))

    def rules(self) -> Mapping[str, Rule]:
        """The rule annotators by name, without the prefix `rule:`."""
        return RULES

    def apply_rule(
        self,
        rule: str,
        *,
        criterion: str = "overall",
        on_progress: Callable[[int, int], None] | None = None,
    ) -> int:
        """Let a rule rank all responses of every prompt that has two or more; the number of new judgements.

        Prompts that the rule has already judged with the same responses are left alone; where responses came
        since, a new ranking supersedes the old one.  `on_progress` hears (prompts done, prompts in all).
        Raises `UsageError` for an unknown rule.
        """
        name = rule.removeprefix(PREFIX)
        if name not in RULES:
            raise UsageError(f"There is no rule “{rule}”. {did_you_mean(name, RULES)}")
        annotator = PREFIX + name
        waiting = judgements.unjudged_sets(self.store, annotator=annotator, criterion=criterion)
        for start in range(0, len(waiting), RULE_BATCH):
            batch = waiting[start : start + RULE_BATCH]
            with self.store.transaction():
                judgements.record_many(
                    self.store,
                    annotator=annotator,
                    annotator_kind="rule",
                    criterion=criterion,
                    rankings=[_judge(self.store, RULES[name], entry) for entry in batch],
                )
            if on_progress is not None:
                on_progress(min(start + RULE_BATCH, len(waiting)), len(waiting))
        return len(waiting)


def _ranked(item: RankItem, ranks: Mapping[str, int]) -> list[tuple[str, int | None, int]]:
    """(response id, dense rank, position on the screen) of each response."""
    missing = [letter(place) for place, c in enumerate(item.responses) if c.response_id not in ranks]
    if missing:
        raise UsageError(f"Every response needs a rank; {', '.join(missing)} has none yet.")
    levels = sorted({ranks[candidate.response_id] for candidate in item.responses})
    return [
        (candidate.response_id, levels.index(ranks[candidate.response_id]) + 1, place)
        for place, candidate in enumerate(item.responses)
    ]
