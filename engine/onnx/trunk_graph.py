"""The trunk of a reward model as an ONNX graph with a key-value cache.

Inputs: `input_ids` and `position_ids` [N, T], `attention_bias` [N, 1, T, P + T] (0 where a token may look, a
huge negative number elsewhere), `past_key_i` and `past_value_i` [N, G, P, d] of every layer; P may be 0.
Outputs: `features` [N, T, L·D], the hidden states of the head's layers one after the other, and of every
layer `new_key_i`, `new_value_i` [N, T, G·d], of the new tokens alone: the past is with the caller already.
The bias says everything about padding, about pasts of different lengths in one batch and about what is
causal, so that one graph serves all of it.

Attention, rotary embedding and RMS norms are written as the ONNX operators of those names (opset 23):
onnxruntime computes each in one kernel, where the exporter's own decomposition has dozens of nodes.  Whether
a model's code is what an operator computes is tried on random numbers first; where it is not, it is exported
as it stands.
"""

from __future__ import annotations

import logging
import sys
import warnings
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Any

import onnx
import onnx_ir
import torch
from onnx_ir.passes import common as passes
from onnxscript.optimizer import fold_constants
from onnxscript.rewriter import RewritePass
from onnxscript.rewriter.rules import common as rules
from torch import Tensor, nn
from torch.onnx.ops import symbolic
from transformers import AttentionInterface, AttentionMaskInterface, PreTrainedModel

from engine.errors import UsageError, WorkbenchError
from engine.onnx.operators import OPSET, flat, is_rms_norm, rms_norm, rotary_of, rotates_halves

ONE_FILE_BYTES = 1_800_000_000
"""Weights above this go into a second file: a protobuf holds 2 GB at most."""
ATTENTION = "onnx_operator"
POSITIONS = ("position_ids", "cache_position")
"""Tensors that models hand to their attention and that say no more than the bias."""
RULES = (
    rules.transpose_transpose_rule,
    rules.no_op_transpose_rule,
    rules.reshape_reshape_rule,
    rules.mul_by_1_rule,
    rules.collapse_slice_rule,
    rules.collapse_slice2_rule,
    rules.no_op_cast_rule,
)
"""What models' code does and undoes around attention and rotary embedding."""


class _Cache:
    """Past keys and values going into one forward, and new ones coming out of it."""

    def __init__(self, keys: Sequence[Tensor], values: Sequence[Tensor], bias: Tensor) -> None:
        self.keys, self.values, self.bias = keys, values, bias
        self.new: dict[int, tuple[Tensor, Tensor]] = {}


class TrunkGraph(nn.Module):
    """What is exported."""

    def __init__(self, trunk: PreTrainedModel, layers: Sequence[int]) -> None:
        super().__init__()
        self.trunk, self.layers = trunk, tuple(layers)

    def forward(
        self,
        input_ids: Tensor,  # [N, T]
        position_ids: Tensor,  # [N, T]
        attention_bias: Tensor,  # [N, 1, T, P + T]
        past: list[Tensor],  # keys of every layer, then values: [N, G, P, d]
    ) -> tuple[Tensor, ...]:
        """Features, new keys, new values."""
        depth = len(past) // 2
        cache = _Cache(past[:depth], past[depth:], attention_bias.to(past[0].dtype))
        with _attending(cache):
            outputs = self.trunk(
                input_ids=input_ids,
                position_ids=position_ids,
                use_cache=False,
                output_hidden_states=self.layers != (depth,),
            )
        if self.layers == (depth,):
            features = outputs.last_hidden_state
        else:
            features = torch.cat([outputs.hidden_states[layer] for layer in self.layers], dim=-1)
        keys, values = zip(*(cache.new[layer] for layer in range(depth)), strict=True)
        return features.float(), *keys, *values


