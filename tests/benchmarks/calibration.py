"""Whether a frozen head's probabilities are those that come true, on PandaLM's prompts never seen.

20 splits by prompt as `unseen` has them; in each a head is fitted to the other prompts as shipped, everything
chosen there.  Of each pair held out, on which a majority of people agrees: the probability of the response
that the head prefers, by its score alone and as the mean over the draws of its posterior, beside how often it
was the preferred one.  `ratio` is the error that the draws leave over that of the score alone: mean distance
of probability and share over bins of a tenth, each bin by its pairs.
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import numpy as np

from engine.frozen.comparisons import Comparisons
from engine.frozen.fit import FitSettings, fit_head, fold_of
from engine.frozen.measure import strict_majority
from engine.frozen.splits import FOLDS, REPEATS
from tests.benchmarks.common import PANDALM, parser, report, say, versions
from tests.benchmarks.unseen import compared, features, pandalm

EDGES = np.linspace(0.5, 1.0, 6)


def held_out(x_N_F: np.ndarray, judged: Comparisons) -> Iterator[np.ndarray]:
    """Of each split [3, n]: probability of left by the score and by the draws, whether left was preferred."""
    for repeat in range(REPEATS):
        settings = FitSettings(seed=repeat)
        fold_M = fold_of(judged.prompt, FOLDS, 1000 + repeat)
        for fold in range(FOLDS):
            head = fit_head(
                x_N_F, judged.chosen(fold_M != fold), layers=(1,), parts=("last",), settings=settings
            )
            new = strict_majority(judged.chosen(fold_M == fold))
            new = new.chosen(new.win != new.loss)
            members, score_N = head.members(x_N_F), head.scores(x_N_F)[:, 0]
            assert members is not None
            margin_n = score_N[new.left] - score_N[new.right]
            drawn_B_n = members[:, new.left, 0] - members[:, new.right, 0]
            by_score, by_draws = (1 / (1 + np.exp(-margin)) for margin in (margin_n, drawn_B_n))
            yield np.stack([by_score, by_draws.mean(axis=0), new.win > new.loss])


def binned(p_n: np.ndarray, won_n: np.ndarray) -> dict[str, object]:
    """Bins by the likelier response's probability: pairs, its mean, the share that won; and the error."""
    p_n, won_n = np.where(p_n < 0.5, 1 - p_n, p_n), np.where(p_n < 0.5, 1 - won_n, won_n)
    place_n = np.clip(np.digitize(p_n, EDGES) - 1, 0, len(EDGES) - 2)
    bins, error = [], 0.0
    for place in range(len(EDGES) - 1):
        mine = place_n == place
        if mine.any():
            told, seen = float(p_n[mine].mean()), float(won_n[mine].mean())
            bins.append([int(mine.sum()), round(told, 3), round(seen, 3)])
            error += abs(told - seen) * mine.mean()
    loss = -np.log(np.clip(np.where(won_n > 0.5, p_n, 1 - p_n), 1e-12, None)).mean()
    return {"bins": bins, "error": round(float(error), 4), "log_loss": round(float(loss), 4)}


def main() -> None:
    """Print both on stderr and everything as JSON on stdout."""
    arguments = parser(__doc__ or "")
    arguments.add_argument("--model", default="smollm2", help="folder, hub id or smollm2")
    arguments.add_argument("--data", type=Path, default=PANDALM)
    options = arguments.parse_args()
    if not options.data.exists():
        raise SystemExit(f"{options.data} does not exist; name the file with --data.")
    pairs = pandalm(options.data)
    responses = list(dict.fromkeys((chat, text) for chat, *both, _, _, _ in pairs for text in both))
    x_N_F = features(responses, options.model, None)
    score_n, draws_n, won_n = np.concatenate(list(held_out(x_N_F, compared(pairs, responses))), axis=1)
    found = {"score": binned(score_n, won_n), "draws": binned(draws_n, won_n)}
    for name, each in found.items():
        say(f"{name}: {each}")
    ratio = float(str(found["draws"]["error"])) / float(str(found["score"]["error"]))
    report("calibration", figures=found, ratio=round(ratio, 3), versions=versions("torch", "numpy"))


if __name__ == "__main__":
    main()
