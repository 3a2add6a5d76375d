"""Judgements: append-only.  An edit supersedes, an undo retracts; neither deletes.

What `record` returns is on disk: DuckDB has synchronised its log before the transaction is over.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Sequence
from datetime import datetime
from typing import Any, Literal

from storage.errors import NotFoundError
from storage.ids import annotator_id, random_id
from storage.records import (
    AgreementRow,
    CandidatePair,
    CandidateResponse,
    JudgedItem,
    JudgementRow,
    NewJudgement,
    PaceCounts,
    SessionPolicy,
    Span,
    Votes,
)
from storage.sql import block
from storage.store import Store

RANKING_KINDS = ("ranking", "partial", "best_of", "best_worst", "rating")
SPAN_COLUMNS = ("judgement_id", "place", "response_id", "begins", "ends", "comment")
ITEM_COLUMNS = ("judgement_id", "response_id", "rank", "rating", "position")

Order = Literal["least_agreed", "consensus"]
"""Orders of what waits that follow from what people have said."""


def annotator_kind(name: str) -> str:
    """`rule:concise` is a rule and `ai:judge` a model; every other name is a person."""
    prefix = name.partition(":")[0] if ":" in name else ""
    return prefix if prefix in ("rule", "ai", "import") else "human"


def ensure_annotator(store: Store, name: str, kind: str | None = None) -> str:
    """Register an annotator unless the name is taken; its id."""
    values = {"annotator_id": annotator_id(name), "name": name, "kind": kind or annotator_kind(name)}
    known = {"annotator_id": values["annotator_id"]}
    if store.row(block("judgements", "annotator"), known) is None:  # asking is much cheaper than inserting
        store.write(block("judgements", "add_annotator"), values)
    return values["annotator_id"]


def annotators(store: Store) -> list[tuple[str, str]]:
    """(name, kind), oldest first."""
    return [(name, kind) for name, kind in store.rows(block("judgements", "annotators"))]


def record(store: Store, judgement: NewJudgement) -> str:
    """Store one judgement with its items in one transaction; its id.  On disk when this returns."""
    return record_many(store, [judgement])[0]


def record_many(store: Store, judgements: Iterable[NewJudgement]) -> list[str]:
    """Store judgements in one transaction; their ids, in order."""
    rows: list[dict[str, Any]] = []
    items: list[tuple[Any, ...]] = []
    spans: list[tuple[Any, ...]] = []
    known: dict[str, str] = {}
    with store.transaction():
        for new in judgements:
            if new.annotator not in known:
                known[new.annotator] = ensure_annotator(store, new.annotator)
            row = _values(random_id("j"), known[new.annotator], new)
            rows.append(row)
            items += [(row["judgement_id"], i.response_id, i.rank, i.rating, i.position) for i in new.items]
            spans += [
                (row["judgement_id"], place, span.response_id, span.begins, span.ends, span.comment)
                for place, span in enumerate(new.spans)
            ]
        if rows:
            store.write_many(
                block("judgements", "load"), tuple(rows[0]), [tuple(row.values()) for row in rows]
            )
        store.write_many(block("judgements", "load_items"), ITEM_COLUMNS, items)
        store.write_many(block("judgements", "load_spans"), SPAN_COLUMNS, spans)
    return [row["judgement_id"] for row in rows]


def retract(store: Store, judgement_id: str, *, reason: str | None = None) -> str:
    """Take a judgement back; the id of the row that says so."""
    old = get(store, judgement_id)
    with store.transaction():
        retraction = random_id("j")
        new = NewJudgement(
            prompt_id=old.prompt_id,
            annotator=old.annotator,
            kind="retraction",
            items=(),
            criterion=old.criterion,
            reason=reason,
            supersedes=judgement_id,
        )
        store.write(block("judgements", "add"), _values(retraction, annotator_id(old.annotator), new))
    return retraction


def get(store: Store, judgement_id: str) -> JudgementRow:
    """A judgement with its items in the order they stood on the screen."""
    row = store.row(block("judgements", "get"), {"judgement_id": judgement_id})
    if row is None:
        raise NotFoundError(f"There is no judgement {judgement_id}.")
    items = store.records(JudgedItem, block("judgements", "items"), {"judgement_id": judgement_id})
    spans = store.records(Span, block("judgements", "spans"), {"judgement_id": judgement_id})
    return JudgementRow(*(*row, tuple(items), tuple(spans)))


def last_standing(store: Store, annotator: str, criterion: str | None = None) -> JudgementRow | None:
    """The annotator's latest judgement or skip that has not been superseded or taken back."""
    row = store.row(
        block("judgements", "last_standing"),
        {"annotator_id": annotator_id(annotator), "criterion": criterion},
    )
    return get(store, row[0]) if row else None


