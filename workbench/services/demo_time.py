"""How long the demo will take on this machine, said before it starts."""

from __future__ import annotations

from dataclasses import dataclass

from engine.cores import usable_cores
from engine.protocol import processor

LONG = 480.0
"""Seconds above which the smaller demo is offered."""
STARTING = 60.0  # seconds of starting workers and tracing graphs, whatever the machine multiplies
MULTIPLYING = 45_000.0  # gigaflops of the whole demo, counted at the speed of one small product
SMALL_SHARE = 0.35
MOST_CORES = 4
"""More help little on a model of this size."""


@dataclass(frozen=True)
class DemoTime:
    """Seconds, with nothing else running; right within a factor of about one and a half."""

    whole: float
    small: float

    @property
    def is_long(self) -> bool:
        """Whether the demo should ask before it starts."""
        return self.whole > LONG

    @property
    def sentence(self) -> str:
        """What a person is told where it is long."""
        return (
            f"This machine multiplies slowly: the demo will take about {_minutes(self.whole)}; "
            f"workbench demo --small shows the same stages in about {_minutes(self.small)}."
        )


def demo_time() -> DemoTime | None:
    """From a product that torch measured, once a machine; None where torch does not answer."""
    hardware = processor.ask()
    if hardware is None or hardware.gflops <= 0:
        return None
    if hardware.place("auto") != "cpu":
        return DemoTime(STARTING, STARTING)
    work = MULTIPLYING / (hardware.gflops * min(usable_cores(), MOST_CORES))
    return DemoTime(STARTING + work, STARTING + SMALL_SHARE * work)


def _minutes(seconds: float) -> str:
    return f"{max(1, round(seconds / 60))} minutes"
