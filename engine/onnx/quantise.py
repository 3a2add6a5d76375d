"""int8 of an exported trunk: weights a column at a time, activations a row at a time while it runs.

onnxruntime's own dynamic quantisation has one scale for a whole activation tensor.  Language models put
values a thousand times the usual into the first token and into a few channels, and all else then rounds to
nothing: on SmolLM2-135M the ranking of responses was lost.  So

1. the residual stream is turned (`engine.onnx.rotation`), so that what a norm gives has no outliers: one
   scale measured beforehand, with the rarest values cut, does for every token.  Half of it is the same for
   all tokens: that is taken off before rounding, and added to the product as a constant;
2. elsewhere channels are evened out, x·W = (x / s)·(s·W) with s_j = a_j^½ / max|W_j|^½ (SmoothQuant, Xiao et
   al. 2022, arXiv 2211.10438, equation 4), a_j the 0.999 quantile of |x_j| on a few stored responses (with
   the largest value, the first token alone would decide).  1 / s goes into the weights before;
3. values that attention averages are turned head by head, inside the weights around.  Products of two
   activations pass through a Hadamard matrix, and each row is brought to one length, by which the product
   with the weight is multiplied;
4. so one scale, measured beforehand, does for all tokens everywhere;
5. weights are rounded with their errors made up for (`engine.onnx.weight_rounding`); embeddings are float16.

No scale depends on another token, so that a token's numbers do not depend on its company in the batch or on
what was cached.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, field
from functools import lru_cache
from pathlib import Path
from types import MappingProxyType

import numpy as np
import onnx
import onnxruntime
import torch
from onnx import TensorProto, helper, numpy_helper

from engine.onnx.channels import (
    MICROSOFT,
    even_out,
    join_norms,
    mix_channels,
    products,
    readers_of,
    replace,
    turn_values,
)
from engine.onnx.integers import FULL
from engine.onnx.rotation import rotate
from engine.onnx.trunk_graph import ONE_FILE_BYTES
from engine.onnx.weight_rounding import Remedy, column_scales, compensated
from engine.scoring.graph import FULLY_HIDDEN, causal_bias

CALIBRATION_SEQUENCES, CALIBRATION_TOKENS = 48, 160
QUANTILE = 0.999
FLOOR = 1e-12  # of a row's largest value: a row of zeros stays zero
CUT = 0.9
"""Quantile, over tokens, of a row's largest value: the range of the scale that all rows share."""
OUTLYING = 20
"""Tokens this many times larger than the usual are left out of Σ xᵀx: there is one in a text."""
TOGETHER = 512
"""Tokens whose xᵀx are added up in one product."""
Sequences = Sequence[Sequence[int]]


@dataclass
class ActivationSizes:
    """What the activations of the products are like, by name.  D channels, sums over the tokens measured."""

    channels: dict[str, np.ndarray] = field(default_factory=dict)  # [D] the quantile of |x|
    rows: dict[str, list[np.ndarray]] = field(default_factory=dict)  # the largest |x| of every token
    sums: dict[str, np.ndarray] = field(default_factory=dict)  # [D] Σ x
    moments: dict[str, np.ndarray] = field(default_factory=dict)  # [D, D] Σ xᵀx
    _waiting: dict[str, list[np.ndarray]] = field(default_factory=dict)  # rows not yet in the moments

    def add(self, name: str, value_T_D: np.ndarray, moments: bool) -> None:
        """Measure an activation on one more sequence: its moments, or its channels and sums."""
        size_T_D = np.abs(value_T_D)
        largest_T = size_T_D.max(1)
        self.rows.setdefault(name, []).append(largest_T)
        if moments:
            tame_T_D = value_T_D[largest_T < OUTLYING * np.median(largest_T)]
            self._waiting.setdefault(name, []).append(tame_T_D)
            if sum(map(len, self._waiting[name])) >= TOGETHER:
                self._multiply(name)
            return
        self.sums[name] = self.sums.get(name, np.float32(0)) + value_T_D.sum(0)
        size_D = _high_quantile(size_T_D)
        self.channels[name] = np.maximum(self.channels.get(name, size_D), size_D)

    def finish(self) -> None:
        """Bring the moments up to date."""
        for name in list(self._waiting):
            self._multiply(name)

    def _multiply(self, name: str) -> None:
        """Many rows at a time, and in place: going through [D, D] once for every text costs more."""
        x = torch.from_numpy(np.concatenate(self._waiting.pop(name)))
        zeros = np.zeros((x.shape[1], x.shape[1]), dtype=np.float32)
        torch.from_numpy(self.moments.setdefault(name, zeros)).addmm_(x.T, x)

    def mean(self, name: str) -> np.ndarray:
        """Mean of an activation over tokens, [D]."""
        return np.asarray(self.sums[name] / sum(map(len, self.rows[name])), dtype=np.float32)

    def range(self, name: str) -> float:
        """What the one scale of an activation's rows must hold."""
        return float(np.quantile(np.concatenate(self.rows[name]), CUT))


