"""What number formats and devices torch would choose here, asked without importing torch.

A process of its own (`engine.models.device`) asks torch; its answer is kept in the user's cache folder under
a name made of everything that it depends on, so a machine is asked once.
"""

from __future__ import annotations

import contextlib
import hashlib
import importlib.metadata
import importlib.util
import os
import platform
import subprocess
import sys
from pathlib import Path

import msgspec
import platformdirs

from engine.files import write_atomic
from engine.protocol.launch import worker_environment

PROBE: tuple[str, ...] = (sys.executable, "-P", "-m", "engine.models.device")
PATIENCE = 120.0  # seconds: importing torch for the first time reads gigabytes
DEPENDS_ON = ("ATEN_CPU_CAPABILITY", "ONEDNN_MAX_CPU_ISA", "DNNL_MAX_CPU_ISA", "CUDA_VISIBLE_DEVICES")
"""Variables that change what torch can do here."""
GPU_FILE = Path("/dev/nvidia0")
CPU_FILE = Path("/proc/cpuinfo")


class Processor(msgspec.Struct, frozen=True, kw_only=True):
    """What torch says of this machine."""

    instructions: str  # that its kernels use on the CPU: AVX512, AVX2, …
    cpu_dtype: str  # what dtype auto is on the CPU
    device: str  # what device auto is
    device_name: str  # the same, for a person
    device_dtype: str  # what dtype auto is there
    gflops: float  # of one thread of the CPU, in `cpu_dtype`, when it was asked

    def dtype(self, wanted: str, device: str) -> str:
        """The number format that a configuration's `dtype` and `device` lead to."""
        if wanted != "auto":
            return wanted
        if device == "cpu":
            return self.cpu_dtype
        if device == "mps":
            return "float32"
        return self.device_dtype  # auto, or a GPU: those of one machine are taken to be alike

    def place(self, device: str) -> str:
        """The kind of device that a configuration's `device` leads to: cpu, cuda or mps."""
        return (self.device if device == "auto" else device).partition(":")[0]


def ask(*, again: bool = False) -> Processor | None:
    """What torch says; None where it is not installed or has no answer.  `again` measures anew."""
    if importlib.util.find_spec("torch") is None:
        return None
    cache = _cache_file()
    if not again:
        with contextlib.suppress(OSError, msgspec.DecodeError):
            return msgspec.json.decode(cache.read_bytes(), type=Processor)
    try:
        answer = subprocess.run(
            PROBE, stdin=subprocess.DEVNULL, capture_output=True, timeout=PATIENCE, check=True,
            env=worker_environment(),
        )  # fmt: skip
        processor = msgspec.json.decode(answer.stdout, type=Processor)
    except (OSError, subprocess.SubprocessError, msgspec.DecodeError):
        return None
    with contextlib.suppress(OSError):  # a full disk: the next process asks again
        cache.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
        write_atomic(cache, answer.stdout)
    return processor


def _cache_file() -> Path:
    """Named after what the answer depends on: another processor, torch or variable has another file."""
    parts = [importlib.metadata.version("torch"), platform.machine(), _cpu(), str(GPU_FILE.exists())]
    parts += [f"{name}={os.environ.get(name, '')}" for name in DEPENDS_ON]
    parts.append(",".join(Processor.__struct_fields__))
    name = hashlib.sha256("\n".join(parts).encode()).hexdigest()[:16]
    root = os.environ.get("WORKBENCH_CACHE") or platformdirs.user_cache_dir("workbench")
    return Path(root).expanduser() / "processors" / f"{name}.json"


def _cpu() -> str:
    """Model and flags of the CPU, where the system tells them."""
    try:
        lines = CPU_FILE.read_text(encoding="utf-8", errors="replace").splitlines()
    except OSError:
        return platform.processor()
    first = lines[: lines.index("")] if "" in lines else lines
    return "\n".join(line for line in first if line.startswith(("model name", "flags", "Features", "CPU ")))
