"""int8 of an exported trunk: weights a column at a time, activations a row at a time while it runs.

onnxruntime's own dynamic quantisation has one scale for a whole activation tensor.  Language models put
values a thousand times the usual into the first token and into a few channels, and all else then rounds to
nothing: on SmolLM2-135M the ranking of responses was lost.  So

1. the residual stream is turned (`engine.jobs.rotation`), so that what a norm gives has no outliers: one
   scale measured beforehand, with the rarest values cut, does for every token.  Half of it is the same for
   all tokens: that is taken off before rounding, and added to the product as a constant;
2. elsewhere channels are evened out, x·W = (x / s)·(s·W) with s_j = a_j^½ / max|W_j|^½ (SmoothQuant, Xiao et
   al. 2022, arXiv 2211.10438, equation 4), a_j the 0.999 quantile of |x_j| on a few stored responses (with
   the largest value, the first token alone would decide).  1 / s goes into the weights before: those of the
   projection that x is a product with, or of the values that attention averages, and costs nothing;
3. products of two activations, whose rows are large in a few channels, pass through a Hadamard matrix first;
4. in 2 and 3 each row is divided by its own largest value before it is rounded, the product multiplied by it;
5. weights are rounded with their errors made up for (`engine.jobs.weight_rounding`); embeddings are float16.

No scale depends on another token, so that a token's numbers do not depend on its company in the batch or on
what was cached.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from types import MappingProxyType

import numpy as np
import onnx
import onnxruntime
from onnx import TensorProto, helper, numpy_helper

from engine.jobs.onnx_graph import ONE_FILE_BYTES
from engine.jobs.rotation import BACK, rotate
from engine.jobs.weight_rounding import column_scales, compensated
from engine.scoring.graph import causal_bias

CALIBRATION_SEQUENCES, CALIBRATION_TOKENS = 16, 160
QUANTILE, SMALL = 0.999, 1e-5
FLOOR = 1e-12  # of a row's largest value: a row of zeros stays zero
CUT = 0.99
"""Quantile, over tokens, of the largest value of a norm's row: the range of the scale that all rows share."""
OUTLYING = 20
"""Tokens this many times larger than the usual are left out of Σ xᵀx: there is one in a text."""
MIXED, MIXING = 64, "int8_mixing"
"""Channels in a block of the Hadamard matrix, at most; how the names of what belongs to it begin."""
Sequences = Sequence[Sequence[int]]
MICROSOFT = "com.microsoft"


@dataclass
class Sizes:
    """What the activations of the products are like, by name.  D channels, sums over the tokens measured."""

    channels: dict[str, np.ndarray] = field(default_factory=dict)  # [D] the quantile of |x|
    rows: dict[str, list[np.ndarray]] = field(default_factory=dict)  # the largest |x| of every token
    sums: dict[str, np.ndarray] = field(default_factory=dict)  # [D] Σ x
    moments: dict[str, np.ndarray] = field(default_factory=dict)  # [D, D] Σ xᵀx

    def add(self, name: str, value_T_D: np.ndarray, moments: bool) -> None:
        """Measure an activation on one more sequence."""
        size_T_D = np.abs(value_T_D)
        self.sums[name] = self.sums.get(name, np.float32(0)) + value_T_D.sum(0)
        size_D = np.quantile(size_T_D, QUANTILE, axis=0)
        self.channels[name] = np.maximum(self.channels.get(name, size_D), size_D)
        self.rows.setdefault(name, []).append(size_T_D.max(1))
        if moments:
            tame_T_D = value_T_D[size_T_D.max(1) < OUTLYING * np.median(size_T_D.max(1))]
            self.moments[name] = self.moments.get(name, np.float32(0)) + tame_T_D.T @ tame_T_D

    def mean(self, name: str) -> np.ndarray:
        """Mean of an activation over tokens, [D]."""
        return np.asarray(self.sums[name] / sum(map(len, self.rows[name])), dtype=np.float32)

    def range(self, name: str) -> float:
        """What the one scale of an activation's rows must hold."""
        return float(np.quantile(np.concatenate(self.rows[name]), CUT))


def calibrate(
    model: onnx.ModelProto,
    scratch: Path,
    sequences: Sequences,
    moments: bool = False,
    centres: Mapping[str, np.ndarray] = MappingProxyType({}),
) -> Sizes:
    """Run a float32 graph on some token sequences and measure what goes into its products.

    `centres` are taken from the activations of those names first.
    """
    watched = onnx.ModelProto()
    watched.CopyFrom(model)
    names = list(_products(model.graph))
    for name in names:
        watched.graph.output.append(helper.make_tensor_value_info(name, TensorProto.FLOAT, None))
    save(watched, scratch)
    del watched
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
            value_T_D = value.reshape(-1, value.shape[-1])
            sizes.add(name, value_T_D - centres[name] if name in centres else value_T_D, moments)
    del session
    _remove(scratch)
    return sizes


