"""How good a reward model is, one function a query.  All pairs, shares and resamples are made in SQL."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager

from storage.measures.report_records import (
    AnnotatorFit,
    CalibrationBin,
    CriterionFit,
    CurvePoint,
    Figure,
    LengthCorrelation,
    LengthRow,
    PairResponse,
    PairVerdict,
    PolicyScores,
    ReportBasis,
    TauSpread,
    UnseenBasis,
    WrongPair,
)
from storage.share.remote import RemoteCursor
from storage.sql import block
from storage.store import Store

PARAMETER = re.compile(r"\$(\w+)")


@contextmanager
def made_once(store: Store, reward_model: str, criteria: Iterable[str]) -> Iterator[None]:
    """Make verdicts and pairs once for all that this thread asks about a reward model and these criteria.

    Temporary tables stand in for the view and the macro of the same names, on this thread's connection alone;
    read through another process there are none, and view and macro answer.
    """
    cursor = store.cursor()
    if isinstance(cursor, RemoteCursor):
        yield
        return
    try:
        cursor.execute(block("reports", "verdicts_once"))
        cursor.execute(block("reports", "no_pairs_once"))
        for criterion in dict.fromkeys(criteria):
            cursor.execute(block("reports", "pairs_once"), _about(reward_model, criterion))
        cursor.execute(block("reports", "judged_pairs_once"))
        yield
    finally:
        cursor.execute("DROP MACRO TABLE IF EXISTS temp.judged_pairs")
        for table in ("pairs_once", "verdicts"):
            cursor.execute(f"DROP TABLE IF EXISTS temp.{table}")


def basis(store: Store, reward_model: str, criterion: str) -> ReportBasis:
    """What the reward model of that name is measured on."""
    (report_basis,) = store.records(ReportBasis, block("reports", "basis"), _about(reward_model, criterion))
    return report_basis


def criteria(store: Store, reward_model: str) -> list[tuple[str, int]]:
    """(criterion, verdicts) of the measured prompts; what the run learned first, then the most judged."""
    rows = store.rows(block("reports", "criteria"), {"reward_model": reward_model})
    return [(name, verdicts) for name, verdicts in rows]


def figures(
    store: Store, reward_model: str, criterion: str, *, seed: int, replicates: int
) -> dict[str, Figure]:
    """Every mean of the report with its bootstrap interval, by name."""
    values = {**_about(reward_model, criterion), "seed": seed, "replicates": replicates}
    return {figure.figure: figure for figure in store.records(Figure, block("reports", "figures"), values)}


def unseen(
    store: Store, reward_model: str, criterion: str, *, seed: int, replicates: int
) -> tuple[UnseenBasis, dict[str, Figure]]:
    """Means over splits on prompts never seen, with bootstrap intervals; 0 splits where the run made none."""
    about = _about(reward_model, criterion)
    (basis,) = store.records(UnseenBasis, block("reports", "unseen_basis"), about)
    values = {**about, "seed": seed, "replicates": replicates}
    measured = store.records(Figure, block("reports", "unseen"), values) if basis.splits else []
    return basis, {each.figure: each for each in measured}


def by_criterion(store: Store, reward_model: str, criterion: str) -> CriterionFit:
    """Accuracy and log-loss on a criterion's measured pairs, and how often the longer response wins."""
    (fit,) = store.records(CriterionFit, block("reports", "by_criterion"), _about(reward_model, criterion))
    return fit


def calibration(store: Store, reward_model: str, criterion: str) -> list[CalibrationBin]:
    """Bins of predicted probability that hold pairs, from one half up."""
    return store.records(CalibrationBin, block("reports", "calibration"), _about(reward_model, criterion))


def annotators(store: Store, reward_model: str, criterion: str) -> list[AnnotatorFit]:
    """The same for each annotator's pairs alone."""
    return store.records(AnnotatorFit, block("reports", "annotators"), _about(reward_model, criterion))


def taus(store: Store, reward_model: str, criterion: str) -> TauSpread:
    """Kendall's τ of scores and ranks within each prompt: mean, quantiles, prompts in each of ten bins."""
    (row,) = store.rows(block("reports", "taus"), _about(reward_model, criterion))
    prompts, undefined, mean, quantiles, counts = row
    return TauSpread(prompts, undefined, mean, tuple(quantiles or ()), tuple(counts or ()))


def length(store: Store, reward_model: str, criterion: str) -> LengthCorrelation:
    """Correlation of scores with characters, both less their prompt's mean, over measured prompts."""
    (correlation,) = store.records(
        LengthCorrelation, block("reports", "length"), _about(reward_model, criterion)
    )
    return correlation


def length_rows(store: Store, reward_model: str, criterion: str) -> list[LengthRow]:
    """Each measured pair: difference of its scores, and by how much the better response is longer."""
    return store.records(LengthRow, block("reports", "length_rows"), _about(reward_model, criterion))


def wrong(store: Store, reward_model: str, criterion: str, *, limit: int = 100) -> list[WrongPair]:
    """Measured pairs whose better response has the lower score, the most confident mistake first."""
    values = {**_about(reward_model, criterion), "limit": limit}
    return store.records(WrongPair, block("reports", "wrong"), values)


def learning_curve(store: Store, reward_model: str) -> list[CurvePoint]:
    """Accuracy by the number of training pairs, as the run has measured it."""
    return store.records(CurvePoint, block("reports", "learning_curve"), {"reward_model": reward_model})


def pairwise(store: Store, reward_model: str) -> dict[str, float]:
    """What its run measured of the pairwise preference model beside it; empty where there is none."""
    rows = store.rows(block("reports", "pairwise"), {"reward_model": reward_model})
    return {figure: value for figure, value in rows if value is not None}


def policies(store: Store, reward_model: str, criterion: str) -> list[PolicyScores]:
    """Distribution of all scores by policy, the highest mean first."""
    rows = store.rows(block("reports", "policies"), _about(reward_model, criterion))
    return [
        PolicyScores(policy, responses, mean, deviation, tuple(quantiles), tuple(counts))
        for policy, responses, mean, deviation, quantiles, counts in rows
    ]


def pair(
    store: Store, reward_model: str, criterion: str, first: str, second: str
) -> tuple[list[PairResponse], list[PairVerdict]]:
    """Two responses with their scores, and what each annotator says of them."""
    ids = {"first": first, "second": second}
    responses = store.records(
        PairResponse, block("reports", "pair"), {**_about(reward_model, criterion), **ids}
    )
    verdicts = store.records(PairVerdict, block("reports", "pair_verdicts"), {"criterion": criterion, **ids})
    return responses, verdicts


def query_text(name: str, values: Mapping[str, str | int]) -> str:
    """The query behind one part of the report with its values written in, to be run by hand."""

    def literal(match: re.Match[str]) -> str:
        value = values[match[1]]
        return str(value) if isinstance(value, int) else "'" + value.replace("'", "''") + "'"

    return PARAMETER.sub(literal, block("reports", name))


def _about(reward_model: str, criterion: str) -> dict[str, str | int]:
    return {"reward_model": reward_model, "criterion": criterion}
