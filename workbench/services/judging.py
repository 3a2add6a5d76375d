"""Judgements of people and of rules: what to judge next, recording it, taking it back.

A judgement is committed before `record` returns.  Judgements are append-only: undo adds a retraction.
"""

from __future__ import annotations

import math
import random
from collections.abc import Callable, Collection, Mapping
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime
from typing import Literal

from engine.errors import UsageError
from engine.protocol.suggest import did_you_mean
from storage import judgements, prompts, responses
from storage.records import JudgedItem, JudgementRow, NewJudgement
from storage.store import Store
from workbench.services.label_queue import Informed, LabelQueue
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
    """Ranks of an earlier judgement of the same responses, by response id; empty otherwise."""
    supersedes: str | None = None
    """The standing judgement that recording this item replaces."""
    flagged: bool = False
    note: str = ""
    """Flag and note of the earlier judgement, with `previous`."""


@dataclass(frozen=True)
class Pace:
    """How far an annotator has come."""

    done: int
    remaining: int
    """Prompts (rank mode) or pairs (pair mode) that still wait."""
    today: int
    """Done since midnight, local time."""
    per_hour: float | None
    """From the seconds that recent judgements took; None before the first."""


class Judging:
    """Judgements on one store.  `informed` tells the queue what would be learned from a judgement."""

    def __init__(self, store: Store, informed: Informed | None = None) -> None:
        self.store = store
        self.queue = LabelQueue(store, informed)

    def next_item(
        self,
        annotator: str,
        *,
        mode: Mode = "rank",
        criterion: str = "overall",
        order: str | None = None,
        seed: int | None = None,
        exclude: Collection[str] = (),
    ) -> RankItem | None:
        """What `annotator` should judge next, None when nothing waits.

        Rank mode gives a prompt with up to nine of its responses, those first that the annotator has not
        seen; pair mode two responses of a prompt that the annotator has not compared.  `exclude` holds
        prompt ids.  `order` is one of `label_queue.ORDERS`, else the remembered one; where the live model
        cannot tell, the oldest comes.  The letters are always given at random; a `seed` fixes them, and
        the order of prompts where that is random or not given.
        """
        if order is None:
            order = self.queue.order if seed is None else "random"
        if mode == "pair":
            pairs = self.queue.pairs(annotator, order, criterion=criterion, seed=seed, exclude=exclude)
            if not pairs:
                return None
            pair = pairs[0]
            only = (pair.response_a, pair.response_b)
            return self._item(pair.prompt_id, annotator, "pair", criterion, seed, only=only)
        waiting = self.queue.prompts(annotator, order, criterion=criterion, seed=seed, exclude=exclude)
        return self._item(waiting[0], annotator, "rank", criterion, seed) if waiting else None

    def item(
        self, prompt_id: str, annotator: str, *, mode: Mode = "rank", criterion: str = "overall"
    ) -> RankItem | None:
        """A given prompt to judge, again if need be; None with fewer than two responses.

        A ranking of the same responses that stands comes along in `previous` and is replaced by recording.
        """
        item = self._item(prompt_id, annotator, mode, criterion, None)
        if len(item.responses) < 2:
            return None
        shown = {candidate.response_id for candidate in item.responses}
        for earlier in reversed(judgements.standing(self.store, prompt_id, annotator, criterion)):
            if {entry.response_id for entry in earlier.items} == shown:
                return replace(
                    item,
                    previous=_ranks(earlier),
                    supersedes=earlier.judgement_id,
                    flagged=earlier.flagged,
                    note=earlier.note or "",
                )
        return item

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
        kind = "pair" if item.mode == "pair" else "ranking"
        items = _ranked(item, ranks)
        return self._store(item, annotator, kind, items, criterion, seconds, flagged, note)

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
        shown = tuple(JudgedItem(c.response_id, position=place) for place, c in enumerate(item.responses))
        return self._store(item, annotator, "skip", shown, criterion, seconds, flagged, note, reason)

    def undo(self, annotator: str) -> RankItem | None:
        """Take back the annotator's last judgement or skip and give its item again, None without one.

        The item stands in the order of that time, with the ranks in `previous`, its flag and its note.
        """
        last = judgements.last_standing(self.store, annotator)
        if last is None:
            return None
        messages = prompts.messages(self.store, last.prompt_id)
        texts = {row.response_id: row.text for row in responses.of_prompt(self.store, last.prompt_id)}
        judgements.retract(self.store, last.judgement_id, reason="undo")
        return RankItem(
            prompt_id=last.prompt_id,
            messages=messages,
            responses=tuple(Candidate(entry.response_id, texts[entry.response_id]) for entry in last.items),
            mode="pair" if last.kind == "pair" or len(last.items) == 2 else "rank",
            criterion=last.criterion,
            previous=_ranks(last),
            flagged=last.flagged,
            note=last.note or "",
        )

    def pace(self, annotator: str, *, mode: Mode = "rank", criterion: str = "overall") -> Pace:
        """How many judgements are done and wait, and how fast the recent ones went."""
        midnight = datetime.now().astimezone().replace(hour=0, minute=0, second=0, microsecond=0)
        since = midnight.astimezone(UTC).replace(tzinfo=None)
        counts = judgements.pace(self.store, annotator, mode=mode, criterion=criterion, since=since)
        return Pace(counts.done, counts.remaining, counts.today, counts.per_hour)

    def rules(self) -> Mapping[str, Rule]:
        """The rule annotators by name, without the prefix `rule:`."""
        return RULES

    def apply_rule(
        self,
        rule: str,
        *,
        criterion: str = "overall",
        only: Collection[str] | None = None,
        on_progress: Callable[[int, int], None] | None = None,
    ) -> int:
        """Let a rule rank all responses of every prompt that has two or more; the number of new judgements.

        Prompts that the rule has already judged with the same responses are left alone; where responses came
        since, a new ranking supersedes the old one.  `only` limits it to these prompt ids; `on_progress`
        hears (prompts done, prompts in all).  Raises `UsageError` for an unknown rule.
        """
        name = rule.removeprefix(PREFIX)
        if name not in RULES:
            raise UsageError(f"There is no rule “{rule}”. {did_you_mean(name, RULES)}")
        waiting = judgements.prompts_to_rank(self.store, PREFIX + name, criterion, limit=None)
        if only is not None:
            waiting = [prompt_id for prompt_id in waiting if prompt_id in set(only)]
        for start in range(0, len(waiting), RULE_BATCH):
            batch = waiting[start : start + RULE_BATCH]
            judgements.record_many(
                self.store, [self._judge(RULES[name], name, prompt_id, criterion) for prompt_id in batch]
            )
            if on_progress is not None:
                on_progress(start + len(batch), len(waiting))
        return len(waiting)

    def _item(
        self,
        prompt_id: str,
        annotator: str,
        mode: Mode,
        criterion: str,
        seed: int | None,
        *,
        only: Collection[str] | None = None,
    ) -> RankItem:
        found = judgements.candidates(self.store, prompt_id, annotator, criterion)
        found = [entry for entry in found if only is None or entry.response_id in only]
        shuffler = random.Random() if seed is None else random.Random(f"{seed} {annotator} {prompt_id}")
        shuffler.shuffle(found)
        # Where there are too many, those that the annotator has not seen come first.
        kept = sorted(found, key=lambda entry: entry.seen)[: 2 if mode == "pair" else MAX_RESPONSES]
        shown = [Candidate(entry.response_id, entry.text) for entry in found if entry in kept]
        return RankItem(prompt_id, prompts.messages(self.store, prompt_id), tuple(shown), mode, criterion)

    def _store(
        self,
        item: RankItem,
        annotator: str,
        kind: str,
        items: tuple[JudgedItem, ...],
        criterion: str | None,
        seconds: float | None,
        flagged: bool,
        note: str | None,
        reason: str | None = None,
    ) -> str:
        judgement = NewJudgement(
            prompt_id=item.prompt_id,
            annotator=annotator,
            kind=kind,
            items=items,
            criterion=criterion or item.criterion,
            seconds=seconds,
            flagged=flagged,
            note=note or None,
            reason=reason,
            supersedes=item.supersedes,
        )
        return judgements.record(self.store, judgement)

    def _judge(self, rule: Rule, name: str, prompt_id: str, criterion: str) -> NewJudgement:
        """The rule's ranking of all responses to a prompt, replacing the one that stands."""
        annotator = PREFIX + name
        prompt = prompts.shown_text(prompts.messages(self.store, prompt_id))
        found = judgements.candidates(self.store, prompt_id, annotator, criterion)
        values = [_value(rule, name, prompt, entry.text) for entry in found]
        levels = sorted(set(values), reverse=True)
        earlier = judgements.standing(self.store, prompt_id, annotator, criterion)
        return NewJudgement(
            prompt_id=prompt_id,
            annotator=annotator,
            kind="ranking",
            items=tuple(
                JudgedItem(entry.response_id, rank=levels.index(value) + 1)
                for entry, value in zip(found, values, strict=True)
            ),
            criterion=criterion,
            supersedes=earlier[-1].judgement_id if earlier else None,
        )


