"""A reward function in a process of its own, which is ended when a response takes it too long.  Torch-free.

`python -m engine.policy_learning.rewards.function_process SOURCE` is the process (`engine.own_process`).
"""

from __future__ import annotations

import sys
from collections.abc import Iterator, Sequence
from typing import Any

from engine.own_process import OwnProcess, serve
from engine.policy_learning.rewards.functions import Item, RewardFunction


class TimedFunction:
    """A function that has so many seconds for each response; a batch has them for all its responses."""

    def __init__(self, source: str, seconds: float) -> None:
        self.source, self.seconds = source, seconds
        self._process = OwnProcess(
            "engine.policy_learning.rewards.function_process", source, named=f"the reward function {source}"
        )

    def scores(self, items: Sequence[Item]) -> list[float | None]:
        """A finite score of each, None where time ran out.  Raises UsageError, naming the function."""
        if self._process.started()["batched"]:
            answer = self._process.ask(list(items), self.seconds * len(items))
            return [None] * len(items) if answer is None else list(answer["scores"])
        answers = [self._process.ask([item], self.seconds) for item in items]
        return [None if answer is None else answer["scores"][0] for answer in answers]

    def close(self) -> None:
        """End the process."""
        self._process.close()


def _answers(requests: Iterator[Any]) -> Iterator[dict[str, Any]]:
    """Of batches of items their scores."""
    function = RewardFunction.found(sys.argv[1])
    yield {"batched": function.batched}
    for items in requests:
        yield {"scores": function.scores([Item(*fields) for fields in items])}


if __name__ == "__main__":
    serve(_answers)
