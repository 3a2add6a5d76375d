"""Dynamic int8 of an exported graph: weights a column at a time, activations a row at a time while it runs.

onnxruntime's own dynamic quantisation has one scale for a whole activation tensor.  Language models put
values a thousand times the usual into the first token and into a few channels, and all else then rounds to
nothing: on SmolLM2-135M the ranking of responses was lost.  So before it is applied

1. channels are evened out, x·W = (x / s)·(s·W) with s_j = max|x_j|^½ / max|W_j|^½ (SmoothQuant, Xiao et al.
   2022, arXiv 2211.10438, equation 4), the maxima measured on a few stored responses;
2. every row of an activation is divided by its largest value, and the product multiplied by it again.

Both leave the float32 graph as it is, up to rounding.  The reward head, one column, stays in float32.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np
import onnx
import onnxruntime
from onnx import helper, numpy_helper
from onnxruntime.quantization import QuantType, quantize_dynamic

CALIBRATION_SEQUENCES, CALIBRATION_TOKENS = 8, 128
ONE_FILE_BYTES = 1_800_000_000
"""Weights above this go into a second file: a protobuf holds 2 GB at most."""
FLOOR = np.float32(1e-12)  # of a row's largest value: a row of zeros stays zero
AXIS_NAME, FLOOR_NAME = "quantise_last_axis", "quantise_floor"


def quantise(source: Path, destination: Path, sequences: Sequence[list[int]]) -> None:
    """Write the int8 model of a float32 one; `sequences` of token ids show how large activations get."""
    model = onnx.load(source)
    maxima = channel_maxima(model, destination.with_suffix(".calibration"), sequences)
    even_out(model, maxima)
    smooth = destination.with_suffix(".smooth")
    large = save(model, smooth)
    del model
    head = [
        node.name for node, weight in _products(onnx.load(smooth, load_external_data=False)) if weight == 1
    ]
    quantize_dynamic(
        smooth,
        destination,
        per_channel=True,
        weight_type=QuantType.QInt8,
        op_types_to_quantize=["MatMul"],
        nodes_to_exclude=head,
        use_external_data_format=large,
    )
    _remove(smooth)


def save(model: onnx.ModelProto, path: Path) -> bool:
    """Save a graph; whether its weights went into a second file."""
    large = sum(len(tensor.raw_data) for tensor in model.graph.initializer) > ONE_FILE_BYTES
    onnx.save(model, path, save_as_external_data=large, location=path.name + ".data")
    return large


def channel_maxima(
    model: onnx.ModelProto, scratch: Path, sequences: Sequence[list[int]]
) -> dict[str, np.ndarray]:
    """For the input of every product: the largest share of a row's maximum that a channel reaches.  [D]"""
    names = sorted({node.input[0] for node, _ in _products(model)})
    watched = onnx.ModelProto()
    watched.CopyFrom(model)
    watched.graph.output.extend(helper.make_empty_tensor_value_info(name) for name in names)
    save(watched, scratch)
    del watched
    options = onnxruntime.SessionOptions()
    options.graph_optimization_level = onnxruntime.GraphOptimizationLevel.ORT_DISABLE_ALL
    options.log_severity_level = 3
    session = onnxruntime.InferenceSession(scratch, options, providers=["CPUExecutionProvider"])
    maxima: dict[str, np.ndarray] = {}
    for ids in sequences[:CALIBRATION_SEQUENCES]:
        feed = {"input_ids": np.array([ids[:CALIBRATION_TOKENS]], dtype=np.int64)}
        for name, value in zip(names, session.run(names, feed), strict=True):
            rows = np.abs(value.reshape(-1, value.shape[-1]))
            share = (rows / np.maximum(rows.max(-1, keepdims=True), FLOOR)).max(0)
            maxima[name] = np.maximum(maxima.get(name, share), share)
    _remove(scratch)
    return maxima


