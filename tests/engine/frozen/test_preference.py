"""The pairwise preference model: antisymmetric, fits a truth that runs in a circle, saved and read."""

from __future__ import annotations

import dataclasses
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from engine.errors import ModelFilesError, NonFiniteError
from engine.frozen.comparisons import Comparisons, stacked
from engine.frozen.fit import FitSettings, fit, prepare, scaling_of
from engine.frozen.measure import measure
from engine.frozen.preference import (
    cycles,
    fit_preference,
    judged_cycles,
    preference_settings,
    skew_features,
    skew_spaces,
)
from engine.frozen.splits import unseen
from engine.scoring.preference import WEIGHTS, PreferenceHead
from tests.engine.frozen.made import made

QUICK = FitSettings(folds=3, members=0)


def circle(seed: int, prompts: int = 80) -> tuple[np.ndarray, Comparisons]:
    """Rock, paper and scissors among noise: each kind wins nine of ten against one and loses to the other."""
    draw = np.random.default_rng(seed)
    kinds = np.tile(np.arange(3), prompts)
    features = draw.normal(size=(len(kinds), 8))
    features[:, :3] += 5 * np.eye(3)[kinds]
    rows = []
    for prompt in range(prompts):
        for left, right in ((0, 1), (0, 2), (1, 2)):
            beats = (kinds[left] - kinds[right]) % 3 == 1
            won = int(draw.random() < (0.9 if beats else 0.1))
            rows.append((prompt, 3 * prompt + left, 3 * prompt + right, won, 1 - won, 0))
    return features.astype(np.float32), stacked(rows)


def random_head(seed: int, F: int = 6, d: int = 4) -> PreferenceHead:
    draw = np.random.default_rng(seed)
    return PreferenceHead(
        weight=draw.normal(size=(1, F)).astype(np.float32),
        directions=draw.normal(size=(1, d, F)).astype(np.float32),
        upper=draw.normal(size=(1, d, d)).astype(np.float32),
        centre=draw.normal(size=F).astype(np.float32),
        scale=draw.uniform(0.1, 3, F).astype(np.float32),
        criteria=("overall",),
        layers=(1, 2, 3),
        parts=("last", "mean"),
    )


@settings(max_examples=30, deadline=None)
@given(st.integers(0, 2**31), st.integers(2, 7), st.floats(1e-3, 1e3))
def test_it_is_antisymmetric_to_the_last_bit(seed: int, K: int, size: float) -> None:
    features = (np.random.default_rng(seed).normal(size=(K, 6)) * size).astype(np.float32)
    logits = random_head(seed).logits(features)
    np.testing.assert_array_equal(logits, -logits.T)
    np.testing.assert_allclose(
        random_head(seed).margins(features[:-1], features[1:]), np.diag(logits, 1), rtol=1e-5, atol=1e-5
    )
    np.testing.assert_array_equal(
        random_head(seed).margins(features[:-1], features[1:]),
        -random_head(seed).margins(features[1:], features[:-1]),
    )


@settings(max_examples=30, deadline=None)
@given(st.integers(0, 2**31), st.integers(2, 6))
def test_skew_features_are_the_numbers_of_a_skew_form(seed: int, d: int) -> None:
    draw = np.random.default_rng(seed)
    a, b, form = draw.normal(size=d), draw.normal(size=d), np.triu(draw.normal(size=(d, d)), k=1)
    weights = form[np.triu_indices(d, k=1)]
    assert a @ (form - form.T) @ b == pytest.approx(float((skew_features(a[None], b[None]) @ weights)[0]))


