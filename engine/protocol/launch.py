"""Start a worker in a process group of its own, find it again, and end it.

A worker outlives the workbench that started it.  It is known by pid and start time, because a pid alone can
be reused by another program.
"""

from __future__ import annotations

import atexit
import contextlib
import fcntl
import importlib.util
import os
import shutil
import signal
import subprocess
import sys
import threading
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import BinaryIO

import msgspec
import psutil

from engine.cores import usable_cores
from engine.errors import WorkbenchError
from engine.files import PRIVATE_FILE, PRIVATE_FOLDER, write_atomic
from engine.protocol.catalog import JobKind
from engine.protocol.configs import JobConfig
from engine.protocol.processes import MEETING
from engine.protocol.rundir import RunDir

SPEED = {
    # Threads of one product wait for one another.  libgomp's long default spin makes them some twenty times
    # slower as soon as anything else wants a core; docs/facts.md has what this one costs, alone and not.
    "GOMP_SPINCOUNT": "10000",
    # Tensors come and go.  glibc returns large ones to the system at once, and fresh pages, zeroed one by
    # one, cost more than the arithmetic on them: keep the memory, in huge pages.  Other systems ignore this.
    "GLIBC_TUNABLES": "glibc.malloc.hugetlb=1:glibc.malloc.mmap_threshold=2000000000:"
    "glibc.malloc.trim_threshold=4000000000",
}
"""What makes numerical work in a worker faster, set before it starts and unless the person has set it."""

RUN_VARIABLE = "WORKBENCH_RUN_DIR"
"""In the environment of a worker and of all that it starts: by this they are found."""

BATCH = "WORKBENCH_BATCH"
"""In the environment of a worker that a cluster may end and start again: a signal is not a person's wish."""

WORKER: tuple[str, ...] = (sys.executable, "-P", "-m", "engine.worker")
CARRIER: tuple[str, ...] = (sys.executable, "-P", "-m", "engine.elsewhere.carrier")
"""What stands in the worker's place for a run that computes on another machine."""
DONE, FAILED, USAGE, TOLD, STOPPED = 0, 1, 2, 3, 130
"""Exit codes of both.  TOLD: the last line of the error output is a sentence that says all."""

# The start time of a process is read from a clock tick counter, so two readings may differ by a rounding.
SAME_START = 0.5  # seconds


class Process(msgspec.Struct, frozen=True):
    """A worker process."""

    pid: int
    started: float  # seconds since the epoch


class Nodes(msgspec.Struct, frozen=True):
    """Machines that compute one run together, on a file system that they share."""

    count: int
    interface: str
    """The network interface over which their processes talk, as each of them calls it."""


# Workers that this process started: they stay zombies until they are waited for.
_children: dict[int, tuple[subprocess.Popen[bytes], float]] = {}
_children_lock = threading.Lock()


@atexit.register
def _let_go() -> None:
    """Workers go on without this process, which need not be warned of it when it ends."""
    for child, _ in _children.values():
        if child.poll() is None:
            child.returncode = 0


def missing_packages(job: JobKind, config: JobConfig) -> str | None:
    """A sentence about the packages that the job needs and that are not installed, or None."""
    needed = job.needs if config.computes else ()
    missing = [name for name in needed if importlib.util.find_spec(name) is None]
    if not missing:
        return None
    return (
        f"“{job.title}” needs {', '.join(missing)}, which this installation leaves out; "
        "add it in the folder that it was installed from: pip install '.[train]'."
    )


def spawn(
    run: RunDir,
    worker: Sequence[str] = WORKER,
    inherited: Sequence[int] = (),
    processes: int = 1,
    nodes: Nodes | None = None,
) -> Process:
    """Start a worker on `run` and return at once; `process.json` says which process it is.

    `worker` is the command that the run directory is appended to; it keeps the file
    descriptors `inherited`.  Several `processes` of it (0: one for each GPU) are started by `torchrun`, which
    is then the process that is known.  With `nodes` the command `worker` begins with what starts the rest on
    each of them.  A `stop` file that lies there counts.
    Raises WorkbenchError when no process can be started.
    """
    count = processes or max(1, gpus())
    with _private_append(run.stdout_path) as stdout, _private_append(run.stderr_path) as stderr:
        try:
            child = subprocess.Popen(
                [*together(worker, run, count, nodes), str(run.path)],
                stdin=subprocess.DEVNULL,
                stdout=stdout,
                stderr=stderr,
                env=run_environment(run, count, nodes),
                start_new_session=True,
                pass_fds=tuple(inherited),
            )
        except OSError as error:
            raise WorkbenchError(f"The worker process could not be started: {error}.") from error
    process = Process(pid=child.pid, started=_start_time(child.pid) or 0.0)
    with _children_lock:
        _children[child.pid] = child, process.started
    record_process(run, process)
    return process


