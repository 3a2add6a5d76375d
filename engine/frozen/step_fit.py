"""A process reward head on frozen features: log-odds that a step is good, by ridge logistic regression.

A judged step is a comparison of its features with a response that says nothing (features at their mean), and
a constant beside them is the bias; so the folds by prompt, the strengths and the solver of the reward head
serve it as they are.  Its score at a step's end is w·z + b, the log-odds of "good".

Shapes: `M` judged steps, `F` features, `r` coordinates.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np

from engine.errors import UsageError
from engine.frozen.comparisons import stacked
from engine.frozen.fit import CrossValidation, FitSettings, cross_validated, prepare, scaling_of
from engine.frozen.newton_cg import Problems
from engine.scoring.head import FeaturePart, RewardHead

BIAS = 10.0
"""The constant that the bias weighs: so large beside features that it is hardly penalised."""


@dataclass(frozen=True)
class BiasedSpace:
    """The coordinates of steps, and a constant."""

    differences: np.ndarray  # [M, r + 1]
    spread: np.ndarray  # [r + 1]
    scored: slice


@dataclass(frozen=True)
class FittedSteps:
    """A process reward head and how it did on prompts left out of the fit."""

    head: RewardHead
    report: CrossValidation


def fit_steps(
    features_M_F: np.ndarray,
    good_M: np.ndarray,
    prompt_M: np.ndarray,
    *,
    layers: Sequence[int],
    parts: Sequence[FeaturePart],
    separator: str,
    weight_M: np.ndarray | None = None,
    settings: FitSettings | None = None,
) -> FittedSteps:
    """Fit and cross-validate over prompts.

    good_M: the share of annotators that find each judged step good; prompt_M: the number of its prompt;
    weight_M: what it counts.
    Raises UsageError where all steps have the same label, NonFiniteError for features that are not finite.
    """
    if not (good_M > 0).any() or not (good_M < 1).any():
        which = "bad" if not (good_M > 0).any() else "good"
        raise UsageError(f"All judged steps are {which}; judge some that are not, to learn the difference.")
    settings = replace(settings or FitSettings(), members=0, votes="all", ties=False)
    scaling = scaling_of(features_M_F, settings)
    table_F = np.concatenate([features_M_F, scaling.centre[None]])
    weight = np.ones(len(good_M)) if weight_M is None else weight_M
    nothing = len(features_M_F)
    judged = stacked(
        [
            (prompt, row, nothing, mass * good, mass * (1 - good), 0.0)
            for row, (prompt, good, mass) in enumerate(
                zip(prompt_M.tolist(), good_M.tolist(), weight.tolist(), strict=True)
            )
        ]
    )
    prepared = prepare(table_F, judged, scaling, settings)
    space, learned = prepared.subspace, prepared.learned
    r = len(space.spread)
    biased = BiasedSpace(
        np.concatenate([space.differences, np.full((len(judged), 1), BIAS)], axis=1),
        np.append(space.spread, BIAS**2 * learned.total.sum()),
        slice(0, r + 1),
    )
    report = cross_validated(prepared, biased, settings)
    ones_M_1 = np.ones((len(learned), 1))
    problem = Problems(biased.differences, biased.spread, learned, ones_M_1, np.array([report.strength]))
    v = report.temperature * problem.solve(tolerance=1e-6).v[:, 0]
    weight_F = space.weights(v[None, :r])[0] * scaling.factor
    head = RewardHead(
        weight=weight_F[None].astype(np.float32),
        bias=np.array([BIAS * v[r]], dtype=np.float32),
        criteria=("steps",),
        layers=tuple(layers),
        parts=tuple(parts),
        kind="frozen",
        centre=scaling.centre,
        scale=scaling.scale,
        steps=separator,
    )
    return FittedSteps(head, report)
