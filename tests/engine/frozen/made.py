"""Made-up features and comparisons."""

from __future__ import annotations

import numpy as np

from engine.frozen.comparisons import Comparisons, stacked


def made(
    seed: int, *, prompts: int = 8, responses: int = 3, F: int = 40, ties: float = 0.0, voters: int = 1
) -> tuple[np.ndarray, Comparisons]:
    """Features with unlike means and spreads, and votes that follow a hidden direction of them."""
    draw = np.random.default_rng(seed)
    features = draw.normal(size=(prompts * responses, F)) * draw.uniform(0.1, 9, F) + draw.normal(size=F) * 5
    direction = draw.normal(size=F) / features.std(axis=0) / np.sqrt(F)
    rows = []
    for prompt in range(prompts):
        members = range(prompt * responses, (prompt + 1) * responses)
        for left in members:
            for right in members:
                if left >= right:
                    continue
                chance = 1 / (1 + np.exp(-3 * (features[left] - features[right]) @ direction))
                tied = draw.binomial(voters, ties)
                won = draw.binomial(voters - tied, chance)
                rows.append((prompt, left, right, won, voters - tied - won, tied))
    return features.astype(np.float32), stacked(rows)
