"""How good a fitted head is: on prompts that it never saw, and as judgements grow."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any

import numpy as np
import torch

from engine.errors import UsageError
from engine.frozen.comparisons import Comparisons
from engine.frozen.fit import FitSettings, fit_head, prepare, scaling_of
from engine.frozen.measure import measure
from engine.frozen.splits import SPLITS, Split, unseen
from engine.protocol.events import Event, Metrics, Progress
from engine.protocol.rundir import RunDir
from engine.reward_learning.frozen.data import JudgedFeatures
from engine.reward_learning.report import measured
from engine.scoring.head import FeaturePart, RewardHead
from engine.tables import UNSEEN, write_output
from engine.training.checkpoint import stable_hash

SHARES = tuple(range(10, 110, 10))
"""Per cent of the training prompts at the points of the learning curve."""


def heldout_metrics(judged: JudgedFeatures, scores_N_C: np.ndarray) -> dict[str, float]:
    """Metrics `heldout/*` as fine-tuning has them; empty when nothing is held out."""
    row = {response: n for n, response in enumerate(judged.response_ids)}
    scores = {
        element.prompt_id: torch.from_numpy(scores_N_C[[row[response] for response in element.response_ids]])
        for element in judged.data.heldout
    }
    return measured(judged.data.heldout, scores, judged.data.criteria)


def unseen_prompts(
    run: RunDir, judged: JudgedFeatures, features_N_F: np.ndarray, settings: FitSettings, length_N: np.ndarray
) -> Iterator[Event]:
    """Try this way of learning on many splits by prompt, over training and held-out prompts alike.

    Margins of the held-out pairs of every split go into the output `unseen`, of every criterion; metrics
    `unseen/*` are means over the splits, of the first.
    """
    rows: list[dict[str, Any]] = []
    for criterion, comparisons in judged.within(judged.train_prompts | judged.heldout_prompts).items():
        prepared = prepare(
            features_N_F, comparisons, scaling_of(features_N_F, settings), settings, criterion, length_N
        )
        measures = []
        for split in unseen(prepared, settings):
            held = comparisons.chosen(split.held)
            rows += _margin_rows(judged, criterion, held, split)
            measures.append(measure(split.margins, prepared.strict.chosen(split.held)))
            yield Progress(stage=f"unseen prompts, {criterion}", done=split.number + 1, total=SPLITS)
        with_pairs = [one for one in measures if one.pairs]
        if with_pairs and criterion == next(iter(judged.comparisons)):
            accuracy = float(np.mean([one.accuracy for one in with_pairs]))
            loss = float(np.mean([one.log_loss for one in with_pairs]))
            values = {"accuracy": accuracy, "log_loss": loss, "splits": float(len(with_pairs))}
            yield Metrics(step=1, values={f"unseen/{name}": value for name, value in values.items()})
    if rows:
        yield write_output(run, run.output_path("unseen", 1), "unseen", UNSEEN, rows)


def _margin_rows(
    judged: JudgedFeatures, criterion: str, held: Comparisons, split: Split
) -> Iterator[dict[str, Any]]:
    for place, margin in enumerate(split.margins.tolist()):
        yield {
            "split": split.number,
            "criterion": criterion,
            "prompt_id": judged.prompts[held.prompt[place]],
            "response_a": judged.response_ids[held.left[place]],
            "response_b": judged.response_ids[held.right[place]],
            "margin": margin,
        }


def learning_curve(
    judged: JudgedFeatures,
    features_N_F: np.ndarray,
    settings: FitSettings,
    layers: Sequence[int],
    parts: Sequence[FeaturePart],
    length_N: np.ndarray,
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
            head = _try_fit(features_N_F, part, settings, layers, parts, length_N)
            if head is not None:
                measured = measure(_margins(head.scores(features_N_F)[:, 0], strict), strict)
                values = {"curve/accuracy": measured.accuracy, "curve/log_loss": measured.log_loss}
                yield Metrics(step=pairs, values=values | {"curve/prompts": float(len(chosen))})
                last = pairs
        yield Progress(stage="learning curve", done=share, total=100, unit="%")


def _margins(scores_N: np.ndarray, comparisons: Comparisons) -> np.ndarray:
    scores = scores_N.astype(np.float64)
    return np.asarray(scores[comparisons.left] - scores[comparisons.right])


def _try_fit(
    features_N_F: np.ndarray,
    part: Comparisons,
    settings: FitSettings,
    layers: Sequence[int],
    parts: Sequence[FeaturePart],
    length_N: np.ndarray,
) -> RewardHead | None:
    """The head, or None where the few prompts of a first share hold no preference to learn."""
    try:
        return fit_head(features_N_F, part, layers=layers, parts=parts, settings=settings, length_N=length_N)
    except UsageError:
        return None
