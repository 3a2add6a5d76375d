"""One model of responses and annotators: who says what of two responses, how good are both, how able is who.

Response i of a prompt has the quality θ_i ~ N(γ z_i, 1), z its length in doublings about the prompt's mean.
An annotator a who compares x and y follows Davidson's model (`davidson`) with

    η = β_a (θ_x − θ_y) + c_a f + l_a log₂(length_x / length_y),   f = 1: x was shown first, −1: y was,

and a tie parameter of their own.  β is the ability: 0 tosses a coin, below 0 somebody reads the question the
wrong way round.  With two responses this is GLAD (Whitehill et al., NeurIPS 2009), |θ_x − θ_y| being how
easy the pair is; with rankings it is Bradley–Terry with annotators' reliabilities (Chen et al., WSDM 2013,
give each a chance of meaning the opposite instead of a slope).  What all annotators think of length lies in
γ; l_a is what one of them adds to it, for a preference that all share cannot be told from quality.

Fitted by expectation–maximisation as in item response theory (Bock and Aitkin, Psychometrika 46, 1981): the
normal approximation of a prompt's θ given its verdicts (`quality`), then each annotator's parameters given
that, by quadrature over θ_x − θ_y.  β_a ~ N(μ, τ²) with μ and τ estimated, so that who judged little counts
as the others do.  Annotators who do not `drive` are measured against the consensus of those who do.

Shapes: `V` verdicts, `N` responses, `G` prompts, `A` annotators, `K` responses of a prompt, `Q` nodes.
"""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np

from engine.labels.davidson import Slopes, slopes
from engine.labels.quality import SWEEPS, Beliefs, PromptGroups, believed
from engine.labels.verdicts import PairVerdicts

ABILITY_MEAN, ABILITY_SPREAD = 1.5, 1.5
"""Prior of μ, the mean ability: mean and standard deviation."""
SPREAD_COUNT, SPREAD = 2.0, 0.7
"""Prior of τ: as if so many more annotators had been seen to lie so far from μ."""
STRANGER_SPREAD = 2.0
"""Prior standard deviation of β about μ of those who do not drive: people say little of what a rule is."""
BIAS_SPREAD = 0.5
"""Prior standard deviation of the biases of position and length, about 0."""
TIE_SPREAD = 1.0
"""Prior standard deviation of an annotator's t about the mean t."""
ROUNDS, CLOSE = 200, 1e-3
TOGETHER = 200
"""Annotators whose uncertainty is reckoned jointly."""
FEW_SWEEPS = 3
"""Of expectation propagation in a round, which goes on where the last one stopped."""
BETA, FIRST, LENGTH, TIE = range(4)


@dataclass(frozen=True)
class Annotators:
    """Parameters of all annotators; columns β, c, l, t."""

    values: np.ndarray  # [A, 4]
    covariance: np.ndarray  # [A, 4, 4]
    drives: np.ndarray  # [A] bool, whose verdicts make the consensus
    mean_ability: float  # μ
    spread: float  # τ
    mean_tie: float  # mean t; −∞ where nobody ties
    length: float  # γ: what all of them think of twice the length


@dataclass(frozen=True)
class LabelModel:
    """The fitted model."""

    verdicts: PairVerdicts
    annotators: Annotators
    beliefs: Beliefs
    rounds: int
    converged: bool


def fit(verdicts: PairVerdicts, drives: np.ndarray | None = None, *, rounds: int = ROUNDS) -> LabelModel:
    """Fit all verdicts.  drives: [A] bool, whose verdicts make the consensus; None for everybody's.

    Raises ValueError when there is no verdict.
    """
    if not len(verdicts):
        raise ValueError("There is no verdict to fit.")
    drives_A = np.ones(len(verdicts.annotators), bool) if drives is None else drives
    driving_V = drives_A[verdicts.annotator]
    ties = bool((verdicts.verdict == 0).any())
    groups = PromptGroups.of(verdicts)
    z_N = verdicts.length
    annotators = _start(drives_A, ties)
    beliefs: Beliefs | None = None
    done, closed = 0, False
    while done < rounds and not closed:
        sweeps = SWEEPS if beliefs is None else FEW_SWEEPS
        beliefs = believed(
            verdicts, groups, annotators.values, driving_V, annotators.length * z_N, beliefs, sweeps=sweeps
        )
        before, annotators = annotators, _maximised(verdicts, beliefs, annotators)
        moved = np.abs(annotators.values[:, :TIE] - before.values[:, :TIE]).max()
        closed = bool(max(moved, abs(annotators.length - before.length)) < CLOSE)
        done += 1
    beliefs = believed(verdicts, groups, annotators.values, driving_V, annotators.length * z_N, beliefs)
    annotators = replace(annotators, covariance=_covariance(verdicts, beliefs, annotators))
    return LabelModel(verdicts, annotators, beliefs, done, closed)


