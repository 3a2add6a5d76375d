"""Judgements of people and of rules: what to judge next, recording it, taking it back.

A judgement is committed before `record` returns.  Judgements are append-only: undo adds a retraction.
"""

from __future__ import annotations

import random
from collections.abc import Callable, Collection, Mapping
from dataclasses import replace
from typing import cast

from storage import drafts, judgements, prompts, remembered
from storage.projects import Assignment
from storage.records import JudgedItem, JudgementRow, NewJudgement, Span
from storage.store import Store
from workbench.services.projects.projects import Active, Projects
from workbench.services.ranking.draft import MODES, Draft, Mode
from workbench.services.ranking.item import (
    MODE_OF,
    MOST_SORTED,
    Candidate,
    RankItem,
    draft_of,
    kept_assignment,
    letter,
    ranked,
    ranks_of,
    said_of,
)
from workbench.services.ranking.label_queue import Informed, LabelQueue
from workbench.services.ranking.pace import JudgingSession, Pace, pace_of_project, pace_of_store, utc_now
from workbench.services.ranking.reading import Reading
from workbench.services.ranking.remaining import Remaining
from workbench.services.ranking.rule_judging import apply
from workbench.services.ranking.rules import RULES, Rule
from workbench.services.ranking.taking_back import REVEALED, TakingBack
from workbench.services.ranking.upcoming import Next

__all__ = ["Candidate", "Judging", "JudgingSession", "Mode", "Pace", "RankItem", "letter"]

MAX_RESPONSES = 9  # the letters A to I; more cannot be held in mind, nor on a screen
CRITERIA: Mapping[str, tuple[str, ...]] = {"overall": ("very bad", "bad", "fair", "good", "very good")}
"""What is rated where the settings name no criteria: each with the words of its scale, the worst first."""


