"""What verdicts say together: annotators, agreement, consensus; see migrations/0018_labels.sql."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from storage.ids import annotator_id
from storage.measures.label_records import (
    AnnotatorQuality,
    ConsensusPair,
    Disagreement,
    LabelFit,
    Placed,
    Quality,
    ReliabilityPrompt,
    SharedPrompt,
    VerdictRow,
)
from storage.sql import block
from storage.store import Store

ADJUDICATION = "adjudication"
"""Source of a judgement that decides between others."""
ANNOTATOR_COLUMNS = (
    "drives", "verdicts", "slope", "slope_error", "accuracy", "accuracy_low", "accuracy_high", "first",
    "first_low", "first_high", "longer", "longer_low", "longer_high", "ties",
)  # fmt: skip
QUALITY_COLUMNS = ("criterion", "prompt_id", "response_id", "quality", "error")
DIFFERENCE_COLUMNS = ("criterion", "prompt_id", "x", "y", "difference", "error", "probability", "worth")


def criteria(store: Store) -> list[str]:
    """Criteria that somebody has judged by, the commonest first."""
    return [name for (name,) in store.rows(block("labels", "criteria"))]


def verdicts(store: Store, criterion: str) -> list[VerdictRow]:
    """Every verdict of a standing judgement."""
    return store.records(VerdictRow, block("labels", "verdicts"), {"criterion": criterion})


def characters(store: Store, criterion: str) -> dict[str, int]:
    """Length of every judged response."""
    return dict(store.rows(block("labels", "characters"), {"criterion": criterion}))


def fit_of(store: Store, criterion: str) -> LabelFit | None:
    """What was fitted last, None when nothing was."""
    fits = store.records(LabelFit, block("labels", "fit_of"), {"criterion": criterion})
    return fits[0] if fits else None


def keep(
    store: Store,
    fit: Mapping[str, Any],
    annotators: Mapping[str, Mapping[str, Any]],
    qualities: Sequence[tuple[Any, ...]],
    differences: Sequence[tuple[Any, ...]],
) -> None:
    """Replace what was fitted of one criterion, in one transaction.

    fit: the columns of label_fits.  annotators: those of annotator_fits by name.  qualities: prompt,
    response, quality, error.  differences: prompt, x, y, difference, error, probability, worth.
    """
    criterion = fit["criterion"]
    with store.transaction():
        forget(store, criterion)
        store.write(block("labels", "keep_fit"), fit)
        people = [
            (criterion, annotator_id(name), *(values_of[column] for column in ANNOTATOR_COLUMNS))
            for name, values_of in annotators.items()
        ]
        store.write_many(
            block("labels", "keep_annotators"), ("criterion", "annotator_id", *ANNOTATOR_COLUMNS), people
        )
        store.write_many(
            block("labels", "keep_qualities"), QUALITY_COLUMNS, [(criterion, *row) for row in qualities]
        )
        store.write_many(
            block("labels", "keep_differences"),
            DIFFERENCE_COLUMNS,
            [(criterion, *row) for row in differences],
        )


def forget(store: Store, criterion: str) -> None:
    """Remove what was fitted of one criterion."""
    with store.transaction():
        for name in ("forget_fit", "forget_annotators", "forget_qualities", "forget_differences"):
            store.write(block("labels", name), {"criterion": criterion})


def annotators(store: Store, criterion: str) -> list[AnnotatorQuality]:
    """Everybody who has judged by the criterion, the most able first."""
    return store.records(AnnotatorQuality, block("labels", "annotators"), {"criterion": criterion})


def disagreements(store: Store, criterion: str, *, limit: int = 100, offset: int = 0) -> list[Disagreement]:
    """Prompts on which annotators contradict each other, the worst first; adjudicated ones last."""
    values = {"criterion": criterion, "limit": limit, "offset": offset}
    return store.records(Disagreement, block("labels", "disagreements"), values)


def count_disagreements(store: Store, criterion: str) -> tuple[int, int]:
    """How many such prompts there are, and how many of them nobody has adjudicated."""
    ((count, waiting),) = store.rows(block("labels", "count_disagreements"), {"criterion": criterion})
    return count, waiting


def placed(store: Store, prompt_id: str, criterion: str) -> list[Placed]:
    """Where every standing judgement of a prompt puts its responses."""
    values = {"prompt_id": prompt_id, "criterion": criterion}
    return store.records(Placed, block("labels", "placed"), values)


def qualities(store: Store, prompt_id: str, criterion: str) -> list[Quality]:
    """The consensus on a prompt's responses, the best first."""
    values = {"prompt_id": prompt_id, "criterion": criterion}
    return store.records(Quality, block("labels", "qualities"), values)


def consensus(store: Store, prompt_id: str, criterion: str) -> list[ConsensusPair]:
    """The consensus on every two of a prompt's responses."""
    values = {"prompt_id": prompt_id, "criterion": criterion}
    return store.records(ConsensusPair, block("labels", "consensus"), values)


def shared(store: Store, criterion: str) -> list[SharedPrompt]:
    """Every two annotators on every prompt of which both have judged a pair."""
    return store.records(SharedPrompt, block("labels", "shared"), {"criterion": criterion})


def reliability(store: Store, criterion: str) -> list[ReliabilityPrompt]:
    """What Krippendorff's alpha is the sum of, prompt by prompt and week by week."""
    return store.records(ReliabilityPrompt, block("labels", "reliability"), {"criterion": criterion})
