"""int8 of an exported trunk: weights a column at a time, activations a row at a time while it runs.

onnxruntime's own dynamic quantisation has one scale for a whole activation tensor.  Language models put
values a thousand times the usual into the first token and into a few channels, and all else then rounds to
nothing: on SmolLM2-135M the ranking of responses was lost.  So

1. channels are evened out, x·W = (x / s)·(s·W) with s_j = a_j^½ / max|W_j|^½ (SmoothQuant, Xiao et al. 2022,
   arXiv 2211.10438, equation 4), a_j the 0.999 quantile of |x_j| on a few stored responses.  (With the
   largest value, the first token alone would decide.)  1 / s goes into the weights before: into those of the
   norm, of the projection that x is a product with, or of the values that attention averages, so that it
   costs nothing while it runs;
2. every row is divided by its own largest value before it is rounded, and the product multiplied by it
   again: a token's numbers do not depend on what else is in the batch, nor on what was cached;
3. the last layers' products of products, whose rounding goes straight into the score, stay in float32, and
   the embeddings are float16.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Collection, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
import onnx
import onnxruntime
from onnx import TensorProto, helper, numpy_helper

from engine.jobs.onnx_graph import ONE_FILE_BYTES
from engine.scoring.graph import causal_bias

CALIBRATION_SEQUENCES, CALIBRATION_TOKENS = 16, 160
QUANTILE, SMALL = 0.999, 1e-5
FLOOR = 1e-12  # of a row's largest value: a row of zeros stays zero
EXACT_LAYERS = 4
MICROSOFT = "com.microsoft"


@dataclass
class Sizes:
    """How large the activations of the products get.  D channels, by name of the activation."""

    channels: dict[str, np.ndarray] = field(default_factory=dict)  # [D] the quantile of |x|, over sequences


def calibrate(source: Path, sequences: Sequence[Sequence[int]]) -> Sizes:
    """Run the float32 graph on some token sequences and measure what goes into its products."""
    model = onnx.load(source)
    names = list(_products(model.graph))
    for name in names:
        model.graph.output.append(helper.make_tensor_value_info(name, TensorProto.FLOAT, None))
    scratch = source.with_suffix(".calibration")
    save(model, scratch)
    options = onnxruntime.SessionOptions()
    options.log_severity_level = 3
    session = onnxruntime.InferenceSession(scratch, options, providers=["CPUExecutionProvider"])
    past = {
        entry.name: np.zeros((1, entry.shape[1], 0, entry.shape[3]), dtype=np.float32)
        for entry in session.get_inputs()
        if entry.name.startswith("past_")
    }
    sizes = Sizes()
    for ids in sequences[:CALIBRATION_SEQUENCES]:
        ids_1_T = np.array([ids[:CALIBRATION_TOKENS]], dtype=np.int64)
        length = ids_1_T.shape[1]
        feed = {"input_ids": ids_1_T, "position_ids": np.arange(length)[None]}
        feed["attention_bias"] = causal_bias([0], [length])
        for name, value in zip(names, session.run(names, feed | past), strict=True):
            size_D = np.quantile(np.abs(value.reshape(-1, value.shape[-1])), QUANTILE, axis=0)
            sizes.channels[name] = np.maximum(sizes.channels.get(name, size_D), size_D)
    del session
    _remove(scratch)
    return sizes


def quantise(source: Path, destination: Path, sequences: Sequence[Sequence[int]]) -> None:
    """Write the int8 graph of a float32 one; `sequences` of token ids show how large activations get."""
    sizes = calibrate(source, sequences)
    model = onnx.load(source)
    exact = _last_in_residual(model.graph)
    even_out(model, sizes)
    _to_int8(model, exact)
    _halve_embeddings(model)
    save(model, destination)


def save(model: onnx.ModelProto, path: Path) -> None:
    """Save a graph; large weights go into a second file."""
    large = sum(len(tensor.raw_data) for tensor in model.graph.initializer) > ONE_FILE_BYTES
    onnx.save(model, path, save_as_external_data=large, location=path.name + ".data")


def even_out(model: onnx.ModelProto, sizes: Sizes) -> None:
    """Move scale from activations to weights, channel by channel, where it can be done beforehand."""
    weights = {tensor.name: tensor for tensor in model.graph.initializer}
    made_by = {output: node for node in model.graph.node for output in node.output}
    readers = _readers(model.graph)
    for name, nodes in _products(model.graph).items():
        used = list(dict.fromkeys(node.input[1] for node in nodes))
        matrices = [numpy_helper.to_array(weights[key]) for key in used]
        largest_D = np.max([np.abs(matrix).max(1) for matrix in matrices], axis=0)
        before = _before(name, made_by, readers, weights)
        if before is None or any(len(readers[key]) > 1 for key in used):
            continue
        key, groups = before
        size, wide = sizes.channels[name], largest_D
        if groups:  # G heads of values, each read by H / G heads of queries
            G, H = groups
            size, wide = (x.reshape(G, H // G, -1).max(1).reshape(-1) for x in (size, wide))
        scale = np.sqrt(np.maximum(size, SMALL) / np.maximum(wide, SMALL))
        scale = (scale / np.exp(np.log(scale).mean())).astype(np.float32)
        weights[key].CopyFrom(numpy_helper.from_array(numpy_helper.to_array(weights[key]) / scale, key))
        if groups:
            scale = np.repeat(scale.reshape(groups[0], 1, -1), groups[1] // groups[0], axis=1).reshape(-1)
        for used_key, matrix in zip(used, matrices, strict=True):
            weights[used_key].CopyFrom(numpy_helper.from_array(matrix * scale[:, None], used_key))


def _before(
    name: str,
    made_by: dict[str, onnx.NodeProto],
    readers: dict[str, list[onnx.NodeProto]],
    weights: dict[str, onnx.TensorProto],
) -> tuple[str, tuple[int, int] | None] | None:
    """The weight whose columns scale an activation's channels, and (G, H) where heads share them.

    None where there is none, or where something else reads what it makes.
    """

    def origin(value: str) -> onnx.NodeProto | None:
        node = made_by.get(value)
        while node is not None and node.op_type == "Reshape" and len(readers[node.input[0]]) == 1:
            node = made_by.get(node.input[0])
        return node

    node = origin(name)
    if node is None or any(reader.op_type != "MatMul" for reader in readers[name]):
        return None
    if node.op_type == "RMSNormalization" and len(readers[node.input[1]]) == 1:
        return (node.input[1], None) if node.input[1] in weights else None
    if node.op_type == "Mul":
        sources = [made_by.get(value) for value in node.input if len(readers[value]) == 1]
        keys = [made.input[1] for made in sources if made is not None and made.op_type == "MatMul"]
        return (keys[0], None) if keys and keys[0] in weights and len(readers[keys[0]]) == 1 else None
    if node.op_type == "Attention":
        values = origin(node.input[2])
        heads = {attribute.name: attribute.i for attribute in node.attribute}
        if values is not None and values.op_type == "MatMul" and len(readers[values.input[1]]) == 1:
            return values.input[1], (heads["kv_num_heads"], heads["q_num_heads"])
    return None


def _to_int8(model: onnx.ModelProto, exact: Collection[str]) -> None:
    """Every product with a weight as a product of integers, each row of the activation with its own scale."""
    graph = model.graph
    weights = {tensor.name: tensor for tensor in graph.initializer}
    chosen = {
        node.output[0] for name, found in _products(graph).items() if name not in exact for node in found
    }
    nodes: list[onnx.NodeProto] = []
    added: dict[str, onnx.TensorProto] = {}
    ready: set[str] = set()

    def constant(name: str, value: np.ndarray) -> str:
        added[name] = numpy_helper.from_array(value, name)
        return name

    last = constant("int8_last_axis", np.array([-1]))
    floor, unit = (
        constant("int8_floor", np.array(FLOOR, "f4")),
        constant("int8_unit", np.array(1 / 127, "f4")),
    )
    middle = constant("int8_middle", np.array(128, "u1"))
    for node in graph.node:
        if node.output[0] not in chosen:
            nodes.append(node)
            continue
        x, key, output = node.input[0], node.input[1], node.output[0]
        if x not in ready:
            nodes += [
                helper.make_node("Abs", [x], [f"{x}_size"]),
                helper.make_node("ReduceMax", [f"{x}_size", last], [f"{x}_peak"], keepdims=1),
                helper.make_node("Max", [f"{x}_peak", floor], [f"{x}_maximum"]),
                helper.make_node("Div", [x, f"{x}_maximum"], [f"{x}_row"]),
                helper.make_node("QuantizeLinear", [f"{x}_row", unit, middle], [f"{x}_int8"]),
            ]
            ready.add(x)
        if f"{key}_int8" not in added:
            integers, scale = rounded(numpy_helper.to_array(weights[key]))
            constant(f"{key}_int8", integers)
            constant(f"{key}_scale", scale)
        inputs = [f"{x}_int8", f"{key}_int8", unit, f"{key}_scale", middle]
        nodes += [
            helper.make_node("MatMulIntegerToFloat", inputs, [f"{output}_row"], domain=MICROSOFT),
            helper.make_node("Mul", [f"{output}_row", f"{x}_maximum"], [output]),
        ]
    _replace(model, nodes, added)


def rounded(matrix_K_N: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """A weight as int8 [K, N] and the scale of each column [N]."""
    scale_N = np.maximum(np.abs(matrix_K_N).max(0) / 127, FLOOR).astype(np.float32)
    return np.clip(np.round(matrix_K_N / scale_N), -127, 127).astype(np.int8), scale_N


def _last_in_residual(graph: onnx.GraphProto) -> set[str]:
    """The activations of the last few products whose input is itself a product of two activations."""
    made_by = {output: node for node in graph.node for output in node.output}
    found = [name for name in _products(graph) if name in made_by and made_by[name].op_type == "Mul"]
    return set(found[-min(EXACT_LAYERS, len(found) // 4) :]) if len(found) >= 4 else set()


def _halve_embeddings(model: onnx.ModelProto) -> None:
    """Tables that tokens are looked up in as float16, where that holds them."""
    weights = {tensor.name: tensor for tensor in model.graph.initializer}
    readers = _readers(model.graph)
    nodes, added = [], {}
    for node in model.graph.node:
        table = weights.get(node.input[0]) if node.op_type == "Gather" else None
        if table is not None and len(table.dims) == 2 and table.data_type == TensorProto.FLOAT:
            values = numpy_helper.to_array(table)
            if len(readers[table.name]) == 1 and np.abs(values).max() < np.finfo(np.float16).max:
                half, output = f"{table.name}_half", node.output[0]
                added[half] = numpy_helper.from_array(values.astype(np.float16), half)
                node.input[0], node.output[0] = half, f"{output}_half"
                nodes += [node, helper.make_node("Cast", [f"{output}_half"], [output], to=TensorProto.FLOAT)]
                continue
        nodes.append(node)
    _replace(model, nodes, added)


def _replace(model: onnx.ModelProto, nodes: list[onnx.NodeProto], added: dict[str, onnx.TensorProto]) -> None:
    """Put in new nodes and tensors, and leave out the tensors that nothing reads any more."""
    used = {name for node in nodes for name in node.input}
    kept = [tensor for tensor in model.graph.initializer if tensor.name in used]
    kept += [tensor for name, tensor in added.items() if name in used]
    # The graph owns its nodes and tensors: what is to stay must be copied out before it is emptied.
    copies = [type(node).FromString(node.SerializeToString()) for node in nodes]
    tensors = [type(tensor).FromString(tensor.SerializeToString()) for tensor in kept]
    del model.graph.node[:], model.graph.initializer[:]
    model.graph.node.extend(copies)
    model.graph.initializer.extend(tensors)
    if all(entry.domain != MICROSOFT for entry in model.opset_import):
        model.opset_import.append(helper.make_opsetid(MICROSOFT, 1))


def _products(graph: onnx.GraphProto) -> dict[str, list[onnx.NodeProto]]:
    """The products of an activation and a weight matrix, by the name of the activation."""
    weights = {tensor.name: tensor for tensor in graph.initializer}
    found: dict[str, list[onnx.NodeProto]] = defaultdict(list)
    for node in graph.node:
        if node.op_type == "MatMul" and node.input[1] in weights and len(weights[node.input[1]].dims) == 2:
            found[node.input[0]].append(node)
    return found


def _readers(graph: onnx.GraphProto) -> dict[str, list[onnx.NodeProto]]:
    found: dict[str, list[onnx.NodeProto]] = defaultdict(list)
    for node in graph.node:
        for name in node.input:
            found[name].append(node)
    return found


def _remove(path: Path) -> None:
    for file in (path, path.with_name(path.name + ".data")):
        file.unlink(missing_ok=True)