def _high_quantile(size_T_D: np.ndarray) -> np.ndarray:
    """`np.quantile(…, QUANTILE, axis=0)` of at most 1,000 tokens: between the two largest of each channel."""
    place = QUANTILE * (len(size_T_D) - 1)
    assert place >= len(size_T_D) - 2
    first_D = size_T_D.max(0)
    others_T_D = size_T_D.copy()
    others_T_D[size_T_D.argmax(0), np.arange(size_T_D.shape[1])] = 0
    second_D = others_T_D.max(0)
    return np.asarray(second_D + (first_D - second_D) * (place - (len(size_T_D) - 2)))


def calibrate(
    model: onnx.ModelProto,
    scratch: Path,
    sequences: Sequences,
    moments: bool = False,
    centres: Mapping[str, np.ndarray] = MappingProxyType({}),
) -> ActivationSizes:
    """Run a float32 graph on some token sequences and measure what goes into its products.

    With `moments` those, and how large rows are; without, what channels are like, and how large rows are.
    `centres` are taken from the activations of those names first.
    """
    names, outputs = list(products(model.graph)), len(model.graph.output)
    for name in names:
        model.graph.output.append(helper.make_tensor_value_info(name, TensorProto.FLOAT, None))
    save(model, scratch)
    del model.graph.output[outputs:]
    options = onnxruntime.SessionOptions()
    options.log_severity_level = 3
    session = onnxruntime.InferenceSession(scratch, options, providers=["CPUExecutionProvider"])
    past = {
        entry.name: np.zeros((1, entry.shape[1], 0, entry.shape[3]), dtype=np.float32)
        for entry in session.get_inputs()
        if entry.name.startswith("past_")
    }
    sizes = ActivationSizes()
    for ids in sequences[:CALIBRATION_SEQUENCES]:
        ids_1_T = np.array([ids[:CALIBRATION_TOKENS]], dtype=np.int64)
        length = ids_1_T.shape[1]
        feed = {"input_ids": ids_1_T, "position_ids": np.arange(length)[None]}
        feed["attention_bias"] = causal_bias([0], [length], hidden=FULLY_HIDDEN)
        for name, value in zip(names, session.run(names, feed | past), strict=True):
            value_T_D = value.reshape(-1, value.shape[-1])
            sizes.add(name, value_T_D - centres[name] if name in centres else value_T_D, moments)
    sizes.finish()
    del session
    _remove(scratch)
    return sizes


def quantise(
    source: Path, destination: Path, sequences: Sequences, careful: bool = False, largest: int = FULL
) -> None:
    """Write the int8 graph of a float32 one; `sequences` of token ids show how large activations get.

    `largest` is that of a weight's integers (`engine.onnx.integers`: what this machine adds up right).

    `careful` leaves in float32 what attention is made of and the products of products, some 40 % of the work.
    """
    model = onnx.load(source)
    exact = _delicate(model.graph) if careful else set()
    scratch = destination.with_suffix(".calibration")
    norms: set[str] = set()
    if rotate(model):
        norms = {node.output[0] for node in model.graph.node if node.op_type == "RMSNormalization"}
    sizes = calibrate(model, scratch, sequences)
    centres = {name: sizes.mean(name) for name in norms & sizes.sums.keys()}
    even_out(model, sizes.channels, leave=norms)
    turn_values(model)
    mix_channels(model, leave=exact)
    sizes = calibrate(model, scratch, sequences, moments=True, centres=centres)
    _to_int8(model, exact, sizes, centres, largest)
    join_norms(model)
    _halve_embeddings(model)
    save(model, destination)


def save(model: onnx.ModelProto, path: Path) -> None:
    """Save a graph; large weights go into a second file."""
    large = sum(len(tensor.raw_data) for tensor in model.graph.initializer) > ONE_FILE_BYTES
    onnx.save(model, path, save_as_external_data=large, location=path.name + ".data")


