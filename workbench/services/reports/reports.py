"""How good a reward model is on prompts it has not learned from, beside what knows nothing."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace

from engine.wording import counted
from storage import artifacts, prompts
from storage.measures import benchmarks, reports
from storage.measures.benchmark_records import Benchmark
from storage.measures.report_records import (
    AnnotatorFit,
    CalibrationBin,
    CriterionFit,
    CurvePoint,
    Figure,
    LengthCorrelation,
    PairResponse,
    PairVerdict,
    PolicyScores,
    ReportBasis,
    TauSpread,
    UnseenBasis,
    WrongPair,
)
from storage.store import Store
from workbench.services.reports.calibration import Calibrating, JudgeCalibration
from workbench.services.reports.regression import PairFit, fit_pairs

SEED = 0
REPLICATES = 1000
FEWEST_REPLICATES = 200
DRAWS = 600_000
"""Prompts drawn in all resamples together at most; above it there are fewer resamples."""
WRONG_PAIRS = 100
CONSTANT_ACCURACY, CONSTANT_LOG_LOSS = 0.5, math.log(2)


@dataclass(frozen=True)
class RewardReport:
    """A reward model measured on one criterion.

    `figures` (means with intervals) by name: accuracy, log_loss of the model; longer, policy and their
    log_loss of the baselines "the longer response" and "the policy that won more often in training";
    over_longer, over_policy the model's accuracy less theirs; longer_wins, longer_loses, length_matched its
    accuracy on such pairs and length_balanced the mean of the first two; tau; agreement of two people;
    person, one against most of the others.
    """

    reward_model: str
    criterion: str
    basis: ReportBasis
    criteria: tuple[CriterionFit, ...]
    figures: Mapping[str, Figure]
    unseen: UnseenBasis
    unseen_figures: Mapping[str, Figure]
    """accuracy, log_loss, longer, over_longer, longer_wins, longer_loses over many splits; empty without."""
    replicates: int
    seed: int
    calibration: tuple[CalibrationBin, ...]
    annotators: tuple[AnnotatorFit, ...]
    taus: TauSpread
    length: LengthCorrelation
    length_fit: PairFit | None
    curve: tuple[CurvePoint, ...]
    policies: tuple[PolicyScores, ...]
    wrong: tuple[WrongPair, ...]
    registered: bool = False
    """Trained elsewhere."""
    exported: bool = False
    """To ONNX, in one number format at least."""
    judges: tuple[JudgeCalibration, ...] = ()
    """Models that have judged by the criterion, held against people."""
    pairwise: Mapping[str, float] = field(default_factory=dict)
    """Of the pairwise preference model beside it: unseen_accuracy, unseen_log_loss, heldout_accuracy,
    heldout_log_loss, and the shares of triples that run in a circle, intransitive and intransitive_judged."""
    benchmarks: tuple[Benchmark, ...] = ()
    """The newest measurement on each, the newest first."""

    @property
    def calibration_error(self) -> float | None:
        """Expected calibration error: mean distance of predicted and observed share, weighted by pairs."""
        pairs = sum(row.pairs for row in self.calibration)
        if not pairs:
            return None
        return sum(row.pairs * abs(row.predicted - row.observed) for row in self.calibration) / pairs

    @property
    def missing(self) -> str:
        """Why there is nothing to measure, in a sentence; '' when there is."""
        basis = self.basis
        if basis.pairs:
            return ""
        where = "held-out prompts" if basis.splits_known else "prompts"
        if not basis.responses:
            first = "" if self.exported else "export it to ONNX, then "
            return (
                f"{self.reward_model} has scored no response yet: {first}run "
                f"`workbench score --reward-model {self.reward_model}`."
            )
        if basis.unscored:
            return (
                f"{self.reward_model} has not scored both responses of "
                f"{counted(basis.unscored, 'judged pair')} of its {where}: score the stored responses."
            )
        return f"Nobody has judged a pair of its {where} on “{self.criterion}” without a tie."


@dataclass(frozen=True)
class OpenedPair:
    """Two responses to one prompt, the one that people find better first, and who said what."""

    prompt_id: str
    messages: tuple[Mapping[str, str], ...]
    better: PairResponse
    worse: PairResponse
    verdicts: tuple[PairVerdict, ...]


class Reports:
    """Reports from one store."""

    def __init__(self, store: Store) -> None:
        self.store = store

    def reward(self, name: str, criterion: str | None = None) -> RewardReport:
        """Measure the newest reward model of that name.

        Without a criterion the one that its run learned where people have judged on it, else the most judged.
        NotFoundError when there is no such model.
        """
        exported = bool(artifacts.reward_model(self.store, name).precisions)
        store = self.store
        known = [name_of_criterion for name_of_criterion, _ in reports.criteria(store, name)]
        about = criterion or (known[0] if known else "overall")
        with reports.made_once(store, name, [about, *known]):
            return replace(self._measured(name, about, known), exported=exported)

    def _measured(self, name: str, about: str, known: Sequence[str]) -> RewardReport:
        store = self.store
        basis = reports.basis(store, name, about)
        replicates = max(FEWEST_REPLICATES, min(REPLICATES, DRAWS // max(1, basis.prompts)))
        rows = [
            (row.prompt_id, row.difference, row.longer_by) for row in reports.length_rows(store, name, about)
        ]
        unseen, unseen_figures = reports.unseen(store, name, about, seed=SEED, replicates=replicates)
        return RewardReport(
            reward_model=name,
            criterion=about,
            basis=basis,
            criteria=tuple(reports.by_criterion(store, name, criterion) for criterion in known),
            figures=reports.figures(store, name, about, seed=SEED, replicates=replicates),
            unseen=unseen,
            unseen_figures=unseen_figures,
            replicates=replicates,
            seed=SEED,
            calibration=tuple(reports.calibration(store, name, about)),
            annotators=tuple(reports.annotators(store, name, about)),
            taus=reports.taus(store, name, about),
            length=reports.length(store, name, about),
            length_fit=fit_pairs(rows),
            curve=tuple(reports.learning_curve(store, name)),
            policies=tuple(reports.policies(store, name, about)),
            wrong=tuple(reports.wrong(store, name, about, limit=WRONG_PAIRS)),
            registered=artifacts.is_registered(store, name),
            judges=tuple(Calibrating(store).all([about])),
            pairwise=reports.pairwise(store, name),
            benchmarks=tuple(benchmarks.listed(store, name)),
        )

    def models(self) -> list[str]:
        """Names of the reward models, the newest last."""
        return [model.name for model in artifacts.reward_models(self.store)]

    def pair(self, report: RewardReport, wrong: WrongPair) -> OpenedPair:
        """A pair of the report's list, whole."""
        (better, worse), verdicts = reports.pair(
            self.store, report.reward_model, report.criterion, wrong.better_id, wrong.worse_id
        )
        messages = tuple(prompts.messages(self.store, wrong.prompt_id))
        return OpenedPair(wrong.prompt_id, messages, better, worse, tuple(verdicts))

    def query(self, report: RewardReport, name: str) -> str:
        """The SQL behind one part of a report (a block of reports.sql), ready to be run."""
        values: dict[str, str | int] = {
            "reward_model": report.reward_model,
            "criterion": report.criterion,
            "seed": report.seed,
            "replicates": report.replicates,
            "limit": WRONG_PAIRS,
        }
        return reports.query_text(name, values)