def test_a_truth_in_a_circle_is_fitted_where_no_score_can() -> None:
    features, judged = circle(0)
    scaling = scaling_of(features, QUICK)
    prepared = prepare(features, judged, scaling, QUICK)
    mine = preference_settings(QUICK)

    def measured(spaces: list | None) -> tuple[float, float]:
        found = [
            measure(split.margins, prepared.strict.chosen(split.held))
            for split in unseen(prepared, mine, spaces)
        ]
        return float(np.mean([m.accuracy for m in found])), float(np.mean([m.log_loss for m in found]))

    scores, pairs = measured(None), measured(list(skew_spaces(prepared.subspace, prepared.learned)))
    assert scores[0] < 0.6
    assert pairs[0] > 0.8
    assert scores[1] > 0.65 > 0.55 > pairs[1]
    model = fit_preference(features, {"overall": judged}, layers=(1,), parts=("last",), settings=QUICK)
    found = [cycles(model.head.logits(features[start : start + 3])) for start in range(0, len(features), 3)]
    assert sum(cyclic for cyclic, _ in found) > 0.8 * len(found)
    assert judged_cycles(judged)[0] > 0.5 * judged_cycles(judged)[1]


def test_a_truth_of_scores_stays_one() -> None:
    features, judged = made(3, prompts=25, voters=5)
    model = fit_preference(features, {"overall": judged}, layers=(1,), parts=("last",), settings=QUICK)
    scored = fit(features, {"overall": judged}, layers=(1,), parts=("last",), settings=QUICK)
    general, plain = model.reports["overall"].calibrated, scored.reports["overall"].calibrated
    assert general.accuracy > plain.accuracy - 0.1
    assert general.log_loss < plain.log_loss + 0.1


def test_the_saved_head_says_what_was_fitted(tmp_path: Path) -> None:
    """Its margins are those of the coordinates in which it was fitted, after a way through the files."""
    features, judged = circle(1, prompts=12)
    one_strength = dataclasses.replace(QUICK, length="controlled")
    length = np.random.default_rng(1).uniform(10, 100, len(features))
    model = fit_preference(
        features, {"a": judged, "b": judged.weighted(np.full(len(judged), 2.0))},
        layers=(1, 2), parts=("last", "mean"), settings=one_strength, length_N=length,
    )  # fmt: skip
    model.head.save(tmp_path)
    again = PreferenceHead.load(tmp_path)
    assert again.criteria == ("a", "b")
    for criterion in range(2):
        np.testing.assert_array_equal(
            again.logits(features[:5], criterion), model.head.logits(features[:5], criterion)
        )
    right = measure(again.margins(features[judged.left], features[judged.right]), judged)
    assert right.accuracy > 0.85


def test_files_that_cannot_be_read_are_refused(tmp_path: Path) -> None:
    with pytest.raises(ModelFilesError, match="pairwise"):
        PreferenceHead.load(tmp_path)
    dataclasses.replace(random_head(0), scale=np.zeros(6, dtype=np.float32)).save(tmp_path)
    with pytest.raises(ModelFilesError, match="do not fit"):
        PreferenceHead.load(tmp_path)
    dataclasses.replace(random_head(0), upper=np.full((1, 4, 4), np.nan, dtype=np.float32)).save(tmp_path)
    with pytest.raises(NonFiniteError):
        PreferenceHead.load(tmp_path)
    (tmp_path / WEIGHTS).write_bytes(b"\x00" * 20)
    with pytest.raises(ModelFilesError, match="cannot be read"):
        PreferenceHead.load(tmp_path)


def test_cycles_are_counted() -> None:
    turn = np.array([[0, 1, -1], [-1, 0, 1], [1, -1, 0]], dtype=float)
    assert cycles(turn) == (1, 1)
    assert cycles(np.sign(np.subtract.outer([3, 2, 1, 0], [3, 2, 1, 0]))) == (0, 4)
    assert cycles(np.where(np.eye(3)[::-1] > 0, np.nan, turn)) == (0, 0)
    draw = np.random.default_rng(0).normal(size=(30, 30))
    cyclic, decided = cycles(draw - draw.T)
    assert decided == 4060
    assert abs(cyclic / decided - 0.25) < 0.03
