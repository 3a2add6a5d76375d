"""A run as a batch job of Slurm: submitted by `sbatch`, followed by `squeue`, ended by `scancel`.

The job is known by its name, which follows from the run directory, so that an agent started anew finds it
and none is submitted twice.  What it writes lies in the run directory, on a file system that the nodes share.
Slurm may end it for another and start it again: it then goes on from its last checkpoint, as a killed worker
would.
"""

from __future__ import annotations

import hashlib
import re
import shlex
import subprocess
import time
from collections.abc import Mapping

from engine.elsewhere.messages import Begin
from engine.errors import UsageError, WorkbenchError
from engine.files import PRIVATE_FILE, write_atomic
from engine.protocol import launch
from engine.protocol.rundir import RunDir

Options = Mapping[str, str | int | bool]
OURS = frozenset(
    (
        *("array", "batch", "chdir", "error", "export", "help", "input", "job-name", "nodes", "ntasks"),
        *("ntasks-per-node", "open-mode", "output", "parsable", "signal", "test-only", "wait", "wrap"),
    )
)
"""Options of `sbatch` that a run sets itself, or that would change what its answer means."""
OVER = frozenset(
    (
        *("BOOT_FAIL", "CANCELLED", "COMPLETED", "DEADLINE", "FAILED", "NODE_FAIL", "OUT_OF_MEMORY"),
        *("PREEMPTED", "REVOKED", "TIMEOUT"),
    )
)
"""States that a job does not leave any more; a job that will be run again is in none of them for long."""
LOOK_SECONDS = 3.0
"""Between two questions to the cluster's controller, which many ask."""
ANSWER_SECONDS = 60.0
BEFORE_LIMIT = 120
"""Seconds before the time limit at which a training run is asked to pause, with a checkpoint."""
EACH_NODE = ("srun", "--ntasks-per-node=1", "--kill-on-bad-exit=1", "--cpu-bind=none")
MEETING = """rm -rf {ranks} && mkdir {ranks}  # of a job that is run again, too
cores=$(env -u OMP_NUM_THREADS nproc)
export OMP_NUM_THREADS=$((cores > {processes} ? cores / {processes} : 1))"""
SCRIPT = """#!/bin/sh
umask 077
{meeting}
trap 'touch {pause}' USR1
{command} {run} &
wait $!
code=$?
while kill -0 $! 2>/dev/null; do  # a signal has ended the wait, not the worker
  wait $!
  code=$?
done
exit $code
"""


def check_options(where: str, options: Options) -> None:
    """That they are options of `sbatch` which a person may set.  Raises UsageError."""
    for name, value in options.items():
        if not re.fullmatch(r"[a-z][a-z-]{1,40}", name):
            raise UsageError(f"{where}: “{name}” is no option of sbatch by its long name, as gpus-per-node.")
        if name in OURS:
            raise UsageError(f"{where}: {name} is set by the run itself.")
        if isinstance(value, str) and not value.isprintable():
            raise UsageError(f"{where}: {name} = “{value}” is more than one line.")


