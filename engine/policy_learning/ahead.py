"""Responses of steps to come, which a server makes while the policy learns from those of the step before.

Sampling ends with its longest response, and a trainer that waits for it does nothing.  So a server is asked
for the responses of up to `bound` further steps at once; they come from the policy as it was when they were
asked for, at most `bound` steps ago (Noukhovitch et al. 2024, “Asynchronous RLHF”, arXiv 2410.18252).  The
truncated importance weights of `importance` correct for the difference.
"""

from __future__ import annotations

from collections.abc import Callable, Generator, Iterator
from concurrent.futures import Future, ThreadPoolExecutor, wait
from dataclasses import dataclass, field
from threading import Event as Flag

from engine.protocol.events import Event, Progress
from engine.rollout import Decoded, Sampled, SampledBatch

LOOK_EVERY = 0.5  # seconds between two words to who waits

SamplingSteps = Callable[[], Iterator[SampledBatch | Decoded]]


@dataclass(frozen=True)
class UnderWay:
    """What a server was asked for."""

    step: int  # steps that the policy had taken
    name: str  # of that policy at the server
    responses: Future[list[Sampled]]


@dataclass
class Ahead:
    """What has been asked for and not taken yet, by the key of its randomness."""

    bound: int  # steps
    asked: dict[tuple[object, ...], UnderWay] = field(default_factory=dict)
    _given_up: Flag = field(default_factory=Flag)
    _pool: ThreadPoolExecutor | None = None

    def ask(self, key: tuple[object, ...], step: int, name: str, sampling: SamplingSteps) -> None:
        """Begin to sample in a thread, unless that is under way."""
        if key in self.asked:
            return
        if self._pool is None:
            self._pool = ThreadPoolExecutor(self.bound + 1)
        self.asked[key] = UnderWay(step, name, self._pool.submit(self._sampled, sampling))

    def _sampled(self, sampling: SamplingSteps) -> list[Sampled]:
        responses: list[Sampled] = []
        for said in sampling():
            if self._given_up.is_set():
                break
            if isinstance(said, SampledBatch):
                responses += said.responses
        return responses

    def take(self, key: tuple[object, ...], stage: str) -> Generator[Event, None, tuple[list[Sampled], int]]:
        """The responses, waited for, and the steps that their policy had taken.  Raises what sampling did."""
        asked = self.asked[key]
        while not wait([asked.responses], LOOK_EVERY).done:
            yield Progress(stage=stage, done=0, unit="responses")
        del self.asked[key]
        return asked.responses.result(), asked.step

    def names(self) -> set[str]:
        """The policies that some responses still come from."""
        return {asked.name for asked in self.asked.values()}

    def give_up(self) -> None:
        """Nobody takes what is under way; its requests end."""
        self._given_up.set()
        self.asked.clear()
        if self._pool is not None:
            self._pool.shutdown(wait=False, cancel_futures=True)
