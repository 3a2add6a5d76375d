"""A pairwise preference model on a frozen trunk, fitted to the same judgements as the reward head.

The log-odds f(a)ᵀ A f(b) with A = U − Uᵀ skew-symmetric are linear in the d(d − 1)/2 numbers of A: each
weighs a_i b_j − a_j b_i, which turns its sign when a and b change places (`engine.scoring.preference` has the
papers).  So the model is one more ridge logistic regression, convex, and the solver, the folds and the nested
splits of the reward head serve it as they are.  The directions of f are those in which judged responses
differ most; how much the skew part weighs against the Bradley–Terry part is chosen by cross-validation, as
the strength is.

Shapes: `M` pairs, `d` directions, `q` = d(d − 1)/2, `r` coordinates.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

import numpy as np

from engine.frozen.comparisons import Comparisons, majority
from engine.frozen.fit import CrossValidation, FitSettings, Prepared, cross_validated, prepare, scaling_of
from engine.frozen.newton_cg import Problems
from engine.frozen.subspace import Scaling, Subspace
from engine.scoring.head import FeaturePart
from engine.scoring.preference import PreferenceHead

DIRECTIONS = 24
SHARES = (0.5, 1.0, 2.0)
"""What the skew part may weigh: its root mean square on judged pairs over that of the Bradley–Terry part."""
STRENGTHS = (0.03, 0.1, 0.3, 1.0, 3.0, 10.0)


@dataclass(frozen=True)
class SkewSpace:
    """The coordinates of differences with those of a skew-symmetric form behind them."""

    differences: np.ndarray  # [M, r + q]
    spread: np.ndarray  # [r + q]
    scored: np.ndarray  # which coordinates predict: all but covariates
    size: float  # the factor on the skew part
    turn: np.ndarray  # [d(d − 1)/2, q] from coordinates to numbers of A


def skew_features(left_M_d: np.ndarray, right_M_d: np.ndarray) -> np.ndarray:
    """a_i b_j − a_j b_i for every i < j, [M, d(d − 1)/2]: turns its sign when the two change places."""
    i, j = np.triu_indices(left_M_d.shape[1], k=1)
    return np.asarray(left_M_d[:, i] * right_M_d[:, j] - left_M_d[:, j] * right_M_d[:, i])


def skew_spaces(subspace: Subspace, learned: Comparisons) -> list[SkewSpace]:
    """A space for each of SHARES; none where all responses lie on one line."""
    total_M = learned.total[:, None]
    raw_M_q = skew_features(*subspace.sides(DIRECTIONS))
    spread_q, turn_q_q = np.linalg.eigh((raw_M_q * total_M).T @ raw_M_q)
    keep = spread_q > 1e-10 * spread_q.max(initial=1e-300)
    if not keep.any():
        return []
    turn_q_q, spread_q = turn_q_q[:, keep], spread_q[keep]
    skew_M_q, base = raw_M_q @ turn_q_q, subspace.spread[subspace.scored].sum()
    r, before = len(subspace.spread), np.arange(len(subspace.spread))[subspace.scored]
    spaces = []
    for share in SHARES:
        size = share * float(np.sqrt(base / spread_q.sum()))
        spaces.append(
            SkewSpace(
                differences=np.concatenate([subspace.differences, size * skew_M_q], axis=1),
                spread=np.concatenate([subspace.spread, size**2 * spread_q]),
                scored=np.concatenate([before, np.arange(r, r + len(spread_q))]),
                size=size,
                turn=turn_q_q,
            )
        )
    return spaces


@dataclass(frozen=True)
class FittedPreference:
    """A preference model, and how it did on prompts that it had not seen, by criterion."""

    head: PreferenceHead
    reports: Mapping[str, CrossValidation]


def preference_settings(settings: FitSettings) -> FitSettings:
    """Those of the reward head with fewer strengths, because each is tried with every share."""
    return replace(settings, strengths=STRENGTHS, members=0)


def fit_preference(
    features_N_F: np.ndarray,
    by_criterion: Mapping[str, Comparisons],
    *,
    layers: Sequence[int],
    parts: Sequence[FeaturePart],
    settings: FitSettings,
    length_N: np.ndarray | None = None,
) -> FittedPreference:
    """Fit and cross-validate; arguments and errors as `engine.frozen.fit.fit` has them."""
    settings, scaling = preference_settings(settings), scaling_of(features_N_F, settings)
    heads, reports = [], {}
    for criterion, judged in by_criterion.items():
        prepared = prepare(features_N_F, judged, scaling, settings, criterion, length_N)
        head, reports[criterion] = _one(prepared, settings)
        heads.append(head)
    width = max(len(directions) for _, directions, _ in heads)
    return FittedPreference(
        PreferenceHead(
            weight=np.stack([_folded(weight, scaling) for weight, _, _ in heads]),
            directions=np.stack(
                [np.pad(_folded(v, scaling), ((0, width - len(v)), (0, 0))) for _, v, _ in heads]
            ),
            upper=np.stack([np.pad(u, (0, width - len(u))).astype(np.float32) for _, _, u in heads]),
            centre=scaling.centre,
            scale=scaling.scale,
            criteria=tuple(by_criterion),
            layers=tuple(layers),
            parts=tuple(parts),
            squash=settings.squash,
        ),
        reports,
    )


def _folded(weights: np.ndarray, scaling: Scaling) -> np.ndarray:
    """Weights on scaled features as weights on standardised ones."""
    return np.asarray(weights * scaling.factor, dtype=np.float32)


def _one(
    prepared: Prepared, settings: FitSettings
) -> tuple[tuple[np.ndarray, np.ndarray, np.ndarray], CrossValidation]:
    """w [F], V [d, F] and U [d, d] of one criterion; the cross-validation of the share that was chosen."""
    subspace, learned = prepared.subspace, prepared.learned
    spaces = skew_spaces(subspace, learned)
    if not spaces:
        report = cross_validated(prepared, subspace, settings)
        v = _solved(subspace, learned, report.strength)
        weight_F = report.temperature * subspace.weights(v[None])[0]
        return (weight_F, np.zeros((1, subspace.width)), np.zeros((1, 1))), report
    tried = [cross_validated(prepared, space, settings) for space in spaces]
    losses = [one.calibrated.log_loss for one in tried]
    best = int(np.nanargmin(losses)) if np.isfinite(losses).any() else len(spaces) // 2
    space, report = spaces[best], tried[best]
    v, r = report.temperature * _solved(space, learned, report.strength), len(subspace.spread)
    directions_d_r = np.eye(r)[: min(DIRECTIONS, subspace.scored.stop)]
    upper_d_d = np.zeros((len(directions_d_r),) * 2)
    upper_d_d[np.triu_indices(len(directions_d_r), k=1)] = space.size * (space.turn @ v[r:])
    return (subspace.weights(v[None, :r])[0], subspace.weights(directions_d_r), upper_d_d), report


def _solved(space: Subspace | SkewSpace, learned: Comparisons, strength: float) -> np.ndarray:
    ones_M_1 = np.ones((len(learned), 1))
    problem = Problems(space.differences, space.spread, learned, ones_M_1, np.array([strength]))
    return np.asarray(problem.solve(tolerance=1e-6).v[:, 0])


def cycles(logits_K_K: np.ndarray) -> tuple[int, int]:
    """Triples of K responses whose preferences run in a circle, and triples of which each pair is decided.

    Log-odds of exactly 0, or NaN for a pair that nobody compared, decide nothing.  Of coin flips a quarter of
    all triples is cyclic (Kendall and Babington Smith, 1940).
    """
    wins = (np.nan_to_num(logits_K_K) > 0).astype(np.int64)
    decided = wins + wins.T
    # closed walks of three: each cycle is counted from each of its three, each triple in both directions
    return int(np.trace(wins @ wins @ wins)) // 3, int(np.trace(decided @ decided @ decided)) // 6


def judged_cycles(judged: Comparisons) -> tuple[int, int]:
    """The same of what the majority of people said, over all prompts."""
    won_M, lost_M, _ = majority(judged.win, judged.loss, judged.tie)
    cyclic = decided = 0
    for prompt in np.unique(judged.prompt):
        pairs = np.flatnonzero((judged.prompt == prompt) & (won_M | lost_M))
        rows = np.unique(np.concatenate([judged.left[pairs], judged.right[pairs]]))
        place = {row: n for n, row in enumerate(rows.tolist())}
        said = np.zeros((len(rows), len(rows)))
        for pair in pairs:
            i, j = place[int(judged.left[pair])], place[int(judged.right[pair])]
            said[i, j], said[j, i] = (1, -1) if won_M[pair] else (-1, 1)
        of_prompt = cycles(said)
        cyclic, decided = cyclic + of_prompt[0], decided + of_prompt[1]
    return cyclic, decided
