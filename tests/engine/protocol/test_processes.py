"""A process that computes steps back; what it does not own keeps its turn."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from engine.protocol.processes import NICENESS

GROUP = Path("/proc/self/autogroup")
STEP_BACK = """
import os
from engine.protocol.processes import step_back
step_back()
print(os.nice(0), open("/proc/self/autogroup").read().split()[-1])
"""

pytestmark = pytest.mark.skipif(not GROUP.exists(), reason="this system does not share cores by session")


def after_stepping_back(*, own_session: bool, wanted: str = "") -> list[int]:
    """Niceness of the process, and of its session."""
    done = subprocess.run(
        [sys.executable, "-c", STEP_BACK],
        env=os.environ | {"WORKBENCH_NICENESS": wanted},
        start_new_session=own_session,
        capture_output=True,
        text=True,
        check=True,
    )
    return [int(number) for number in done.stdout.split()]


@pytest.mark.parametrize(("wanted", "niceness"), [("", NICENESS), ("3", 3), ("0", 0), ("fast", NICENESS)])
def test_a_session_of_its_own_steps_back_as_a_whole(wanted: str, niceness: int) -> None:
    process, session = after_stepping_back(own_session=True, wanted=wanted)
    assert process >= niceness
    assert session == niceness


def test_the_session_of_whoever_started_it_keeps_its_turn() -> None:
    before = int(GROUP.read_text().split()[-1])
    process, session = after_stepping_back(own_session=False)
    assert process >= NICENESS
    assert session == before
