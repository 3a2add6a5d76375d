"""Scores from exported reward models, in this process and without torch."""

from __future__ import annotations

import json
import threading
from collections.abc import Callable, Iterator, Sequence
from itertools import groupby
from pathlib import Path
from typing import TYPE_CHECKING, Literal, cast

from engine.errors import UsageError
from engine.protocol.suggest import did_you_mean
from storage import artifacts, scores
from storage.records import NewScore, RewardModelRow, UnscoredResponse
from storage.store import Store

if TYPE_CHECKING:
    from engine.scoring import Scorer

Precision = Literal["int8", "fp32"]
PRECISIONS = ("int8", "fp32")
PAGE_RESPONSES = 4096
BATCH_CHARACTERS = 8192
"""Characters of one scoring batch, padding included: about 2,000 tokens."""


class Scoring:
    """Scorers of one store's reward models, each opened once.  Thread-safe."""

    def __init__(self, store: Store) -> None:
        self.store = store
        self._open: dict[tuple[str, str], Scorer] = {}
        self._opening = threading.Lock()

    def scorer(self, reward_model: str, precision: str = "int8") -> Scorer:
        """The scorer of a registered reward model.

        Raises `NotFoundError` for an unknown model, `UsageError` for one that was not exported to this
        precision.
        """
        from engine.scoring import Scorer

        row = artifacts.reward_model(self.store, reward_model)
        folder = _exported_folder(row, precision)
        key = (row.reward_model_id, precision)
        with self._opening:
            if key not in self._open:
                self._open[key] = Scorer.open(folder, cast(Precision, precision))
            return self._open[key]

    def score_store(
        self,
        reward_model: str,
        on_progress: Callable[[int, int], None] | None = None,
        *,
        precision: str = "int8",
        stop: Callable[[], bool] = lambda: False,
    ) -> int:
        """Score every stored response that this model and precision have not scored; the number scored.

        Scores are written batch by batch, so that a stopped call goes on where it was.  `on_progress` hears
        (responses done, responses in all).
        """
        scorer = self.scorer(reward_model, precision)
        model_id = artifacts.reward_model(self.store, reward_model).reward_model_id
        total = scores.count_unscored(self.store, model_id, scorer.backend)
        done, after = 0, ""
        while page := scores.unscored(
            self.store, model_id, scorer.backend, after=after, limit=PAGE_RESPONSES
        ):
            after = page[-1].response_id
            for batch in _batches(page):
                if stop():
                    return done
                scored = scorer.score(json.loads(batch[0].messages), [entry.text for entry in batch])
                scores.upsert(
                    self.store,
                    [
                        NewScore(entry.response_id, model_id, result.score, scorer.backend)
                        for entry, result in zip(batch, scored, strict=True)
                    ],
                )
                done += len(batch)
                if on_progress is not None:
                    on_progress(done, total)
        return done

    def close(self) -> None:
        """Let the sessions go."""
        with self._opening:
            self._open.clear()


def _exported_folder(row: RewardModelRow, precision: str) -> Path:
    if precision not in PRECISIONS:
        raise UsageError(f"There is no precision “{precision}”. {did_you_mean(precision, PRECISIONS)}")
    if row.onnx_folder is None or precision not in row.precisions:
        raise UsageError(
            f"The reward model “{row.name}” has not been exported to {precision}; "
            f"run: workbench export onnx {row.name}."
        )
    return Path(row.onnx_folder)


def _batches(page: Sequence[UnscoredResponse]) -> Iterator[list[UnscoredResponse]]:
    """Responses of one prompt together, similar lengths together, up to the budget of a batch."""
    in_order = sorted(page, key=lambda entry: (entry.prompt_id, len(entry.text)))
    for _, group in groupby(in_order, key=lambda entry: entry.prompt_id):
        batch: list[UnscoredResponse] = []
        for entry in group:
            length = len(entry.messages) + len(entry.text)  # the longest so far, because they are sorted
            if batch and length * (len(batch) + 1) > BATCH_CHARACTERS:
                yield batch
                batch = []
            batch.append(entry)
        if batch:
            yield batch