def _value(rule: Rule, name: str, prompt: str, text: str) -> float:
    """What the rule says of a response.  Raises UsageError when it fails or gives no number."""
    try:
        value = float(rule(prompt, text))
    except (Exception, SystemExit) as error:  # a plugin's own code may raise anything
        reason = str(error).strip().split("\n", 1)[0]
        raise UsageError(f"The rule “{name}” failed ({type(error).__name__}: {reason}).") from error
    if math.isnan(value):
        raise UsageError(f"The rule “{name}” gave no number for a response.")
    return value


def _ranks(judgement: JudgementRow) -> dict[str, int]:
    return {entry.response_id: entry.rank for entry in judgement.items if entry.rank is not None}


def _ranked(item: RankItem, ranks: Mapping[str, int]) -> tuple[JudgedItem, ...]:
    """The responses with dense ranks and their positions on the screen."""
    missing = [letter(place) for place, c in enumerate(item.responses) if c.response_id not in ranks]
    if missing:
        raise UsageError(f"Every response needs a rank; {', '.join(missing)} has none yet.")
    levels = sorted({ranks[candidate.response_id] for candidate in item.responses})
    return tuple(
        JudgedItem(c.response_id, rank=levels.index(ranks[c.response_id]) + 1, position=place)
        for place, c in enumerate(item.responses)
    )
