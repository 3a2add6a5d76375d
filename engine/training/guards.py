"""What keeps a long run from dying of memory or going on in vain, and how it pauses."""

from __future__ import annotations

import gc
from collections.abc import Callable, Generator
from dataclasses import dataclass
from typing import NamedTuple, TypeVar

import torch
from torch import Tensor

from engine.errors import WorkbenchError, is_out_of_memory
from engine.protocol.events import Event, Message, Stopped
from engine.protocol.rundir import RunDir
from engine.training.ranks import current

T = TypeVar("T")


class Bound(NamedTuple):
    """How far log-probabilities of sampler and training may lie apart by rounding alone, in nats."""

    mean: float
    largest: float


ROUNDING = {
    torch.float32: Bound(1e-3, 1e-2),
    torch.float16: Bound(0.02, 0.5),
    torch.bfloat16: Bound(0.15, 2.0),
}
"""log p is a difference of logits.  One of 32 lies on a grid of 1/8 in bfloat16 (8 bits), so that roundings
in another order move it by about 0.05 on average, and by some tenths among thousands of tokens.  A cap or a
scale that one side forgets moves the mean: by 0.3 where Gemma 2's own cap of 30 is missing, else by nats."""


def check_rounding(apart_M: Tensor, dtype: torch.dtype, temperature: float) -> None:
    """Raises WorkbenchError when |Δ log p| of sampler and training, [M] nats, is more than rounding."""
    bound = ROUNDING.get(dtype, ROUNDING[torch.float32])
    factor = 1 / min(1.0, temperature or 1.0)
    mean, largest = float(apart_M.mean()), float(apart_M.max())
    if mean <= bound.mean * factor and largest <= bound.largest * factor:
        return
    raise WorkbenchError(
        f"Sampling and training disagree: log-probabilities of the same tokens differ by {mean:.2g} nats on "
        f"average and {largest:.2g} at most, more than rounding in {str(dtype).removeprefix('torch.')} "
        "explains, so what would be trained is not what was sampled. Use dtype float32, or another model."
    )


@dataclass
class MicroBatchSize:
    """How much goes through a model at once.  Halved when memory runs out, for the rest of the run."""

    size: int
    what: str  # in the plural: "sequences"
    told: bool = False
    together: bool = False  # with the other ranks, each of which has a part of the weights


def retry_on_out_of_memory(
    microbatch: MicroBatchSize, attempt: Callable[[int], Generator[Event, None, T]]
) -> Generator[Event, None, T]:
    """`attempt(size)`, repeated from its beginning with half the size whenever memory runs out.

    An attempt must undo what an earlier one left, and its result must not depend on the size: losses are
    divided by the whole minibatch, not by the micro-batch.
    """
    while True:
        try:
            return (yield from attempt(microbatch.size))
        except Exception as error:
            if not is_out_of_memory(error):
                raise
            if microbatch.together:
                raise WorkbenchError(
                    f"Memory ran out with {microbatch.size} {microbatch.what} at once, and no process can "
                    "take fewer for itself where weights are divided; start it with a smaller micro-batch, "
                    "or with activations recompute."
                ) from error
            if microbatch.size <= 1:
                raise
        # Here the error is gone, and with it the frames that held the tensors.
        microbatch.size //= 2
        gc.collect()
        if torch.cuda.is_available():
            torch.cuda.empty_cache()
        if not microbatch.told:
            microbatch.told = True
            yield Message(
                level="warning",
                text=f"Memory ran out, so {microbatch.size} {microbatch.what} go through the model at once "
                "from here on, or fewer; the result is the same.",
            )


def pausing(run: RunDir, save: Callable[[], None]) -> Generator[Event, None, bool]:
    """At the end of a step: if somebody asked for a pause, save a checkpoint and stop; whether it did."""
    if not current().agreed(run.pause_path.exists()):
        return False
    save()
    yield Stopped(paused=True)
    return True


def collapsed(name: str, now: float, first: float, share: float) -> str | None:
    """Half a sentence when a figure has fallen below `share` of what it was at first."""
    if first > 0 and now < share * first:
        return f"the {name} of responses has collapsed from {first:.3g} to {now:.3g}"
    return None