def even_out(model: onnx.ModelProto, maxima: dict[str, np.ndarray]) -> None:
    """Rewrite every product with a weight as x·W = m · ((x / s / m)·(s·W)), m being the maximum of a row."""
    graph = model.graph
    weights = {tensor.name: tensor for tensor in graph.initializer}
    shares: dict[str, list[str]] = {}  # the weights that an activation is multiplied with
    for node, _ in _products(model):
        shares.setdefault(node.input[0], []).append(node.input[1])
    graph.initializer.append(numpy_helper.from_array(np.array([-1], dtype=np.int64), AXIS_NAME))
    graph.initializer.append(numpy_helper.from_array(np.array(FLOOR), FLOOR_NAME))
    nodes: list[onnx.NodeProto] = []
    ready: set[str] = set()
    for node in list(graph.node):
        if not _is_product(node, weights):
            nodes.append(node)
            continue
        name, output = node.input[0], node.output[0]
        if name not in ready:
            _scale_weights(graph, weights, name, shares[name], maxima[name])
            nodes.extend(_normalising(name))
            ready.add(name)
        node.input[0], node.output[0] = f"{name}_rows", f"{output}_of_rows"
        nodes += [node, helper.make_node("Mul", [f"{output}_of_rows", f"{name}_maximum"], [output])]
    del graph.node[:]
    graph.node.extend(nodes)


def _scale_weights(
    graph: onnx.GraphProto,
    weights: dict[str, onnx.TensorProto],
    name: str,
    used: list[str],
    maximum_D: np.ndarray,
) -> None:
    """Multiply the weights of one activation by s, and store 1 / s for the activation."""
    matrices = {key: numpy_helper.to_array(weights[key]) for key in used}
    largest_D = np.max([np.abs(matrix).max(1) for matrix in matrices.values()], axis=0)
    scale_D = np.sqrt(np.maximum(maximum_D, 1e-5) / np.maximum(largest_D, 1e-5))
    scale_D = (scale_D / np.exp(np.log(scale_D).mean())).astype(np.float32)
    if _has_other_readers(graph, name, used):
        scale_D = np.ones_like(scale_D)  # a weight that several activations share cannot follow one of them
    for key, matrix in matrices.items():
        weights[key].CopyFrom(numpy_helper.from_array(matrix * scale_D[:, None], key))
    graph.initializer.append(numpy_helper.from_array(1.0 / scale_D, f"{name}_smoothing"))


def _has_other_readers(graph: onnx.GraphProto, name: str, used: list[str]) -> bool:
    return any(key in node.input and node.input[0] != name for node in graph.node for key in used)


def _normalising(name: str) -> list[onnx.NodeProto]:
    """x → (x / s) / m as `<name>_rows`, and m as `<name>_maximum`."""
    return [
        helper.make_node("Mul", [name, f"{name}_smoothing"], [f"{name}_smooth"]),
        helper.make_node("Abs", [f"{name}_smooth"], [f"{name}_size"]),
        helper.make_node("ReduceMax", [f"{name}_size", AXIS_NAME], [f"{name}_peak"], keepdims=1),
        helper.make_node("Max", [f"{name}_peak", FLOOR_NAME], [f"{name}_maximum"]),
        helper.make_node("Div", [f"{name}_smooth", f"{name}_maximum"], [f"{name}_rows"]),
    ]


def _products(model: onnx.ModelProto) -> list[tuple[onnx.NodeProto, int]]:
    """The products of an activation and a weight matrix, with the number of its columns."""
    weights = {tensor.name: tensor for tensor in model.graph.initializer}
    return [(node, weights[node.input[1]].dims[1]) for node in model.graph.node if _is_product(node, weights)]


def _is_product(node: onnx.NodeProto, weights: dict[str, onnx.TensorProto]) -> bool:
    return node.op_type == "MatMul" and node.input[1] in weights and len(weights[node.input[1]].dims) == 2


def _remove(path: Path) -> None:
    for file in (path, path.with_name(path.name + ".data")):
        file.unlink(missing_ok=True)