def taken_back(store: Store, annotator: str, since: datetime) -> list[tuple[JudgementRow, str]]:
    """What the annotator has taken back last, since then, and the ids of the rows that took it back.

    Several where they were made at once; none once something else has been judged.
    """
    rows = store.rows(
        block("judgements", "taken_back"), {"annotator_id": annotator_id(annotator), "since": since}
    )
    return [(get(store, judgement), retraction) for judgement, retraction in rows]


def made_with(store: Store, judgement: JudgementRow) -> list[JudgementRow]:
    """The judgement, with those that stand and were made at once with it; oldest first."""
    if judgement.sitting is None:
        return [judgement]
    rows = store.rows(block("judgements", "standing_of_sitting"), {"sitting": judgement.sitting})
    return [get(store, judgement_id) for (judgement_id,) in rows]


def session(store: Store, annotator: str, since: datetime) -> tuple[int, int, float, list[SessionPolicy]]:
    """What stands of an annotator since then: judgements, skips, seconds, and how each policy did."""
    who = {"annotator_id": annotator_id(annotator), "since": since}
    judged, skipped, seconds = store.row(block("judgements", "session_counts"), who) or (0, 0, 0.0)
    by_policy = store.records(
        SessionPolicy, block("judgements", "session"), {"annotator": annotator, "since": since}
    )
    return judged, skipped, seconds, by_policy


def standing(store: Store, prompt: str, annotator: str, criterion: str = "overall") -> list[JudgementRow]:
    """The annotator's judgements and skips of one prompt that stand, oldest first."""
    rows = store.rows(
        block("judgements", "standing"),
        {"prompt_id": prompt, "annotator_id": annotator_id(annotator), "criterion": criterion},
    )
    return [get(store, judgement) for (judgement,) in rows]


def prompts_to_rank(
    store: Store,
    annotator: str,
    criterion: str = "overall",
    *,
    exclude: Sequence[str] = (),
    seed: int | None = None,
    order: Order | None = None,
    among: Sequence[str] | None = None,
    limit: int | None = 1,
) -> list[str]:
    """Ids of prompts with at least two different responses, one of them new to this annotator.

    Oldest first, or in the random order that `seed` gives, or with `least_agreed` those first on whose
    responses people disagree, then those with the fewest verdicts, or with `consensus` those first of
    which a verdict would tell most, as the model of labels was fitted last.  `among` names the prompts that
    may come; `limit=None` gives all.
    """
    sql = _ordered("prompts_to_rank", order and f"{order}_prompts", limit)
    return [prompt for (prompt,) in store.rows(sql, _open_to(annotator, criterion, exclude, seed, among))]


def count_to_rank(store: Store, annotator: str, criterion: str = "overall") -> int:
    """Prompts with two different responses or more, of which the annotator has not judged every one."""
    return _count(store, "prompts_to_rank", annotator, criterion)


def pairs_to_judge(
    store: Store,
    annotator: str,
    criterion: str = "overall",
    *,
    exclude: Sequence[str] = (),
    seed: int | None = None,
    order: Order | None = None,
    among: Sequence[str] | None = None,
    limit: int | None = 1,
) -> list[CandidatePair]:
    """Pairs of different responses that the annotator has not met in one, in orders as `prompts_to_rank`.

    `exclude` names prompts that may not come, `among` those that may.
    """
    sql = _ordered("pairs_to_judge", order and f"{order}_pairs", limit)
    return store.records(CandidatePair, sql, _open_to(annotator, criterion, exclude, seed, among))


def count_pairs(store: Store, annotator: str, criterion: str = "overall") -> int:
    """Pairs of responses that the annotator has not judged by this criterion."""
    return _count(store, "pairs_to_judge", annotator, criterion)


def candidates(
    store: Store, prompt: str, annotator: str, criterion: str = "overall"
) -> list[CandidateResponse]:
    """The responses to a prompt, and whether this annotator has seen each."""
    return store.records(
        CandidateResponse,
        block("judgements", "candidates"),
        {"prompt_id": prompt, "annotator_id": annotator_id(annotator), "criterion": criterion},
    )


def pair_is_open(store: Store, pair: CandidatePair, annotator: str, criterion: str = "overall") -> bool:
    """Whether the annotator has not met these two in one judgement."""
    values = {
        "prompt_id": pair.prompt_id,
        "annotator_id": annotator_id(annotator),
        "criterion": criterion,
        "pair": [pair.response_a, pair.response_b],
    }
    return store.row(block("judgements", "met"), values) is None


