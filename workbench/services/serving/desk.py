"""One store, many annotators: who is given what, for how long, and what comes back from whom.

An annotator meets items on a lease.  What lies with one terminal is given to no other until the lease has run
out; a terminal that goes on in time keeps it.  Items stay here: a terminal names its lease and says what was
judged, so nobody can judge what they were not given, as somebody else, or take back what is not theirs.
"""

from __future__ import annotations

import secrets
import threading
import time
from collections import OrderedDict
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

from engine.errors import UsageError
from storage.store import Store
from workbench.services.ranking.draft import MODES, Draft, Mode, read_spans
from workbench.services.ranking.item import RankItem
from workbench.services.ranking.judging import Judging
from workbench.services.ranking.label_queue import Informed
from workbench.services.ranking.pace import Pace

LEASE_SECONDS = 600.0
"""How long an item lies with a terminal of which nothing is heard."""
REMEMBERED = 10_000
"""Leases of which is known what was recorded: an answer that was lost on its way is asked for again."""


@dataclass
class Lease:
    """An item that lies with a terminal."""

    number: str
    annotator: str
    terminal: str
    item: RankItem
    until: float


class Desk:
    """Gives out items of one store and takes judgements in.  Thread-safe; one request at a time."""

    def __init__(
        self,
        store: Store,
        criteria: Mapping[str, tuple[str, ...]] | None = None,
        *,
        guidelines: str = "",
        informed: Informed | None = None,
        clock: Callable[[], float] = time.monotonic,
        lease_seconds: float = LEASE_SECONDS,
    ) -> None:
        self._store, self._criteria, self._guidelines = store, criteria, guidelines
        self._informed = informed
        self._clock, self._lease_seconds = clock, lease_seconds
        self._turn = threading.Lock()
        self._judging: dict[str, Judging] = {}
        self._leases: dict[str, Lease] = {}
        self._recorded: OrderedDict[str, list[str]] = OrderedDict()

    def asked(self, annotator: str, terminal: str, what: str, values: Mapping[str, Any]) -> Any:
        """Do one thing of REQUESTS for an annotator at a terminal; plain values.

        Raises UsageError for what there is not or may not be, StoreError where it was not stored.
        """
        request = REQUESTS.get(what)
        if request is None:
            raise UsageError("That is nothing that an annotator can ask for.")
        with self._turn:
            return request(self, annotator, terminal, values)

    # -- what can be asked ------------------------------

    def welcome(self, annotator: str, terminal: str, values: Mapping[str, Any]) -> Any:
        """Who one is, what is rated, and the guidelines."""
        judging = self._of(annotator)
        try:
            guidelines = judging.reading.guidelines()
        except UsageError:
            guidelines = ""
        return {"annotator": annotator, "criteria": judging.criteria, "guidelines": guidelines}

    def next(self, annotator: str, terminal: str, values: Mapping[str, Any]) -> Any:
        """The next item, on a lease; None when nothing waits that does not lie with another terminal."""
        mode = _mode(values)
        exclude = {str(prompt) for prompt in values.get("exclude", ())} | self._elsewhere(annotator, terminal)
        return self._given(
            annotator, terminal, self._of(annotator).next_item(annotator, mode=mode, exclude=exclude)
        )

    def resume(self, annotator: str, terminal: str, values: Mapping[str, Any]) -> Any:
        """What the annotator has begun and not recorded, unless it lies with another terminal."""
        item = self._of(annotator).resume(annotator)
        if item is not None and item.prompt_id in self._elsewhere(annotator, terminal):
            return None
        return self._given(annotator, terminal, item)

    def follows(self, annotator: str, terminal: str, values: Mapping[str, Any]) -> Any:
        """Whether a lease still holds."""
        lease = self._leases.get(str(values.get("lease")))
        if lease is None or lease.annotator != annotator:
            return False
        return self._of(annotator).follows(lease.item)

    def keep(self, annotator: str, terminal: str, values: Mapping[str, Any]) -> Any:
        """Keep what has been begun."""
        lease = self._lease(annotator, values)
        self._of(annotator).keep(lease.item, annotator, _draft(lease.item, values))
        return True

    def submit(self, annotator: str, terminal: str, values: Mapping[str, Any]) -> Any:
        """Record what a complete draft says; ids of the judgements, which are on disk."""

        def record(item: RankItem) -> list[str]:
            draft = _draft(item, values)
            return self._of(annotator).submit(item, annotator, draft, seconds=_seconds(values))

        return self._once(annotator, values, record)

    def skip(self, annotator: str, terminal: str, values: Mapping[str, Any]) -> Any:
        """Record that the annotator would not judge these responses."""

        def record(item: RankItem) -> list[str]:
            judging, reason, note = self._of(annotator), str(values.get("reason", "")), values.get("note")
            return [
                judging.skip(
                    item,
                    annotator,
                    reason,
                    seconds=_seconds(values),
                    flagged=bool(values.get("flagged")),
                    note=str(note) if note else None,
                    spans=read_spans(values.get("spans", ()), [c.response_id for c in item.responses]),
                )
            ]

        return self._once(annotator, values, record)

    def undo(self, annotator: str, terminal: str, values: Mapping[str, Any]) -> Any:
        """Take back the annotator's own last judgement; its item, on a lease."""
        return self._given(annotator, terminal, self._of(annotator).undo(annotator))

    def redo(self, annotator: str, terminal: str, values: Mapping[str, Any]) -> Any:
        """Record again what the annotator has taken back last; its item."""
        item = self._of(annotator).redo(annotator)
        if item is not None:
            for number in [n for n, lease in self._leases.items() if self._lies_with(lease, annotator, item)]:
                del self._leases[number]
        return None if item is None else told(item, "")

    def pace(self, annotator: str, terminal: str, values: Mapping[str, Any]) -> Any:
        """How far the annotator is."""
        found: Pace = self._of(annotator).pace(annotator, mode=_mode(values))
        return vars(found)

    def session(self, annotator: str, terminal: str, values: Mapping[str, Any]) -> Any:
        """What the annotator has judged since the store is served; names of policies are never told."""
        found = self._of(annotator).session(annotator, names=False)
        return {"judged": found.judged, "skipped": found.skipped, "seconds": found.seconds}

    # -- leases ------------------------------

    def _of(self, annotator: str) -> Judging:
        if annotator not in self._judging:
            self._judging[annotator] = Judging(
                self._store, self._criteria, guidelines=self._guidelines, informed=self._informed
            )
        return self._judging[annotator]

    def _elsewhere(self, annotator: str, terminal: str) -> set[str]:
        """Prompts that lie with another terminal now.

        In a project each annotator has a queue, and what is in two is meant for two: then the annotator's
        own other terminals alone count.
        """
        project = self._of(annotator).projects.current() is not None
        now = self._clock()
        return {
            lease.item.prompt_id
            for lease in self._leases.values()
            if lease.until > now
            and lease.terminal != terminal
            and (lease.annotator == annotator or not project)
        }

    def _given(self, annotator: str, terminal: str, item: RankItem | None) -> Any:
        """The item on a new lease; what lay with this terminal, or had run out elsewhere, is let go."""
        gone = [
            number
            for number, lease in self._leases.items()
            if lease.terminal == terminal or (item is not None and self._lies_with(lease, annotator, item))
        ]
        for number in gone:
            del self._leases[number]
        if item is None:
            return None
        number = secrets.token_urlsafe(9)
        self._leases[number] = Lease(number, annotator, terminal, item, self._clock() + self._lease_seconds)
        return told(item, number)

    def _lies_with(self, lease: Lease, annotator: str, item: RankItem) -> bool:
        return lease.annotator == annotator and lease.item.prompt_id == item.prompt_id

    def _lease(self, annotator: str, values: Mapping[str, Any]) -> Lease:
        """The lease that is named, renewed.  One that has run out holds until somebody else was given it."""
        lease = self._leases.get(str(values.get("lease")))
        if lease is None or lease.annotator != annotator:
            raise UsageError("This prompt was given to another terminal meanwhile; the next one comes.")
        lease.until = self._clock() + self._lease_seconds
        return lease

    def _once(
        self, annotator: str, values: Mapping[str, Any], record: Callable[[RankItem], list[str]]
    ) -> list[str]:
        """Record what was judged on a lease; asked again, say what was recorded then."""
        number = f"{annotator} {values.get('lease')}"
        if number in self._recorded:
            return self._recorded[number]
        lease = self._lease(annotator, values)
        made = record(lease.item)
        del self._leases[lease.number]
        self._recorded[number] = made
        if len(self._recorded) > REMEMBERED:
            self._recorded.popitem(last=False)
        return made


