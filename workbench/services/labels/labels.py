"""The truth of labels: what annotators agree on, how able each is, what the consensus says, who decides."""

from __future__ import annotations

import math
from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import date
from itertools import groupby
from typing import TYPE_CHECKING, Any

from engine.errors import UsageError
from engine.protocol.suggest import did_you_mean
from storage import judgements, responses
from storage.measures import labels
from storage.measures.label_records import AnnotatorQuality, Disagreement, LabelFit, Placed, VerdictRow
from storage.records import JudgedItem, NewJudgement
from storage.store import Store

if TYPE_CHECKING:
    from engine.labels.agreement import Coefficient
    from engine.labels.model import LabelModel

PEOPLE = ("human", "import")
ADJUDICATOR = "\x00adjudication"
"""Adjudications count as one annotator of their own, whoever made them."""


@dataclass(frozen=True)
class Couple:
    """Two annotators on the pairs of responses that both have judged."""

    annotator_a: str
    annotator_b: str
    prompts: int
    pairs: int
    agreement: Coefficient
    kappa: Coefficient
    tau: Coefficient


@dataclass(frozen=True)
class Reliability:
    """Krippendorff's α of everybody but rules, over the whole time or a week of it."""

    week: date | None
    prompts: int
    pairs: int
    alpha: Coefficient


@dataclass(frozen=True)
class StatedOrder:
    """One annotator's judgement of a prompt, or the consensus: the place of each response."""

    name: str
    places: Mapping[str, int]
    """Rank of each response; equal ranks tie."""
    note: str = ""


@dataclass(frozen=True)
class Dispute:
    """A prompt with its responses and everybody's order, the consensus first."""

    prompt_id: str
    texts: Mapping[str, str]
    qualities: Mapping[str, tuple[float, float]]
    """Quality and its standard deviation by response; empty before the model is fitted."""
    columns: tuple[StatedOrder, ...]


