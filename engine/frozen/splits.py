"""How good a head is on prompts never seen: many splits by prompt, everything chosen inside each.

One split says little: on 26 held-out prompts of PandaLM accuracy has a standard deviation of 0.05.  Here
cross-validation is repeated with prompts dealt anew, so that every prompt is held out equally often.  The
strength and the temperature are chosen on the training prompts of each split alone, by folds of their own.

Shapes: `M` pairs, `J` splits, `k` folds, `S` strengths.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np

from engine.frozen.fit import FitSettings, Prepared, fold_of
from engine.frozen.measure import best_temperature, measure
from engine.frozen.newton_cg import Problems
from engine.frozen.subspace import Space

FOLDS, REPEATS = 5, 4
SPLITS = FOLDS * REPEATS
"""20 splits, each with a fifth of the prompts held out."""


@dataclass(frozen=True)
class Split:
    """One split: the pairs held out and their margins."""

    number: int  # from 0
    held: np.ndarray  # [n] places of the held-out pairs
    margins: np.ndarray  # [n] score of left minus score of right, by a head that never saw the prompts
    strength: float
    space: int = 0  # which of the spaces was chosen


def unseen(
    prepared: Prepared, settings: FitSettings, spaces: Sequence[Space] | None = None
) -> Iterator[Split]:
    """The splits, in order; none when there are fewer than four prompts.

    spaces: of which one is chosen with the strength, on the training prompts of each split; else the one of
    Bradley and Terry.
    """
    learned = prepared.learned
    prompts = learned.prompts
    if prompts < 4:
        return
    for repeat in range(REPEATS):
        # Seeds apart from those of the final fit's folds, so that no split is chosen on what it holds out.
        fold_M = fold_of(learned.prompt, min(FOLDS, prompts), settings.seed + 1000 + repeat)
        for fold in range(min(FOLDS, prompts)):
            held_M = fold_M == fold
            if held_M.any():
                tried = [_one(prepared, space, settings, held_M) for space in spaces or (prepared.subspace,)]
                best = min(range(len(tried)), key=lambda place: tried[place][0])
                _, margins, strength = tried[best]
                number = repeat * FOLDS + fold
                yield Split(number, np.flatnonzero(held_M), margins, strength, best)


def _one(
    prepared: Prepared, space: Space, settings: FitSettings, held_M: np.ndarray
) -> tuple[float, np.ndarray, float]:
    """Choose strength and temperature without the held-out pairs, fit, and take their margins.

    Returns the log-loss that the choice was made by (∞ where nothing could be chosen), margins, strength.
    """
    learned, strict = prepared.learned, prepared.strict
    strengths = np.array(settings.strengths)
    S, k = len(strengths), min(settings.folds, len(np.unique(learned.prompt[~held_M])))
    inner_M = np.full(len(learned), -1)
    inner_M[~held_M] = fold_of(learned.prompt[~held_M], k, settings.seed)
    # The last "fold" leaves nothing out: the heads of all strengths on the whole training part.
    kept_M_k = ((inner_M[:, None] != np.arange(k + 1)) & ~held_M[:, None]).astype(float)
    problems = Problems(
        space.differences,
        space.spread,
        learned,
        np.repeat(kept_M_k, S, axis=1),
        np.tile(strengths, k + 1),
    )
    solution = problems.solve(tolerance=1e-4)
    margins_M_k_S = (space.differences[:, space.scored] @ solution.v[space.scored]).reshape(-1, k + 1, S)
    inside = np.flatnonzero(~held_M)
    inner_n_S, judged = margins_M_k_S[inside, inner_M[inside]], strict.chosen(inside)
    losses = [measure(inner_n_S[:, s], judged).log_loss for s in range(S)]
    best = int(np.nanargmin(losses)) if np.isfinite(losses).any() else S // 2
    temperature = best_temperature(inner_n_S[:, best], judged) if settings.calibrate else 1.0
    chosen_by = losses[best] if np.isfinite(losses[best]) else np.inf
    return float(chosen_by), temperature * margins_M_k_S[held_M, k, best], float(strengths[best])
