"""Changes to an exported graph that keep its numbers: activations that are easier to round, fewer operators.

Activations that a norm gives are dealt with by `engine.onnx.rotation`; these are for the others.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Collection, Iterator, Mapping

import numpy as np
import onnx
from onnx import helper, numpy_helper

from engine.onnx.rotation import BACK

SMALL = 1e-5
MIXED, MIXING = 64, "int8_mixing"
"""Channels in a block of the Hadamard matrix, at most; how the names of what belongs to it begin."""
SHORTEST = 1e-24
"""Mean square of a row below which it counts as zero."""
MICROSOFT = "com.microsoft"


def even_out(model: onnx.ModelProto, sizes: Mapping[str, np.ndarray], leave: Collection[str] = ()) -> None:
    """Move scale from activations, but those to `leave`, to weights, where it can be done beforehand.

    `sizes`: how large the channels of each activation get, [D].
    """
    weights = {tensor.name: tensor for tensor in model.graph.initializer}
    for name, used, key, groups in _movable(model.graph, weights):
        if name in leave:
            continue
        matrices = [numpy_helper.to_array(weights[used_key]) for used_key in used]
        size, wide = sizes[name], np.max([np.abs(matrix).max(1) for matrix in matrices], axis=0)
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


def _movable(
    graph: onnx.GraphProto, weights: dict[str, onnx.TensorProto]
) -> Iterator[tuple[str, list[str], str, tuple[int, int] | None]]:
    """Activations, the weights that they meet, and what `_before` says of them where it says something."""
    made_by = {output: node for node in graph.node for output in node.output}
    readers = readers_of(graph)
    for name, nodes in products(graph).items():
        used = list(dict.fromkeys(node.input[1] for node in nodes))
        before = _before(name, made_by, readers, weights)
        if before is not None and all(len(readers[key]) == 1 for key in used):
            yield name, used, *before


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


def mix_channels(model: onnx.ModelProto, leave: Collection[str] = ()) -> None:
    """Products of two activations, large in a few channels of a few rows, are mixed and get one length.

    x·W = ‖x‖·((x / ‖x‖)·H)·(Hᵀ·W), block by block of channels: no channel and no row is much larger than the
    usual then.  ‖x‖ is the root of the mean square, which onnxruntime's norm gives together with what it
    divides.
    """
    graph = model.graph
    made_by = {output: node for node in graph.node for output in node.output}
    weights = {tensor.name: tensor for tensor in graph.initializer}
    readers = readers_of(graph)
    nodes: list[onnx.NodeProto] = []
    mixed: set[str] = set()
    for node in graph.node:
        name = node.input[0] if node.op_type == "MatMul" and node.input[1] in weights else ""
        source = made_by.get(name)
        if source is None or source.op_type != "Mul" or name in leave or len(readers[node.input[1]]) > 1:
            nodes.append(node)
            continue
        matrix = numpy_helper.to_array(weights[node.input[1]])
        size = int(np.gcd(len(matrix), MIXED))
        turned = turn_rows(matrix, hadamard(size))
        weights[node.input[1]].CopyFrom(numpy_helper.from_array(turned, node.input[1]))
        constants = _mixing_constants(size, len(matrix))
        for key in constants.keys() - weights.keys():
            graph.initializer.append(numpy_helper.from_array(constants[key], key))
            weights[key] = graph.initializer[-1]
        if name not in mixed:
            nodes += _mixing(name, size, len(matrix))
            mixed.add(name)
        output = node.output[0]
        node.input[0], node.output[0] = f"{name}_even", f"{output}_even"
        nodes += [node, helper.make_node("Div", [f"{output}_even", f"{name}_length"], [output])]
    replace(model, nodes, {})


def _mixing(name: str, size: int, width: int) -> list[onnx.NodeProto]:
    """Nodes that make `<name>_even`, mixed and of length 1, and `<name>_length`, 1 over its length."""
    blocks, norm = f"{MIXING}_{size}", "SimplifiedLayerNormalization"
    return [
        helper.make_node("Reshape", [name, f"{blocks}_shape"], [f"{name}_blocks"]),
        helper.make_node("MatMul", [f"{name}_blocks", blocks], [f"{name}_blocks_mixed"]),
        helper.make_node("Reshape", [f"{name}_blocks_mixed", f"{MIXING}_row"], [f"{name}_mixed"]),
        helper.make_node(
            norm,
            [f"{name}_mixed", f"{MIXING}_{width}_ones"],
            [f"{name}_even", f"{name}_length"],
            axis=-1,
            epsilon=SHORTEST,
            stash_type=1,
        ),
    ]


def _mixing_constants(size: int, width: int) -> dict[str, np.ndarray]:
    return {
        f"{MIXING}_{size}": hadamard(size),
        f"{MIXING}_{size}_shape": np.array([0, 0, -1, size]),
        f"{MIXING}_row": np.array([0, 0, -1]),
        f"{MIXING}_{width}_ones": np.ones(width, dtype=np.float32),
    }


def turn_values(model: onnx.ModelProto) -> None:
    """Values that attention averages are turned by a Hadamard matrix, head by head, and turned back after.

    Averaging commutes with it, so that it goes into the weights before and after (QuaRot, section 4).
    """
    weights = {tensor.name: tensor for tensor in model.graph.initializer}
    for _, used, values, groups in _movable(model.graph, weights):
        if groups is None:
            continue
        matrix = numpy_helper.to_array(weights[values])
        H = hadamard(int(np.gcd(matrix.shape[1] // groups[0], MIXED)))
        turned = np.ascontiguousarray(turn_rows(matrix.T, H).T)
        weights[values].CopyFrom(numpy_helper.from_array(turned, values))
        for key in used:
            turned = turn_rows(numpy_helper.to_array(weights[key]), H)
            weights[key].CopyFrom(numpy_helper.from_array(turned, key))


def turn_rows(weight_K_N: np.ndarray, turn: np.ndarray) -> np.ndarray:
    """Turnᵀ·W, block by block of rows."""
    size = len(turn)
    blocks = weight_K_N.reshape(-1, size, weight_K_N.shape[1])
    turned = np.einsum("bki,kj->bji", blocks, turn).reshape(weight_K_N.shape)
    return np.ascontiguousarray(turned, dtype=np.float32)


def hadamard(size: int) -> np.ndarray:
    """The symmetric orthogonal matrix of ±1/√size, size a power of two (Sylvester)."""
    matrix = np.ones((1, 1))
    while len(matrix) < size:
        matrix = np.block([[matrix, matrix], [matrix, -matrix]])
    return (matrix / np.sqrt(size)).astype(np.float32)


def join_norms(model: onnx.ModelProto) -> None:
    """A sum and the RMS norm of it as onnxruntime's operator for both."""
    graph = model.graph
    made_by = {output: node for node in graph.node for output in node.output}
    joined: dict[str, onnx.NodeProto] = {}  # by the sum
    gone: set[str] = set()
    for norm in graph.node:
        total = made_by.get(norm.input[0]) if norm.op_type == "RMSNormalization" else None
        if total is None or total.op_type != "Add" or total.output[0] in joined:
            continue
        epsilon = next(attribute.f for attribute in norm.attribute if attribute.name == "epsilon")
        joined[total.output[0]] = helper.make_node(
            "SkipSimplifiedLayerNormalization",
            [*total.input, norm.input[1]],
            [norm.output[0], "", "", total.output[0]],
            domain=MICROSOFT,
            epsilon=epsilon,
        )
        gone |= {norm.output[0], total.output[0]}
    nodes: list[onnx.NodeProto] = []
    for node in graph.node:
        if node.output[0] in joined:
            nodes.append(joined[node.output[0]])
        elif node.output[0] not in gone:
            nodes.append(node)
    replace(model, nodes, {})