def together(worker: Sequence[str], run: RunDir, processes: int, nodes: Nodes | None = None) -> list[str]:
    """The command that starts so many processes of `worker`, which is `python … -m MODULE`, on each node.

    They find one another by a file in the run directory, so that no port of a machine is opened for it.
    """
    if processes == 1 and nodes is None:
        return list(worker)
    shutil.rmtree(run.ranks_path, ignore_errors=True)
    run.ranks_path.mkdir(mode=PRIVATE_FOLDER)
    python, module = worker[: worker.index("-m")], worker[worker.index("-m") :]
    options = (
        *("--nnodes", str(nodes.count if nodes else 1), "--nproc-per-node", str(processes)),
        *("--max-restarts", "0"),
        *("--rdzv-backend", "c10d", "--rdzv-conf", "store_type=file", "--rdzv-id", "run"),
        *("--rdzv-endpoint", str(run.ranks_path / "start")),
    )
    return [*python, "-m", "torch.distributed.run", *options, *module]


def shared_environment(run: RunDir, processes: int, nodes: Nodes | None = None) -> dict[str, str]:
    """What processes that train together need to know: where they meet, and their part of the cores."""
    if processes == 1 and nodes is None:
        return {}
    loopback = "lo" if sys.platform == "linux" else "lo0"
    shared = {
        MEETING: str(run.ranks_path / "meeting"),
        "PYTHONSAFEPATH": "1",
        "GLOO_SOCKET_IFNAME": nodes.interface if nodes else loopback,
    }
    if nodes is not None:
        shared["NCCL_SOCKET_IFNAME"] = nodes.interface
    elif "OMP_NUM_THREADS" not in os.environ:
        shared["OMP_NUM_THREADS"] = str(max(1, usable_cores() // processes))
    return shared


def gpus() -> int:
    """NVIDIA GPUs that a process may use here, without torch."""
    named = os.environ.get("CUDA_VISIBLE_DEVICES")
    if named is not None:
        return len([part for part in named.split(",") if part.strip() and part.strip() != "-1"])
    return len([path for path in Path("/dev").glob("nvidia*") if path.name.removeprefix("nvidia").isdigit()])


def record_process(run: RunDir, process: Process) -> None:
    """Write pid and start time into the run directory, by which the run is found again."""
    write_atomic(run.process_path, msgspec.json.encode(process) + b"\n")


def read_process(run: RunDir) -> Process | None:
    """The process that last worked on `run`, alive or not; None when there was none."""
    return process_in(run.process_path)


def process_in(path: Path) -> Process | None:
    """The process that a file names; None where there is no such file."""
    try:
        return msgspec.json.decode(path.read_bytes(), type=Process)
    except (FileNotFoundError, msgspec.DecodeError):
        return None


def this_process() -> Process:
    """The calling process."""
    return Process(pid=os.getpid(), started=_start_time(os.getpid()) or 0.0)


def alive(pid: int, started: float) -> bool:
    """Whether the process of that pid and start time is still running; a zombie is not."""
    with _children_lock:
        child, began = _children.get(pid, (None, 0.0))
    if child is not None and abs(began - started) <= SAME_START:
        return (
            child.poll() is None
        )  # its pid is not given away before it is waited for: no need to look at /proc
    now = _start_time(pid)
    return now is not None and abs(now - started) <= SAME_START


def exit_code(pid: int) -> int | None:
    """How a worker started by this process ended: its exit code, or minus the signal; None if unknown."""
    with _children_lock:
        child, _ = _children.get(pid, (None, 0.0))
    return None if child is None else child.poll()


def signal_name(code: int) -> str:
    """The signal that an exit code below 0 tells of."""
    try:
        return signal.Signals(-code).name
    except ValueError:  # a real-time signal has none
        return f"signal {-code}"


def busy(run: RunDir) -> bool:
    """Whether some worker holds the run directory's lock, whatever its pid."""
    try:
        with run.lock_path.open("r") as file:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except FileNotFoundError:
        return False
    except BlockingIOError:
        return True
    return False


@contextlib.contextmanager
def only_worker(run: RunDir) -> Iterator[bool]:
    """Hold the run directory's lock for the block; False when another process holds it."""
    with run.lock_path.open("a") as file:
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            yield False
            return
        yield True


def request_stop(run: RunDir) -> None:
    """Ask the worker to stop where it next can, and keep what it has."""
    run.stop_path.touch(mode=PRIVATE_FILE)
    process = read_process(run)
    if process is not None:
        _signal(process, signal.SIGTERM)


def request_pause(run: RunDir) -> None:
    """Ask a training worker to stop at the end of its step, with a checkpoint there."""
    run.pause_path.touch(mode=PRIVATE_FILE)


def kill(run: RunDir) -> None:
    """End the worker and everything it started, at once, also what has left its process group."""
    process = read_process(run)
    if process is None:
        return
    started = _started_by(run, process)
    _signal(process, signal.SIGKILL)
    for child in started:
        with contextlib.suppress(psutil.Error):  # psutil looks at the start time, so no stranger is hit
            child.kill()


def _started_by(run: RunDir, process: Process) -> list[psutil.Process]:
    """The worker's children and theirs, and those whose parents have gone: they have its environment."""
    by_pid: dict[int, psutil.Process] = {}
    if alive(process.pid, process.started):
        with contextlib.suppress(psutil.Error):
            by_pid = {child.pid: child for child in psutil.Process(process.pid).children(recursive=True)}
    for other in psutil.process_iter():
        if other.pid not in (os.getpid(), process.pid):
            with contextlib.suppress(psutil.Error, OSError):
                if other.environ().get(RUN_VARIABLE) == str(run.path):
                    by_pid[other.pid] = other
    return list(by_pid.values())


def _signal(process: Process, number: signal.Signals) -> None:
    """Signal the worker's process group, but never a stranger that has its pid now."""
    if not alive(process.pid, process.started):
        return
    with contextlib.suppress(ProcessLookupError, PermissionError):
        if os.getpgid(process.pid) == process.pid:
            os.killpg(process.pid, number)
        else:
            os.kill(process.pid, number)


def _start_time(pid: int) -> float | None:
    try:
        process = psutil.Process(pid)
        if process.status() == psutil.STATUS_ZOMBIE:
            return None
        return float(process.create_time())
    except psutil.Error:
        return None


def _private_append(path: Path) -> BinaryIO:
    return os.fdopen(os.open(path, os.O_WRONLY | os.O_CREAT | os.O_APPEND, PRIVATE_FILE), "ab")


def worker_environment() -> dict[str, str]:
    """The environment of every process with torch: this tree's modules, what makes it quick, no telemetry."""
    root = str(Path(__file__).resolve().parents[2])  # the folder that holds `engine`
    env = dict(os.environ)
    env["PYTHONPATH"] = os.pathsep.join(part for part in (root, env.get("PYTHONPATH", "")) if part)
    env["PYTHONUNBUFFERED"] = "1"
    env.setdefault("HF_HUB_DISABLE_TELEMETRY", "1")
    env.setdefault("DO_NOT_TRACK", "1")
    env.setdefault("TOKENIZERS_PARALLELISM", "false")
    for name, value in SPEED.items():
        env.setdefault(name, value)
    return env


def run_environment(run: RunDir, processes: int, nodes: Nodes | None = None) -> dict[str, str]:
    """The environment of a run's worker: no network unless a model has to come from the hub."""
    env = worker_environment()
    env[RUN_VARIABLE] = str(run.path)
    if not any(is_hub_id(model.folder) for model in run.inputs.models.values()):
        env.setdefault("HF_HUB_OFFLINE", "1")
    return env | shared_environment(run, processes, nodes)


def is_hub_id(model: str) -> bool:
    """Whether `model` looks like `organisation/name` of the model hub and is no folder here."""
    parts = model.split("/")
    return len(parts) == 2 and all(parts) and not model.startswith((".", "~")) and not Path(model).exists()