def pace(
    store: Store,
    annotator: str,
    *,
    mode: str = "rank",
    criterion: str = "overall",
    since: datetime,
    left: int | None = None,
) -> PaceCounts:
    """How much is done and left.  `since` is the start of today in naive UTC; `mode` is rank or pair.

    `left` is counted, in a large store for a second, unless the caller knows it.
    """
    kinds = ("pair",) if mode == "pair" else RANKING_KINDS
    if left is None:
        left = (count_pairs if mode == "pair" else count_to_rank)(store, annotator, criterion)
    row = store.row(
        block("judgements", "pace"),
        {
            "annotator_id": annotator_id(annotator),
            "criterion": criterion,
            "kinds": list(kinds),
            "since": since,
        },
    )
    done, today, recent, seconds = row or (0, 0, 0, 0.0)
    return PaceCounts(done, left, today, recent, seconds)


def agreement(store: Store) -> list[AgreementRow]:
    """How far each two annotators agree on the pairs that both have judged."""
    return store.records(AgreementRow, block("judgements", "agreement"))


def votes(store: Store, criterion: str = "overall") -> list[Votes]:
    """Every pair that standing judgements imply, with what annotators said of it; by prompt and pair.

    Models that judge are left out, as trainings leave them out.
    """
    return store.records(Votes, block("judgements", "votes"), {"criterion": criterion})


def written(store: Store, criterion: str = "overall") -> int:
    """How many rows of judgements there are, undone ones and undoings too: it grows with every change."""
    row = store.row(block("judgements", "written"), {"criterion": criterion})
    return int(row[0]) if row else 0


def count_standing(store: Store, criterion: str = "overall") -> int:
    """How many judgements stand, of all annotators."""
    row = store.row(block("judgements", "standing_count"), {"criterion": criterion})
    return int(row[0]) if row else 0


def least_judged(store: Store, criterion: str = "overall", *, limit: int) -> list[tuple[str, list[str]]]:
    """(prompt id, ids of its responses) of prompts that can be judged, the fewest judgements first."""
    rows = store.rows(block("judgements", "least_judged"), {"criterion": criterion, "limit": limit})
    return [(prompt, list(responses)) for prompt, responses in rows]


def count_judged_responses(store: Store, criteria: Sequence[str] | None = ("overall",)) -> int:
    """How many responses somebody has judged by one of the criteria; None takes every criterion."""
    wanted = None if criteria is None else list(criteria)
    row = store.row(block("judgements", "judged_responses"), {"criteria": wanted})
    return int(row[0]) if row else 0


def _ordered(waiting: str, order: str | None, limit: int | None) -> str:
    """The block `waiting`, in its own order or in that of the block `order`."""
    sql = block("judgements", waiting)
    if order is not None:
        sql = block("judgements", order).replace("{open}", sql)
    return sql if limit is None else f"{sql}\nLIMIT {int(limit)}"


def _values(judgement_id: str, annotator: str, new: NewJudgement) -> dict[str, Any]:
    """A row of the table judgements; `annotator` is an id."""
    return {
        "judgement_id": judgement_id,
        "prompt_id": new.prompt_id,
        "annotator_id": annotator,
        "kind": new.kind,
        "criterion": new.criterion,
        "supersedes": new.supersedes,
        "reason": new.reason,
        "flagged": new.flagged,
        "note": new.note,
        "seconds": new.seconds,
        "source": new.source,
        "strength": new.strength,
        "outcome": new.outcome,
        "confidence": new.confidence,
        "sitting": new.sitting,
        "assignment_id": new.assignment_id,
    }


def prompts_by_response(store: Store, responses: Sequence[str]) -> dict[str, str]:
    """The prompt of each response that there is."""
    rows = store.rows(block("judgements", "prompts_by_response"), {"responses": json.dumps(list(responses))})
    return {response: prompt for prompt, response in rows}


def written_by_others(store: Store, annotator: str, criterion: str) -> int:
    """How many rows of judgements are not this annotator's: it grows with every change that others make."""
    values = {"annotator_id": annotator_id(annotator), "criterion": criterion}
    row = store.row(block("judgements", "written_by_others"), values)
    return int(row[0]) if row else 0


def _open_to(
    annotator: str,
    criterion: str,
    exclude: Sequence[str],
    seed: int | None,
    among: Sequence[str] | None = None,
) -> dict[str, object]:
    """Parameters of the blocks of what waits; a long list goes as JSON (`storage.rows` says why)."""
    return {
        "among": None if among is None else json.dumps(list(among)),
        "annotator_id": annotator_id(annotator),
        "criterion": criterion,
        "exclude": list(exclude),
        "seed": seed,
    }


def _count(store: Store, name: str, annotator: str, criterion: str) -> int:
    sql = f"SELECT count(*) FROM ({block('judgements', name)})"
    row = store.row(sql, _open_to(annotator, criterion, (), None))
    return int(row[0]) if row else 0
