"""One fit of the live model: features from their file, the head, how good it is, what would teach it most.

numpy all through, so it is imported by the thread that fits.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import combinations, islice
from pathlib import Path

import numpy as np

from engine.errors import ModelFilesError
from engine.frozen.comparisons import Comparisons, stacked
from engine.frozen.fit import CrossValidation
from engine.frozen.fit import fit as fit_frozen
from engine.frozen.information import chance, covariance, gram, sequence
from engine.frozen.settings import live_settings
from engine.frozen.store import FILE, FeatureInfo, FeatureStore
from engine.scoring.head import FeaturePart, RewardHead
from storage.records import Votes

MOST_PAIRS, BATCH = 1000, 64
"""Pairs among which is chosen what would be learned most from, and how many of them are put in order."""
MOST_RESPONSES = 1500
"""Responses of a fit and of what may be judged next; judged ones come first and are never left out."""
SETTINGS = live_settings()
Pair = tuple[str, str, str]
"""Prompt and two responses, the lesser id first."""


@dataclass(frozen=True)
class LiveFit:
    """A head, how good it is, and what it would learn most from."""

    head: RewardHead
    pairs: int
    without_features: int
    accuracy: float
    accuracy_error: float
    log_loss: float
    strength: float
    scores: Mapping[str, float]
    informative: tuple[Pair, ...] = ()


def fit(
    folders: Sequence[Path],
    votes: Sequence[Votes],
    waiting: Sequence[tuple[str, Sequence[str]]],
    *,
    informative: bool = False,
) -> LiveFit:
    """Fit the head to `votes` with the features that lie in the first folder and in those that fit it.

    waiting: (prompt id, ids of its responses) of what may be judged next; with `informative` the fit says
    what of it would be learned most from.  Raises WorkbenchError for a file that cannot be read, UsageError
    when no judged pair with features prefers one response.
    """
    store = opened(folders)
    judged = _judged(votes)
    wanted = dict(judged)
    for _, texts in waiting:
        if len(wanted) + len(texts) > MOST_RESPONSES:
            break
        wanted |= dict.fromkeys(texts)
    missing = set(store.missing(list(wanted)))
    ids = [response for response in wanted if response not in missing]
    features_N_F = store.rows(ids)
    rows = {response: row for row, response in enumerate(ids)}
    comparisons = compared(votes, rows)
    # As training does, from judged responses alone: what else may be judged does not move the head.
    of_judged = sum(response in judged for response in ids)
    made = fit_frozen(
        features_N_F[:of_judged],
        comparisons,
        layers=store.info.layers,
        parts=parts_of(store.info),
        settings=SETTINGS,
    )
    (report,) = made.reports.values()
    most: tuple[Pair, ...] = ()
    if informative:
        most = _informative(made.head, features_N_F, comparisons, report.strength, votes, waiting, rows)
    return LiveFit(
        head=made.head,
        pairs=len(comparisons),
        without_features=len(missing & judged.keys()),
        accuracy=report.calibrated.accuracy,
        accuracy_error=accuracy_error(report, comparisons),
        log_loss=report.calibrated.log_loss,
        strength=report.strength,
        scores=dict(zip(ids, made.head.scores(features_N_F)[:, 0].tolist(), strict=True)),
        informative=most,
    )


def _informative(
    head: RewardHead,
    features_N_F: np.ndarray,
    comparisons: Comparisons,
    strength: float,
    votes: Sequence[Votes],
    waiting: Sequence[tuple[str, Sequence[str]]],
    rows: Mapping[str, int],
) -> tuple[Pair, ...]:
    """Pairs that nobody has judged, each of another prompt, those first from which most would be learned."""
    known = {(vote.response_a, vote.response_b) for vote in votes}
    pairs = _alternating(
        [
            [
                (prompt, *both)
                for both in combinations(sorted(response for response in found if response in rows), 2)
                if both not in known
            ]
            for prompt, found in waiting
        ]
    )
    if not pairs:
        return ()
    score_N = head.scores(features_N_F)[:, 0]
    left, right = (np.array([rows[pair[side]] for pair in pairs]) for side in (1, 2))
    learned = comparisons.learned(SETTINGS.votes, SETTINGS.ties)
    p_M = chance(score_N[learned.left] - score_N[learned.right])
    number = {prompt: n for n, prompt in enumerate(dict.fromkeys(pair[0] for pair in pairs))}
    chosen = sequence(
        covariance(
            gram(head, features_N_F),
            (learned.left, learned.right),
            learned.total * p_M * (1 - p_M),
            strength,
            (left, right),
        ),
        chance(score_N[left] - score_N[right]),
        np.array([number[pair[0]] for pair in pairs]),
        BATCH,
    )
    return tuple(pairs[place] for place in chosen)


def _alternating(of_prompts: Sequence[Sequence[Pair]]) -> list[Pair]:
    """At most MOST_PAIRS: of every prompt one before any has two."""
    longest = max(map(len, of_prompts), default=0)
    every = (mine[turn] for turn in range(longest) for mine in of_prompts if turn < len(mine))
    return list(islice(every, MOST_PAIRS))


def _judged(votes: Sequence[Votes]) -> dict[str, None]:
    """Judged responses in the order in which training has them: by prompt, those that teach nothing last."""
    taught = _taught(votes)
    both = {(vote.prompt_id, r) for vote in votes for r in (vote.response_a, vote.response_b)}
    return dict.fromkeys(r for prompt, r in sorted(both, key=lambda pair: (pair[0] not in taught, *pair)))


def _taught(votes: Sequence[Votes]) -> set[str]:
    """Prompts that teach something: not those on which everything ties, where ties are not learned."""
    return {vote.prompt_id for vote in votes if SETTINGS.ties or vote.wins or vote.losses}


def opened(folders: Sequence[Path]) -> FeatureStore:
    """The features of the first folder, and of the others as far as they are of the same model."""
    first, *older = (folder / FILE for folder in folders)
    info = FeatureInfo.of(first)
    return FeatureStore.open(
        first, *(file for file in older if file.is_file() and FeatureInfo.of(file).fits(info))
    )


def parts_of(info: FeatureInfo) -> tuple[FeaturePart, ...]:
    """The parts that the head reads.  Raises ModelFilesError for one that it does not know."""
    known: dict[str, FeaturePart] = {"last": "last", "mean": "mean"}
    if not set(info.parts) <= known.keys():
        raise ModelFilesError(f"The features of {info.base} have unknown parts; compute them again.")
    return tuple(known[part] for part in info.parts)


def compared(votes: Sequence[Votes], rows: Mapping[str, int]) -> Comparisons:
    """The judged pairs of which both responses have features, of prompts that teach something."""
    prompts: dict[str, int] = {}
    taught = _taught(votes)
    return stacked(
        [
            (
                prompts.setdefault(vote.prompt_id, len(prompts)),
                rows[vote.response_a],
                rows[vote.response_b],
                vote.wins,
                vote.losses,
                vote.ties,
            )
            for vote in votes
            if vote.prompt_id in taught and vote.response_a in rows and vote.response_b in rows
        ]
    )


def accuracy_error(report: CrossValidation, comparisons: Comparisons) -> float:
    """Standard error of the held-out accuracy; pairs of one prompt vary together (Liang and Zeger, 1986)."""
    learned = comparisons.learned(SETTINGS.votes, SETTINGS.ties)
    sign_M = np.sign(learned.win - learned.loss)
    strict_M = sign_M != 0
    right_M = 0.5 + 0.5 * sign_M[strict_M] * np.sign(report.margins[strict_M])
    _, which = np.unique(learned.prompt[strict_M], return_inverse=True)
    if not len(right_M):
        return float("nan")
    sums = np.bincount(which, weights=right_M - right_M.mean())
    return float(np.sqrt(np.square(sums).sum()) / len(right_M))
