"""A reward head on frozen features: ridge Bradley–Terry, its strength cross-validated over prompts.

1. scale the features, reduce them to the coordinates of the differences that were judged
2. fit every strength on every fold at once; keep the strength with the least held-out log-loss
3. held-out margins give a temperature if one is wanted; the strength of least log-loss hardly needs one
4. fit all pairs, and draw an ensemble from the posterior that says how sure the head is

With `length = "controlled"` the lengths of the two responses explain verdicts beside the features, and are
left out of the score: what is learned is which is better of two responses of one length.

numpy alone: it runs in the workbench process while a person ranks.
Shapes: `N` responses, `F` features, `M` pairs, `r` coordinates, `S` strengths, `E` members, `C` criteria.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np

from engine.errors import NonFiniteError, UsageError
from engine.frozen.comparisons import Comparisons, Votes
from engine.frozen.measure import Measure, best_temperature, measure, strict_majority
from engine.frozen.newton_cg import Problems
from engine.frozen.posterior import drawn_heads, strength_shares
from engine.frozen.subspace import Scaling, Space, Subspace, subspace_of
from engine.scoring.head import FeaturePart, RewardHead

OVERALL = "overall"
Length = Literal["raw", "controlled"]
LENGTH_SCALE = 10.0
"""Covariates have this root mean square where differences of features have one below 1: hardly a penalty."""


@dataclass(frozen=True)
class FitSettings:
    """How a head is fitted."""

    strengths: tuple[float, ...] = (0.01, 0.03, 0.06, 0.1, 0.15, 0.25, 0.4, 0.7, 1.2, 2.5, 6.0)
    folds: int = 5
    votes: Votes = "majority"  # how several people's verdicts on a pair count
    ties: bool = True  # learn from ties, by Davidson's model
    squash: bool = True  # tanh of standardised features: huge states of a few dimensions do not rule
    evening: float = 0.0  # 0: each pair counts 1, 1: each prompt counts 1
    members: int = 32  # heads of the ensemble; 0 makes none
    length: Length = (
        "raw"  # controlled: the length of a response explains verdicts and is no part of its score
    )
    calibrate: bool = False  # multiply scores by the temperature of least held-out log-loss
    seed: int = 0


@dataclass(frozen=True)
class CrossValidation:
    """What prompts that were not learned from say about each strength; on strict majority pairs."""

    strengths: tuple[float, ...]
    measures: tuple[Measure, ...]  # of each strength, before calibration
    strength: float  # the best
    temperature: float  # what the scores of the final head were multiplied by
    calibrated: Measure  # of the best strength, with the temperature
    margins: np.ndarray  # [M] held-out margins of the best strength, with it too; one for each comparison
    folds: int
    prompts: int

    def strength_shares(self) -> dict[float, float]:
        """How the ensemble is spread over strengths; all of it to the best without cross-validation."""
        if self.folds < 2:
            return {self.strength: 1.0}
        shares = strength_shares([one.log_loss for one in self.measures], self.calibrated.pairs)
        return dict(zip(self.strengths, shares.tolist(), strict=True))

    def table(self) -> str:
        """The strengths and their held-out numbers in a few lines of text."""
        lines = ["strength  log-loss  accuracy"]
        for strength, measured in zip(self.strengths, self.measures, strict=True):
            mark = "  ← chosen" if strength == self.strength else ""
            lines.append(f"{strength:8g}  {measured.log_loss:8.4f}  {measured.accuracy:8.3f}{mark}")
        return "\n".join(lines)


@dataclass(frozen=True)
class FittedHead:
    """A head and how well it did on prompts that it had not seen."""

    head: RewardHead
    reports: Mapping[str, CrossValidation]  # by criterion
    nu: Mapping[str, float]  # Davidson's ν by criterion, 0 when no tie was learned


@dataclass(frozen=True)
class Prepared:
    """The comparisons of one criterion, ready to be fitted."""

    learned: Comparisons  # votes as they are learned
    strict: Comparisons  # what is measured on
    subspace: Subspace


def fit_head(
    features_N_F: np.ndarray,
    comparisons: Comparisons | Mapping[str, Comparisons],
    *,
    layers: Sequence[int],
    parts: Sequence[FeaturePart],
    settings: FitSettings | None = None,
    length_N: np.ndarray | None = None,
) -> RewardHead:
    """The head alone; see `fit`."""
    made = fit(features_N_F, comparisons, layers=layers, parts=parts, settings=settings, length_N=length_N)
    return made.head


def fit(
    features_N_F: np.ndarray,
    comparisons: Comparisons | Mapping[str, Comparisons],
    *,
    layers: Sequence[int],
    parts: Sequence[FeaturePart],
    settings: FitSettings | None = None,
    length_N: np.ndarray | None = None,
) -> FittedHead:
    """Fit a head to comparisons (of each criterion) and cross-validate it.

    features_N_F: of judged responses and of any others, whose mean score becomes 0.  length_N: characters of
    each, where length is controlled.  Raises UsageError when there is no strict preference, NonFiniteError
    when a feature is not finite.
    """
    settings = settings or FitSettings()
    by_criterion = {OVERALL: comparisons} if isinstance(comparisons, Comparisons) else dict(comparisons)
    scaling = scaling_of(features_N_F, settings)
    weights, reports, nu = [], {}, {}
    for criterion, judged in by_criterion.items():
        prepared = prepare(features_N_F, judged, scaling, settings, criterion, length_N)
        reports[criterion] = cross_validated(prepared, prepared.subspace, settings)
        found_B_F, nu[criterion] = _final(prepared, reports[criterion], settings)
        weights.append(found_B_F)
    head = _head(np.stack(weights, axis=1), scaling, scaling.mean(features_N_F), by_criterion, layers, parts)
    return FittedHead(head, reports, nu)


def _head(
    weight_B_C_F: np.ndarray,
    scaling: Scaling,
    mean_F: np.ndarray,
    criteria: Iterable[str],
    layers: Sequence[int],
    parts: Sequence[FeaturePart],
) -> RewardHead:
    """The head with its members, from weights on scaled features, the head's own first.

    Without tanh the scaling is folded into weight and bias: wᵀ((x − μ)·f/σ) = (w·f/σ)ᵀx − (w·f/σ)ᵀμ.
    """
    folded = weight_B_C_F * scaling.factor
    bias = -(weight_B_C_F @ mean_F)
    if not scaling.squash:
        folded = folded / scaling.scale
        bias = -(folded @ scaling.centre)
    weight, bias = folded.astype(np.float32), bias.astype(np.float32)
    return RewardHead(
        weight=weight[0],
        bias=bias[0],
        criteria=tuple(criteria),
        layers=tuple(layers),
        parts=tuple(parts),
        kind="frozen",
        ensemble_weight=weight[1:] if len(weight) > 1 else None,
        ensemble_bias=bias[1:] if len(weight) > 1 else None,
        centre=scaling.centre if scaling.squash else None,
        scale=scaling.scale if scaling.squash else None,
    )


def cross_validate(
    features_N_F: np.ndarray,
    comparisons: Comparisons,
    settings: FitSettings | None = None,
    length_N: np.ndarray | None = None,
) -> CrossValidation:
    """Accuracy and log-loss of each strength on prompts left out of the fit.  Raises as `fit` does."""
    settings = settings or FitSettings()
    scaling = scaling_of(features_N_F, settings)
    prepared = prepare(features_N_F, comparisons, scaling, settings, OVERALL, length_N)
    return cross_validated(prepared, prepared.subspace, settings)


def scaling_of(features_N_F: np.ndarray, settings: FitSettings) -> Scaling:
    """Centre and scale of the features, [N, F] → F each.  Raises NonFiniteError where one is not finite."""
    scaling = Scaling.of(features_N_F, settings.squash)
    if not (np.isfinite(scaling.centre).all() and np.isfinite(scaling.scale).all()):
        raise NonFiniteError("There are features that are not finite; compute them again in float32.")
    return scaling


def prepare(
    features_N_F: np.ndarray,
    judged: Comparisons,
    scaling: Scaling,
    settings: FitSettings,
    criterion: str = OVERALL,
    length_N: np.ndarray | None = None,
) -> Prepared:
    """Count the votes and reduce the features.  Raises UsageError when there is no strict preference."""
    learned = judged.learned(settings.votes, settings.ties).prompts_evened(settings.evening)
    if not (learned.win + learned.loss).sum() > 0:
        raise UsageError(
            f"There is no preference on “{criterion}” to learn from: no response was judged better than "
            "another; judge some more prompts."
        )
    subspace = subspace_of(features_N_F, learned, scaling)
    if settings.length == "controlled":
        if length_N is None:
            raise UsageError("To control for length the lengths of the responses must be given.")
        subspace = subspace.with_covariates(_lengths(length_N, learned), learned)
    return Prepared(learned, strict_majority(judged), subspace)


def _lengths(length_N: np.ndarray, learned: Comparisons) -> np.ndarray:
    """Differences of ln(characters) and of characters of each pair, to the same size, [M, 2]."""
    of_N_2 = np.stack([np.log(np.maximum(length_N, 1.0)), length_N], axis=1)
    found_M_2 = of_N_2[learned.left] - of_N_2[learned.right]
    size_2 = np.sqrt(np.square(found_M_2).mean(axis=0))
    return np.asarray(LENGTH_SCALE * found_M_2 / np.where(size_2 > 0, size_2, 1.0))


def fold_of(prompt_M: np.ndarray, folds: int, seed: int) -> np.ndarray:
    """The fold of each pair, [M]: prompts are dealt out evenly, in a seeded order."""
    prompts, which = np.unique(prompt_M, return_inverse=True)
    order = np.random.default_rng(seed).permutation(len(prompts))
    fold = np.empty(len(prompts), dtype=np.int64)
    fold[order] = np.arange(len(prompts)) % folds
    return fold[which]


def cross_validated(prepared: Prepared, space: Space, settings: FitSettings) -> CrossValidation:
    """What prompts left out of the fit say of each strength, in the coordinates of `space`."""
    learned, strict = prepared.learned, prepared.strict
    folds, strengths = min(settings.folds, learned.prompts), settings.strengths
    M, S = len(learned), len(strengths)
    if folds < 2 or not (strict.win + strict.loss).sum() > 0:
        unknown = Measure(float("nan"), float("nan"), 0)
        middle = strengths[S // 2]
        return CrossValidation(
            strengths, (unknown,) * S, middle, 1.0, unknown, np.zeros(M), 1, learned.prompts
        )
    fold_M = fold_of(learned.prompt, folds, settings.seed)
    kept_M_k = (fold_M[:, None] != np.arange(folds)).astype(np.float64)
    solution = Problems(
        space.differences,
        space.spread,
        learned,
        np.repeat(kept_M_k, S, axis=1),
        np.tile(strengths, folds),
    ).solve(tolerance=1e-4)
    margins_M_k_S = (space.differences[:, space.scored] @ solution.v[space.scored]).reshape(M, folds, S)
    margins_M_S = margins_M_k_S[np.arange(M), fold_M]
    measures = tuple(measure(margins_M_S[:, s], strict) for s in range(S))
    best = int(np.argmin([one.log_loss for one in measures]))
    temperature = best_temperature(margins_M_S[:, best], strict) if settings.calibrate else 1.0
    margin_M = temperature * margins_M_S[:, best]
    return CrossValidation(
        strengths=strengths,
        measures=measures,
        strength=strengths[best],
        temperature=temperature,
        calibrated=measure(margin_M, strict),
        margins=margin_M,
        folds=folds,
        prompts=learned.prompts,
    )


def _final(prepared: Prepared, report: CrossValidation, settings: FitSettings) -> tuple[np.ndarray, float]:
    """Weights on scaled features [1 + E, F], the head first and then its members, and Davidson's ν."""
    learned, subspace, E = prepared.learned, prepared.subspace, settings.members
    problem = Problems(
        subspace.differences,
        subspace.spread,
        learned,
        np.ones((len(learned), 1)),
        np.array([report.strength]),
    )
    solution = problem.solve(tolerance=1e-6)
    nu, seed = float(solution.nu[0]), (settings.seed, learned.prompts)
    weights_B_F = subspace.weights(solution.v.T)
    if E > 1:
        shares = report.strength_shares()
        drawn_E_F = drawn_heads(subspace, learned, solution.v[:, 0], nu, shares, E, seed)
        weights_B_F = np.concatenate([weights_B_F, drawn_E_F])
    return report.temperature * weights_B_F, nu
