"""Slurm for tests: `sbatch`, `squeue`, `scancel` and `srun` in a folder, whose jobs are real processes.

`python cluster.py FOLDER COMMAND …` is any of them; a job is a file of FOLDER.  While FOLDER/full exists jobs
wait; `preempt` ends a job and has it run again, as a cluster does with one that stands in another's way.
"""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from contextlib import suppress
from pathlib import Path
from typing import Any

COMMANDS = ("sbatch", "squeue", "scancel", "srun", "preempt")


def install(folder: Path, path: Path) -> None:
    """Put the commands into the folder `path`; jobs are kept in `folder`."""
    folder.mkdir(parents=True)
    path.mkdir(exist_ok=True)
    for name in COMMANDS:
        command = path / name
        command.write_text(f'#!/bin/sh\nexec {sys.executable} {__file__} {folder} {name} "$@"\n')
        command.chmod(0o700)


def main(folder: Path, command: str, arguments: list[str]) -> int:
    """What the commands do."""
    if (folder / "down").exists():
        print("slurm_load_jobs error: Unable to contact slurm controller", file=sys.stderr)
        return 1
    given = [each for each in arguments if not each.startswith("-")]
    options = dict(each.removeprefix("--").partition("=")[::2] for each in arguments if each.startswith("--"))
    if command == "sbatch":
        return _submit(folder, options, given[0])
    if command == "squeue":
        for job in jobs(folder):
            if job["name"] == options["name"]:
                print(
                    f"{job['number']}|{job['state']}|{'Resources' if job['state'] == 'PENDING' else 'None'}"
                )
    elif command == "srun":
        first = next(place for place, each in enumerate(arguments) if not each.startswith("-"))
        return _run_tasks(int(options.get("nodes", "1")), arguments[first:])
    else:
        _end(folder / f"{int(given[0])}.json", again=command == "preempt")
    return 0


def jobs(folder: Path) -> list[dict[str, Any]]:
    """All jobs, the last submitted first."""
    return [json.loads(path.read_text()) for path in sorted(folder.glob("*.json"), reverse=True)]


def _submit(folder: Path, options: dict[str, str], script: str) -> int:
    if "debug" not in options.get("partition", "debug"):
        print("sbatch: error: invalid partition specified: " + options["partition"], file=sys.stderr)
        return 1
    number = len(jobs(folder)) + 1
    job = {"number": number, "name": options["job-name"], "state": "PENDING", "options": options}
    path = folder / f"{number}.json"
    _write(path, job | {"script": script})
    controller = [sys.executable, __file__, str(folder), "control", str(number)]
    subprocess.Popen(controller, start_new_session=True, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    print(number)
    return 0


def control(folder: Path, path: Path) -> None:
    """Run a job until it has ended for good."""
    job = _read(path)
    while job["state"] == "PENDING":
        if (folder / "full").exists():
            time.sleep(0.02)
            job = _read(path)
            continue
        with open(job["options"]["output"], "ab") as out, open(job["options"]["error"], "ab") as err:
            process = subprocess.Popen(
                ["sh", job["script"]], stdout=out, stderr=err, start_new_session=True,
                cwd=job["options"]["chdir"],
            )  # fmt: skip
        _write(path, job | {"state": "RUNNING", "pid": process.pid})
        code = process.wait()
        job = _read(path)
        if job["state"] == "RUNNING":
            job["state"] = "FAILED" if code else "COMPLETED"
            _write(path, job)


def _end(path: Path, *, again: bool) -> None:
    job = _read(path)
    _write(path, job | {"state": "PENDING" if again else "CANCELLED"})
    if job["state"] == "RUNNING":
        with suppress(ProcessLookupError):
            os.killpg(job["pid"], signal.SIGTERM)


def _run_tasks(count: int, command: list[str]) -> int:
    tasks = [subprocess.Popen(command, env=os.environ | {"SLURM_NODEID": str(node)}) for node in range(count)]
    return max(abs(task.wait()) for task in tasks)


def _read(path: Path) -> dict[str, Any]:
    return json.loads(path.read_text())  # type: ignore[no-any-return]


def _write(path: Path, job: dict[str, Any]) -> None:
    temporary = path.with_suffix(".new")
    temporary.write_text(json.dumps(job))
    temporary.replace(path)


if __name__ == "__main__":
    place = Path(sys.argv[1])
    if sys.argv[2] == "control":
        control(place, place / f"{sys.argv[3]}.json")
    else:
        sys.exit(main(place, sys.argv[2], sys.argv[3:]))
