"""Which process of a run this is, where `torchrun` has started several; torch-free."""

from __future__ import annotations

import os

from engine.errors import WorkbenchError

MEETING = "WORKBENCH_RANKS"
"""Environment variable: the file by which the processes of one run find one another."""


class RankLostError(WorkbenchError):
    """Another process of the run has ended."""


def world_size() -> int:
    """Processes of this run, as `torchrun` says; 1 without it."""
    return int(os.environ.get("WORLD_SIZE", "1"))


def rank_of_process() -> int:
    """Which of them this is, from 0."""
    return int(os.environ.get("RANK", "0"))


def local_rank() -> int:
    """Which of the processes on this machine this is: the number of its device."""
    return int(os.environ.get("LOCAL_RANK", "0"))
