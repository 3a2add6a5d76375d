"""The head outside torch: what it reads, and what a hostile file may say."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays
from safetensors.numpy import load_file, save_file

from engine.errors import ModelFilesError, NonFiniteError
from engine.scoring.head import DESCRIPTION, WEIGHTS, RewardHead

RANDOM = np.random.default_rng(0)


def some_head(C: int = 2, E: int = 3) -> RewardHead:
    """Two layers of three features each, last token and mean."""
    ensemble = RANDOM.normal(size=(E, C, 12)).astype(np.float32)
    biases = RANDOM.normal(size=(E, C)).astype(np.float32)
    return RewardHead(
        weight=ensemble.mean(0),
        bias=biases.mean(0),
        criteria=("overall", "kind")[:C],
        layers=(1, 3),
        parts=("last", "mean"),
        kind="frozen",
        ensemble_weight=ensemble,
        ensemble_bias=biases,
        centre=RANDOM.normal(size=12).astype(np.float32),
        scale=np.full(12, 2, dtype=np.float32),
    )


def test_a_head_comes_back_as_it_was_saved(tmp_path: Path) -> None:
    head = some_head()
    head.save(tmp_path)
    found = RewardHead.load(tmp_path)
    for name in ("weight", "bias", "ensemble_weight", "ensemble_bias", "centre", "scale"):
        np.testing.assert_array_equal(getattr(found, name), getattr(head, name))
    assert (found.criteria, found.layers, found.parts, found.kind) == (
        head.criteria,
        head.layers,
        head.parts,
        head.kind,
    )
    assert all(file.stat().st_mode & 0o777 == 0o600 for file in tmp_path.iterdir())


@given(arrays(np.float32, (7, 6), elements=st.floats(-9, 9, width=32)), st.integers(0, 6))
def test_the_mean_is_that_of_the_response_so_far(features_T_F: np.ndarray, start: int) -> None:
    read = some_head().response_features(features_T_F, start)
    for row, end in enumerate(range(start, 7)):
        expected = np.concatenate([features_T_F[end], features_T_F[start : end + 1].mean(0)])
        np.testing.assert_allclose(read[row], expected, atol=1e-4)


def test_the_mean_of_the_ensemble_is_the_head_where_nothing_is_squashed() -> None:
    head = replace(some_head(), centre=None, scale=None)
    features = RANDOM.normal(size=(5, 12)).astype(np.float32)
    members = head.members(features)
    assert members is not None
    np.testing.assert_allclose(members.mean(0), head.scores(features), atol=1e-4)
    spread = head.spread(features)
    assert spread is not None
    np.testing.assert_allclose(spread, members.std(0), atol=1e-6)
    assert replace(head, ensemble_weight=None).spread(features) is None


def test_squashed_features_cannot_outweigh_the_others() -> None:
    head = some_head()
    assert np.abs(head.squashed(np.full((1, 12), 1e30, dtype=np.float32))).max() <= 1


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"criteria": ["one"]}, "for 1 criteria"),
        ({"criteria": ["same", "same"]}, "told apart"),
        ({"criteria": [1, {"a": 2}]}, "cannot be read|told apart"),
        ({"criteria": 5}, "cannot be read"),
        ({"layers": []}, "which layers"),
        ({"layers": ["../../etc", 2]}, "which layers"),
        ({"layers": [-1, 2]}, "which layers"),
        ({"layers": [1, 2, 3, 4, 5]}, "12 weights for 2 parts of 5 layers"),
        ({"parts": ["first"]}, "which parts"),
        ({"parts": []}, "which parts"),
        ({"kind": "evil"}, "no known kind"),
    ],
)
def test_a_hostile_description_is_a_sentence(change: dict[str, object], message: str, tmp_path: Path) -> None:
    some_head().save(tmp_path)
    description = json.loads((tmp_path / DESCRIPTION).read_text())
    (tmp_path / DESCRIPTION).write_text(json.dumps(description | change))
    with pytest.raises(ModelFilesError, match=message):
        RewardHead.load(tmp_path)


@pytest.mark.parametrize(
    "text", ["", "[]", "null", '{"kind": "linear"}', "[" * 100_000, '"' + "x" * 2_000_000]
)
def test_what_is_no_description_is_a_sentence(text: str, tmp_path: Path) -> None:
    some_head().save(tmp_path)
    (tmp_path / DESCRIPTION).write_text(text)
    with pytest.raises(ModelFilesError, match="cannot be read"):
        RewardHead.load(tmp_path)


@pytest.mark.parametrize(
    ("name", "tensor", "message"),
    [
        ("weight", np.zeros(12), "shape"),
        ("weight", np.zeros((2, 0)), "shape"),
        ("bias", np.zeros(7), "a bias of shape"),
        ("bias", None, "cannot be read"),
        ("centre", None, "half there"),
        ("centre", np.zeros(3), "a centre of shape"),
        ("scale", np.zeros(12), "divides by zero"),
        ("ensemble_bias", None, "half there"),
        ("ensemble_weight", np.zeros((3, 2, 5)), "an ensemble of shapes"),
    ],
)
def test_hostile_weights_are_a_sentence(
    name: str, tensor: np.ndarray | None, message: str, tmp_path: Path
) -> None:
    some_head().save(tmp_path)
    tensors = load_file(tmp_path / WEIGHTS)
    tensors.pop(name)
    if tensor is not None:
        tensors[name] = tensor.astype(np.float32)
    save_file(tensors, tmp_path / WEIGHTS)
    with pytest.raises(ModelFilesError, match=message):
        RewardHead.load(tmp_path)


def test_bytes_that_are_no_tensors_and_nan(tmp_path: Path) -> None:
    head = some_head()
    head.save(tmp_path)
    replace(head, bias=np.array([0, np.nan], dtype=np.float32)).save(tmp_path)
    with pytest.raises(NonFiniteError, match="not numbers"):
        RewardHead.load(tmp_path)
    (tmp_path / WEIGHTS).write_bytes(b"\xff" * 64)
    with pytest.raises(ModelFilesError, match="cannot be read"):
        RewardHead.load(tmp_path)
