"""Many splits by prompt, and length as a covariate."""

from __future__ import annotations

import numpy as np
import pytest

from engine.errors import UsageError
from engine.frozen.comparisons import Comparisons
from engine.frozen.fit import FitSettings, fit_head, prepare, scaling_of
from engine.frozen.measure import measure
from engine.frozen.splits import unseen
from tests.engine.frozen.made import made


def test_every_prompt_is_held_out_equally_often_and_never_learned_from() -> None:
    features, c = made(3, prompts=11, ties=0.1, voters=3)
    settings = FitSettings(strengths=(0.1, 0.5), folds=3)
    prepared = prepare(features, c, scaling_of(features, settings), settings)
    splits = list(unseen(prepared, settings))
    assert len(splits) == 20
    held = np.concatenate([split.held for split in splits])
    assert (np.bincount(held) == 4).all()
    split = splits[6]
    out = np.isin(np.arange(len(c)), split.held)
    alone = FitSettings(strengths=(split.strength,), members=0)
    head = fit_head(features, c.chosen(~out), layers=(1,), parts=("last",), settings=alone)
    score = head.scores(features)[:, 0]
    np.testing.assert_allclose(split.margins, (score[c.left] - score[c.right])[out], atol=2e-3)
    turned = c.weighted(np.ones(len(c)))
    turned.win[out], turned.loss[out] = c.loss[out], c.win[out]
    again = list(unseen(prepare(features, turned, scaling_of(features, settings), settings), settings))[6]
    np.testing.assert_array_equal(again.margins, split.margins)  # nothing of the held-out verdicts leaks in


def length_world(seed: int) -> tuple[np.ndarray, Comparisons, np.ndarray]:
    """Judges like quality and, more, length; a feature shows each; the longer response wins most pairs."""
    features, c = made(seed, prompts=60, F=20)
    draw = np.random.default_rng(seed)
    length = np.exp(draw.normal(size=len(features))) * 100
    quality = draw.normal(size=len(features))
    features[:, :5] = np.log(length)[:, None] + 0.3 * draw.normal(size=(len(features), 5))
    features[:, 5:10] = quality[:, None] + 0.3 * draw.normal(size=(len(features), 5))
    worth = quality + 4.0 * np.log(length)
    chance = 1 / (1 + np.exp(worth[c.right] - worth[c.left]))
    won = (draw.random(len(c)) < chance).astype(float)
    return features, Comparisons(c.left, c.right, c.prompt, won, 1 - won, c.tie), length


def test_controlled_for_length_it_is_right_where_the_longer_response_loses() -> None:
    features, c, length = length_world(1)
    found = {}
    longer_lost = (length[c.left] > length[c.right]) == (c.loss > 0)
    for how in ("raw", "controlled"):
        settings = FitSettings(length=how, members=0)
        prepared = prepare(features, c, scaling_of(features, settings), settings, length_N=length)
        splits = list(unseen(prepared, settings))
        margin = np.concatenate([split.margins for split in splits])
        held = np.concatenate([split.held for split in splits])
        lost = longer_lost[held]
        found[how] = measure(margin[lost], c.chosen(held[lost])).accuracy
    assert found["raw"] < 0.5
    assert found["controlled"] > 0.6


def test_to_control_for_length_lengths_are_needed() -> None:
    features, c = made(0)
    with pytest.raises(UsageError, match="lengths of the responses"):
        fit_head(features, c, layers=(1,), parts=("last",), settings=FitSettings(length="controlled"))
