"""Evening out changes nothing in float32, and saves what one scale a tensor would lose in int8."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import onnx
import onnxruntime
import pytest
from onnx import TensorProto, helper, numpy_helper
from onnxruntime.quantization import QuantType, quantize_dynamic

from engine.jobs.quantise import channel_maxima, even_out, quantise

WIDTH, OUT = 32, 16
GENERATOR = np.random.default_rng(0)
EMBEDDING = GENERATOR.normal(size=(50, WIDTH)).astype(np.float32)
EMBEDDING[1] *= 1000  # the first token
EMBEDDING[:, 3] *= 100  # an outlying channel
WEIGHT = GENERATOR.normal(size=(WIDTH, OUT)).astype(np.float32)
WEIGHT[3] /= 100
SEQUENCES = [[1, *range(2, 40)], [1, 45, 46, 47]]


@pytest.fixture
def graph(tmp_path: Path) -> Path:
    """Embedding, then two products that share their input, as gate and up projections do."""
    nodes = [
        helper.make_node("Gather", ["embedding", "input_ids"], ["hidden"]),
        helper.make_node("MatMul", ["hidden", "first"], ["a"], name="a"),
        helper.make_node("MatMul", ["hidden", "second"], ["b"], name="b"),
        helper.make_node("Add", ["a", "b"], ["token_scores"]),
    ]
    weights = {"embedding": EMBEDDING, "first": WEIGHT, "second": WEIGHT[:, ::-1].copy()}
    model = helper.make_model(
        helper.make_graph(
            nodes,
            "test",
            [helper.make_tensor_value_info("input_ids", TensorProto.INT64, ["N", "T"])],
            [helper.make_tensor_value_info("token_scores", TensorProto.FLOAT, ["N", "T", OUT])],
            [numpy_helper.from_array(value, name) for name, value in weights.items()],
        ),
        opset_imports=[helper.make_opsetid("", 20)],
        ir_version=10,
    )
    onnx.save(model, tmp_path / "fp32.onnx")
    return tmp_path / "fp32.onnx"


def outputs(path: Path) -> np.ndarray:
    session = onnxruntime.InferenceSession(path, providers=["CPUExecutionProvider"])
    (found,) = session.run(None, {"input_ids": np.array([SEQUENCES[0]])})
    return np.asarray(found)[0, 1:]  # of the ordinary tokens


def test_evening_out_changes_nothing_in_float32(graph: Path, tmp_path: Path) -> None:
    model = onnx.load(graph)
    even_out(model, channel_maxima(model, tmp_path / "scratch", SEQUENCES))
    onnx.checker.check_model(model)
    onnx.save(model, tmp_path / "even.onnx")
    np.testing.assert_allclose(outputs(tmp_path / "even.onnx"), outputs(graph), rtol=1e-4, atol=1e-4)
    assert not (tmp_path / "scratch").exists()


def test_outliers_do_not_swallow_the_other_values(graph: Path, tmp_path: Path) -> None:
    quantise(graph, tmp_path / "ours.onnx", SEQUENCES)
    quantize_dynamic(graph, tmp_path / "plain.onnx", per_channel=True, weight_type=QuantType.QInt8)
    expected = outputs(graph)
    spread = expected.std()
    ours, plain = (np.abs(outputs(tmp_path / name) - expected).mean() for name in ("ours.onnx", "plain.onnx"))
    assert ours < 0.02 * spread
    assert plain > 0.1 * spread
    assert sorted(path.name for path in tmp_path.iterdir()) == ["fp32.onnx", "ours.onnx", "plain.onnx"]


def test_a_weight_with_two_activations_is_left_alone(graph: Path, tmp_path: Path) -> None:
    model = onnx.load(graph)
    model.graph.node.insert(1, helper.make_node("Neg", ["hidden"], ["other"]))
    model.graph.node[3].input[0] = "other"
    model.graph.node[3].input[1] = "first"
    onnx.save(model, tmp_path / "shared.onnx")
    even_out(model, channel_maxima(model, tmp_path / "scratch", SEQUENCES))
    onnx.save(model, tmp_path / "even.onnx")
    np.testing.assert_allclose(
        outputs(tmp_path / "even.onnx"), outputs(tmp_path / "shared.onnx"), rtol=1e-3, atol=1e-3
    )
