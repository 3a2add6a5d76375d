"""One fit of the live model: features from their file, the head, and what a further judgement would tell.

numpy all through, so it is imported by the thread that fits.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from itertools import combinations
from pathlib import Path

import numpy as np

from engine.errors import ModelFilesError
from engine.frozen.comparisons import Comparisons, stacked
from engine.frozen.fit import CrossValidation
from engine.frozen.fit import fit as fit_frozen
from engine.frozen.information import chance, determinant_gain, difference_variance, disagreement
from engine.frozen.settings import live_settings
from engine.frozen.store import FILE, FeatureInfo, FeatureStore
from engine.scoring.head import FeaturePart, RewardHead
from storage.records import Votes

MOST_RESPONSES = 1500
"""Responses of a fit and of what may be judged next; judged ones come first and are never left out."""
SETTINGS = live_settings()
Pair = tuple[str, str]


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
    information: Mapping[str, Mapping[Pair, float]] = field(default_factory=dict)
    """By order and pair of response ids, the lesser first; in nats."""
    prompt_of: Mapping[Pair, str] = field(default_factory=dict)
    judged: Mapping[str, int] = field(default_factory=dict)
    """Judged pairs by prompt."""

    def ordered_pairs(self, order: str) -> tuple[Pair, ...]:
        """Pairs of the prompts with the fewest judged pairs, of these those whose judgement tells most.

        Pairs of one prompt resemble each other: without the first rule a few odd prompts would be asked out.
        """
        worth, judged = self.information.get(order, {}), self.judged
        return tuple(
            sorted(worth, key=lambda pair: (judged.get(self.prompt_of[pair], 0), -worth[pair], pair))
        )

    def prompts(self, order: str) -> tuple[str, ...]:
        """Prompts by the mean over their pairs, so that one with many responses is not preferred for that."""
        worths: dict[str, list[float]] = {}
        for pair, worth in self.information.get(order, {}).items():
            worths.setdefault(self.prompt_of[pair], []).append(worth)
        means = {prompt: sum(found) / len(found) for prompt, found in worths.items()}
        return tuple(sorted(means, key=lambda prompt: (-means[prompt], prompt)))


def fit(
    folders: Sequence[Path], votes: Sequence[Votes], waiting: Sequence[tuple[str, Sequence[str]]]
) -> LiveFit:
    """Fit the head to `votes` with the features that lie in the first folder and in those that fit it.

    waiting: (prompt id, ids of its responses) of what may be judged next.  Raises WorkbenchError for a file
    that cannot be read, UsageError when no judged pair with features prefers one response.
    """
    store = opened(folders)
    judged = _judged(votes)
    wanted = dict(judged)
    for _, found in waiting:
        if len(wanted) + len(found) > MOST_RESPONSES:
            break
        wanted |= dict.fromkeys(found)
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
    information, prompt_of = _information(made.head, features_N_F, comparisons, report, waiting, rows)
    return LiveFit(
        head=made.head,
        pairs=len(comparisons),
        without_features=len(missing & judged.keys()),
        accuracy=report.calibrated.accuracy,
        accuracy_error=accuracy_error(report, comparisons),
        log_loss=report.calibrated.log_loss,
        strength=report.strength,
        scores=dict(zip(ids, made.head.scores(features_N_F)[:, 0].tolist(), strict=True)),
        information=information,
        prompt_of=prompt_of,
        judged=Counter(vote.prompt_id for vote in votes),
    )


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


def _information(
    head: RewardHead,
    features_N_F: np.ndarray,
    comparisons: Comparisons,
    report: CrossValidation,
    waiting: Sequence[tuple[str, Sequence[str]]],
    rows: Mapping[str, int],
) -> tuple[dict[str, dict[Pair, float]], dict[Pair, str]]:
    """Worth of every pair of responses that may be judged and have features, by both measures."""
    prompt_of = {
        (min(x, y), max(x, y)): prompt
        for prompt, found in waiting
        for x, y in combinations([response for response in found if response in rows], 2)
    }
    if not prompt_of:
        return {}, {}
    left_P, right_P = (np.array([rows[pair[side]] for pair in prompt_of]) for side in (0, 1))
    members = head.members(features_N_F)
    found: dict[str, np.ndarray] = {}
    if members is not None:
        found["disagreement"] = disagreement(members[:, left_P, 0] - members[:, right_P, 0])
    score_N = head.scores(features_N_F)[:, 0]
    learned = comparisons.learned(SETTINGS.votes, SETTINGS.ties)
    chance_M = chance(score_N[learned.left] - score_N[learned.right])
    variance_P = difference_variance(
        gram(head, features_N_F),
        (learned.left, learned.right),
        learned.total * chance_M * (1 - chance_M),
        report.strength,
        (left_P, right_P),
    )
    found["d_optimality"] = determinant_gain(chance(score_N[left_P] - score_N[right_P]), variance_P)
    return {
        order: dict(zip(prompt_of, worth.tolist(), strict=True)) for order, worth in found.items()
    }, prompt_of


def gram(head: RewardHead, features_N_F: np.ndarray) -> np.ndarray:
    """Inner products of responses in the space in which the ridge of the fit is round, [N, N]."""
    seen_N_F = head.squashed(features_N_F)
    if head.centre is None:
        spread_F = seen_N_F.std(axis=0)
        seen_N_F = (seen_N_F - seen_N_F.mean(axis=0)) / np.where(spread_F > 0, spread_F, 1.0)
    return np.asarray(seen_N_F @ seen_N_F.T, dtype=np.float64) / seen_N_F.shape[1]