class Labels:
    """Labels of one store."""

    def __init__(self, store: Store) -> None:
        self.store = store

    def criteria(self) -> list[str]:
        """Criteria that somebody has judged by, the commonest first."""
        return labels.criteria(self.store)

    def known(self, criterion: str) -> str:
        """The criterion.  Raises `UsageError` where nobody has judged by it, though by others."""
        there = self.criteria()
        if there and criterion not in there:
            raise UsageError(f"Nobody has judged by “{criterion}”. {did_you_mean(criterion, there)}")
        return criterion

    # -- the model ------------------------------

    def refresh(self, criterion: str = "overall", *, at_most: int = 1) -> LabelFit | None:
        """What the model says of the judgements as they are now; None without a verdict.

        It is fitted when `at_most` judgements have come or gone since the last time.
        """
        written = judgements.written(self.store, criterion)
        stored = labels.fit_of(self.store, criterion)
        if stored is not None and written - stored.judgements < at_most:
            return stored
        verdicts = labels.verdicts(self.store, criterion)
        if not verdicts:
            labels.forget(self.store, criterion)
            return None
        model, driven_by = fitted(verdicts, labels.characters(self.store, criterion))
        self._keep(model, criterion, written, driven_by)
        return labels.fit_of(self.store, criterion)

    def _keep(self, model: LabelModel, criterion: str, written: int, driven_by: str) -> None:
        from engine.labels.reading import unjudged_worth

        verdicts, people = model.verdicts, model.annotators
        fit = {
            "criterion": criterion,
            "judgements": written,
            "verdicts": len(verdicts),
            "prompts": len(verdicts.prompts),
            "driven_by": driven_by,
            "mean_ability": people.mean_ability,
            "spread": people.spread,
            "length": people.length,
            "unjudged_worth": unjudged_worth(model),
        }
        deviation_N = model.beliefs.deviation.tolist()
        prompts = [verdicts.prompts[number] for number in verdicts.prompt_of]
        qualities = list(
            zip(prompts, verdicts.responses, model.beliefs.mean.tolist(), deviation_N, strict=True)
        )
        labels.keep(self.store, fit, _ability_rows(model), qualities, _difference_rows(model))

    # -- annotators ------------------------------

    def annotators(self, criterion: str = "overall") -> list[AnnotatorQuality]:
        """Everybody with habits and abilities, the most able first."""
        self.refresh(criterion)
        return labels.annotators(self.store, criterion)

    def agreement(self, criterion: str = "overall") -> list[Couple]:
        """Every two annotators who have judged the same pair, those who share most first."""
        import numpy as np

        from engine.labels import agreement

        couples = []
        rows = labels.shared(self.store, criterion)
        for (a, b), together in groupby(rows, key=lambda row: (row.annotator_a, row.annotator_b)):
            mine = list(together)
            agreed, pairs, ties_a, ties_b = (
                np.array([getattr(row, name) for row in mine], dtype=float)
                for name in ("agreed", "pairs", "ties_a", "ties_b")
            )
            tau = np.array([math.nan if row.tau is None else row.tau for row in mine])
            couples.append(
                Couple(
                    a,
                    b,
                    len(mine),
                    int(pairs.sum()),
                    agreement.agreement(agreed, pairs),
                    agreement.kappa(agreed, pairs, ties_a, ties_b),
                    agreement.mean_tau(tau),
                )
            )
        return sorted(couples, key=lambda row: (-row.pairs, row.annotator_a, row.annotator_b))

    def reliability(self, criterion: str = "overall") -> list[Reliability]:
        """α over the whole time, then week by week where there are several; empty where nobody shares a
        pair.
        """
        import numpy as np

        from engine.labels import agreement

        rows = labels.reliability(self.store, criterion)
        weeks: list[tuple[date | None, list[Any]]] = [(None, list(rows))] if rows else []
        by_week = [(week, list(mine)) for week, mine in groupby(rows, key=lambda row: row.week)]
        weeks += by_week if len(by_week) > 1 else []
        of_weeks = []
        for week, mine in weeks:
            sums: dict[str, Any] = defaultdict(lambda: np.zeros(4))
            for row in mine:
                sums[row.prompt_id] += (row.observed, row.values, row.squares, row.pairs)
            observed, values, squares, pairs = np.stack(list(sums.values())).T
            alpha = agreement.alpha(observed, values, squares)
            of_weeks.append(Reliability(week, len(sums), int(pairs.sum()), alpha))
        return of_weeks

    # -- where they differ ------------------------------

    def disagreements(
        self, criterion: str = "overall", *, limit: int = 100, offset: int = 0
    ) -> list[Disagreement]:
        """Prompts on which annotators contradict each other, the worst first; adjudicated ones last."""
        return labels.disagreements(self.store, criterion, limit=limit, offset=offset)

    def count_disagreements(self, criterion: str = "overall") -> tuple[int, int]:
        """How many such prompts there are, and how many of them nobody has adjudicated."""
        return labels.count_disagreements(self.store, criterion)

    def side_by_side(self, prompt_id: str, criterion: str = "overall") -> Dispute:
        """Everybody's order of a prompt's responses."""
        placed = labels.placed(self.store, prompt_id, criterion)
        qualities = labels.qualities(self.store, prompt_id, criterion)
        judged = {row.response_id for row in placed}
        texts = {
            row.response_id: row.text
            for row in responses.of_prompt(self.store, prompt_id)
            if row.response_id in judged
        }
        columns = [
            StatedOrder("consensus", {row.response_id: place for place, row in enumerate(qualities, 1)})
        ]
        for _, rows in groupby(placed, key=lambda row: row.judgement_id):
            columns.append(_column(list(rows)))
        return Dispute(
            prompt_id,
            texts,
            {row.response_id: (row.quality, row.error) for row in qualities},
            tuple(column for column in columns if column.places),
        )

    def adjudicate(
        self, prompt_id: str, annotator: str, places: Mapping[str, int], criterion: str = "overall"
    ) -> str:
        """Record the order that holds, as a ranking by `annotator`; its id.

        An earlier adjudication of the prompt is replaced.  Raises `UsageError` for fewer than two responses.
        """
        if len(places) < 2:
            raise UsageError("An adjudication orders two responses or more.")
        earlier = [
            row.judgement_id
            for row in labels.placed(self.store, prompt_id, criterion)
            if row.source == labels.ADJUDICATION
        ]
        dense = {rank: number for number, rank in enumerate(sorted(set(places.values())), 1)}
        items = tuple(JudgedItem(response, dense[rank]) for response, rank in places.items())
        judgement = NewJudgement(
            prompt_id=prompt_id,
            annotator=annotator,
            kind="ranking",
            items=items,
            criterion=criterion,
            source=labels.ADJUDICATION,
            supersedes=earlier[-1] if earlier else None,
        )
        return judgements.record(self.store, judgement)


