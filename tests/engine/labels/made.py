"""Verdicts drawn from the model."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import combinations

import numpy as np

from engine.labels.davidson import chances
from engine.labels.verdicts import PairVerdicts, Said


def drawn(
    rng: np.random.Generator,
    slopes: Sequence[float],
    *,
    prompts: int = 60,
    responses: int = 2,
    first: Sequence[float] | None = None,
    longer: Sequence[float] | None = None,
    tie: float = -1.0,
) -> tuple[PairVerdicts, dict[str, float]]:
    """Everybody judges every pair; the verdicts and the true qualities."""
    said, quality, characters = [], {}, {}
    for prompt in range(prompts):
        names = [f"r{prompt}-{place}" for place in range(responses)]
        length = 2.0 ** rng.integers(5, 10, responses)
        for name, theta, size in zip(names, rng.normal(size=responses), length, strict=True):
            quality[name], characters[name] = float(theta), int(size)
        for a, slope in enumerate(slopes):
            for i, j in combinations(range(responses), 2):
                shown = int(rng.choice([-1, 1]))
                eta = slope * (quality[names[i]] - quality[names[j]])
                eta += (first[a] if first else 0.0) * shown
                eta += (longer[a] if longer else 0.0) * np.log2(length[i] / length[j])
                p = np.array(chances(np.array(eta), np.array(tie)))
                verdict = int(rng.choice([1, 0, -1], p=p / p.sum()))
                said.append(Said(f"p{prompt}", names[i], names[j], f"a{a}", verdict, shown))
    return PairVerdicts.of(said, characters, [f"a{a}" for a in range(len(slopes))]), quality