def _to_int8(
    model: onnx.ModelProto,
    exact: Collection[str],
    sizes: ActivationSizes,
    centres: Mapping[str, np.ndarray],
    largest: int,
) -> None:
    """Every product with a weight, but those of activations in `exact`, as a product of integers.

    Each activation has one scale for all rows; those in `centres` around their centre: x·W = (x − c)·W + c·W.
    """
    graph = model.graph
    weights = {tensor.name: tensor for tensor in graph.initializer}
    rounded = {name: readers for name, readers in products(graph).items() if name not in exact}
    chosen = {node.output[0] for readers in rounded.values() for node in readers}
    rounding = _Rounding(largest)

    @lru_cache(maxsize=1)  # the products of one activation come together
    def remedy(x: str) -> Remedy:
        return Remedy(sizes.moments[x])

    nodes: list[onnx.NodeProto] = []
    for node in graph.node:
        if node.output[0] not in chosen:
            nodes.append(node)
            continue
        x, key, output = node.input[0], node.input[1], node.output[0]
        if x not in rounding.ready:
            nodes += rounding.activation(x, sizes.range(x), centres.get(x))
        integers, scale = rounding.weight(key, weights[key], remedy(x))
        inputs = [f"{x}_int8", integers, f"{x}_unit", scale, rounding.middle]
        if x in centres:
            shift = centres[x] @ numpy_helper.to_array(weights[key])
            inputs += ["", rounding.constant(f"{key}_centre", shift)]
        nodes.append(helper.make_node("MatMulIntegerToFloat", inputs, [output], domain=MICROSOFT))
    replace(model, nodes, rounding.added)


class _Rounding:
    """Nodes that round activations to unsigned bytes around 128, and the constants that they need."""

    def __init__(self, largest: int) -> None:
        self.largest = largest  # integer of a weight
        self.added: dict[str, onnx.TensorProto] = {}
        self.ready: set[str] = set()
        self.middle = self.constant("int8_middle", np.array(128, "u1"))

    def constant(self, name: str, value: np.ndarray) -> str:
        self.added[name] = numpy_helper.from_array(value, name)
        return name

    def activation(self, x: str, largest: float, centre_D: np.ndarray | None) -> list[onnx.NodeProto]:
        """One scale for all rows, around a centre where there is one; what is further from it is cut."""
        self.ready.add(x)
        unit = self.constant(f"{x}_unit", np.array(max(largest, FLOOR) / 127, "f4"))
        if centre_D is None:
            return [helper.make_node("QuantizeLinear", [x, unit, self.middle], [f"{x}_int8"])]
        centre = self.constant(f"{x}_centre", centre_D)
        return [
            helper.make_node("Sub", [x, centre], [f"{x}_centred"]),
            helper.make_node("QuantizeLinear", [f"{x}_centred", unit, self.middle], [f"{x}_int8"]),
        ]

    def weight(self, key: str, tensor: onnx.TensorProto, remedy: Remedy) -> tuple[str, str]:
        """Names of a weight's integers and of the scales of its columns."""
        if f"{key}_int8" not in self.added:
            weight_K_N = numpy_helper.to_array(tensor)
            scale_N = column_scales(weight_K_N, self.largest)
            integers_K_N = compensated(weight_K_N, scale_N, remedy, self.largest)
            self.constant(f"{key}_int8", integers_K_N)
            self.constant(f"{key}_scale", scale_N)
        return f"{key}_int8", f"{key}_scale"


def _delicate(graph: onnx.GraphProto) -> set[str]:
    """Activations that become queries, keys and values, and products of two activations."""
    made_by = {output: node for node in graph.node for output in node.output}
    delicate = {name for name in products(graph) if name in made_by and made_by[name].op_type == "Mul"}
    waiting = [name for node in graph.node if node.op_type == "Attention" for name in node.input[:3]]
    while waiting:
        node = made_by.get(waiting.pop())
        if node is not None and node.op_type == "MatMul":
            delicate.add(node.input[0])
        elif node is not None:
            waiting += node.input[:1]
    return delicate


def _halve_embeddings(model: onnx.ModelProto) -> None:
    """Tables that tokens are looked up in as float16, where that holds them."""
    weights = {tensor.name: tensor for tensor in model.graph.initializer}
    readers = readers_of(model.graph)
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
    replace(model, nodes, added)


def _remove(path: Path) -> None:
    for file in (path, path.with_name(path.name + ".data")):
        file.unlink(missing_ok=True)
