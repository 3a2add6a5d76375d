"""What the header says, read from the workspace."""

from __future__ import annotations

from typing import TYPE_CHECKING

from workbench.messages import CurrentJob, Status

if TYPE_CHECKING:
    from workbench.services.workspace import Workspace


def read_status(workspace: Workspace) -> Status:
    """Counts of the store and its running job."""
    counts = workspace.library.counts()
    return Status(
        store=str(workspace.settings.db).rsplit("/", 1)[-1],
        prompts=counts.prompts,
        responses=counts.responses,
        judgements=counts.judgements,
        job=read_job(workspace),
    )


def read_job(workspace: Workspace) -> CurrentJob | None:
    """The newest job that runs, else the one whose turn is next to come; None when there is none."""
    runs = workspace.jobs.unfinished()
    running = [run for run in runs if run.status == "running"]
    waiting = sum(run.status == "queued" for run in runs)
    if not runs:
        return None
    run = running[0] if running else runs[0]
    stage = run.stage or ("starting" if running else "queued")
    return CurrentJob(run.run_id, stage, run.progress, waiting if running else waiting - 1)
