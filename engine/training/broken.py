"""A loss that is not finite: the batch is kept, and one sentence says where it is and what to do."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Protocol

from engine.errors import NonFiniteError
from engine.models.packing import Row, pack
from engine.protocol.rundir import RunDir
from engine.training.checkpoint import save_failed_batch


class PromptRows(Protocol):
    """A prompt with its responses, as training on stored responses has them."""

    @property
    def prompt_id(self) -> str:
        """Of the store."""

    @property
    def rows(self) -> tuple[Row, ...]:
        """The packed rows that hold its responses."""


def not_finite(step: int, figures: str, folder: Path | str) -> NonFiniteError:
    """The error of a step whose loss or gradient broke; `folder` has its batch."""
    return NonFiniteError(
        f"The loss or its gradient is not finite at step {step} ({figures}); the batch is in {folder}. "
        "Lower learning_rate, or use dtype float32."
    )


def broken_step(run: RunDir, step: int, batch: Sequence[PromptRows], loss: float) -> NonFiniteError:
    """Keep the batch of a step on stored responses; the error to raise."""
    packed = pack([row for one in batch for row in one.rows], pad_id=0)
    details = {"loss": str(loss), "prompt_ids": [one.prompt_id for one in batch]}
    tensors = {"input_ids": packed.input_ids, "position_ids": packed.position_ids, "tokens": packed.tokens}
    return not_finite(step, f"loss {loss}", save_failed_batch(run, step, tensors, details))