def quantise(source: Path, destination: Path, sequences: Sequences) -> None:
    """Write the int8 graph of a float32 one; `sequences` of token ids show how large activations get."""
    model = onnx.load(source)
    scratch = destination.with_suffix(".calibration")
    norms: set[str] = set()
    if rotate(model):
        norms = {node.output[0] for node in model.graph.node if node.op_type == "RMSNormalization"}
    sizes = calibrate(model, scratch, sequences)
    centres = {name: sizes.mean(name) for name in norms & sizes.sums.keys()}
    even_out(model, sizes, leave=norms)
    mix_channels(model)
    _to_int8(model, calibrate(model, scratch, sequences, moments=True, centres=centres), centres)
    _halve_embeddings(model)
    save(model, destination)


def save(model: onnx.ModelProto, path: Path) -> None:
    """Save a graph; large weights go into a second file."""
    large = sum(len(tensor.raw_data) for tensor in model.graph.initializer) > ONE_FILE_BYTES
    onnx.save(model, path, save_as_external_data=large, location=path.name + ".data")


def even_out(model: onnx.ModelProto, sizes: Sizes, leave: Collection[str] = ()) -> None:
    """Move scale from activations, but those to `leave`, to weights, where it can be done beforehand."""
    weights = {tensor.name: tensor for tensor in model.graph.initializer}
    made_by = {output: node for node in model.graph.node for output in node.output}
    readers = _readers(model.graph)
    for name, nodes in _products(model.graph).items():
        used = list(dict.fromkeys(node.input[1] for node in nodes))
        matrices = [numpy_helper.to_array(weights[key]) for key in used]
        largest_D = np.max([np.abs(matrix).max(1) for matrix in matrices], axis=0)
        before = None if name in leave else _before(name, made_by, readers, weights)
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


def _to_int8(model: onnx.ModelProto, sizes: Sizes, centres: Mapping[str, np.ndarray]) -> None:
    """Every product with a weight as a product of integers.

    The activations in `centres` have one scale for all rows, around their centre: x·W = (x − c)·W + c·W.
    Each row of the others has its own.
    """
    graph = model.graph
    weights = {tensor.name: tensor for tensor in graph.initializer}
    chosen = {node.output[0] for found in _products(graph).values() for node in found}
    rounding = _Rounding()
    nodes: list[onnx.NodeProto] = []
    for node in graph.node:
        if node.output[0] not in chosen:
            nodes.append(node)
            continue
        x, key, output = node.input[0], node.input[1], node.output[0]
        if x not in rounding.ready:
            nodes += rounding.by_range(x, sizes.range(x), centres[x]) if x in centres else rounding.by_row(x)
        integers, scale = rounding.weight(key, weights[key], sizes.moments[x])
        inputs = [
            f"{x}_int8",
            integers,
            f"{x}_unit" if x in centres else rounding.unit,
            scale,
            rounding.middle,
        ]
        if x in centres:
            inputs += [
                "",
                rounding.constant(f"{key}_centre", centres[x] @ numpy_helper.to_array(weights[key])),
            ]
            nodes.append(helper.make_node("MatMulIntegerToFloat", inputs, [output], domain=MICROSOFT))
        else:
            nodes += [
                helper.make_node("MatMulIntegerToFloat", inputs, [f"{output}_row"], domain=MICROSOFT),
                helper.make_node("Mul", [f"{output}_row", f"{x}_maximum"], [output]),
            ]
    _replace(model, nodes, rounding.added)