def told(item: RankItem, lease: str) -> dict[str, Any]:
    """An item as plain values: nothing of who wrote what, nor of what it replaces."""
    return {
        "lease": lease,
        "prompt_id": item.prompt_id,
        "messages": item.messages,
        "responses": [[each.response_id, each.text] for each in item.responses],
        "mode": item.mode,
        "criterion": item.criterion,
        "previous": dict(item.previous),
        "draft": item.draft.content(),
        "criteria": list(item.draft.criteria),
    }


def _mode(values: Mapping[str, Any]) -> Mode:
    mode = values.get("mode", "rank")
    if mode not in MODES:
        raise UsageError("There is no such way of judging.")
    return mode


def _draft(item: RankItem, values: Mapping[str, Any]) -> Draft:
    """The draft that a terminal sends, about this item's responses and criteria and no others."""
    content = values.get("draft")
    try:
        shown = [each.response_id for each in item.responses]
        draft = Draft.read(item.mode, content if isinstance(content, Mapping) else {}, shown)
        if draft is None or len(draft.responses) != len(shown) or not _plain(draft, item):
            raise ValueError
    except (TypeError, ValueError, KeyError):
        raise UsageError("This is no judgement of the responses that were given.") from None
    return Draft(**{**vars(draft), "criteria": item.draft.criteria})


