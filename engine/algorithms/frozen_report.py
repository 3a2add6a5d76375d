"""How good a fitted head is: on prompts that it never saw, and as judgements grow."""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence

import numpy as np
import torch

from engine.algorithms.checkpoint import stable_hash
from engine.algorithms.frozen_data import Judged
from engine.errors import UsageError
from engine.frozen.comparisons import Comparisons
from engine.frozen.fit import FitSettings, fit_head
from engine.frozen.measure import measure
from engine.objectives.preference import correlation, kendall_tau
from engine.protocol.events import Event, Metrics, Progress
from engine.scoring.head import Part, RewardHead
from engine.text import Tokeniser

SHARES = tuple(range(10, 110, 10))
"""Per cent of the training prompts at the points of the learning curve."""


def _margins(scores_N: np.ndarray, comparisons: Comparisons) -> np.ndarray:
    scores = scores_N.astype(np.float64)
    return np.asarray(scores[comparisons.left] - scores[comparisons.right])


def heldout_metrics(judged: Judged, scores_N_C: np.ndarray, tokeniser: Tokeniser) -> dict[str, float]:
    """Metrics `heldout/*` of the first criterion and `heldout/<criterion>/*` of each when there are several.

    Every judgement's strict pairs count.  Empty when nothing is held out.
    """
    held = judged.within(judged.heldout_prompts)
    criteria = list(judged.comparisons)
    found: dict[str, float] = {}
    lengths_N = _lengths(judged, tokeniser) if held else np.zeros(0)
    for c, criterion in enumerate(criteria):
        if criterion not in held:
            continue
        strict = held[criterion].without_ties()
        values = _metrics(judged, criterion, scores_N_C[:, c], lengths_N, strict)
        if c == 0:
            found |= {f"heldout/{name}": value for name, value in values.items()}
        if len(criteria) > 1:
            found |= {f"heldout/{criterion}/{name}": value for name, value in values.items()}
    return found


def _metrics(
    judged: Judged, criterion: str, scores_N: np.ndarray, lengths_N: np.ndarray, strict: Comparisons
) -> dict[str, float]:
    agreed = measure(_margins(scores_N, strict), strict)
    longer = measure(_margins(lengths_N, strict), strict)
    taus = [
        kendall_tau(torch.from_numpy(scores_N[rows]), torch.from_numpy(ranks))
        for name, prompt, rows, ranks in judged.rankings
        if name == criterion and prompt in judged.heldout_prompts
    ]
    finite = [tau for tau in taus if math.isfinite(tau)]
    centred = [_centred(values, judged) for values in (scores_N, lengths_N)]
    return {
        "accuracy": agreed.accuracy,
        "accuracy_longer": longer.accuracy,
        "log_loss": agreed.log_loss,
        "pairs": float((strict.win + strict.loss).sum()),
        "kendall_tau": sum(finite) / len(finite) if finite else math.nan,
        "score_length_correlation": correlation(torch.from_numpy(centred[0]), torch.from_numpy(centred[1])),
    }


def _centred(values_N: np.ndarray, judged: Judged) -> np.ndarray:
    """Values of held-out responses less the mean of their prompt: only differences there were learned."""
    prompts = np.array(judged.prompt_ids)
    found = []
    for prompt in sorted(judged.heldout_prompts):
        mine = values_N[prompts == prompt].astype(np.float64)
        found.append(mine - mine.mean())
    return np.concatenate(found)


def _lengths(judged: Judged, tokeniser: Tokeniser) -> np.ndarray:
    """Tokens of each held-out response, end of sequence included; 0 for the others.  [N]"""
    return np.array(
        [
            len(tokeniser.encode_response(text)) + 1 if prompt in judged.heldout_prompts else 0
            for prompt, text in zip(judged.prompt_ids, judged.texts, strict=True)
        ],
        dtype=np.float64,
    )


def learning_curve(
    judged: Judged,
    features_N_F: np.ndarray,
    settings: FitSettings,
    layers: Sequence[int],
    parts: Sequence[Part],
) -> Iterator[Event]:
    """Fit 10, 20 … 100 % of the training prompts, each share within the next; measure on the held-out ones.

    Metrics `curve/*` of the first criterion at step = strict training pairs; every fit chooses its own
    strength.
    """
    criterion = next(iter(judged.comparisons))
    held = judged.within(judged.heldout_prompts).get(criterion)
    if held is None:
        return
    strict = held.without_ties()
    order = sorted(
        judged.train_prompts, key=lambda prompt: (stable_hash("curve", settings.seed, prompt), prompt)
    )
    last = 0
    for share in SHARES:
        chosen = set(order[: max(1, round(share / 100 * len(order)))])
        part = judged.within(chosen).get(criterion)
        pairs = 0 if part is None else int((part.win + part.loss > 0).sum())
        if part is not None and pairs > last:
            head = _try_fit(features_N_F, part, settings, layers, parts)
            if head is not None:
                found = measure(_margins(head.scores(features_N_F)[:, 0], strict), strict)
                values = {"curve/accuracy": found.accuracy, "curve/log_loss": found.log_loss}
                yield Metrics(step=pairs, values=values | {"curve/prompts": float(len(chosen))})
                last = pairs
        yield Progress(stage="learning curve", done=share, total=100, unit="%")


def _try_fit(
    features_N_F: np.ndarray,
    part: Comparisons,
    settings: FitSettings,
    layers: Sequence[int],
    parts: Sequence[Part],
) -> RewardHead | None:
    """The head, or None where the few prompts of a first share hold no preference to learn."""
    try:
        return fit_head(features_N_F, part, layers=layers, parts=parts, settings=settings)
    except UsageError:
        return None
