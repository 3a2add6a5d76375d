"""Follow a run on stderr until it ends; Ctrl-C stops the run, a second one ends it at once."""

from __future__ import annotations

from typing import TYPE_CHECKING

from engine.protocol.events import AnyEvent, Message, Metrics, Progress, Started
from workbench.cli.narration import Narrator

if TYPE_CHECKING:
    from storage.records import RunRow
    from workbench.services.runs.jobs import Jobs

SHOWN_METRICS = 4


def follow(jobs: Jobs, run_id: str, narrator: Narrator) -> RunRow:
    """The run as it ended.  Raises KeyboardInterrupt, after the worker has ended, when a person stopped
    it.
    """
    try:
        row = jobs.wait(run_id, Teller(narrator))
    except KeyboardInterrupt:
        narrator.say(f"Stopping {run_id}, which keeps what it has; press Ctrl-C again to end it at once.")
        stop(jobs, run_id)
        raise
    narrator.end()
    return row


def stop(jobs: Jobs, run_id: str) -> None:
    """Stop a run and wait until its worker has ended; an interrupt meanwhile ends it at once."""
    for _ in range(2):  # the second request ends the worker
        try:
            jobs.stop(run_id)
            jobs.wait(run_id)
            return
        except KeyboardInterrupt:
            continue
    jobs.wait(run_id)


class Teller:
    """Turns the events of a run into lines of progress and remarks."""

    def __init__(self, narrator: Narrator) -> None:
        self._narrator = narrator
        self._figures = ""  # of the last step, shown behind the progress

    def __call__(self, event: AnyEvent) -> None:
        match event:
            case Started():
                resumed = "" if event.resumed_from_step is None else f", from step {event.resumed_from_step}"
                dtype = f" in {event.dtype}" if event.dtype else ""
                self._narrator.say(f"Started on {event.device}{dtype}{resumed}.")
            case Progress():
                rate = "" if event.rate is None else f"{event.rate:,.1f} {event.rate_unit}"
                detail = "  ".join(part for part in (rate, self._figures) if part)
                self._narrator.progress(event.stage, event.done, event.total, event.unit, detail)
            case Metrics():
                # Values of a diverged run arrive as null.
                shown = [f"{name} {value:.4g}" for name, value in event.values.items() if value is not None]
                self._figures = "  ".join(shown[:SHOWN_METRICS])
            case Message():
                self._narrator.say(event.text)
