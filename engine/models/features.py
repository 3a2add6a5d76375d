"""Features of responses: hidden states of a few layers, at the last token or as the mean over the response.

hidden_states are numbered as transformers numbers them: 0 the embeddings, i what enters layer i + 1, L what
the final norm gives.  Shapes: `N` responses in the order of their rows, `R` rows of `S` tokens, `T` tokens of
the longest response, `D` hidden size, `L` layers read, F = len(parts)·L·D.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, contextmanager, suppress
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from engine.errors import NonFiniteError, UsageError
from engine.models.packing import PackedBatch, Row
from engine.models.trunk import Trunk, grouped
from engine.scoring.head import WEIGHTS as HEAD_WEIGHTS
from engine.scoring.head import FeaturePart
from engine.scoring.preference import WEIGHTS as PREFERENCE_WEIGHTS

FEATURE_TOKENS = 2048  # padded tokens in one forward pass
SAMPLE_BYTES = 1 << 20


@torch.no_grad()
def row_features(
    trunk: Trunk, rows: Sequence[Row], layers: Sequence[int], parts: Sequence[FeaturePart] = ("last",)
) -> Tensor:
    """Features of the responses of all rows, in order, from one packed forward pass: [N, F] float32.

    For each part the layers in order.  The mean is over all response tokens, end of sequence included, and
    is summed in float32.
    """
    batch = trunk.pack(rows)
    states = response_layers(trunk, batch, layers)
    return torch.cat([_read(part, states[layer], batch.mask) for part in parts for layer in layers], dim=1)


def _read(part: FeaturePart, hidden_N_T_D: Tensor, mask_N_T: Tensor) -> Tensor:
    length_N = mask_N_T.sum(dim=1)
    if part == "last":
        return hidden_N_T_D[torch.arange(len(length_N), device=length_N.device), length_N - 1].float()
    return (hidden_N_T_D.float() * mask_N_T[:, :, None]).sum(dim=1) / length_N[:, None]


@torch.no_grad()
def step_features(
    trunk: Trunk,
    rows: Sequence[Row],
    layers: Sequence[int],
    parts: Sequence[FeaturePart],
    ends: Sequence[Sequence[int]],
) -> list[Tensor]:
    """Features at some tokens of each response of all rows, in order: [S_n, F] float32 of response n.

    ends: the tokens of each response, from 0.  They are what `row_features` gives of the response up to and
    with that token, since the trunk reads from left to right.
    """
    batch = trunk.pack(rows)
    states = response_layers(trunk, batch, layers)
    features = []
    for n, places in enumerate(ends):
        at = torch.as_tensor(list(places), dtype=torch.long, device=batch.mask.device)
        columns = []
        for part in parts:
            for layer in layers:
                hidden_T_D = states[layer][n].float()
                if part == "mean":
                    count_T = torch.arange(1, len(hidden_T_D) + 1, device=hidden_T_D.device)
                    hidden_T_D = hidden_T_D.cumsum(dim=0) / count_T[:, None]
                columns.append(hidden_T_D[at])
        features.append(torch.cat(columns, dim=1))
    return features


def response_layers(trunk: Trunk, batch: PackedBatch, layers: Sequence[int]) -> dict[int, Tensor]:
    """Hidden states of the response tokens at the layers asked for, each [N, T, D].

    Only response positions of those layers are kept, so that memory does not grow with the depth.
    """
    check_layers(trunk.module, layers)
    blocks, by_layer = _blocks(trunk.module), {}

    def keep(layer: int, hidden_R_S_D: Tensor) -> None:
        if hidden_R_S_D.shape[:-1] != batch.input_ids.shape:
            raise UsageError(
                f"The layers of {type(trunk.module).__name__} do not pass on one vector a token, so it "
                "cannot serve as a frozen trunk; choose tuning full or lora."
            )
        by_layer[layer] = hidden_R_S_D[batch.row[:, None], batch.index_at]
        if layer == max(layers):
            raise _Enough

    with suppress(_Enough), ExitStack() as stack:
        for layer in sorted({layer for layer in layers if layer < len(blocks)}):
            stack.enter_context(_watching(blocks[layer], layer, keep))
        keep(len(blocks), trunk.hidden(batch))
    return by_layer


class _Enough(Exception):  # noqa: N818 - not an error: the layers above would be computed for nothing
    """All layers that were asked for have been seen."""


@contextmanager
def _watching(block: nn.Module, layer: int, keep: Callable[[int, Tensor], None]) -> Iterator[None]:
    """Inside the block `keep(layer, hidden)` hears what enters the transformer block."""

    def hear(_: nn.Module, arguments: tuple[Any, ...], options: dict[str, Any]) -> None:
        keep(layer, arguments[0] if arguments else options["hidden_states"])

    handle = block.register_forward_pre_hook(hear, with_kwargs=True)
    try:
        yield
    finally:
        handle.remove()


def _blocks(module: nn.Module) -> nn.ModuleList:
    """The transformer blocks: the list of modules that is as long as the model is deep."""
    for child in module.children():
        if isinstance(child, nn.ModuleList) and len(child) == depth(module):
            return child
    raise UsageError(
        f"The layers of {type(module).__name__} cannot be found, so it cannot serve as a frozen trunk; "
        "choose tuning full or lora."
    )


def depth(module: nn.Module) -> int:
    """The number of transformer blocks, which is also the number of the last hidden state."""
    model: Any = module
    return int(model.config.get_text_config().num_hidden_layers)


def width(module: nn.Module) -> int:
    """D, the size of a hidden state."""
    model: Any = module
    return int(model.config.get_text_config().hidden_size)


def default_layers(depth: int) -> tuple[int, ...]:
    """The middle and the top, which predict judgements best together (docs/benchmarks.md)."""
    return tuple(sorted({max(1, round(0.5 * depth)), depth}))


def fingerprint(folder: Path) -> str:
    """What tells one trunk's features from another's: samples of its weights, configuration and tokeniser."""
    digest = hashlib.sha256()
    files = sorted(folder.glob("*.safetensors"))
    for path in [*files, folder / "config.json", folder / "tokenizer.json", folder / "chat_template.jinja"]:
        if path.name in (HEAD_WEIGHTS, PREFERENCE_WEIGHTS) or not path.is_file():
            continue
        size = path.stat().st_size
        digest.update(f"{path.name} {size}".encode())
        with path.open("rb") as file:
            for start in (0, size // 2, max(size - SAMPLE_BYTES, 0)):
                file.seek(start)
                digest.update(file.read(SAMPLE_BYTES))
    return digest.hexdigest()[:32]


def check_layers(module: nn.Module, layers: Sequence[int]) -> None:
    """Raises UsageError for a layer that the model does not have."""
    for layer in layers:
        if not 0 <= layer <= depth(module):
            raise UsageError(f"The model has hidden states 0 to {depth(module)} and so no layer {layer}.")


def batches_of_pairs(
    pairs: Sequence[tuple[Sequence[int], Sequence[int]]], budget: int = FEATURE_TOKENS
) -> Iterator[tuple[list[Row], list[int]]]:
    """Rows and, for each response of the rows in order, the place of its (prompt, response) pair.

    Equal prompts share a row.  Rows are cut into batches, longest first, of at most `budget` padded tokens;
    a prompt whose responses together are longer is split over several rows.  Where the response left no room
    for the prompt, its first token stands in for it.
    """
    rows, places = grouped([(p, r) if p else (r[:1], r[1:]) for p, r in pairs])
    pieces: list[tuple[Row, list[int]]] = []
    at = 0
    for row in rows:
        for responses in _fitting(row, budget):
            pieces.append((Row(row.prompt, responses), places[at : at + len(responses)]))
            at += len(responses)
    pieces.sort(key=lambda piece: -piece[0].length)
    batch: list[tuple[Row, list[int]]] = []
    for piece in pieces:
        if batch and (len(batch) + 1) * batch[0][0].length > budget:
            yield _joined(batch)
            batch = []
        batch.append(piece)
    if batch:
        yield _joined(batch)


def _fitting(row: Row, budget: int) -> Iterator[list[Sequence[int]]]:
    """The responses of a row in portions which, with the prompt, stay under the budget where they can."""
    portion: list[Sequence[int]] = []
    size = len(row.prompt)
    for response in row.responses:
        if portion and size + len(response) > budget:
            yield portion
            portion, size = [], len(row.prompt)
        portion.append(response)
        size += len(response)
    yield portion


def _joined(batch: list[tuple[Row, list[int]]]) -> tuple[list[Row], list[int]]:
    return [row for row, _ in batch], [place for _, places in batch for place in places]


def features_of(
    trunk: Trunk,
    pairs: Sequence[tuple[Sequence[int], Sequence[int]]],
    layers: Sequence[int],
    parts: Sequence[FeaturePart],
    budget: int = FEATURE_TOKENS,
) -> Iterator[tuple[list[int], Tensor]]:
    """Features of many (prompt, response) pairs, batch by batch: places in `pairs` and [n, F] on the CPU.

    Raises NonFiniteError when a state is not finite.
    """
    for rows, places in batches_of_pairs(pairs, budget):
        found_N_F = row_features(trunk, rows, layers, parts).cpu()
        if not torch.isfinite(found_N_F).all():
            raise NonFiniteError("The model gave hidden states that are not finite; use dtype float32.")
        yield places, found_N_F