class Judging:
    """Judgements on one store.

    `criteria` are the scales of ratings: by criterion the words of its values 1, 2, …, the worst first.
    `informed` knows what a reward model would learn most from.
    """

    def __init__(
        self,
        store: Store,
        criteria: Mapping[str, tuple[str, ...]] | None = None,
        *,
        guidelines: str = "",
        informed: Informed | None = None,
    ) -> None:
        self.store = store
        self.reading = Reading(store, guidelines, self._project_guidelines)
        self.queue = LabelQueue(store, informed)
        self.projects = Projects(store, self.queue)
        self._own_criteria: Mapping[str, tuple[str, ...]] = criteria or CRITERIA
        self.began = utc_now()
        """Since when the session goes on."""
        self._taking_back = TakingBack(store)
        self._next = Next(store, self.queue)
        self._remaining = Remaining(store)

    @property
    def criteria(self) -> Mapping[str, tuple[str, ...]]:
        """The scales of ratings: those of the project that is followed, else of the settings."""
        active = self.projects.current()
        return (active.project.criteria if active is not None else {}) or self._own_criteria

    @criteria.setter
    def criteria(self, scales: Mapping[str, tuple[str, ...]]) -> None:
        self._own_criteria = scales

    def _project_guidelines(self) -> str:
        active = self.projects.current()
        return active.guidelines if active is not None else ""

    def may_reveal(self, setting: str) -> bool:
        """Whether policies' names may be shown at the end of a session: settings and project must say so."""
        active = self.projects.current()
        return setting == "end" and (active is None or active.project.reveal == "end")

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

        Where a project is followed, it is the next entry of the annotator's queue, whatever the mode.
        """
        active = self.projects.current()
        if active is not None:
            return self._assigned(active, annotator, seed, exclude)
        if order is None:
            order = self.queue.order if seed is None else "random"
        criterion = self._criterion(mode, criterion)
        if mode == "pair":
            pair = self._next.pair(annotator, order, criterion, seed, exclude)
            if pair is None:
                return None
            only = (pair.response_a, pair.response_b)
            return self._item(pair.prompt_id, annotator, "pair", criterion, seed, only=only)
        prompt_id = self._next.prompt(annotator, order, criterion, seed, exclude)
        return None if prompt_id is None else self._item(prompt_id, annotator, mode, criterion, seed)

    def prepare(self, annotator: str, *, mode: Mode = "rank") -> None:
        """Fetch what comes after what was fetched, where little of that is left; for a thread of its own."""
        active = self.projects.current()
        if active is not None:
            self.projects.prepare(active, annotator)
            return
        self._next.prepare(annotator, self.queue.order, self._criterion(mode), pairs=mode == "pair")

    def resume(self, annotator: str) -> RankItem | None:
        """The item that the annotator has begun last and not recorded, None when there is none."""
        draft = drafts.newest(self.store, annotator)
        if draft is None or draft.mode not in MODES:
            return None
        mode, shown = cast("Mode", draft.mode), draft.content.get("responses", ())
        criterion = draft.content.get("criterion") or self._criterion(mode)
        item = self._item(draft.prompt_id, annotator, mode, criterion, None, only=shown)
        return item if item.draft.begun and self.follows(item) else None

    def follows(self, item: RankItem) -> bool:
        """Whether an item belongs to what is judged now: the project that is followed, or none."""
        active = self.projects.current()
        if active is None or item.assignment is None:
            return active is None and item.assignment is None
        return self.projects.holds(active, item.assignment)

    def _assigned(
        self, active: Active, annotator: str, seed: int | None, exclude: Collection[str]
    ) -> RankItem | None:
        """The next entry of the annotator's queue."""
        assignment = self.projects.next(active, annotator, exclude)
        if assignment is None:
            return None
        project = active.project
        return self._item(
            assignment.prompt_id,
            annotator,
            cast("Mode", assignment.mode or project.mode),
            project.first_criterion,
            seed,
            only=assignment.responses,
            assignment=assignment,
        )

    def keep(self, item: RankItem, annotator: str, draft: Draft) -> None:
        """Keep what has been begun; on disk when this returns, and gone once the item is recorded."""
        if draft.begun:
            about = {name: getattr(item, name) for name in ("criterion", "supersedes", "assignment")}
            content = draft.content() | about
            drafts.keep(self.store, annotator, drafts.KeptDraft(item.prompt_id, draft.mode, content))
        else:
            drafts.drop(self.store, annotator, item.prompt_id, draft.mode)

    def item(
        self, prompt_id: str, annotator: str, *, mode: Mode = "rank", criterion: str = "overall"
    ) -> RankItem | None:
        """A given prompt to judge, again if need be; None with fewer than two responses.

        What stands of the same responses, judged in the same way, comes along and is replaced by recording.
        """
        item = self._item(prompt_id, annotator, mode, criterion, None)
        if len(item.responses) < 2:
            return None
        criteria = tuple(self.criteria) if mode == "rate" else (item.criterion,)
        earlier = [
            standing for name in criteria if (standing := self._standing(item, annotator, name)) is not None
        ]
        if not earlier:
            return item
        draft = replace(draft_of(earlier, mode, item.draft.responses), criteria=item.draft.criteria)
        return replace(
            item,
            previous=ranks_of(earlier[-1]),
            supersedes={standing.criterion: standing.judgement_id for standing in earlier},
            assignment=earlier[-1].assignment_id,
            draft=item.draft if item.draft.begun else draft,
        )

    def _standing(self, item: RankItem, annotator: str, criterion: str) -> JudgementRow | None:
        """The annotator's last judgement of just these responses in the item's way, or their skip."""
        shown = {candidate.response_id for candidate in item.responses}
        for earlier in reversed(judgements.standing(self.store, item.prompt_id, annotator, criterion)):
            way = "rank" if item.mode == "sort" else item.mode  # both make rankings
            same_way = earlier.kind == "skip" or MODE_OF.get(earlier.kind, "rank") == way
            if same_way and {entry.response_id for entry in earlier.items} == shown:
                return earlier
        return None

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
        items = ranked(item, ranks)
        return self._store(item, annotator, kind, items, criterion, seconds, flagged, note)

    def submit(self, item: RankItem, annotator: str, draft: Draft, *, seconds: float | None) -> list[str]:
        """Store what a complete draft says; on disk when this returns the ids, one a criterion.

        Raises `UsageError` for a draft that is not complete, `StoreError` when it could not be written.
        """
        made = said_of(item, annotator, draft, seconds)
        with self.store.transaction():
            drafts.drop(self.store, annotator, item.prompt_id, draft.mode)
            return judgements.record_many(self.store, made)

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
        spans: tuple[Span, ...] = (),
    ) -> str:
        """Store that the annotator would not judge these responses, so that they do not come again."""
        shown = tuple(JudgedItem(c.response_id, position=place) for place, c in enumerate(item.responses))
        about = (criterion, seconds, flagged, note, reason, spans)
        return self._store(item, annotator, "skip", shown, *about)

    def undo(self, annotator: str) -> RankItem | None:
        """Take back the annotator's last judgement or skip and give its item again, None without one.

        The item stands in the order of that time, with what was said of it as a draft, which is kept.
        Raises `UsageError` where policies' names have been shown since: who knows them is not blind.
        """
        made = self._taking_back.last(annotator)
        if not made:
            return None
        item = self._taking_back.item(made, tuple(self.criteria))
        with self.store.transaction():
            self._taking_back.retract(made)
            if made[-1].kind != "skip":
                self.keep(item, annotator, item.draft)
        self._next.forget()
        self.projects.forget()
        return item

    def redo(self, annotator: str) -> RankItem | None:
        """Record again, as it was, what was taken back last; its item, or None when nothing was.

        What was judged since the undo ends this: then there is nothing to redo.  Another start does not.
        """
        made = self._taking_back.taken(annotator)
        if not made:
            return None
        item = self._taking_back.item([judgement for judgement, _ in made], tuple(self.criteria))
        with self.store.transaction():
            drafts.drop(self.store, annotator, item.prompt_id, item.draft.mode)
            self._taking_back.record_again(made)
        return item

    def session(self, annotator: str, *, names: bool) -> JudgingSession:
        """What the annotator has judged since the session began.

        With `names` it says how each policy did, and the session ends: what was judged in it is not taken
        back any more.
        """
        judged, skipped, seconds, policies = judgements.session(self.store, annotator, self.began)
        if names:
            now = utc_now()
            remembered.put(self.store, f"{REVEALED}:{annotator}", now.isoformat())
            self.began = now
        return JudgingSession(judged, skipped, seconds, tuple(policies) if names else ())

    def pace(self, annotator: str, *, mode: Mode = "rank", criterion: str = "overall") -> Pace:
        """How many judgements are done and wait, and how fast the recent ones went."""
        active = self.projects.current()
        if active is not None:
            return pace_of_project(self.projects, active, annotator)
        return pace_of_store(self.store, self._remaining, annotator, mode, self._criterion(mode, criterion))

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
        """Let a rule rank all responses of every prompt that has two or more (`rules.apply`)."""
        return apply(self.store, rule, criterion=criterion, only=only, on_progress=on_progress)

    def _item(
        self,
        prompt_id: str,
        annotator: str,
        mode: Mode,
        criterion: str,
        seed: int | None,
        *,
        only: Collection[str] | None = None,
        assignment: Assignment | None = None,
    ) -> RankItem:
        candidates = self._next.candidates(prompt_id, annotator, criterion)
        candidates = [entry for entry in candidates if only is None or entry.response_id in only]
        shuffler = random.Random() if seed is None else random.Random(f"{seed} {annotator} {prompt_id}")
        shuffler.shuffle(candidates)
        # Where there are too many, those that the annotator has not seen come first.
        most = {"pair": 2, "sort": MOST_SORTED}.get(mode, MAX_RESPONSES)
        chosen = sorted(candidates, key=lambda entry: entry.seen)[:most]
        texts = {entry.response_id: entry.text for entry in candidates if entry in chosen}
        begun = drafts.of(self.store, annotator, prompt_id, mode) if seed is None else None
        draft = Draft.read(mode, begun.content, list(texts)) if begun is not None else None
        draft = replace(draft or Draft.of(tuple(texts), mode=mode), criteria=tuple(self.criteria))
        return RankItem(
            prompt_id,
            prompts.messages(self.store, prompt_id),
            tuple(Candidate(key, texts[key]) for key in draft.responses),
            mode,
            criterion,
            supersedes=begun.content.get("supersedes", {}) if begun is not None and draft.begun else {},
            assignment=assignment.assignment_id
            if assignment is not None
            else kept_assignment(None if begun is None else begun.content),
            draft=draft,
        )

    def _criterion(self, mode: Mode, criterion: str = "overall") -> str:
        """Ratings are by criteria of their own; the first one tells what is done."""
        return next(iter(self.criteria)) if mode == "rate" else criterion

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
        spans: tuple[Span, ...] = (),
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
            supersedes=item.supersedes.get(criterion or item.criterion),
            assignment_id=item.assignment,
            spans=spans,
        )
        with self.store.transaction():
            drafts.drop(self.store, annotator, item.prompt_id, item.mode)
            return judgements.record(self.store, judgement)
