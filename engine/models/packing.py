"""One prompt and its K responses as one sequence `[prompt | y1 | … | yK]`, the prompt encoded once.

Each response attends to the prompt and to itself, and its positions restart at len(prompt), so its hidden
states are those of the plain sequence `[prompt | y]` while the tokens grow with P + ΣR instead of K·P + ΣR.

Layouts: "masked" rows lie under each other, padded, with a mask that any attention takes; "flat" rows lie end
to end without padding, for `engine.models.shared_prefix`; "plain" gives every response a row of its own.

Shapes: `R` rows, `S` tokens of the longest row, `N` responses of all rows in order, `T` tokens of the longest
response, `D` hidden size.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any, Literal

import torch
from torch import Tensor, nn

from engine.models import shared_prefix
from engine.models.parts import arguments, input_embeddings, probe_tokens
from engine.models.shared_prefix import Groups, PrefixPart

Where = Literal["at", "before"]
EXACT_ATTENTION = ("sdpa", "eager")


@dataclass(frozen=True)
class Row:
    """A prompt and responses to it, as token ids."""

    prompt: Sequence[int]
    responses: Sequence[Sequence[int]]

    @property
    def length(self) -> int:
        """Tokens of the prompt and all its responses."""
        return len(self.prompt) + sum(map(len, self.responses))


@dataclass(frozen=True)
class PackedBatch:
    """Padded rows ready for a backbone, and where each response lies in them."""

    input_ids: Tensor  # [R, S]
    position_ids: Tensor  # [R, S]
    attention_mask: Tensor | None  # [R, 1, S, S] additive, [R, S] of 0 and 1 when plain, None when flat
    row: Tensor  # [N] the row a response lies in
    index_at: Tensor  # [N, T] place of each response token in its row; 0 beyond its end
    index_before: Tensor  # [N, T] place of the token that predicts it
    tokens: Tensor  # [N, T] response tokens, pad beyond the end
    mask: Tensor  # [N, T] bool, true on response tokens
    groups: Groups | None = None  # when flat: prompts and responses where they lie

    @property
    def index_last(self) -> Tensor:
        """[N] place of each response's last token in its row."""
        last_N = self.mask.sum(dim=1) - 1
        return self.index_at[torch.arange(len(last_N), device=last_N.device), last_N]


@dataclass(frozen=True)
class ResponseStates:
    """Hidden states of response positions."""

    hidden: Tensor  # [N, T, D]
    tokens: Tensor  # [N, T]
    mask: Tensor  # [N, T] bool


def pack(
    rows: Sequence[Row],
    *,
    pad_id: int,
    dtype: torch.dtype = torch.float32,
    device: torch.device | str = "cpu",
    packed: bool = True,
    flat: bool = False,
) -> PackedBatch:
    """Lay out rows as a batch: masked, or `flat`, or plain with `packed=False`.

    dtype is that of the additive mask.  Raises ValueError on an empty prompt (nothing predicts the first
    token of its responses) or when there is no response at all.
    """
    if any(not row.prompt for row in rows):
        raise ValueError("a prompt of no tokens cannot be packed")
    if not packed:
        rows = [Row(row.prompt, [response]) for row in rows for response in row.responses]
    flat = flat and packed
    owners = [r for r, row in enumerate(rows) for _ in row.responses]
    if not owners:
        raise ValueError("there is no response to pack")
    size = sum(row.length for row in rows) if flat else max(row.length for row in rows)
    longest = max(len(response) for row in rows for response in row.responses)
    input_ids = torch.full((1 if flat else len(rows), size), pad_id)
    position_ids = torch.zeros_like(input_ids)
    segment = torch.full_like(input_ids, -1)  # 0 the prompt, 1 … K the responses, −1 padding
    index_at, index_before = torch.zeros(2, len(owners), longest, dtype=torch.long)
    tokens = torch.full((len(owners), longest), pad_id)
    mask = torch.zeros(len(owners), longest, dtype=torch.bool)
    parts: list[PrefixPart] = []
    n = begin = 0
    for r, row in enumerate(rows):
        line, P = 0 if flat else r, len(row.prompt)
        end = start = begin + P
        input_ids[line, begin:start] = torch.as_tensor(row.prompt)
        position_ids[line, begin:start] = torch.arange(P)
        segment[line, begin:start] = 0
        parts.append(PrefixPart(begin, P, begin, 0))
        for k, response in enumerate(row.responses, start=1):
            length = len(response)
            here = slice(end, end + length)
            input_ids[line, here] = tokens[n, :length] = torch.as_tensor(response, dtype=torch.long)
            position_ids[line, here] = torch.arange(P, P + length)
            segment[line, here] = k
            index_at[n, :length] = torch.arange(end, end + length)
            index_before[n, :length] = index_at[n, :length] - 1
            if length:
                index_before[n, 0] = start - 1
                parts.append(PrefixPart(end, length, begin, P))
            mask[n, :length] = True
            end, n = end + length, n + 1
        begin = end if flat else 0
    attention = None if flat else _additive_mask(segment, dtype) if packed else (segment >= 0).long()
    row_N = torch.zeros(len(owners), dtype=torch.long) if flat else torch.tensor(owners)
    tensors = (input_ids, position_ids, attention, row_N, index_at, index_before, tokens, mask)
    placed: Any = [None if tensor is None else tensor.to(device) for tensor in tensors]
    placed.append(shared_prefix.grouped_parts(parts, device) if flat else None)
    return PackedBatch(*placed)


