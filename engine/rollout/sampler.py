"""Sampling K responses to each prompt from a language model, with the log-probability of every token.

A batch goes through three steps: each distinct prompt is read once; its samples begin from its keys and
values; then one token a sequence is decoded at a time, and sequences that have ended leave.  Logits exist for
the last position only, [N, V].  There are several decoders with one result: `cpu` for Llama-like models on a
processor, `cuda_graph` on a GPU, `generic` for what attends and no more, `fallback` for the rest; `decoders`
finds which is right.

Every (prompt, sample, token) has its own uniform number, so the same seed gives the same response whatever
else is in the batch, up to the rounding of the model itself.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from functools import partial
from typing import Any

import torch
from transformers import PreTrainedModel

from engine.errors import NonFiniteError, UsageError
from engine.models.head import NOT_FINITE
from engine.rollout.cpu import CpuDecoder, CpuModel, why_not_cpu_decoder
from engine.rollout.cuda_graph import CudaGraphDecoder, recorder_of, why_not_cuda_graph
from engine.rollout.decoders import DECODERS, decoder_of
from engine.rollout.decoders import Decoder as AnyDecoder
from engine.rollout.mixture import Mixture, MixtureDecoder
from engine.rollout.records import Decoded, Sampled, SampledBatch, SamplingSettings
from engine.rollout.server import Server
from engine.rollout.token_sampling import sample_tokens
from engine.text import Tokeniser

LEAVE_SHARE = 8
"""Ended sequences leave when they are one in this many: leaving copies the cache of those that stay."""

RECORDING_DEVICES = ("cuda",)
"""Where steps in tensors that keep their shape are worth their room."""

Decoder = CpuDecoder | CudaGraphDecoder | MixtureDecoder | AnyDecoder
OpenDecoder = Callable[[list[tuple[int, ...]], list[int]], Decoder]
"""A decoder that stands after distinct prompts, which it has read; and from which of them each row begins."""


@dataclass
class _Row:
    """A sequence in the making."""

    prompt_index: int
    sample_index: int
    token_ids: list[int] = field(default_factory=list)
    logprobs: list[float] = field(default_factory=list)
    stopped: bool = False
    ended: bool = False


def sample_steps(
    source: PreTrainedModel | Mixture | Server,
    tokeniser: Tokeniser,
    prompts: Sequence[list[int]],
    *,
    samples: int,
    temperature: float = 1.0,
    top_p: float = 1.0,
    max_new_tokens: int,
    stop_ids: Collection[int],
    stop_strings: Sequence[str] = (),
    generator: torch.Generator | None = None,
    seeds: Sequence[int] | None = None,
    batch_sequences: int = 32,
) -> Iterator[SampledBatch | Decoded]:
    """Sample `samples` responses to each prompt, in batches of at most `batch_sequences`, in order.

    Yields a `SampledBatch` when it is complete, and `Decoded` after each token on the way; a server says so
    now and then.  Its batches are of whole prompts, and its seeds its own: other responses than a model here
    makes.

    Randomness comes from `generator`, which is drawn from once a prompt before anything is sampled, or
    from `seeds`, one a prompt.  Dropout is off whatever the model's mode.
    Raises UsageError for a prompt that leaves no room within the model's positions, NonFiniteError for logits
    that are not finite, EndpointError when a server does not answer as it should.
    """
    settings = SamplingSettings(
        samples, temperature, top_p, max_new_tokens, frozenset(stop_ids), tuple(stop_strings), batch_sequences
    )
    _check_prompts(source, prompts, max_new_tokens)
    if seeds is None:
        seeds = torch.randint(2**62, (len(prompts),), generator=generator).tolist()
    if isinstance(source, Server):
        yield from source.batches(tokeniser, prompts, seeds, settings)
    else:
        yield from _batches(source, tokeniser, prompts, seeds, settings)


def sample(
    source: PreTrainedModel | Mixture | Server,
    tokeniser: Tokeniser,
    prompts: Sequence[list[int]],
    **options: Any,
) -> Iterator[SampledBatch]:
    """`sample_steps` with the same options, without a word after each token."""
    for said in sample_steps(source, tokeniser, prompts, **options):
        if isinstance(said, SampledBatch):
            yield said


def _batches(
    source: PreTrainedModel | Mixture,
    tokeniser: Tokeniser,
    prompts: Sequence[list[int]],
    seeds: Sequence[int],
    settings: SamplingSettings,
) -> Iterator[SampledBatch | Decoded]:
    """Sampling in this process."""
    rows = [_Row(index, number) for index in range(len(prompts)) for number in range(settings.samples)]
    size, tokens = settings.batch_sequences, settings.max_new_tokens
    model = source.model if isinstance(source, Mixture) else source
    open_decoder = _open_decoder(source, prompts, tokens, min(size, len(rows)))
    for start in range(0, len(rows), size):
        batch = rows[start : start + size]
        uniform = torch.stack([_uniforms(seeds[row.prompt_index], row, tokens) for row in batch])
        with _evaluating(model):
            yield from _sample_batch(model, open_decoder, tokeniser, prompts, batch, uniform, settings)
        done = [Sampled(r.prompt_index, r.sample_index, r.token_ids, r.logprobs, r.stopped) for r in batch]
        yield SampledBatch(done, sum(len(row.token_ids) for row in done))


def response_text(tokeniser: Tokeniser, sampled: Sampled, stop_strings: Sequence[str] = ()) -> str:
    """The text of a response, cut before the first stop string; its stop token has no text."""
    text = tokeniser.response_text(sampled.token_ids)
    cuts = [text.find(stop) for stop in stop_strings if stop and stop in text]
    return text[: min(cuts)] if cuts else text


def _open_decoder(
    model: PreTrainedModel | Mixture,
    prompts: Sequence[list[int]],
    max_new_tokens: int,
    rows: int,
    *,
    records: bool = True,
) -> OpenDecoder:
    """How this model is decoded: `cpu` on a processor, `cuda_graph` on a GPU, else as transformers can."""
    if isinstance(model, Mixture):
        own = _open_decoder(model.model, prompts, max_new_tokens, rows, records=False)
        with model.referring() as reference:
            other = _open_decoder(reference, prompts, max_new_tokens, rows, records=False)
        return partial(MixtureDecoder, model, own, other)
    positions = max(map(len, prompts), default=0) + max_new_tokens
    if why_not_cpu_decoder(model, positions) is None:
        return partial(CpuDecoder, CpuModel(model))
    with _evaluating(model):
        name = decoder_of(model)
    if (
        records
        and name == "generic"
        and model.device.type in RECORDING_DEVICES
        and why_not_cuda_graph(model, positions) is None
    ):
        return partial(CudaGraphDecoder, recorder_of(model, rows, positions))
    return partial(DECODERS[name], model)


@contextmanager
def _evaluating(model: PreTrainedModel) -> Iterator[None]:
    was_training = model.training
    model.eval()
    try:
        yield
    finally:
        model.train(was_training)


def _uniforms(seed: int, row: _Row, count: int) -> torch.Tensor:
    """The numbers of one sequence.  [count] float32 in [0, 1)"""
    mixed = (seed * 0x9E3779B97F4A7C15 + row.sample_index * 0xD1342543DE82EF95) % 2**63
    return torch.rand(count, generator=torch.Generator().manual_seed(mixed))


def _check_prompts(
    source: PreTrainedModel | Mixture | Server, prompts: Sequence[list[int]], max_new_tokens: int
) -> None:
    if isinstance(source, Server):
        limit, where = source.positions, f"{source.endpoint}, as its --max-model-len says"
    else:
        model = source.model if isinstance(source, Mixture) else source
        limit = getattr(model.config.get_text_config(), "max_position_embeddings", None)
        where = "the model"
    for index, prompt in enumerate(prompts, 1):
        if not prompt:
            raise UsageError(f"Prompt {index} has no tokens; give it some text.")
        if limit and len(prompt) + max_new_tokens > limit:
            raise UsageError(
                f"Prompt {index} has {len(prompt)} tokens; with {max_new_tokens} new ones it goes beyond the "
                f"{limit} positions of {where}. Shorten it, or ask for fewer tokens."
            )


@torch.inference_mode()  # a fifteenth faster than no_grad where operations are as small as these
def _sample_batch(
    model: PreTrainedModel,
    open_decoder: OpenDecoder,
    tokeniser: Tokeniser,
    prompts: Sequence[list[int]],
    rows: list[_Row],
    uniform_NT: torch.Tensor,
    settings: SamplingSettings,
) -> Iterator[Decoded]:
    """Fill in the rows, token by token."""
    device = next(model.parameters()).device
    uniform_NT = uniform_NT.to(device)
    decoder = _open(open_decoder, prompts, rows)
    alive = list(rows)  # alive[i] is row i of the tensors
    for step in range(settings.max_new_tokens):
        token_N, logprob_N = sample_tokens(
            decoder.logits, uniform_NT[:, step], settings.temperature, settings.top_p
        )
        _record(tokeniser, alive, token_N.tolist(), logprob_N.tolist(), settings)
        yield Decoded(len(alive), sum(len(row.token_ids) for row in rows))
        unfinished = [place for place, row in enumerate(alive) if not row.ended]
        if not unfinished:
            break
        if len(unfinished) <= len(alive) - max(1, len(alive) // LEAVE_SHARE):
            decoder.keep(unfinished)
            token_N, uniform_NT = token_N[unfinished], uniform_NT[unfinished]
            alive = [alive[place] for place in unfinished]
        decoder.step(token_N)


def _open(open_decoder: OpenDecoder, prompts: Sequence[list[int]], rows: list[_Row]) -> Decoder:
    """Read each distinct prompt once; the decoder stands after the prompt of every row."""
    distinct: dict[tuple[int, ...], int] = {}
    place_N = [distinct.setdefault(tuple(prompts[row.prompt_index]), len(distinct)) for row in rows]
    return open_decoder(list(distinct), place_N)


def _record(
    tokeniser: Tokeniser,
    alive: list[_Row],
    tokens: list[int],
    logprobs: list[float],
    settings: SamplingSettings,
) -> None:
    """Add a token to every row that has not ended, and note which have ended now."""
    for row, token, logprob in zip(alive, tokens, logprobs, strict=True):
        if row.ended:
            continue
        if logprob != logprob:
            raise NonFiniteError(NOT_FINITE)
        row.token_ids.append(token)
        row.logprobs.append(logprob)
        row.stopped = token in settings.stop_ids or _meets_stop_string(tokeniser, row.token_ids, settings)
        row.ended = row.stopped or len(row.token_ids) == settings.max_new_tokens


def _meets_stop_string(tokeniser: Tokeniser, ids: list[int], settings: SamplingSettings) -> bool:
    if not settings.stop_strings:
        return False
    # a stop string of n bytes that ends here lies within the last n tokens; a few more keep characters whole
    reach = max(len(stop.encode()) for stop in settings.stop_strings) + 4
    tail = tokeniser.decode(ids[-reach:])
    return any(stop in tail for stop in settings.stop_strings if stop)
