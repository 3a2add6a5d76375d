"""How much waits for an annotator, and what of it is done, prompt by prompt.

What can be judged is a property of the responses; what is done, of the annotator's judgements.  Asked apart,
the first needs counting only when responses have come, and the second only for the prompts judged since.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from storage.ids import annotator_id
from storage.sql import block
from storage.store import Store

MOST_PROMPTS = 500
"""Of more prompts than this, all that is done is read at once."""


@dataclass(frozen=True, slots=True)
class Counted:
    """What a store held when something was counted."""

    responses: int
    judgements: int
    last_row: int | None
    last_judgement: str | None

    def appended(self, later: Counted, still_there: bool) -> bool:
        """Whether judgements were only added up to `later`; `still_there`: the last one is where it was."""
        if self.last_row is None:
            return self.judgements == 0 and later.judgements == 0
        added = later.judgements - self.judgements
        return still_there and added >= 0 and added == (later.last_row or 0) - self.last_row


def state(store: Store) -> Counted:
    """What the store holds now."""
    row = store.row(block("waiting", "state")) or (0, 0, None)
    return Counted(row[0], row[1], row[2], None if row[2] is None else judgement_at(store, row[2]))


def judgement_at(store: Store, row: int) -> str | None:
    """The judgement in a row of the table."""
    stored = store.row(block("waiting", "judgement_at"), {"row": row})
    return None if stored is None else str(stored[0])


def judged_after(store: Store, row: int, annotator: str, criterion: str) -> list[str]:
    """Prompts with rows of the annotator's judgements behind `row`."""
    values = {"row": row, "annotator_id": annotator_id(annotator), "criterion": criterion}
    return [prompt for (prompt,) in store.rows(block("waiting", "judged_after"), values)]


def judgeable(store: Store, *, pairs: bool) -> int:
    """How many prompts, or pairs of responses, can be judged at all."""
    row = store.row(block("waiting", "pairs" if pairs else "prompts"))
    return int(row[0]) if row else 0


def done(
    store: Store, annotator: str, criterion: str, *, pairs: bool, prompts: Sequence[str] | None = None
) -> dict[str, int]:
    """How much of that the annotator has done, by prompt; where nothing is, the prompt is not named.

    prompts: only of these.
    """
    values: dict[str, object] = {"annotator_id": annotator_id(annotator), "criterion": criterion}
    narrowed = ""
    if prompts is not None and len(prompts) <= MOST_PROMPTS:
        values["prompts"], narrowed = list(prompts), block("waiting", "of_prompts")
    sql = block("waiting", "done_pairs" if pairs else "done_prompts").replace("{of_prompts}", narrowed)
    counts = {prompt: int(count) for prompt, count in store.rows(sql, values)}
    if prompts is None or narrowed:
        return counts
    asked = set(prompts)
    return {prompt: count for prompt, count in counts.items() if prompt in asked}
