"""Programs that a model wrote, run where they can do no harm: never in a process of ours.  Torch-free.

A sandbox is bubblewrap (`bwrap`) where it works, else a container of podman or docker, else there is none and
nothing runs.  Inside is a Python with its standard library, read-only; no network, none of the person's files
or environment, a small /tmp that is gone afterwards.  A program has limits of time, memory, file size, output
and processes.  What it says is read; what it does is thrown away.
"""

from __future__ import annotations

import functools
import json
import os
import shutil
import subprocess
import sys
import threading
import uuid
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Literal

import psutil

from engine.errors import UsageError

IMAGE = "python:3-slim"
"""The image of a container; it must be there, and is never fetched."""
CONTAINERS = ("podman", "docker")
LOOK_EVERY = 0.05  # seconds between two looks at what a program uses
STARTING = 20.0  # seconds that an empty program may take
NOBODY = 65534

# What starts in the sandbox: it takes its own limits, which nothing can raise again, and runs the program.
BOOT = """
import json, os, resource, sys, types
job = json.loads(sys.stdin.buffer.read())
for name, most in job["limits"].items():
    resource.setrlimit(getattr(resource, name), (most, most))
with open("given", "wb") as file:
    file.write(job["given"].encode("utf-8", "replace"))
given = os.open("given", os.O_RDONLY)
os.unlink("given")
os.dup2(given, 0)
os.close(given)
sys.stdin = open(0, encoding="utf-8", closefd=False)
sys.argv = ["program"]
module = types.ModuleType(job["name"])
sys.modules["__main__"] = sys.modules[job["name"]] = module
exec(compile(job["program"], "program", "exec"), module.__dict__)
if job["then"]:
    exec(compile(job["then"], "tests", "exec"), module.__dict__)
    sys.stdout.flush()
    print("\\n" + job["end"], flush=True)
"""
BOOTED = ("-I", "-B", "-c", BOOT)


@dataclass(frozen=True)
class Limits:
    """What a program may use."""

    seconds: float = 5.0  # of wall clock, and of a processor
    memory: int = 256 << 20  # bytes, of all its processes together
    files: int = 16 << 20  # bytes in /tmp
    output: int = 1 << 20  # bytes that are read of what it prints
    processes: int = 16  # threads too, where the kernel counts them for it

    def inside(self) -> dict[str, int]:
        """What the program's first process takes upon itself, by the names of `resource`."""
        return {
            "RLIMIT_AS": self.memory,
            "RLIMIT_CPU": max(1, round(self.seconds + 0.5)),
            "RLIMIT_FSIZE": self.files,
            "RLIMIT_NPROC": self.processes,
            "RLIMIT_CORE": 0,
        }


@dataclass(frozen=True)
class ProgramRun:
    """How a program ended."""

    ended: Literal["finished", "failed", "time", "memory", "processes", "output"]
    said: str  # what it printed, up to the limit

    @property
    def finished(self) -> bool:
        """Whether it came to its end by itself, without an error."""
        return self.ended == "finished"


@dataclass(frozen=True)
class Sandbox:
    """A way of running programs; `command` gives the words that start it, for limits and a name."""

    name: str
    command: Callable[[Limits, str], list[str]]
    remove: Callable[[str], list[str]] | None = None  # ends what outlives the command, by the name

    def run(
        self, program: str, *, given: str = "", then: str = "", limits: Limits | None = None
    ) -> ProgramRun:
        """Run a Python program.

        given: its standard input.  then: statements run behind it among its names; the outcome is finished
        only if the last of them was reached.  With `then` the program is a module, without it `__main__`.
        """
        limits, end = limits or Limits(), uuid.uuid4().hex
        job = {
            "program": program,
            "then": then,
            "name": "program" if then else "__main__",
            "given": given,
            "end": end,
            "limits": limits.inside(),
        }
        outcome = self._run(json.dumps(job).encode(), limits)
        if not then:
            return outcome
        said, mark, rest = outcome.said.rpartition("\n" + end)
        if outcome.finished and (not mark or rest.strip()):  # it left before its tests did
            return replace(outcome, ended="failed")
        return replace(outcome, said=said if mark else outcome.said)

    def _run(self, job: bytes, limits: Limits) -> ProgramRun:
        name = f"workbench-{uuid.uuid4().hex[:12]}"
        job_end, our_end = os.pipe()
        try:
            process = subprocess.Popen(
                self.command(limits, name),
                stdin=job_end,
                stdout=subprocess.PIPE,
                stderr=subprocess.DEVNULL,
                env={"PATH": os.environ.get("PATH", os.defpath), **_for_containers()},
                start_new_session=True,
            )
        finally:
            os.close(job_end)
        # a program that reads nothing, or prints for ever, must hold neither side up
        threading.Thread(target=_feed, args=(our_end, job), daemon=True).start()
        with process:
            watch = _Watch(process, limits)
            watch.start()
            assert process.stdout is not None
            said = process.stdout.read(limits.output + 1)
            if len(said) > limits.output:
                watch.stop("output")
            watch.join()
        if self.remove is not None and watch.why:
            subprocess.run(self.remove(name), capture_output=True, check=False)
        ended = watch.why or ("finished" if process.returncode == 0 else "failed")
        return ProgramRun(ended, said[: limits.output].decode("utf-8", "replace"))