def _additive_mask(segment_R_S: Tensor, dtype: torch.dtype) -> Tensor:
    """[R, 1, S, S]: 0 where query may see key, the lowest number elsewhere.

    Every token sees itself, padding included: a softmax over nothing would be NaN.
    """
    size = segment_R_S.shape[1]
    causal_S_S = torch.ones(size, size, dtype=torch.bool).tril()
    query, key = segment_R_S[:, :, None], segment_R_S[:, None, :]
    allowed = causal_S_S & ((key == query) | ((key == 0) & (query >= 0)))
    allowed = (allowed & (key >= 0)) | torch.eye(size, dtype=torch.bool)
    blocked = torch.full((), torch.finfo(dtype).min, dtype=dtype)
    return torch.where(allowed, torch.zeros((), dtype=dtype), blocked)[:, None]


def hidden_states(backbone: nn.Module, batch: PackedBatch) -> Tensor:
    """Last hidden state of every token, [R, S, D].  A flat batch needs the attention of `shared_prefix`."""
    known = arguments(backbone)
    options: dict[str, Any] = {
        name: value
        for name, value in (
            ("attention_mask", batch.attention_mask),
            ("position_ids", batch.position_ids),
            ("use_cache", False),
        )
        if name in known
    }
    if batch.groups is not None:
        options["groups"] = batch.groups
    with _attention(backbone, shared_prefix.NAME if batch.groups is not None else None):
        hidden: Tensor = backbone(input_ids=batch.input_ids, **options)[0]
    return hidden


@contextmanager
def _attention(backbone: nn.Module, name: str | None) -> Iterator[None]:
    """Inside the block the backbone attends by the implementation of that name; None changes nothing."""
    config: Any = backbone.config
    before = config._attn_implementation
    if name is None:
        yield
        return
    config._attn_implementation = name
    try:
        yield
    finally:
        config._attn_implementation = before


def response_states(backbone: nn.Module, batch: PackedBatch, *, where: Where) -> ResponseStates:
    """Run the backbone (a model without head) and gather the hidden states of the responses.

    where="at" takes the state of each response token (for scores), "before" that of the token which
    predicts it (for log-probabilities and values).  States beyond a response's end are those of some
    other token: use the mask.
    """
    hidden_R_S_D = hidden_states(backbone, batch)
    index_N_T = batch.index_at if where == "at" else batch.index_before
    return ResponseStates(hidden_R_S_D[batch.row[:, None], index_N_T], batch.tokens, batch.mask)


def why_not_packable(backbone: nn.Module) -> str | None:
    """None if packed rows give the plain hidden states on this model, else half a sentence that says why not.

    Reads the configuration first, then compares both on a few tokens, so that an architecture nobody
    thought of is caught by its numbers.
    """
    whole: Any = backbone.config
    config: Any = whole.get_text_config()
    attention = getattr(whole, "_attn_implementation", None)
    if not {"position_ids", "attention_mask"} <= arguments(backbone):
        return f"{config.model_type} takes no position ids"
    if attention not in EXACT_ATTENTION:
        return f"its attention implementation is {attention}, not one of {', '.join(EXACT_ATTENTION)}"
    kinds = set(getattr(config, "layer_types", None) or ())
    if kinds - {"full_attention"} or (not kinds and getattr(config, "sliding_window", None)):
        return f"{config.model_type} attends through a sliding window or without attention in some layers"
    try:
        difference = _probe(backbone, flat=False)
    except Exception as error:  # an architecture may say in any way that it cannot
        return f"{config.model_type} takes no packed rows ({type(error).__name__})"
    if not difference <= _tolerance(backbone):
        return f"packed and plain hidden states of {config.model_type} differ by {difference:.2g}"
    return None


def can_lie_flat(backbone: nn.Module) -> bool:
    """Whether rows end to end give the plain hidden states on this model, which can be packed."""
    try:
        return _probe(backbone, flat=True) <= _tolerance(backbone)
    except (
        Exception
    ):  # it takes no further arguments, or wants more than plain attention, or says so otherwise
        return False


def _tolerance(backbone: nn.Module) -> float:
    return 0.1 if embedding_dtype(backbone) != torch.float32 else 1e-3


def embedding_dtype(backbone: nn.Module) -> torch.dtype:
    """Number format of the embeddings, hence of the hidden states that enter the first layer."""
    return input_embeddings(backbone).weight.dtype


@torch.no_grad()
def _probe(backbone: nn.Module, *, flat: bool) -> float:
    """Largest difference of packed and plain states on a few tokens, relative to the largest state."""
    some = probe_tokens(backbone, 21)
    rows = [Row(some[:5], [some[5:8], some[8:13]]), Row(some[13:16], [some[16:21]])]
    device = next(backbone.parameters()).device
    training = backbone.training
    backbone.eval()
    both = []
    try:
        for packed in (True, False):
            dtype = embedding_dtype(backbone)
            batch = pack(rows, pad_id=0, dtype=dtype, device=device, packed=packed, flat=flat)
            both.append(response_states(backbone, batch, where="at"))
    finally:
        backbone.train(training)
    one, other = (states.hidden[states.mask].float() for states in both)
    return float((one - other).abs().max() / other.abs().max())