def export_trunk(trunk: PreTrainedModel, layers: Sequence[int], path: Path) -> None:
    """Write the graph in the trunk's own number format; any number of sequences of any length.

    Raises UsageError for an architecture whose attention the graph cannot express.
    """
    weights = sum(parameter.numel() * parameter.element_size() for parameter in trunk.parameters())
    shape, depth = cache_shape(trunk), int(trunk.config.num_hidden_layers)
    past = [torch.zeros(2, shape[0], 4, shape[1], dtype=trunk.dtype) for _ in range(2 * depth)]
    names = [f"{kind}_{layer}" for kind in ("key", "value") for layer in range(depth)]
    example = (
        torch.ones(2, 8, dtype=torch.long),
        torch.arange(4, 12).expand(2, 8).contiguous(),
        torch.zeros(2, 1, 8, 12),
        past,
    )
    axes: dict[str, Any] = {
        "input_ids": {0: "N", 1: "T"},
        "position_ids": {0: "N", 1: "T"},
        "attention_bias": {0: "N", 2: "T", 3: "S"},
        "past": [{0: "N", 2: "P"} for _ in past],
    }
    with quiet_exporter(), _as_operators(trunk), torch.no_grad(), _sentences():
        program = torch.onnx.export(
            TrunkGraph(trunk, layers).eval(),
            example,
            dynamo=True,
            dynamic_shapes=axes,
            input_names=["input_ids", "position_ids", "attention_bias", *(f"past_{name}" for name in names)],
            output_names=["features", *(f"new_{name}" for name in names)],
            opset_version=OPSET,
            verbose=False,
            optimize=False,
        )
        assert program is not None  # only the exporter without dynamo returns nothing
        _tidy(program.model)
        program.save(str(path), external_data=weights > ONE_FILE_BYTES)


def _tidy(model: onnx_ir.Model) -> None:
    """Fold constants, compute nothing twice, take out what is undone again.

    The exporter would try all of its library's rules on every node, which takes longer than the export; few
    can apply here, and onnxruntime has its own for the rest.
    """
    fold_constants(model)
    for tidying in (
        passes.RemoveUnusedNodesPass(),
        passes.LiftConstantsToInitializersPass(lift_all_constants=True, size_limit=0),
        passes.DeduplicateInitializersPass(),
        passes.CommonSubexpressionEliminationPass(),
        RewritePass(RULES),
        passes.IdentityEliminationPass(),
        passes.RemoveUnusedNodesPass(),
        passes.OutputFixPass(),
        passes.NameFixPass(),
    ):
        tidying(model)


def without_idle_reshapes(graph: onnx.GraphProto) -> None:
    """Let operators that split heads themselves read [N, T, H·d] directly, and outputs give it.

    The model's code makes [N, H, T, d] and the operators' code here makes [N, T, H·d] of it again; what is
    left of both in the graph is a chain of reshapes that ends as it began.
    """
    splitting = ("MatMul", "RotaryEmbedding", "Attention")
    made_by = {output: node for node in graph.node for output in node.output}
    outputs = {entry.name for entry in graph.output}

    def origin(name: str) -> onnx.NodeProto | None:
        source = made_by.get(name)
        while source is not None and source.op_type == "Reshape":
            source = made_by.get(source.input[0])
        return source if source is not None and source.op_type in splitting else None

    for node in graph.node:
        wanted = {"RotaryEmbedding": 1, "Attention": 3, "MatMul": 1}.get(node.op_type, 0)
        for place in range(wanted):
            source = origin(node.input[place])
            if source is not None and (node.op_type, source.op_type) != ("MatMul",) * 2:
                node.input[place] = source.output[0]
    for name in outputs:
        source = origin(name) if made_by[name].op_type == "Reshape" else None
        if source is not None and source.output[0] not in outputs:
            made_by[name].output[0] = f"{name}_reshaped"
            _rename(graph, source.output[0], name)
    while True:
        read = {name for node in graph.node for name in node.input} | outputs
        idle = [node for node in graph.node if not any(output in read for output in node.output)]
        if not idle:
            return
        for node in idle:
            graph.node.remove(node)


def ask_for_present(graph: onnx.GraphProto) -> None:
    """Name the present keys and values of every attention, though nothing reads them.

    onnxruntime's operator refuses a past without them, and the exporter takes out what nothing reads.
    """
    for node in graph.node:
        if node.op_type == "Attention" and len(node.output) == 1:
            node.output.extend(f"{node.output[0]}_present_{kind}" for kind in ("key", "value"))


def _rename(graph: onnx.GraphProto, before: str, after: str) -> None:
    for node in graph.node:
        for names in (node.input, node.output):
            for place, name in enumerate(names):
                if name == before:
                    names[place] = after


@contextmanager
def _sentences() -> Iterator[None]:
    """Errors of our own come out of the exporter as they went in."""
    try:
        yield
    except Exception as error:
        cause: BaseException | None = error
        while cause is not None and not isinstance(cause, WorkbenchError):
            cause = cause.__cause__ or cause.__context__
        if cause is None:
            raise
        raise cause from None


