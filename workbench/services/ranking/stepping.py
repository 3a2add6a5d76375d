"""Judging the steps of a response: good, neutral, bad, or which is the first wrong one."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

from engine.steps import NEWLINE, cut_at, step_ends
from storage import steps
from storage.step_records import NewStepJudgement
from storage.store import Store

GOOD, NEUTRAL, BAD = 1, 0, -1
WORDS = {GOOD: "good", NEUTRAL: "neutral", BAD: "bad"}


@dataclass(frozen=True)
class SteppedItem:
    """A response cut into steps, and what is said of each."""

    response_id: str
    prompt: str
    ends: tuple[int, ...]
    """Where each step ends, in characters."""
    texts: tuple[str, ...]
    labels: tuple[int | None, ...]
    """1 good, 0 neutral, -1 bad, None nothing yet."""

    def marked(self, step: int, label: int | None) -> SteppedItem:
        """With another label for a step."""
        labels = list(self.labels)
        labels[step] = label
        return replace(self, labels=tuple(labels))

    def wrong_from(self, step: int) -> SteppedItem:
        """This is the first wrong step: those before it are good unless judged otherwise, those behind open.

        A step before it that was called bad is good now, else this one were not the first.
        """
        before = [GOOD if label in (None, BAD) else label for label in self.labels[:step]]
        return replace(self, labels=(*before, BAD, *(None for _ in self.labels[step + 1 :])))

    @property
    def judged(self) -> int:
        """How many steps have a label."""
        return sum(label is not None for label in self.labels)

    def said(self) -> str:
        """What is said of the steps, in words."""
        counts = {word: self.labels.count(label) for label, word in WORDS.items()}
        return ", ".join(f"{count} {word}" for word, count in counts.items() if count)


class Stepping:
    """Steps in one store."""

    def __init__(self, store: Store) -> None:
        self.store = store

    def next_item(self, annotator: str, left: Sequence[str] = ()) -> SteppedItem | None:
        """The response to judge next: one that was begun and not recorded, else one of several steps that the
        annotator has not judged; none that is `left` for later.
        """
        if (begun := steps.newest_draft(self.store, annotator, left)) is not None:
            return self.item(annotator, begun)
        waiting = list(left)
        while (response_id := steps.next_unjudged(self.store, annotator, NEWLINE, waiting)) is not None:
            item = self.item(annotator, response_id)
            if len(item.texts) > 1:
                return item
            waiting.append(response_id)  # its lines are blank but one
        return None

    def item(self, annotator: str, response_id: str) -> SteppedItem:
        """A response as it is to be judged, with what the annotator has said of it, recorded or not.

        Raises NotFoundError.
        """
        row = steps.response(self.store, response_id)
        draft = steps.draft(self.store, annotator, response_id)
        standing = steps.standing(self.store, annotator, response_id)
        ends = tuple(step_ends(row.text)) if standing is None else standing.ends
        labels = (None,) * len(ends) if standing is None else standing.labels
        if draft is not None:
            ends, labels = draft
        return SteppedItem(row.response_id, row.prompt, ends, tuple(cut_at(row.text, ends)), labels)

    def last(self, annotator: str) -> SteppedItem | None:
        """What the annotator judged last, to be corrected."""
        response_id = steps.last_judged(self.store, annotator)
        return None if response_id is None else self.item(annotator, response_id)

    def keep(self, item: SteppedItem, annotator: str) -> None:
        """Keep what is said so far, until it is recorded; on disk when this returns."""
        if not item.judged:
            steps.drop_draft(self.store, annotator, item.response_id)
            return
        steps.keep_draft(self.store, annotator, item.response_id, item.ends, item.labels)

    def record(self, item: SteppedItem, annotator: str, seconds: float | None = None) -> str:
        """Store what is said of the steps; on disk when this returns."""
        new = NewStepJudgement(item.response_id, annotator, NEWLINE, item.ends, item.labels, seconds)
        return steps.record(self.store, new)

    def done(self, annotator: str) -> tuple[int, int]:
        """How many responses, and how many of their steps, the annotator has judged."""
        return steps.done(self.store, annotator)
