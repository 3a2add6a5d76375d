"""What a run has paid for answers, which a run that goes on must know."""

from __future__ import annotations

import math
import os
from contextlib import suppress
from pathlib import Path

from engine.files import PRIVATE_FILE


class Bill:
    """A file with the cost of every answer, one a line, added to as answers come.

    What is on a line outlives the process.  A file that cannot be written costs the record, never the job.
    """

    def __init__(self, path: Path) -> None:
        self._path = path

    def total(self) -> float:
        """What has been paid so far; a line that was begun and not ended counts nothing."""
        costs = [0.0]
        with suppress(OSError):
            for line in self._path.read_text(encoding="utf-8", errors="replace").splitlines(keepends=True):
                with suppress(ValueError):
                    costs.append(float(line) if line.endswith("\n") else 0.0)
        return math.fsum(cost for cost in costs if math.isfinite(cost) and cost > 0)

    def add(self, cost: float) -> None:
        """Write down what one answer cost."""
        with suppress(OSError):
            number = os.open(self._path, os.O_WRONLY | os.O_APPEND | os.O_CREAT, PRIVATE_FILE)
            with os.fdopen(number, "a", encoding="utf-8") as file:
                file.write(f"{cost!r}\n")
