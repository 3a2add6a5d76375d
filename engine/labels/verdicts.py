"""Verdicts on pairs of responses, as arrays."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np


class Said(NamedTuple):
    """What one judgement says of two responses to a prompt."""

    prompt: str
    x: str
    y: str
    annotator: str
    verdict: int  # 1: x is better, −1: y is, 0: a tie
    first: int = 0  # 1: x was shown first, −1: y was, 0: nobody knows
    weight: float = 1.0  # of the verdict in the likelihood; see `composite_weight`


@dataclass(frozen=True)
class PairVerdicts:
    """V verdicts of A annotators on pairs among N responses to G prompts."""

    prompts: tuple[str, ...]  # G ids
    responses: tuple[str, ...]  # N ids, those of a prompt together, prompts in order
    annotators: tuple[str, ...]  # A names
    prompt_of: np.ndarray  # [N] int64, number of the response's prompt
    x: np.ndarray  # [V] int64, row of the response
    y: np.ndarray  # [V] int64
    annotator: np.ndarray  # [V] int64
    verdict: np.ndarray  # [V] float64: 1, 0, −1
    first: np.ndarray  # [V] float64
    weight: np.ndarray  # [V] float64
    length: np.ndarray  # [N] float64, log₂ of the characters of each response about the mean of its prompt

    @property
    def doublings(self) -> np.ndarray:
        """log₂ of the length of x over that of y, [V]."""
        return np.asarray(self.length[self.x] - self.length[self.y])

    def __len__(self) -> int:
        return len(self.x)

    @property
    def prompt(self) -> np.ndarray:
        """Number of each verdict's prompt, [V]."""
        return np.asarray(self.prompt_of[self.x])

    @classmethod
    def of(
        cls, said: Iterable[Said], characters: Mapping[str, int] | None = None, annotators: Sequence[str] = ()
    ) -> PairVerdicts:
        """Arrays of verdicts.

        characters: the length of each response, all alike where nobody says.  annotators: names in the order
        wanted; others follow by name.
        """
        rows = [
            row if row.x < row.y else row._replace(x=row.y, y=row.x, verdict=-row.verdict, first=-row.first)
            for row in said
        ]
        pairs = sorted({(row.prompt, response) for row in rows for response in (row.x, row.y)})
        row_of = {pair: number for number, pair in enumerate(pairs)}
        prompts = tuple(sorted({row.prompt for row in rows}))
        number_of = {prompt: number for number, prompt in enumerate(prompts)}
        names = tuple(dict.fromkeys((*annotators, *sorted({row.annotator for row in rows}))))
        who = {name: number for number, name in enumerate(names)}
        return cls(
            prompts=prompts,
            responses=tuple(response for _, response in pairs),
            annotators=names,
            prompt_of=np.array([number_of[prompt] for prompt, _ in pairs], dtype=np.int64),
            x=np.array([row_of[row.prompt, row.x] for row in rows], dtype=np.int64),
            y=np.array([row_of[row.prompt, row.y] for row in rows], dtype=np.int64),
            annotator=np.array([who[row.annotator] for row in rows], dtype=np.int64),
            verdict=np.array([row.verdict for row in rows], dtype=np.float64),
            first=np.array([row.first for row in rows], dtype=np.float64),
            weight=np.array([row.weight for row in rows], dtype=np.float64),
            length=_centred(pairs, number_of, characters or {}),
        )


def _centred(
    pairs: Sequence[tuple[str, str]], number_of: Mapping[str, int], characters: Mapping[str, int]
) -> np.ndarray:
    """log₂ of each response's characters less the mean of its prompt, [N]."""
    length_N = np.log2([max(1, characters.get(response, 1)) for _, response in pairs])
    prompt_N = np.array([number_of[prompt] for prompt, _ in pairs], dtype=np.int64)
    mean_G = np.bincount(prompt_N, length_N) / np.maximum(np.bincount(prompt_N), 1)
    return np.asarray(length_N - mean_G[prompt_N])


def composite_weight(ranks: Sequence[int], unordered: Sequence[bool] | None = None) -> float:
    """The weight that makes the pairs of one judgement tell as much as the judgement itself.

    A ranking of K implies K(K − 1)/2 pairs that are not independent.  Where the responses are equally good,
    the score of their pairwise likelihood has the covariance J and the curvature H, both proportional to I −
    11ᵀ/K, so that one weight H/J calibrates it in every direction (the adjustment of composite likelihoods
    by magnitude, Pauli, Racugno and Ventura, Statistica Sinica 21, 2011): 2P / Σ (wins − losses)², P the
    pairs compared.  3/(K + 1) for a ranking, 2/K for the best of K, 1 for a pair.

    >>> composite_weight([1, 2]), composite_weight([1, 2, 3, 4])
    (1.0, 0.6)
    >>> composite_weight([1, 2, 2, 2], [True] * 4)
    0.5
    """
    flags = [False] * len(ranks) if unordered is None else list(unordered)
    if not any(flags):
        return 3.0 / (len(ranks) + 1)
    balance = [sum(other > rank for other in ranks) - sum(other < rank for other in ranks) for rank in ranks]
    compared = sum(one != other or not flags[i] for i, one in enumerate(ranks) for other in ranks[i + 1 :])
    total = sum(value * value for value in balance)
    return 2.0 * compared / total if total else 1.0
