"""A process that computes steps back; what it does not own keeps its turn."""

from __future__ import annotations

import os
import subprocess
import sys

import pytest

from engine.protocol.processes import NICENESS

STEP_BACK = """
import os
from pathlib import Path
from engine.protocol.processes import step_back
group = Path("/proc/self/autogroup")
before = group.read_text().split()
step_back()
print(os.nice(0), before[-1:], group.read_text().split()[-1:])
"""


def sessions_are_grouped() -> bool:
    """Whether a session gets a share of the cores: the file stays empty where grouping is off."""
    show = [sys.executable, "-c", "print(open('/proc/self/autogroup').read())"]
    shown = subprocess.run(show, start_new_session=True, capture_output=True, text=True, check=False)
    return bool(shown.stdout.strip())


pytestmark = pytest.mark.skipif(not sessions_are_grouped(), reason="sessions share no cores here")


def after_stepping_back(*, own_session: bool, wanted: str = "") -> tuple[int, str, str]:
    """Niceness of the process, then of its session before and after (none: that of the system itself)."""
    done = subprocess.run(
        [sys.executable, "-c", STEP_BACK],
        env=os.environ | {"WORKBENCH_NICENESS": wanted},
        start_new_session=own_session,
        capture_output=True,
        text=True,
        check=True,
    )
    process, before, after = done.stdout.split()
    return int(process), before, after


@pytest.mark.parametrize(("wanted", "niceness"), [("", NICENESS), ("3", 3), ("0", 0), ("fast", NICENESS)])
def test_a_session_of_its_own_steps_back_as_a_whole(wanted: str, niceness: int) -> None:
    process, _, session = after_stepping_back(own_session=True, wanted=wanted)
    assert process >= niceness
    assert session == f"['{niceness}']"


def test_the_session_of_whoever_started_it_keeps_its_turn() -> None:
    process, before, session = after_stepping_back(own_session=False)
    assert process >= NICENESS
    assert session == before
