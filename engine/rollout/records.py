"""What sampling is asked for, and what it gives; the same wherever the model is."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class SamplingSettings:
    """What does not change from batch to batch."""

    samples: int  # responses a prompt
    temperature: float
    top_p: float
    max_new_tokens: int
    stop_ids: frozenset[int]
    stop_strings: tuple[str, ...]
    batch_sequences: int  # at once


@dataclass(frozen=True)
class Sampled:
    """One response."""

    prompt_index: int
    sample_index: int
    token_ids: list[int]  # the stop token included
    # log π of each token at sampling, in nats; `sample_tokens` says of which distribution.  Empty where a
    # server does not say.
    logprobs: list[float]
    stopped: bool  # it ended by a stop token or stop string, not by its length


@dataclass(frozen=True)
class SampledBatch:
    """Responses that were sampled together, ordered by prompt and sample."""

    responses: list[Sampled]
    tokens: int  # sampled in this batch


@dataclass(frozen=True)
class Decoded:
    """One more token of every sequence that has not ended."""

    sequences: int
    tokens: int  # of the batch, so far
