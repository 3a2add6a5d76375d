"""Turning the residual stream changes no number, and is left alone where it cannot be done."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import onnx
import pytest
from onnx import helper

from engine.onnx.channels import hadamard, join_norms, mix_channels, turn_values
from engine.onnx.rotation import rotate
from engine.scoring.graph import TrunkSession

IDS = list(range(4, 60))


@pytest.fixture
def graph(tiny_onnx: Path) -> onnx.ModelProto:
    return onnx.load(tiny_onnx / "fp32.onnx")


def features(model: onnx.ModelProto, path: Path) -> np.ndarray:
    onnx.save(model, path)
    session = TrunkSession(path, "fp32", threads=1)
    first = session.extend(session.nothing, IDS[:20])
    return session.extend(first, IDS[20:]).features


def test_a_turned_stream_gives_the_same_features(graph: onnx.ModelProto, tmp_path: Path) -> None:
    expected = features(graph, tmp_path / "before.onnx")
    table = next(tensor for tensor in graph.graph.initializer if tuple(tensor.dims) == (272, 32))
    before = onnx.numpy_helper.to_array(table)
    assert rotate(graph)
    assert np.abs(onnx.numpy_helper.to_array(table) - before).max() > 0.1
    np.testing.assert_allclose(features(graph, tmp_path / "after.onnx"), expected, atol=2e-5)


def test_a_stream_that_something_else_writes_to_is_left_alone(graph: onnx.ModelProto) -> None:
    place, first = next((n, node) for n, node in enumerate(graph.graph.node) if node.op_type == "Add")
    graph.graph.node.insert(place, helper.make_node("Neg", [first.input[0]], ["stranger"]))
    graph.graph.node[place + 1].input[0] = "stranger"
    before = graph.SerializeToString()
    assert not rotate(graph)
    assert graph.SerializeToString() == before


def test_turned_values_give_the_same_features(graph: onnx.ModelProto, tmp_path: Path) -> None:
    expected = features(graph, tmp_path / "before.onnx")
    before = {tensor.name: tensor.raw_data for tensor in graph.graph.initializer}
    turn_values(graph)
    changed = [tensor for tensor in graph.graph.initializer if before[tensor.name] != tensor.raw_data]
    assert len(changed) == 4  # values and output of each layer
    np.testing.assert_allclose(features(graph, tmp_path / "after.onnx"), expected, atol=2e-5)


def test_norms_of_sums_give_the_same_features(graph: onnx.ModelProto, tmp_path: Path) -> None:
    expected = features(graph, tmp_path / "before.onnx")
    join_norms(graph)
    kinds = [node.op_type for node in graph.graph.node]
    assert (kinds.count("SkipSimplifiedLayerNormalization"), kinds.count("Add")) == (4, 0)
    np.testing.assert_allclose(features(graph, tmp_path / "after.onnx"), expected, atol=2e-5)


def test_mixed_channels_give_the_same_features(graph: onnx.ModelProto, tmp_path: Path) -> None:
    expected = features(graph, tmp_path / "before.onnx")
    mix_channels(graph)
    assert sum("mixing" in name for node in graph.graph.node for name in node.input) >= 6
    np.testing.assert_allclose(features(graph, tmp_path / "after.onnx"), expected, atol=2e-5)


@pytest.mark.parametrize("size", [1, 2, 16, 64])
def test_the_matrix_is_its_own_inverse(size: int) -> None:
    np.testing.assert_allclose(hadamard(size) @ hadamard(size), np.eye(size), atol=1e-6)