def _start(drives_A: np.ndarray, ties: bool) -> Annotators:
    count = len(drives_A)
    values = np.zeros((count, 4))
    values[:, BETA] = ABILITY_MEAN
    values[:, TIE] = -1.0 if ties else -np.inf
    mean_tie = -1.0 if ties else -np.inf
    return Annotators(values, np.zeros((count, 4, 4)), drives_A, ABILITY_MEAN, 1.0, mean_tie, 0.0)


def _slopes(
    verdicts: PairVerdicts, beliefs: Beliefs, values_A_4: np.ndarray
) -> tuple[Slopes, np.ndarray, np.ndarray]:
    """Slopes of every verdict at the nodes of its difference, the nodes and their weights; [V, Q] each."""
    pair_V = beliefs.groups.pair
    gap_V_Q, share_V_Q = beliefs.gap[pair_V], beliefs.share[pair_V]
    beta_V, c_V, l_V, t_V = values_A_4[verdicts.annotator].T
    offset_V = c_V * verdicts.first + l_V * verdicts.doublings
    eta_V_Q = beta_V[:, None] * gap_V_Q + offset_V[:, None]
    return slopes(eta_V_Q, t_V[:, None], verdicts.verdict[:, None]), gap_V_Q, share_V_Q


def _prior(annotators: Annotators) -> tuple[np.ndarray, np.ndarray]:
    """Prior means of β, c, l, t, [4], and their precisions, [A, 4]."""
    tie = annotators.mean_tie if np.isfinite(annotators.mean_tie) else 0.0
    mean = np.array([annotators.mean_ability, 0.0, 0.0, tie])
    precision_A_4 = np.tile(
        np.array([1.0, BIAS_SPREAD, BIAS_SPREAD, TIE_SPREAD]) ** -2.0, (len(annotators.drives), 1)
    )
    precision_A_4[:, BETA] = np.where(annotators.drives, annotators.spread, STRANGER_SPREAD) ** -2.0
    return mean, precision_A_4


def _score(
    verdicts: PairVerdicts, derivatives: Slopes, gap_V_Q: np.ndarray, share_V_Q: np.ndarray
) -> np.ndarray:
    """Gradient of each verdict's expected ln P in its annotator's parameters, [V, 4], weighted."""
    eta_V = (derivatives.eta * share_V_Q).sum(axis=1)
    columns = (
        (derivatives.eta * gap_V_Q * share_V_Q).sum(axis=1),
        eta_V * verdicts.first,
        eta_V * verdicts.doublings,
        (derivatives.tie * share_V_Q).sum(axis=1),
    )
    return np.stack(columns, axis=1) * verdicts.weight[:, None]


def _curvature(
    verdicts: PairVerdicts, derivatives: Slopes, gap_V_Q: np.ndarray, share_V_Q: np.ndarray
) -> np.ndarray:
    """Minus the second derivatives of the same, [V, 4, 4]."""
    one = np.ones_like(gap_V_Q)
    design = (gap_V_Q, verdicts.first[:, None] * one, verdicts.doublings[:, None] * one)
    total = np.empty((len(verdicts), 4, 4))
    for i in range(TIE):
        for j in range(i, TIE):
            total[:, i, j] = total[:, j, i] = (derivatives.eta_eta * design[i] * design[j] * share_V_Q).sum(
                axis=1
            )
        total[:, i, TIE] = total[:, TIE, i] = (derivatives.eta_tie * design[i] * share_V_Q).sum(axis=1)
    total[:, TIE, TIE] = (derivatives.tie_tie * share_V_Q).sum(axis=1)
    return total * verdicts.weight[:, None, None]


def _summed(values: np.ndarray, number: np.ndarray, count: int) -> np.ndarray:
    """Sums of rows by number, [count, …]."""
    total = np.zeros((count, *values.shape[1:]))
    np.add.at(total, number, values)
    return total


