"""Several run directories one after another in the processes that `torchrun` starts once for all."""

from __future__ import annotations

import sys
from pathlib import Path

from engine.protocol.log import EventLog
from engine.protocol.processes import rank_of_process
from engine.protocol.rundir import RunDir
from engine.training.ranks import leave
from engine.worker import StopFlag, help_first, work


def main(folders: list[Path]) -> int:
    codes = []
    for path in (path for folder in folders for path in sorted(folder.glob("run-*"))):
        run = RunDir(path)
        if rank_of_process() > 0:
            codes.append(help_first(run, rank_of_process()))
        else:
            with EventLog(run.events_path) as log:
                codes.append(work(run, log, StopFlag(run)))
    leave()
    return max(codes)


if __name__ == "__main__":
    sys.exit(main([Path(name) for name in sys.argv[1:]]))
