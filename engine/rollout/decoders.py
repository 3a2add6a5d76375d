"""Which decoder is right for a model: held against its forward pass on a few tokens, once a model."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from weakref import WeakKeyDictionary

import torch
from torch import Tensor
from transformers import PreTrainedModel
from transformers.cache_utils import DynamicCache, DynamicLayer, DynamicSlidingWindowLayer

from engine.errors import ModelFilesError, NonFiniteError, is_out_of_memory
from engine.models.head import NOT_FINITE, head_of
from engine.models.packing import Row, pack, response_states
from engine.models.parts import backbone, probe_tokens
from engine.rollout.fallback import NoCacheDecoder, OwnCacheDecoder
from engine.rollout.generic import GenericDecoder

Decoder = GenericDecoder | OwnCacheDecoder | NoCacheDecoder
DecoderKind = Callable[[PreTrainedModel, Sequence[Sequence[int]], Sequence[int]], Decoder]

DECODERS: dict[str, DecoderKind] = {
    "generic": GenericDecoder,
    "own_cache": OwnCacheDecoder,
    "no_cache": NoCacheDecoder,
}
"""From the fastest to the surest."""

TOLERANCE = {torch.float32: 1e-4, torch.bfloat16: 0.1, torch.float16: 0.02}
"""Largest difference of logits relative to the largest one.  In bfloat16 hidden states that were rounded in
another order differ by a few hundredths; states that were forgotten, by about 1."""

_known: WeakKeyDictionary[PreTrainedModel, str] = WeakKeyDictionary()


def decoder_of(model: PreTrainedModel) -> str:
    """The fastest of `DECODERS` that gives the logits of one forward pass.

    Raises ModelFilesError when none does.
    """
    if model not in _known:
        _known[model] = _chosen(model)
    return _known[model]


@torch.no_grad()
def _chosen(model: PreTrainedModel) -> str:
    rows = _rows(model)
    batch = pack(rows, pad_id=0, device=model.device, packed=False)
    states = response_states(backbone(model), batch, where="before")
    expected_N_T_V = head_of(model)(states.hidden)
    if not torch.isfinite(expected_N_T_V[states.mask]).all():
        raise NonFiniteError(NOT_FINITE)
    tolerance = TOLERANCE.get(expected_N_T_V.dtype, 1e-4)
    worst = ""
    for name in DECODERS if _attends_only(model) else ("own_cache", "no_cache"):
        try:
            difference = _difference(DECODERS[name], model, rows, expected_N_T_V)
        except Exception as error:  # an architecture may say in any way that it cannot
            if is_out_of_memory(error):
                raise
            worst = f"{type(error).__name__}: {str(error).splitlines()[0][:100] if str(error) else ''}"
            continue
        if difference <= tolerance:
            return name
        worst = f"logits differ by {difference:.2g} of the largest"
    raise ModelFilesError(
        f"{model.config.model_type} cannot be sampled from: no way of decoding agrees with its forward pass "
        f"({worst}). Choose another model."
    )


def _rows(model: PreTrainedModel) -> list[Row]:
    """Prompts of three lengths, one of them with two samples."""
    some = probe_tokens(model, 30)
    return [
        Row(some[:5], [some[5:9], some[9:13]]),
        Row(some[13:16], [some[16:20]]),
        Row(some[20:25], [some[25:29]]),
    ]


def _attends_only(model: PreTrainedModel) -> bool:
    """Whether every layer keeps keys and values of all positions, or of a window that a mask can hide."""
    try:
        layers = DynamicCache(config=model.config).layers
    except Exception:  # a configuration that transformers has no cache for
        return False
    return all(type(layer) in (DynamicLayer, DynamicSlidingWindowLayer) for layer in layers)


def _difference(
    kind: DecoderKind, model: PreTrainedModel, rows: Sequence[Row], expected_N_T_V: Tensor
) -> float:
    """Largest difference of the logits before each given token, one row leaving halfway."""
    prompts = [tuple(row.prompt) for row in rows]
    place_N = [place for place, row in enumerate(rows) for _ in row.responses]
    token_N_T = torch.tensor([r for row in rows for r in row.responses], device=model.device)
    decoder = kind(model, prompts, place_N)
    alive, largest = list(range(len(place_N))), 0.0
    for step in range(token_N_T.shape[1]):
        seen = (decoder.logits.float() - expected_N_T_V[alive, step].float()).abs().max()
        largest = max(largest, float(seen)) if not seen.isnan() else float("nan")
        if step == 1:
            decoder.keep([0, 2, 3])
            alive = [0, 2, 3]
        decoder.step(token_N_T[alive, step])
    return largest / float(expected_N_T_V.abs().max())