def _maximised(verdicts: PairVerdicts, beliefs: Beliefs, before: Annotators) -> Annotators:
    """Annotators' parameters given what is believed of the responses, then the priors given them."""
    values, count = before.values.copy(), len(before.values)
    mean_4, precision_A_4 = _prior(before)
    ties = bool(np.isfinite(before.mean_tie))
    for _ in range(3):
        sloped = _slopes(verdicts, beliefs, values)
        gradient = _summed(_score(verdicts, *sloped), verdicts.annotator, count)
        curvature = _summed(_curvature(verdicts, *sloped), verdicts.annotator, count)
        current = np.where(np.isfinite(values), values, 0.0)
        gradient -= precision_A_4 * (current - mean_4)
        curvature += precision_A_4[:, :, None] * np.eye(4)
        if not ties:
            gradient[:, TIE], curvature[:, TIE, :], curvature[:, :, TIE] = 0.0, 0.0, 0.0
            curvature[:, TIE, TIE] = 1.0
        step = np.linalg.solve(curvature, gradient[..., None])[..., 0]
        values = values + np.clip(step, -1.0, 1.0)
    variance_A = np.linalg.inv(curvature)[:, BETA, BETA]
    return _hyper(verdicts, beliefs, before, values, variance_A)


def _hyper(
    verdicts: PairVerdicts,
    beliefs: Beliefs,
    before: Annotators,
    values: np.ndarray,
    variance_A: np.ndarray,
) -> Annotators:
    """μ, τ, the mean t and γ, from those who drive.

    The spread of θ, which is 1, is estimated too and then taken into β: it saves nine rounds of ten
    (parameter expansion, Liu, Rubin and Wu, Biometrika 85, 1998).
    """
    z_N, scale = verdicts.length, beliefs.spread(before.length * verdicts.length)
    values = values * np.array([scale, 1.0, 1.0, 1.0])
    driving_A = np.flatnonzero(before.drives)
    beta, count = values[driving_A, BETA], len(driving_A)
    pull = before.spread**2 / ABILITY_SPREAD**2
    mean = float((beta.sum() + pull * ABILITY_MEAN) / (count + pull))
    squares = float(((beta - mean) ** 2 + variance_A[driving_A]).sum())
    spread = float(np.sqrt((squares + SPREAD_COUNT * SPREAD**2) / (count + SPREAD_COUNT)))
    tie = float(values[driving_A, TIE].mean())
    length = float(z_N @ beliefs.mean / (z_N @ z_N + 1.0) / scale)  # + 1: equal lengths tell nothing
    return replace(before, values=values, mean_ability=mean, spread=spread, mean_tie=tie, length=length)


def _covariance(verdicts: PairVerdicts, beliefs: Beliefs, annotators: Annotators) -> np.ndarray:
    """Of each annotator's parameters, [A, 4, 4]: blocks of the inverse of prior precision + Σ_prompts s sᵀ.

    s, over all annotators, is the gradient of a prompt's marginal likelihood, by Fisher's identity the mean
    over θ of that of the joint one; the sum estimates the information that is left when θ has to be learned
    too (Berndt, Hall, Hall and Hausman, 1974), and takes a prompt as one observation, whatever its verdicts
    have in common.
    """
    score_V_4 = _score(verdicts, *_slopes(verdicts, beliefs, annotators.values))
    count, ties = len(annotators.values), bool(np.isfinite(annotators.mean_tie))
    cell, index = np.unique(verdicts.annotator * len(verdicts.prompts) + verdicts.prompt, return_inverse=True)
    who, prompt = np.divmod(cell, len(verdicts.prompts))
    score = _summed(score_V_4, index, len(cell))
    blocks = np.zeros((count, 4, 4))
    for part in np.array_split(np.arange(count), -(-count // TOGETHER)):
        mine = np.isin(who, part)
        rows = np.zeros((len(verdicts.prompts), len(part), 4))
        rows[prompt[mine], who[mine] - part[0]] = score[mine]
        flat = rows.reshape(len(rows), -1)
        covariance = np.linalg.inv(_prior_precision(part, annotators, ties) + flat.T @ flat)
        cut = covariance.reshape(len(part), 4, len(part), 4)
        blocks[part] = cut[np.arange(len(part)), :, np.arange(len(part)), :]
    return blocks


def _prior_precision(part: np.ndarray, annotators: Annotators, ties: bool) -> np.ndarray:
    """Of the parameters of some annotators whose mean ability is not known either, [4 A, 4 A]."""
    precision_A_4 = _prior(annotators)[1][part]
    abilities = np.diag(1.0 / precision_A_4[:, BETA]) + ABILITY_SPREAD**2
    if not ties:
        precision_A_4[:, TIE] = 1.0
    precision = np.diag(precision_A_4.ravel())
    precision[BETA::4, BETA::4] = np.linalg.inv(abilities)
    return precision