def _plain(draft: Draft, item: RankItem) -> bool:
    """Whether the values of a draft are such as the rank screen makes."""
    known = {each.response_id for each in item.responses}
    placed = [key for key, _ in draft.placed]
    rated = [(name, key) for name, key, _ in draft.ratings]
    return (
        len(placed) == len(set(placed))
        and all(1 <= rank <= len(known) + 2 for _, rank in draft.placed)
        and len(rated) == len(set(rated))
        and all(
            name in item.draft.criteria and key in known and 1 <= value <= 9
            for name, key, value in draft.ratings
        )
        and isinstance(draft.note, str)
        and isinstance(draft.flagged, bool)
        and draft.confidence in (None, 1, 2, 3)
        and draft.strength in (None, 1.0, 2.0, 3.0)
        and draft.outcome in (None, "both_bad")
        and isinstance(draft.seconds, int | float)
    )


def _seconds(values: Mapping[str, Any]) -> float | None:
    seconds = values.get("seconds")
    return min(max(float(seconds), 0.0), 1e6) if isinstance(seconds, int | float) else None


REQUESTS: Mapping[str, Callable[[Desk, str, str, Mapping[str, Any]], Any]] = {
    request.__name__: request
    for request in (
        Desk.welcome,
        Desk.next,
        Desk.resume,
        Desk.follows,
        Desk.keep,
        Desk.submit,
        Desk.skip,
        Desk.undo,
        Desk.redo,
        Desk.pace,
        Desk.session,
    )
}
"""All that an annotator can ask for, and nothing else."""
