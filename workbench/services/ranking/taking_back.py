"""Undo and redo of judgements.  Both only add rows, so that another start knows what was undone."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from datetime import datetime

from engine.errors import UsageError
from storage import judgements, prompts, remembered, responses
from storage.records import JudgementRow, NewJudgement
from storage.store import Store
from workbench.services.ranking.item import Candidate, RankItem, draft_of, ranks_of, way_of

REVEALED = "revealed_to"
"""Key of the store under which, for each annotator, the time is kept at which policies' names were shown."""
KEPT_COLUMNS = (
    "prompt_id", "annotator", "kind", "items", "criterion", "seconds", "flagged", "note", "reason", "source",
    "strength", "outcome", "confidence", "sitting", "assignment_id", "spans",
)  # fmt: skip
"""What a judgement that is recorded again has of the one that was taken back."""


class TakingBack:
    """Of one store."""

    def __init__(self, store: Store) -> None:
        self._store = store

    def last(self, annotator: str) -> list[JudgementRow]:
        """The annotator's last judgement or skip that stands, with those made at once with it.

        Raises `UsageError` where policies' names have been shown since: who knows them is not blind.
        """
        last = judgements.last_standing(self._store, annotator)
        if last is None:
            return []
        if last.created_at < self._revealed(annotator):
            raise UsageError(
                "The names of the policies have been shown since; what was judged before stays as it is."
            )
        return judgements.made_with(self._store, last)

    def retract(self, made: Sequence[JudgementRow]) -> None:
        """Take back judgements that were made at once."""
        with self._store.transaction():
            for judgement in made:
                judgements.retract(self._store, judgement.judgement_id, reason="undo")

    def taken(self, annotator: str) -> list[tuple[JudgementRow, str]]:
        """What was taken back last and can be recorded again, with the rows that took it back."""
        return judgements.taken_back(self._store, annotator, self._revealed(annotator))

    def record_again(self, made: Sequence[tuple[JudgementRow, str]]) -> None:
        """Record what was taken back, as it was; it replaces what had taken it back."""
        again = [
            NewJudgement(
                **{name: getattr(judgement, name) for name in KEPT_COLUMNS},
                supersedes=retraction,
            )
            for judgement, retraction in made
        ]
        judgements.record_many(self._store, again)

    def item(self, made: Sequence[JudgementRow], criteria: tuple[str, ...]) -> RankItem:
        """The item of judgements that were made at once, as it stood then."""
        last = made[-1]
        texts = {row.response_id: row.text for row in responses.of_prompt(self._store, last.prompt_id)}
        mode = way_of(last.kind, len(last.items))
        if mode == "rank" and len(last.items) == 2:
            mode = "pair"
        shown = tuple(entry.response_id for entry in last.items)
        return RankItem(
            prompt_id=last.prompt_id,
            messages=prompts.messages(self._store, last.prompt_id),
            responses=tuple(Candidate(key, texts[key]) for key in shown),
            mode=mode,
            criterion=last.criterion,
            previous=ranks_of(last),
            assignment=last.assignment_id,
            draft=replace(draft_of(made, mode, shown), criteria=criteria),
        )

    def _revealed(self, annotator: str) -> datetime:
        """When names were shown to the annotator, naive UTC; long ago where they were not."""
        shown = remembered.get(self._store, f"{REVEALED}:{annotator}")
        return datetime.fromisoformat(shown) if shown else datetime.min
