"""Which process of a run this is, where `torchrun` started several, and its turn at the cores; torch-free."""

from __future__ import annotations

import os
from contextlib import suppress
from pathlib import Path

from engine.errors import WorkbenchError

MEETING = "WORKBENCH_RANKS"
"""Environment variable: the file by which the processes of one run find one another."""

NICENESS = 10
"""Of a process that computes, unless the environment variable WORKBENCH_NICENESS says another (0 … 19)."""


class RankLostError(WorkbenchError):
    """Another process of the run has ended."""


def lost(error: BaseException) -> RankLostError:
    """What an error of an operation of all processes means."""
    return RankLostError(
        "Another process of this run has ended, so it cannot go on; resume it, and it continues from its "
        f"last checkpoint ({str(error).splitlines()[0][:200]})."
    )


def from_another(error: BaseException) -> bool:
    """Whether an error is that another process of the run has ended, met within a pass of divided weights."""
    words = str(error).lower()
    spoken = isinstance(error, RuntimeError) and any(word in words for word in ("gloo", "nccl"))
    return isinstance(error, RankLostError) or (spoken and world_size() > 1)


def world_size() -> int:
    """Processes of this run, as `torchrun` says; 1 without it."""
    return int(os.environ.get("WORLD_SIZE", "1"))


def processes_here() -> int:
    """Those of them on this machine."""
    return int(os.environ.get("LOCAL_WORLD_SIZE", world_size()))


def rank_of_process() -> int:
    """Which of them this is, from 0."""
    return int(os.environ.get("RANK", "0"))


def local_rank() -> int:
    """Which of the processes on this machine this is: the number of its device."""
    return int(os.environ.get("LOCAL_RANK", "0"))


def step_back() -> None:
    """Let what people wait for have the cores first.

    Linux shares cores among sessions before it looks at the niceness of a process (`autogroup` in sched(7)),
    and a worker has a session of its own: the whole session steps back where it is this run's.
    """
    wanted = os.environ.get("WORKBENCH_NICENESS", "")
    niceness = min(int(wanted), 19) if wanted.isascii() and wanted.isdigit() else NICENESS
    with suppress(OSError):
        os.nice(niceness)
    leaders = {os.getpid()} if world_size() == 1 else {os.getpid(), os.getppid()}
    if os.getsid(0) in leaders:
        with suppress(OSError):  # not Linux, or one that does not group
            Path("/proc/self/autogroup").write_text(str(niceness))
