"""What a fitted model of labels says, in numbers that a person can read.

Shapes: `A` annotators, `M` pairs, `Q` nodes of a quadrature.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np

from engine.labels.davidson import chances
from engine.labels.model import BETA, FIRST, LENGTH, TIE, LabelModel

Z_95 = 1.959963984540054
_nodes, _weights = np.polynomial.hermite_e.hermegauss(40)
NODES_Q, WEIGHTS_Q = _nodes, _weights / _weights.sum()
EASE = np.linspace(0.0, 12.0, 601)
EASE_SHARE = np.exp(-np.square(EASE) / 4) * np.where((EASE == 0) | (EASE[-1] == EASE), 0.5, 1.0)
EASE_SHARE /= EASE_SHARE.sum()
"""How far two responses to a prompt lie apart as the model's prior has it, |N(0, 2)|."""


@dataclass(frozen=True)
class Chance:
    """A chance with its 95 % interval."""

    value: float
    low: float
    high: float


@dataclass(frozen=True)
class Ability:
    """One annotator."""

    name: str
    verdicts: int
    slope: float
    slope_error: float
    accuracy: Chance
    """Chance to name the better of two responses that differ as usual, where no tie is said."""
    first: Chance
    """Chance to prefer the one shown first of two that are equally good."""
    longer: Chance
    """Chance to prefer the one twice as long of two equally good, beyond what all think of length."""
    ties: float
    """Chance to tie two that are equally good."""


def accuracy(slope: float) -> float:
    """Chance of σ(β d) to have the sign of d, d ~ N(0, 2): 1/2 at 0, 1 at ∞, and 1 − itself at −β."""
    return float(EASE_SHARE @ (0.5 * (1.0 + np.tanh(0.5 * slope * EASE))))


def _share(centre: float, error: float, turn: object = None) -> Chance:
    to = accuracy if turn is accuracy else logistic
    return Chance(to(centre), to(centre - Z_95 * error), to(centre + Z_95 * error))


def logistic(value: float) -> float:
    """σ(value), without overflow."""
    return 0.5 * (1.0 + math.tanh(0.5 * value))


def abilities(model: LabelModel) -> list[Ability]:
    """Every annotator, in the order of the verdicts."""
    fitted = model.annotators
    count_A = np.bincount(model.verdicts.annotator, minlength=len(fitted.values))
    error_A_4 = np.sqrt(np.diagonal(fitted.covariance, axis1=1, axis2=2))
    people = []
    for place, name in enumerate(model.verdicts.annotators):
        value, error = fitted.values[place], error_A_4[place]
        _, tie, _ = chances(np.zeros(1), value[TIE : TIE + 1])
        people.append(
            Ability(
                name=name,
                verdicts=int(count_A[place]),
                slope=float(value[BETA]),
                slope_error=float(error[BETA]),
                accuracy=_share(float(value[BETA]), float(error[BETA]), accuracy),
                first=_share(float(value[FIRST]), float(error[FIRST])),
                longer=_share(float(value[LENGTH]), float(error[LENGTH])),
                ties=float(tie[0]),
            )
        )
    return people


def probability(mean_M: np.ndarray, deviation_M: np.ndarray) -> np.ndarray:
    """Chance that a normal variable is above 0, [M]."""
    return np.array(
        [0.5 * math.erfc(-m / (s * math.sqrt(2.0))) for m, s in zip(mean_M, deviation_M, strict=True)]
    )


def worth(model: LabelModel, mean_M: np.ndarray, deviation_M: np.ndarray) -> np.ndarray:
    """What a verdict of an average annotator would tell of each pair's difference, [M] in nats.

    The mutual information of the two, H(E p) − E H(p) (Lindley, 1956; Houlsby et al., 2011).  It is small
    where the pair is settled, and also where two responses are known to be equally good.
    """
    d_M_Q = mean_M[:, None] + deviation_M[:, None] * NODES_Q
    t = np.array(model.annotators.mean_tie)
    outcomes = np.stack(chances(model.annotators.mean_ability * d_M_Q, t))
    expected = (outcomes * WEIGHTS_Q).sum(axis=2)
    return np.maximum(_entropy(expected) - (_entropy(outcomes) * WEIGHTS_Q).sum(axis=1), 0.0)


def unjudged_worth(model: LabelModel) -> float:
    """The same of two responses that nobody has compared, of which the prior alone is known: N(0, 2)."""
    return float(worth(model, np.zeros(1), np.array([math.sqrt(2.0)]))[0])


def _entropy(chances_3: np.ndarray) -> np.ndarray:
    """Over the first axis, in nats."""
    safe = np.maximum(chances_3, 1e-300)
    return np.asarray(-(chances_3 * np.log(safe)).sum(axis=0))