class _Watch(threading.Thread):
    """Ends a process that takes too long, or with its children too much memory, or has too many of them."""

    def __init__(self, process: subprocess.Popen[bytes], limits: Limits) -> None:
        super().__init__(daemon=True)
        self.why: Literal["", "time", "memory", "processes", "output"] = ""
        self._process, self._limits = process, limits

    def stop(self, why: Literal["time", "memory", "processes", "output"]) -> None:
        """End it; the first reason counts."""
        self.why = self.why or why
        self._process.kill()

    def run(self) -> None:
        left = self._limits.seconds
        while True:
            with suppress(subprocess.TimeoutExpired):
                self._process.wait(min(LOOK_EVERY, max(left, 0.001)))
                return
            left -= LOOK_EVERY
            if left <= 0:
                return self.stop("time")
            count, memory = _used(self._process.pid)
            if memory > self._limits.memory:
                return self.stop("memory")
            if count > self._limits.processes:
                return self.stop("processes")


def _used(pid: int) -> tuple[int, int]:
    """Processes under one, and the memory of theirs that nobody shares, in bytes, at most."""
    count, memory = 0, 0
    with suppress(psutil.Error):
        for child in psutil.Process(pid).children(recursive=True):
            with suppress(psutil.Error):
                used = child.memory_info()
                count, memory = count + 1, memory + used.rss - getattr(used, "shared", 0)
    return count, memory


def _feed(end: int, job: bytes) -> None:
    with suppress(OSError), open(end, "wb") as stream:
        stream.write(job)


def _for_containers() -> dict[str, str]:
    """What the clients of podman and docker look for; nothing of it goes inside."""
    wanted = ("HOME", "XDG_RUNTIME_DIR", "DOCKER_HOST", "DOCKER_CONFIG", "DOCKER_CONTEXT", "CONTAINER_HOST")
    return {name: os.environ[name] for name in wanted if name in os.environ}


def bubblewrap(program: str) -> Sandbox:
    """The sandbox of `bwrap`, found at a path."""

    def command(limits: Limits, _name: str) -> list[str]:
        base = str(Path(sys.base_prefix).resolve())
        words = [program, "--unshare-all", "--die-with-parent", "--new-session", "--hostname", "sandbox"]
        words += ["--cap-drop", "ALL", "--uid", str(NOBODY), "--gid", str(NOBODY), "--clearenv"]
        words += ["--ro-bind", "/usr", "/usr"]
        for folder in ("/bin", "/lib", "/lib64", "/etc/ld.so.cache"):
            words += ["--ro-bind-try", folder, folder]
        if not Path(base).is_relative_to("/usr"):
            words += ["--ro-bind", base, base]
        words += ["--proc", "/proc", "--remount-ro", "/proc", "--dev", "/dev", "--remount-ro", "/dev"]
        words += ["--size", str(limits.files), "--tmpfs", "/tmp", "--remount-ro", "/", "--chdir", "/tmp"]
        return [*words, "--", _python(), *BOOTED]

    return Sandbox("bubblewrap", command)


def container(program: str, image: str = IMAGE) -> Sandbox:
    """The sandbox of podman or docker, found at a path."""

    def command(limits: Limits, name: str) -> list[str]:
        words = [program, "run", "--rm", "--interactive", "--name", name, "--pull", "never"]
        words += ["--network", "none", "--read-only", "--tmpfs", f"/tmp:rw,size={limits.files}"]
        words += ["--memory", str(limits.memory), "--memory-swap", str(limits.memory), "--cpus", "1"]
        words += ["--pids-limit", str(limits.processes), "--cap-drop", "ALL"]
        words += ["--security-opt", "no-new-privileges", "--user", f"{NOBODY}:{NOBODY}", "--workdir", "/tmp"]
        # the container ends by itself where nobody is left to end it
        until = f"{limits.seconds + STARTING:g}"
        return [*words, image, "timeout", "--signal", "KILL", until, "python", *BOOTED]

    return Sandbox(Path(program).name, command, lambda name: [program, "rm", "--force", name])


def _python() -> str:
    """The interpreter of this environment outside it, which needs nothing of the environment."""
    found: str = getattr(sys, "_base_executable", "") or sys.executable
    return str(Path(found).resolve())


@functools.cache
def find_sandbox() -> Sandbox:
    """The first sandbox of this machine in which an empty program runs.

    Raises UsageError: what was tried, and what to install.
    """
    tried = []
    for name in ("bwrap", *CONTAINERS):
        program = shutil.which(name)
        if program is None:
            continue
        sandbox = bubblewrap(program) if name == "bwrap" else container(program)
        if sandbox.run("", limits=Limits(seconds=STARTING)).finished:
            return sandbox
        tried.append(name)
    were = f"{' and '.join(tried)} cannot make one here" if tried else "none was found"
    raise UsageError(
        f"Code is run in a sandbox alone, and {were}: install bubblewrap where users may make namespaces, or "
        f"podman or docker with the image {IMAGE}."
    )