def fitted(rows: Sequence[VerdictRow], characters: Mapping[str, int]) -> tuple[LabelModel, str]:
    """The model of some verdicts, and who drives it.

    The consensus is that of people, against whom rules and models are measured; of all where no person has
    judged.
    """
    import numpy as np

    from engine.labels.model import fit
    from engine.labels.verdicts import PairVerdicts, Said

    kinds = {row.annotator: row.annotator_kind for row in rows} | {ADJUDICATOR: "human"}
    verdicts = PairVerdicts.of(
        (
            Said(
                row.prompt_id,
                row.x,
                row.y,
                ADJUDICATOR if row.adjudicated else row.annotator,
                row.verdict,
                row.first_shown,
                row.weight,
            )
            for row in rows
        ),
        characters,
    )
    drives = np.array([kinds[name] in PEOPLE for name in verdicts.annotators])
    driven_by = "people" if drives.any() else "all"
    return fit(verdicts, drives if drives.any() else None), driven_by


def _ability_rows(model: LabelModel) -> dict[str, dict[str, Any]]:
    """Columns of annotator_fits by name."""
    from engine.labels.reading import abilities

    rows = {}
    for place, ability in enumerate(abilities(model)):
        if ability.name == ADJUDICATOR:
            continue
        rows[ability.name] = {
            "drives": bool(model.annotators.drives[place]),
            "verdicts": ability.verdicts,
            "slope": ability.slope,
            "slope_error": ability.slope_error,
            "ties": ability.ties,
        }
        for name in ("accuracy", "first", "longer"):
            share = getattr(ability, name)
            rows[ability.name] |= {name: share.value, f"{name}_low": share.low, f"{name}_high": share.high}
    return rows


def _difference_rows(model: LabelModel) -> list[tuple[Any, ...]]:
    """Prompt, x, y, difference, error, probability, worth of every two judged responses to a prompt."""
    from engine.labels.reading import probability, worth

    verdicts, rows = model.verdicts, []
    for x, y, mean, deviation in model.beliefs.pairs():
        prompts = [verdicts.prompts[number] for number in verdicts.prompt_of[x]]
        names = verdicts.responses
        columns = (mean, deviation, probability(mean, deviation), worth(model, mean, deviation))
        rows += [
            (prompt, names[i], names[j], *values)
            for prompt, i, j, *values in zip(
                prompts, x.tolist(), y.tolist(), *(column.tolist() for column in columns), strict=True
            )
        ]
    return rows


def _column(rows: Sequence[Placed]) -> StatedOrder:
    first = rows[0]
    name = "adjudicated" if first.source == labels.ADJUDICATION else first.annotator
    said = f"adjudicated by {first.annotator}" if first.source == labels.ADJUDICATION else first.kind
    note = f"{said}: {first.note}" if first.note else said
    return StatedOrder(name, {row.response_id: row.rank for row in rows}, note)
