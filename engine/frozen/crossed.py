"""Reward models learned from two ways of judging, on prompts that neither learned from.

Both learn on the same features and the same splits by prompt, each from what was said in its own way.  What
they are measured on are the verdicts of held-out prompts: of the first way, of the second, and of both
together, for a model does best on verdicts that come about as those it learned from.

Shapes: `M` pairs, `P` prompts.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np

from engine.errors import UsageError
from engine.frozen.comparisons import Comparisons
from engine.frozen.fit import FitSettings, prepare, scaling_of
from engine.frozen.measure import strict_majority
from engine.frozen.splits import unseen

FEWEST_PROMPTS = 8
"""With fewer, a fifth of them is a prompt, and nothing is learned from the rest."""
BOTH = "both"


@dataclass(frozen=True)
class HeldOut:
    """How a model of one way did on verdicts of another: sums over pairs by prompt."""

    right: np.ndarray  # [P] pairs whose winner scores higher, equal scores one half; mean over repetitions
    loss: np.ndarray  # [P] −ln σ of the margins, in nats; mean over repetitions
    pairs: np.ndarray  # [P] pairs that were measured on


def held_out(
    features_N_F: np.ndarray, ways: Mapping[str, Comparisons], settings: FitSettings
) -> dict[tuple[str, str], HeldOut]:
    """By (way that was learned from, way whose verdicts it is measured on, or `BOTH`).

    The ways have the same pairs in the same order; one that nobody judged in a way has no votes there.
    Raises UsageError for fewer than FEWEST_PROMPTS prompts, and where one way prefers nothing.
    """
    first = next(iter(ways.values()))
    prompts, which_M = np.unique(first.prompt, return_inverse=True)
    if len(prompts) < FEWEST_PROMPTS:
        raise UsageError(
            f"Reward models need {FEWEST_PROMPTS} prompts that were judged in both ways, with features of "
            f"their responses; there are {len(prompts)}."
        )
    scaling = scaling_of(features_N_F, settings)
    judged = {name: strict_majority(each) for name, each in ways.items()}
    judged[BOTH] = strict_majority(_together(list(ways.values())))
    found = {}
    for name, learned in ways.items():
        prepared = prepare(features_N_F, learned, scaling, settings, name)
        splits = [(split.held, split.margins) for split in unseen(prepared, settings)]
        for measured, strict in judged.items():
            right_M, loss_M, times_M = np.zeros(len(first)), np.zeros(len(first)), np.zeros(len(first))
            for held, margins in splits:
                sign = (strict.win - strict.loss)[held]
                right_M[held] += 0.5 + 0.5 * np.sign(sign * margins)
                loss_M[held] += np.logaddexp(0.0, -sign * margins)
                times_M[held] += 1
            said_M = (strict.win + strict.loss > 0) & (times_M > 0)
            mean = said_M / np.maximum(times_M, 1)
            found[name, measured] = HeldOut(
                right=np.bincount(which_M, right_M * mean, len(prompts)),
                loss=np.bincount(which_M, loss_M * mean, len(prompts)),
                pairs=np.bincount(which_M, said_M, len(prompts)),
            )
    return found


def _together(ways: list[Comparisons]) -> Comparisons:
    """The votes of all ways on the same pairs; each way weighs the same on a pair."""
    even = [each.counted("share") for each in ways]
    first = even[0]
    win, loss, tie = (np.sum([getattr(one, name) for one in even], axis=0) for name in ("win", "loss", "tie"))
    return Comparisons(first.left, first.right, first.prompt, win, loss, tie)
