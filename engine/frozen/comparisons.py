"""Judgements as pairs of responses, and how much each pair counts."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np

Votes = Literal["majority", "share", "all"]


@dataclass(frozen=True)
class Comparisons:
    """M pairs of responses.  Every pair of one prompt appears once; what people said adds up in it."""

    left: np.ndarray  # [M] int64, row of the features
    right: np.ndarray  # [M] int64
    prompt: np.ndarray  # [M] int64, a number for each prompt
    win: np.ndarray  # [M] float64, votes for the left response
    loss: np.ndarray  # [M] float64, votes for the right one
    tie: np.ndarray  # [M] float64, votes for neither

    def __len__(self) -> int:
        return len(self.left)

    @property
    def total(self) -> np.ndarray:
        """Votes on each pair, [M]."""
        return np.asarray(self.win + self.loss + self.tie)

    @property
    def prompts(self) -> int:
        """How many prompts there are."""
        return len(np.unique(self.prompt))

    def chosen(self, keep_M: np.ndarray) -> Comparisons:
        """The pairs of a mask or of indices."""
        return Comparisons(*(getattr(self, name)[keep_M] for name in self.__dataclass_fields__))

    def weighted(self, weight_M: np.ndarray) -> Comparisons:
        """The same pairs with their votes multiplied."""
        votes = (self.win * weight_M, self.loss * weight_M, self.tie * weight_M)
        return Comparisons(self.left, self.right, self.prompt, *votes)

    def counted(self, votes: Votes) -> Comparisons:
        """What several people said of a pair, as one of three ways to count it; the pairs stay the same.

        majority: what more than half of them said, with weight 1; pairs without a majority weigh nothing.
        share: weight 1 divided among what they said.  all: every vote weighs 1.
        """
        if votes == "all":
            return self
        if votes == "share":
            return self.weighted(1.0 / np.maximum(self.total, 1e-12))
        said = majority(self.win, self.loss, self.tie)
        return Comparisons(self.left, self.right, self.prompt, *(mass_M.astype(float) for mass_M in said))

    def learned(self, votes: Votes, ties: bool) -> Comparisons:
        """What a fit learns of them: votes counted one way, with ties or without."""
        counted = self.counted(votes)
        return counted if ties else counted.without_ties()

    def without_ties(self) -> Comparisons:
        """Only the votes for one of the two; other pairs weigh nothing."""
        return Comparisons(self.left, self.right, self.prompt, self.win, self.loss, np.zeros_like(self.tie))

    def prompts_evened(self, power: float) -> Comparisons:
        """Votes divided by (votes on the prompt)^power: 0 lets each pair count 1, 1 each prompt.

        The sum of all votes stays what it was, so that strengths of the ridge mean the same.
        """
        if power == 0.0 or not len(self):
            return self
        _, which = np.unique(self.prompt, return_inverse=True)
        per_prompt = np.bincount(which, weights=self.total)
        weight_M = np.maximum(per_prompt, 1e-12)[which] ** -power
        return self.weighted(weight_M * (self.total.sum() / max((self.total * weight_M).sum(), 1e-12)))


def majority(
    win_M: np.ndarray, loss_M: np.ndarray, tie_M: np.ndarray
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Of M pairs, which more than half of the votes say is won, lost or tied: [M] bool each."""
    half_M = (win_M + loss_M + tie_M) / 2
    return win_M > half_M, loss_M > half_M, tie_M > half_M


def stacked(rows: Sequence[tuple[float, ...]]) -> Comparisons:
    """Comparisons from rows of (prompt, left, right, win, loss, tie)."""
    table = np.array(rows, dtype=np.float64).reshape(-1, 6)
    prompt, left, right = (table[:, column].astype(np.int64) for column in range(3))
    return Comparisons(left, right, prompt, table[:, 3], table[:, 4], table[:, 5])
