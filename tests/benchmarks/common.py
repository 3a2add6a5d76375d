"""What every benchmark needs: the machine in words, narration on stderr, one JSON line on stdout."""

from __future__ import annotations

import argparse
import importlib.metadata
import json
import os
import platform
import statistics
import subprocess
import sys
from pathlib import Path
from typing import Any

PEERS = Path(__file__).resolve().parents[2].parent / "shared" / "peers"
PANDALM = PEERS.parent / "data" / "pandalm_pairs.jsonl"


def parser(what: str) -> argparse.ArgumentParser:
    """The command line that all benchmarks share."""
    arguments = argparse.ArgumentParser(description=what)
    arguments.add_argument(
        "--peer", type=Path, metavar="PYTHON", help="interpreter that has the peer installed"
    )
    return arguments


def add_dtypes(arguments: argparse.ArgumentParser) -> None:
    """The number format of ours and of the peer: each side is to be measured at its faster one."""
    formats = ("bfloat16", "float32")
    arguments.add_argument("--dtype", choices=formats, help="of ours; default: what a job would take here")
    arguments.add_argument("--peer-dtype", choices=formats, help="of the peer; default: as ours")


def resolve_dtypes(options: argparse.Namespace) -> None:
    """Fill in the formats that were not named."""
    if options.dtype is None:
        from engine.models.device import resolve_device, resolve_dtype

        options.dtype = resolve_dtype("auto", resolve_device())
    options.peer_dtype = options.peer_dtype or options.dtype


def say(text: str) -> None:
    """Narrate on stderr; stdout is for the figures."""
    print(text, file=sys.stderr, flush=True)


def machine() -> dict[str, object]:
    """The kind of machine: processor, cores, memory, Python."""
    model = platform.processor() or platform.machine()
    flags = ""
    cpuinfo = Path("/proc/cpuinfo")
    if cpuinfo.exists():
        for line in cpuinfo.read_text().splitlines():
            if line.startswith("model name"):
                model = line.partition(":")[2].strip()
            elif line.startswith("flags"):
                flags = line
    memory = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") / 2**30
    return {
        "processor": model,
        "cores": os.cpu_count(),
        "memory_gib": round(memory, 1),
        "bf16": "avx512_bf16" in flags,
        "isa": os.environ.get("ATEN_CPU_CAPABILITY", "the processor's own"),
        "python": platform.python_version(),
    }


def versions(*names: str) -> dict[str, str]:
    """Installed versions of the named packages."""
    return {name: importlib.metadata.version(name) for name in names}


def report(what: str, **figures: object) -> None:
    """Print the one JSON line."""
    print(json.dumps({"what": what, **figures, "machine": machine()}))


def peer_json(python: Path, script: str, *arguments: str) -> dict[str, object]:
    """Run a peer's script in its own environment and read the last line that it prints."""
    path = PEERS / script
    if not path.exists():
        raise SystemExit(f"The peer's script is not at {path}.")
    say(f"peer: {script} {' '.join(arguments)}")
    done = subprocess.run([str(python), str(path), *arguments], capture_output=True, text=True, check=False)
    if done.returncode:
        raise SystemExit(f"The peer failed:\n{done.stderr[-2000:]}")
    figures: dict[str, object] = json.loads(done.stdout.strip().splitlines()[-1])
    return figures


def worker_json(module: str, options: dict[str, Any]) -> Any:
    """What `python -m MODULE --child` prints last, in a process started as a worker; it reads `options`."""
    from engine.protocol.launch import SPEED

    done = subprocess.run(
        [sys.executable, "-m", module, "--child"],
        input=json.dumps(options),
        env=SPEED | os.environ,
        capture_output=True,
        text=True,
        check=False,
    )
    if done.returncode:
        raise SystemExit(f"{module} failed:\n{done.stderr[-2000:]}")
    return json.loads(done.stdout.strip().splitlines()[-1])


def summary(seconds: list[float]) -> dict[str, float]:
    """Minimum, median and maximum, in the unit given."""
    return {
        "min": round(min(seconds), 4),
        "median": round(statistics.median(seconds), 4),
        "max": round(max(seconds), 4),
    }