def products(graph: onnx.GraphProto) -> dict[str, list[onnx.NodeProto]]:
    """The products of an activation and a weight of the model, by the name of the activation."""
    weights = {tensor.name: tensor for tensor in graph.initializer}
    by_input: dict[str, list[onnx.NodeProto]] = defaultdict(list)
    for node in graph.node:
        key = node.input[1] if node.op_type == "MatMul" else ""
        if key in weights and len(weights[key].dims) == 2 and not key.endswith(BACK) and MIXING not in key:
            by_input[node.input[0]].append(node)
    return by_input


def readers_of(graph: onnx.GraphProto) -> dict[str, list[onnx.NodeProto]]:
    """The nodes that read each value, by the value's name."""
    readers: dict[str, list[onnx.NodeProto]] = defaultdict(list)
    for node in graph.node:
        for name in node.input:
            readers[name].append(node)
    return readers


def replace(model: onnx.ModelProto, nodes: list[onnx.NodeProto], added: dict[str, onnx.TensorProto]) -> None:
    """Put in new nodes and tensors, and leave out the tensors that nothing reads any more."""
    used = {name for node in nodes for name in node.input}
    initializers = [tensor for tensor in model.graph.initializer if tensor.name in used]
    initializers += [tensor for name, tensor in added.items() if name in used]
    # The graph owns its nodes and tensors: what is to stay must be copied out before it is emptied.
    copies = [type(node).FromString(node.SerializeToString()) for node in nodes]
    tensors = [type(tensor).FromString(tensor.SerializeToString()) for tensor in initializers]
    del model.graph.node[:], model.graph.initializer[:]
    model.graph.node.extend(copies)
    model.graph.initializer.extend(tensors)
    if all(entry.domain != MICROSOFT for entry in model.opset_import):
        model.opset_import.append(helper.make_opsetid(MICROSOFT, 1))
