"""Every direct objective on one batch, against numbers that were computed once from the published formulas.

The formulas are written out here in plain Python, as the papers have them: they make the numbers that stand
in PUBLISHED, so neither can change unseen.
"""

import math

import pytest
import torch

from engine.objectives.direct import direct_preference, length_offset
from engine.objectives.ranking import Pairs, Ties, rao_kupper
from engine.objectives.reference_free import contrastive_preference, odds_ratio, simple_preference
from engine.objectives.unpaired import kahneman_tversky

POLICY_W, POLICY_L = [-12.0, -30.5, -4.0], [-14.5, -28.0, -9.0]  # log π of winners and losers
REFERENCE_W, REFERENCE_L = [-13.0, -29.0, -4.5], [-13.5, -29.5, -6.0]
TOKENS_W, TOKENS_L = [8, 20, 3], [10, 14, 6]
PUBLISHED: dict[str, list[float] | float] = {
    "dpo": [0.598139, 0.854355, 0.533382],
    "cdpo": [0.618139, 0.824355, 0.568382],
    "rdpo": [0.587028, 0.871022, 0.513938],
    "ipo": [9.0, 64.0, 2.25],
    "r-dpo": [0.607192, 0.82033, 0.545893],
    "simpo": [1.037488, 0.493249, 0.779949],
    "cpo": [0.575939, 0.825939, 0.474077],
    "orpo": [0.72609, 0.446417, 0.589113],
    "kto good": [0.5, 0.562177, 0.512497],
    "kto bad": [0.450166, 0.512497, 0.401312],
    "ties": 0.975087,
}


def sigma(x: float) -> float:
    return 1 / (1 + math.exp(-x))


def published() -> dict[str, list[float] | float]:
    rows = list(zip(POLICY_W, POLICY_L, REFERENCE_W, REFERENCE_L, TOKENS_W, TOKENS_L, strict=True))
    h = [(w - rw) - (lo - rl) for w, lo, rw, rl, _, _ in rows]
    ratios = [(w - rw, lo - rl) for w, lo, rw, rl, _, _ in rows]
    means = [(w / tw, lo / tl) for w, lo, _, _, tw, tl in rows]
    odds = [[math.exp(m) / (1 - math.exp(m)) for m in pair] for pair in means]
    theta, (one, two) = 3.0, (0.1 * ratios[0][0], 0.1 * ratios[0][1])
    win = math.exp(one) / (math.exp(one) + theta * math.exp(two))
    a, b = math.exp(0.1 * ratios[1][0]), math.exp(0.1 * ratios[1][1])
    tie = (theta**2 - 1) * a * b / ((a + theta * b) * (b + theta * a))
    return {
        "dpo": [-math.log(sigma(0.1 * x)) for x in h],
        "cdpo": [-0.9 * math.log(sigma(0.1 * x)) - 0.1 * math.log(sigma(-0.1 * x)) for x in h],
        "rdpo": [(-0.95 * math.log(sigma(0.1 * x)) + 0.05 * math.log(sigma(-0.1 * x))) / 0.9 for x in h],
        "ipo": [(x - 1 / (2 * 0.1)) ** 2 for x in h],
        "r-dpo": [-math.log(sigma(0.1 * x + 0.01 * (r[4] - r[5]))) for x, r in zip(h, rows, strict=True)],
        "simpo": [-math.log(sigma(2 * (w - lo) - 0.5)) for w, lo in means],
        "cpo": [-math.log(sigma(0.1 * (r[0] - r[1]))) for r in rows],
        "orpo": [-math.log(sigma(math.log(w / lo))) for w, lo in odds],
        "kto good": [1 - sigma(0.1 * (r - 1.0)) for r, _ in ratios],
        "kto bad": [1 - sigma(0.1 * (1.0 - r)) for _, r in ratios],
        "ties": (-math.log(win) - math.log(tie)) / 2,
    }


def ours() -> dict[str, list[float] | float]:
    tensors = [POLICY_W, POLICY_L, REFERENCE_W, REFERENCE_L, TOKENS_W, TOKENS_L]
    w, lo, rw, rl, tw, tl = (torch.tensor(x, dtype=torch.float32) for x in tensors)
    good, bad = w - rw, lo - rl
    scores = 0.1 * torch.stack([good[0], bad[0], good[1], bad[1]])
    strict = Pairs(torch.tensor([0]), torch.tensor([1]), torch.ones(1))
    tied = Ties(torch.tensor([2]), torch.tensor([3]))
    desirable = torch.ones(3, dtype=torch.bool)
    found = {
        "dpo": direct_preference(good, bad, beta=0.1),
        "cdpo": direct_preference(good, bad, beta=0.1, label_smoothing=0.1),
        "rdpo": direct_preference(good, bad, beta=0.1, loss="robust", label_smoothing=0.05),
        "ipo": direct_preference(good, bad, beta=0.1, loss="ipo"),
        "r-dpo": direct_preference(good, bad, beta=0.1, offset_M=length_offset(tw, tl, penalty=0.01)),
        "simpo": simple_preference(w / tw, lo / tl, beta=2.0, gamma=0.5),
        "cpo": contrastive_preference(w, lo, beta=0.1),
        "orpo": odds_ratio(w / tw, lo / tl),
        "kto good": kahneman_tversky(good, desirable, 1.0, beta=0.1),
        "kto bad": kahneman_tversky(bad, ~desirable, 1.0, beta=0.1),
        "ties": rao_kupper(scores, strict, tied, torch.tensor(math.log(3.0))),
    }
    return {name: value.tolist() for name, value in found.items()}


@pytest.mark.parametrize("name", PUBLISHED)
def test_objectives_are_the_published_formulas(name: str) -> None:
    assert published()[name] == pytest.approx(PUBLISHED[name], abs=1e-6)
    assert ours()[name] == pytest.approx(PUBLISHED[name], abs=1e-5)
