"""Progress and remarks on stderr: one line that rewrites itself on a terminal, plain lines elsewhere."""

from __future__ import annotations

import shutil
import sys
import time

from storage.interchange.clean import clean_text

REDRAW_SECONDS = 0.1
PLAIN_SECONDS = 10.0


class Narrator:
    """Says what is going on.  Text from files and models is cleaned of control characters first."""

    def __init__(self) -> None:
        self.terminal = sys.stderr.isatty()
        self._shown_at = 0.0
        self._stage = ""
        self._line = ""
        self._open_line = False

    def say(self, text: str) -> None:
        """One remark on a line of its own."""
        self.end()
        print(clean_text(text), file=sys.stderr, flush=True)

    def progress(
        self, stage: str, done: float | None, total: float | None = None, unit: str = "", detail: str = ""
    ) -> None:
        """How far `stage` has come.  Away from a terminal a line at each new stage and every ten seconds."""
        now = time.monotonic()
        new_stage = stage != self._stage
        finished = total is not None and done is not None and done >= total
        pause = REDRAW_SECONDS if self.terminal else PLAIN_SECONDS
        if not new_stage and not finished and now - self._shown_at < pause:
            return
        if finished and not new_stage and not self.terminal and now - self._shown_at < REDRAW_SECONDS:
            return
        line = " ".join(
            clean_text("  ".join(filter(None, (stage, _amount(done, total, unit), detail)))).split("\n")
        )
        again = line == self._line and not new_stage and now - self._shown_at < PLAIN_SECONDS
        self._shown_at, self._stage, self._line = now, stage, line
        if not self.terminal:
            if again:  # a stage that ends time and again says so once
                return
            print(line, file=sys.stderr, flush=True)
            return
        width = shutil.get_terminal_size().columns - 1
        print(f"\r{line[:width]}\x1b[K", end="", file=sys.stderr, flush=True)
        self._open_line = True

    def end(self) -> None:
        """Finish the progress line, so that the next text starts on its own."""
        if self._open_line:
            print(file=sys.stderr, flush=True)
        self._open_line = False
        self._stage = ""


def _amount(done: float | None, total: float | None, unit: str) -> str:
    if done is None:
        return ""
    if unit == "%":
        return f"{done:.0f}%"
    count = f"{done:,.0f}" if total is None else f"{done:,.0f} of {total:,.0f}"
    return f"{count} {unit}".rstrip()