class BatchJob:
    """The batch job of one run."""

    def __init__(self, run: RunDir, options: Options) -> None:
        self._run, self._options = run, options
        place = hashlib.sha256(str(run.path.resolve()).encode()).hexdigest()[:8]
        self._name = f"{run.path.name}-{place}"
        self._number, self._state, self._why = "", "", ""
        self._silent = ""
        self._looked = 0.0

    def busy(self) -> bool:
        """Whether the cluster has it, at work or waiting.  Raises WorkbenchError where it does not answer."""
        lives = self.lives()
        if self._silent:
            raise WorkbenchError(self._silent)
        return lives

    def start(self, begin: Begin, worker: tuple[str, ...]) -> None:
        """Submit it.  Raises WorkbenchError with what `sbatch` says."""
        script = self._run.path / "job.sh"
        write_atomic(script, self._script(begin, worker).encode())
        options = [
            f"--{name}" if value is True else f"--{name}={value}"
            for name, value in {**{"requeue": True}, **self._options}.items()
            if value is not False
        ]
        ours = (
            *("--parsable", f"--job-name={self._name}", f"--chdir={self._run.path}", "--open-mode=append"),
            *(f"--output={self._run.stdout_path}", f"--error={self._run.stderr_path}", "--export=ALL"),
            *(f"--nodes={begin.nodes.count if begin.nodes else 1}", "--ntasks-per-node=1"),
            f"--signal=B:USR1@{BEFORE_LIMIT}",
        )
        for path in (self._run.stdout_path, self._run.stderr_path):
            path.touch(mode=PRIVATE_FILE)
        environment = launch.run_environment(self._run, begin.processes, begin.nodes) | {launch.BATCH: "1"}
        _ask(["sbatch", *options, *ours, str(script)], environment)
        self._looked = 0.0
        self._state = "PENDING"

    def _script(self, begin: Begin, worker: tuple[str, ...]) -> str:
        nodes = begin.nodes
        command = launch.together([*shlex.split(begin.launcher), *worker], self._run, begin.processes, nodes)
        each = [*EACH_NODE, f"--nodes={nodes.count}"] if nodes else []
        ranks = shlex.quote(str(self._run.ranks_path))
        return SCRIPT.format(
            meeting=MEETING.format(ranks=ranks, processes=begin.processes)
            if nodes or begin.processes > 1
            else "",
            command=shlex.join([*each, *command]),
            pause=shlex.quote(str(self._run.pause_path)),
            run=shlex.quote(str(self._run.path)),
        )

    def lives(self) -> bool:
        """Whether it waits or computes; as it was last known where the cluster does not answer."""
        if time.monotonic() - self._looked > LOOK_SECONDS or not self._looked:
            self._look()
        return bool(self._state) and self._state not in OVER

    def _look(self) -> None:
        command = ["squeue", "--me", "--noheader", "--states=all", f"--name={self._name}", "--sort=-i"]
        try:
            listed = _ask([*command, "--format=%i|%T|%r"]).splitlines()
            self._silent = ""
        except WorkbenchError as error:
            self._silent = str(error)
        else:
            # One that has long been over is listed no more.
            none = (self._number, self._state if self._state in OVER else "", self._why)
            self._number, self._state, self._why = (*listed[0].split("|"), "", "")[:3] if listed else none
        self._looked = time.monotonic()

    def stop(self) -> None:
        """By the file that the worker looks for; one that waits for its turn is taken back."""
        self._run.stop_path.touch(mode=PRIVATE_FILE)
        self._look()
        if self._state == "PENDING":
            self.end()

    def end(self) -> None:
        """Have the cluster end it."""
        if self._number:
            _ask(["scancel", self._number])
            self._looked = 0.0

    def code(self) -> int | None:
        """Not known: it is the cluster's child."""
        return None

    def says(self) -> str:
        """What the cluster makes of it: its state and, while it waits, why."""
        if self._silent:
            return self._silent
        if not self._number or self._state in ("COMPLETED", "FAILED"):  # of which the worker itself has told
            return ""
        why = f" ({self._why})" if self._why not in ("", "None") else ""
        return f"Slurm job {self._number}: {self._state}{why}"


def _ask(command: list[str], environment: Mapping[str, str] | None = None) -> str:
    """What a command of Slurm answers.  Raises WorkbenchError: in its words, why it does not."""
    try:
        told = subprocess.run(
            command, capture_output=True, stdin=subprocess.DEVNULL, env=environment, timeout=ANSWER_SECONDS
        )
    except FileNotFoundError:
        raise WorkbenchError(f"There is no {command[0]} here, so this is no login node of Slurm.") from None
    except subprocess.TimeoutExpired:
        raise WorkbenchError(f"{command[0]} has not answered for a minute.") from None
    if told.returncode:
        words = told.stderr.decode("utf-8", "replace").strip().splitlines() or ["it gives no reason"]
        raise WorkbenchError(f"{command[0]}: {words[-1][:300]}")
    return told.stdout.decode("utf-8", "replace")
