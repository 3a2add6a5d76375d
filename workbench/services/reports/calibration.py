"""How far models that judge agree with people: shown before anything learns from them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from engine.errors import UsageError
from engine.protocol.suggest import did_you_mean
from engine.wording import counted
from storage.measures import judges
from storage.measures.judge_records import ConfusionRow, JudgeCounts
from storage.measures.report_records import CalibrationBin, Figure
from storage.store import Store

SEED = 0
REPLICATES = 1000
DRAWS = 600_000
"""Prompts drawn in all resamples together at most; above it there are fewer resamples."""
FEWEST_REPLICATES = 200
FEWEST_PROMPTS = 5
"""With fewer prompts an interval by resampling them says nothing."""


@dataclass(frozen=True)
class JudgeCalibration:
    """A model that judges, held against people on the pairs that both have judged, by one criterion.

    `figures` (means with 95 % intervals by resampling prompts) by name: agreement, decided, kappa,
    judge_ties, people_ties, judge_longer, people_longer, person, orders_disagree, first; those that nothing
    is known of are missing.  The view `judge_sums` says what each means.
    """

    judge: str
    criterion: str
    judgements: int
    prompts: int
    figures: Mapping[str, Figure]
    confusion: tuple[ConfusionRow, ...]
    contested: int
    """Pairs on which people have no majority, which are left out."""
    reliability: tuple[CalibrationBin, ...]
    """What the model's own probabilities are worth."""

    @property
    def shared(self) -> int:
        """Pairs that it shares with people."""
        agreement = self.figures.get("agreement")
        return agreement.n if agreement else 0

    @property
    def calibration_error(self) -> float | None:
        """Mean distance of predicted and observed share, weighted by pairs."""
        pairs = sum(each.pairs for each in self.reliability)
        if not pairs:
            return None
        return sum(f.pairs * abs(f.predicted - f.observed) for f in self.reliability) / pairs

    @property
    def sentence(self) -> str:
        """The whole in a sentence."""
        agreement, orders = self.figures.get("agreement"), self.figures.get("orders_disagree")
        if agreement is None:
            said = f"“{self.judge}” shares no pair with people, so nothing says how good it is"
        else:
            said = (
                f"“{self.judge}” agrees with people on {agreement.value:.0%}{within(agreement)} of "
                f"{counted(agreement.n, 'pair')}"
            )
        if orders is not None:
            said += f"; its two orders disagree on {orders.value:.0%} of its own {counted(orders.n, 'pair')}"
        return f"{said}."


def within(figure: Figure, form: str = ".0%") -> str:
    """The interval in brackets, or that there are too few prompts for one.

    Where every prompt says the same, resampling them has no width; a share of 0 or 1 then has the exact
    interval of Clopper and Pearson (Biometrika 26, 1934), prompts taken as the draws.
    """
    if figure.prompts < FEWEST_PROMPTS:
        return f" (only {counted(figure.prompts, 'prompt')}: no interval)"
    low, high = figure.low, figure.high
    if low == high:
        if figure.figure == "kappa" or figure.value not in (0.0, 1.0):
            return ""
        low, high = (
            (0.025 ** (1 / figure.prompts), 1.0) if figure.value else (0.0, 1 - 0.025 ** (1 / figure.prompts))
        )
    interval = f" ({low:{form}} – {high:{form}})"
    return interval.replace("-0.00", "0.00")


class Calibrating:
    """The judges of one store.  Thread-safe."""

    def __init__(self, store: Store) -> None:
        self._store = store

    def judges(self) -> list[JudgeCounts]:
        """Every model that has judged, by criterion."""
        return judges.listed(self._store)

    def all(self, criteria: Sequence[str] | None = None) -> list[JudgeCalibration]:
        """The calibration of every judge on each criterion it has judged by."""
        return [self._measured(row) for row in self.judges() if criteria is None or row.criterion in criteria]

    def of(self, judge: str, criterion: str | None = None) -> list[JudgeCalibration]:
        """A judge on one criterion, or on each.  Raises UsageError with the near match."""
        known = self.judges()
        name = judge if judge.startswith("ai:") else f"ai:{judge}"
        rows = [row for row in known if row.judge == name and criterion in (None, row.criterion)]
        if not rows:
            about = f" by “{criterion}”" if criterion else ""
            names = {row.judge for row in known}
            raise UsageError(f"No model “{name}” has judged{about}. {did_you_mean(name, names)}")
        return [self._measured(row) for row in rows]

    def _measured(self, row: JudgeCounts) -> JudgeCalibration:
        store, about = self._store, (row.judge, row.criterion)
        replicates = max(FEWEST_REPLICATES, min(REPLICATES, DRAWS // max(1, row.prompts)))
        return JudgeCalibration(
            judge=row.judge,
            criterion=row.criterion,
            judgements=row.judgements,
            prompts=row.prompts,
            figures=judges.figures(store, *about, seed=SEED, replicates=replicates),
            confusion=tuple(judges.confusion(store, *about)),
            contested=judges.contested(store, *about),
            reliability=tuple(judges.reliability(store, *about)),
        )
