"""Turn the residual stream of an exported trunk by an orthogonal matrix, so that no channel is an outlier.

Whatever reads the stream is turned back by the same matrix, inside its weights, so that the graph computes
the same numbers and no step is added, but for one small product where features leave it.  What is rounded
to int8 afterwards is like noise in every channel instead of large in a few (QuaRot, Ashkboos et al. 2024,
arXiv 2404.00456, section 4, with a random orthogonal matrix instead of a Hadamard one).

x → x·Q in the stream: tables and products that write to it become W·Q.  An RMS norm divides by a length,
which Q leaves alone; its weight γ moves into the products behind it, W → Qᵀ·diag(γ)·W.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable

import numpy as np
import onnx
from onnx import helper, numpy_helper

BACK = "_turned_back"
"""How the names of the matrices end that turn features back."""


def rotate(model: onnx.ModelProto, seed: int = 0) -> bool:
    """Turn the stream in place; False, and nothing is changed, where it is not made as it must be.

    It must be a sum of embeddings and products with weights of which each is read nowhere else, and only RMS
    norms, sums and the features may read it.
    """
    stream = _Stream.of(model.graph)
    if stream is None:
        return False
    width = stream.width
    Q = np.linalg.qr(np.random.default_rng(seed).normal(size=(width, width)))[0]
    for key in stream.written_by:
        stream.change(key, Q.__rmatmul__)
    for norm in stream.norms:
        gamma_D = stream.value(norm.input[1])
        back_D_D = Q.T * gamma_D
        for reader in stream.readers[norm.output[0]]:
            if stream.is_product(reader):
                stream.change(reader.input[1], back_D_D.__matmul__)
    _turn_back(model.graph, stream, Q)
    for norm in stream.norms:
        stream.change(norm.input[1], np.ones_like)
    return True


def _turn_back(graph: onnx.GraphProto, stream: _Stream, Q: np.ndarray) -> None:
    """Where the stream, or a norm of it, is read by something else, one product gives what it was."""
    backs = dict.fromkeys(stream.tensors, Q.T)
    backs |= {norm.output[0]: Q.T * stream.value(norm.input[1]) for norm in stream.norms}
    outputs = {entry.name for entry in graph.output}
    nodes: list[onnx.NodeProto] = []
    for node in graph.node:
        copy = type(node).FromString(node.SerializeToString())
        nodes.append(copy)
        for place, name in enumerate(node.output):
            if name not in backs:
                continue
            strangers = [reader for reader in stream.readers[name] if not stream.belongs(reader)]
            if not strangers and name not in outputs:
                continue
            turned, key = f"{name}_turned", f"{name}{BACK}"
            graph.initializer.append(numpy_helper.from_array(backs[name].astype(np.float32), key))
            copy.output[place] = turned
            nodes.append(helper.make_node("MatMul", [turned, key], [name]))
            stream.renamed[name] = turned
    for node in nodes:
        if stream.belongs(node):
            for place, name in enumerate(node.input):
                node.input[place] = stream.renamed.get(name, name)
    del graph.node[:]
    graph.node.extend(nodes)


class _Stream:
    """The residual stream of a graph: its tensors, what writes to it, the norms that read it."""

    def __init__(self, graph: onnx.GraphProto) -> None:
        self.weights = {tensor.name: tensor for tensor in graph.initializer}
        self.made_by = {output: node for node in graph.node for output in node.output}
        self.readers: dict[str, list[onnx.NodeProto]] = defaultdict(list)
        for node in graph.node:
            for name in node.input:
                self.readers[name].append(node)
        self.norms = [
            node
            for node in graph.node
            if node.op_type == "RMSNormalization" and node.input[1] in self.weights
        ]
        self.tensors: set[str] = set()
        self.written_by: list[str] = []
        self.renamed: dict[str, str] = {}

    @classmethod
    def of(cls, graph: onnx.GraphProto) -> _Stream | None:
        """The stream, or None where it cannot be turned."""
        stream = cls(graph)
        width = stream._widest()
        stream.norms = [norm for norm in stream.norms if stream.weights[norm.input[1]].dims[0] == width]
        return stream if stream.norms and stream._follow() and stream._apart() else None

    @property
    def width(self) -> int:
        return int(self.weights[self.norms[0].input[1]].dims[0])

    def _widest(self) -> int:
        """The stream's width; norms of queries and keys are narrower."""
        return max((int(self.weights[norm.input[1]].dims[0]) for norm in self.norms), default=0)

    def _follow(self) -> bool:
        """Collect the tensors from the norms' inputs, back and forth through sums."""
        waiting = [norm.input[0] for norm in self.norms]
        while waiting:
            name = waiting.pop()
            if name in self.tensors:
                continue
            self.tensors.add(name)
            node = self.made_by.get(name)
            if node is None:
                return False
            if node.op_type == "Add":
                waiting += list(node.input)
            elif node.op_type == "Gather" and node.input[0] in self.weights:
                self.written_by.append(node.input[0])
            elif self.is_product(node):
                self.written_by.append(node.input[1])
            else:
                return False
            waiting += [reader.output[0] for reader in self.readers[name] if reader.op_type == "Add"]
        return True

    def _apart(self) -> bool:
        """Whether every weight that is to be changed is read by one node, norms' weights by norms alone."""
        behind = [
            reader.input[1]
            for norm in self.norms
            for reader in self.readers[norm.output[0]]
            if self.is_product(reader)
        ]
        norms = {norm.output[0] for norm in self.norms}
        gammas = {norm.input[1] for norm in self.norms}
        return all(len(self.readers[key]) == 1 for key in self.written_by + behind) and all(
            reader.output[0] in norms for key in gammas for reader in self.readers[key]
        )

    def is_product(self, node: onnx.NodeProto) -> bool:
        """Whether a node multiplies an activation with a weight matrix."""
        return (
            node.op_type == "MatMul"
            and node.input[1] in self.weights
            and len(self.weights[node.input[1]].dims) == 2
        )

    def belongs(self, node: onnx.NodeProto) -> bool:
        """Whether a node reads the stream, or a norm of it, as something that was turned."""
        if node.op_type in ("Add", "RMSNormalization"):
            return node.input[0] in self.tensors
        norms = {norm.output[0] for norm in self.norms}
        return self.is_product(node) and node.input[0] in norms

    def value(self, key: str) -> np.ndarray:
        """A weight in float64."""
        return numpy_helper.to_array(self.weights[key]).astype(np.float64)

    def change(self, key: str, how: Callable[[np.ndarray], np.ndarray]) -> None:
        """Replace a weight by a function of it."""
        changed = np.ascontiguousarray(how(self.value(key)), dtype=np.float32)
        self.weights[key].CopyFrom(numpy_helper.from_array(changed, key))