def cache_shape(trunk: PreTrainedModel) -> tuple[int, int]:
    """Heads of keys and values, and their size: (G, d)."""
    config: Any = trunk.config
    heads = config.num_attention_heads
    size = getattr(config, "head_dim", None) or config.hidden_size // heads
    return getattr(config, "num_key_value_heads", None) or heads, size


# -- attention ----------------------------------------------------------------------------------------------

_current: list[_Cache] = []


@contextmanager
def _attending(cache: _Cache) -> Iterator[None]:
    _current.append(cache)
    try:
        yield
    finally:
        _current.pop()


def _attention(
    module: nn.Module,
    query: Tensor,  # [N, H, T, d]
    key: Tensor,  # [N, G, T, d]
    value: Tensor,  # [N, G, T, d]
    attention_mask: Tensor | None,
    scaling: float | None = None,
    dropout: float = 0.0,
    softcap: float | None = None,
    **options: Any,
) -> tuple[Tensor, None]:
    """The ONNX operator Attention over the cache and these keys, as transformers calls an attention."""
    asked = sorted(name for name, x in options.items() if isinstance(x, Tensor) and name not in POSITIONS)
    if asked:
        raise UsageError(
            f"The attention of {type(module).__name__} asks for {', '.join(asked)}, which the ONNX export "
            "does not know; score with this reward model in torch."
        )
    (N, H, T, size), G, layer = query.shape, key.shape[1], int(getattr(module, "layer_idx", 0))
    cache = _current[-1]
    flat_query, flat_key, flat_value = map(flat, (query, key, value))
    attended = symbolic(
        "Attention",
        (flat_query, flat_key, flat_value, cache.bias, cache.keys[layer], cache.values[layer]),
        {
            "q_num_heads": H,
            "kv_num_heads": G,
            "scale": float(size**-0.5 if scaling is None else scaling),
            "softcap": float(softcap or 0.0),
        },
        dtype=query.dtype,
        shape=(N, T, H * size),
        version=OPSET,
    )
    cache.new[layer] = (flat_key, flat_value)
    return attended.view(N, T, H, size), None


AttentionInterface.register(ATTENTION, _attention)
AttentionMaskInterface.register(ATTENTION, lambda *arguments, **options: None)


# -- what else has an operator ------------------------------------------------------------------------------


@contextmanager
def _as_operators(trunk: PreTrainedModel) -> Iterator[None]:
    """While the graph is traced the trunk's attention, rotary embedding and norms are ONNX operators."""
    config: Any = trunk.config
    window, limit = getattr(config, "sliding_window", None), getattr(config, "max_position_embeddings", 0)
    kinds = set(getattr(config, "layer_types", None) or ())
    if kinds - {"full_attention"} or (not kinds and window and window < min(limit, 2048)):
        raise UsageError(
            f"{config.model_type} attends through a window or without attention in some layers, which the "
            "ONNX export does not know; score with this reward model in torch."
        )
    before = config._attn_implementation
    config._attn_implementation = ATTENTION
    try:
        with ExitStack() as stack:
            for module in trunk.modules():
                code = sys.modules[type(module).__module__]
                size = cache_shape(trunk)[1]
                if hasattr(module, "layer_idx") and rotates_halves(code, size, size):
                    stack.enter_context(_instead(code, "apply_rotary_pos_emb", rotary_of(code, size)))
                elif is_rms_norm(module):
                    stack.enter_context(_instead(module, "forward", rms_norm(module)))
            yield
    finally:
        config._attn_implementation = before


@contextmanager
def _instead(owner: Any, name: str, value: Any) -> Iterator[None]:
    own = vars(owner).get(name)
    setattr(owner, name, value)
    try:
        yield
    finally:
        delattr(owner, name) if own is None else setattr(owner, name, own)


@contextmanager
def quiet_exporter() -> Iterator[None]:
    """The exporter warns of its own deprecations and of packages that it does without."""
    exporter = logging.getLogger("torch.onnx")
    level, disabled = exporter.level, logging.root.manager.disable
    exporter.setLevel(logging.ERROR)
    logging.disable(logging.WARNING)
    try:
        with warnings.catch_warnings():
            warnings.filterwarnings(
                "ignore", message=r"`isinstance\(treespec, LeafSpec\)`", category=FutureWarning
            )
            warnings.filterwarnings("ignore", message=r"# The axis name", category=UserWarning)
            warnings.filterwarnings("ignore", category=DeprecationWarning, module=r"(onnx|torch|onnxscript)")
            yield
    finally:
        exporter.setLevel(level)
        logging.disable(disabled)
