"""What a store no longer needs (`storage.care.garbage`), with what the workers of its runs say."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path
from typing import TYPE_CHECKING

from engine.protocol.launch import busy
from engine.protocol.rundir import RunDir
from storage.care import garbage
from storage.care.garbage import Garbage

if TYPE_CHECKING:
    from workbench.services.workspace import Workspace


def find(workspace: Workspace, keep_traces: float | None = None) -> list[Garbage]:
    """What can go.  What running jobs have said is taken in first, so that rows know all artifacts."""
    workspace.jobs.pump()
    return garbage.find(workspace.store, keep_traces=keep_traces, busy=_worked_at)


def remove(workspace: Workspace, found: Iterable[Garbage]) -> int:
    """Remove it; bytes that are free again."""
    return garbage.remove(workspace.store, found)


def _worked_at(folder: Path) -> bool:
    return busy(RunDir(folder))