class _Rounding:
    """Nodes that round activations to unsigned bytes around 128, and the constants that they need."""

    def __init__(self) -> None:
        self.added: dict[str, onnx.TensorProto] = {}
        self.ready: set[str] = set()
        self.last = self.constant("int8_last_axis", np.array([-1]))
        self.floor = self.constant("int8_floor", np.array(FLOOR, "f4"))
        self.unit = self.constant("int8_unit", np.array(1 / 127, "f4"))
        self.middle = self.constant("int8_middle", np.array(128, "u1"))

    def constant(self, name: str, value: np.ndarray) -> str:
        self.added[name] = numpy_helper.from_array(value, name)
        return name

    def by_range(self, x: str, largest: float, centre_D: np.ndarray) -> list[onnx.NodeProto]:
        """One scale for all rows around a centre; what is further from it is cut."""
        self.ready.add(x)
        centre = self.constant(f"{x}_centre", centre_D)
        unit = self.constant(f"{x}_unit", np.array(max(largest, FLOOR) / 127, "f4"))
        return [
            helper.make_node("Sub", [x, centre], [f"{x}_centred"]),
            helper.make_node("QuantizeLinear", [f"{x}_centred", unit, self.middle], [f"{x}_int8"]),
        ]

    def by_row(self, x: str) -> list[onnx.NodeProto]:
        """A scale for each row, `<x>_maximum`."""
        self.ready.add(x)
        return [
            helper.make_node("Abs", [x], [f"{x}_size"]),
            helper.make_node("ReduceMax", [f"{x}_size", self.last], [f"{x}_peak"], keepdims=1),
            helper.make_node("Max", [f"{x}_peak", self.floor], [f"{x}_maximum"]),
            helper.make_node("Div", [x, f"{x}_maximum"], [f"{x}_row"]),
            helper.make_node("QuantizeLinear", [f"{x}_row", self.unit, self.middle], [f"{x}_int8"]),
        ]

    def weight(self, key: str, tensor: onnx.TensorProto, moments_K_K: np.ndarray) -> tuple[str, str]:
        """Names of a weight's integers and of the scales of its columns."""
        if f"{key}_int8" not in self.added:
            weight_K_N = numpy_helper.to_array(tensor)
            scale_N = column_scales(weight_K_N)
            self.constant(f"{key}_int8", compensated(weight_K_N, scale_N, moments_K_K))
            self.constant(f"{key}_scale", scale_N)
        return f"{key}_int8", f"{key}_scale"


def mix_channels(model: onnx.ModelProto) -> None:
    """Products of two activations, large in a few channels of each row, pass through a Hadamard matrix first.

    x·W = (x·H)·(Hᵀ·W), block by block of channels; their largest value is then nearer to the usual.
    """
    graph = model.graph
    made_by = {output: node for node in graph.node for output in node.output}
    weights = {tensor.name: tensor for tensor in graph.initializer}
    readers = _readers(graph)
    nodes: list[onnx.NodeProto] = []
    mixed: set[str] = set()
    for node in graph.node:
        name = node.input[0] if node.op_type == "MatMul" and node.input[1] in weights else ""
        source = made_by.get(name)
        if source is None or source.op_type != "Mul" or len(readers[node.input[1]]) > 1:
            nodes.append(node)
            continue
        matrix = numpy_helper.to_array(weights[node.input[1]])
        size = int(np.gcd(len(matrix), MIXED))
        H = hadamard(size)
        turned = np.einsum("bki,kj->bji", matrix.reshape(-1, size, matrix.shape[1]), H)
        turned = np.ascontiguousarray(turned.reshape(matrix.shape), dtype=np.float32)
        weights[node.input[1]].CopyFrom(numpy_helper.from_array(turned, node.input[1]))
        if name not in mixed:
            nodes += [
                helper.make_node("Reshape", [name, f"{MIXING}_{size}_blocks"], [f"{name}_blocks"]),
                helper.make_node("MatMul", [f"{name}_blocks", f"{MIXING}_{size}"], [f"{name}_blocks_mixed"]),
                helper.make_node("Reshape", [f"{name}_blocks_mixed", f"{MIXING}_row"], [f"{name}_mixed"]),
            ]
            mixed.add(name)
        node.input[0] = f"{name}_mixed"
        nodes.append(node)
        if f"{MIXING}_{size}" not in weights:
            constants = {f"{MIXING}_{size}": H, f"{MIXING}_{size}_blocks": np.array([0, 0, -1, size])}
            for key, value in (constants | {f"{MIXING}_row": np.array([0, 0, -1])}).items():
                graph.initializer.append(numpy_helper.from_array(value, key))
                weights[key] = graph.initializer[-1]
    _replace(model, nodes, {})


def hadamard(size: int) -> np.ndarray:
    """The symmetric orthogonal matrix of ±1/√size, size a power of two (Sylvester)."""
    matrix = np.ones((1, 1))
    while len(matrix) < size:
        matrix = np.block([[matrix, matrix], [matrix, -matrix]])
    return (matrix / np.sqrt(size)).astype(np.float32)


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
    """The products of an activation and a weight of the model, by the name of the activation."""
    weights = {tensor.name: tensor for tensor in graph.initializer}
    found: dict[str, list[onnx.NodeProto]] = defaultdict(list)
    for node in graph.node:
        key = node.input[1] if node.op_type == "MatMul" else ""
        if key in weights and len(weights[key].dims) == 2 and not key.endswith(BACK) and MIXING not in key:
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
