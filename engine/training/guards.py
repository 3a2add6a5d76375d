"""What keeps a long run from dying of memory or going on in vain, and how it pauses."""

from __future__ import annotations

import gc
from collections.abc import Callable, Generator
from dataclasses import dataclass
from typing import TypeVar

import torch

from engine.errors import is_out_of_memory
from engine.protocol.events import Event, Message, Stopped
from engine.protocol.rundir import RunDir

T = TypeVar("T")


@dataclass
class Portion:
    """How much goes through a model at once.  Halved when memory runs out, for the rest of the run."""

    size: int
    what: str  # in the plural: "sequences"
    told: bool = False


def halving(
    portion: Portion, attempt: Callable[[int], Generator[Event, None, T]]
) -> Generator[Event, None, T]:
    """`attempt(size)`, repeated from its beginning with half the size whenever memory runs out.

    An attempt must undo what an earlier one left, and its result must not depend on the size: losses are
    divided by the whole minibatch, not by the portion.
    """
    while True:
        try:
            return (yield from attempt(portion.size))
        except Exception as error:
            if portion.size <= 1 or not is_out_of_memory(error):
                raise
        # Here the error is gone, and with it the frames that held the tensors.
        portion.size //= 2
        gc.collect()
        if torch.cuda.is_available():
            torch.cuda.empty_cache()
        if not portion.told:
            portion.told = True
            yield Message(
                level="warning",
                text=f"Memory ran out, so {portion.size} {portion.what} go through the model at once from "
                "here on, or fewer; the result is the same.",
            )


def pausing(run: RunDir, save: Callable[[], None]) -> Generator[Event, None, bool]:
    """At the end of a step: if somebody asked for a pause, save a checkpoint and stop; whether it did."""
    if not run.pause_path.exists():
        return False
    save()
    yield Stopped(paused=True)
    return True


def collapsed(name: str, now: float, first: float, share: float) -> str | None:
    """Half a sentence when a figure has fallen below `share` of what it was at first."""
    if first > 0 and now < share * first:
        return f"the {name} of responses has collapsed from {first:.3g} to {now:.3g}"
    return None
