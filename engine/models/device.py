"""Where a job computes and in which number format: the one place that turns `auto` into an answer.

As a program, `python -m engine.models.device`, it prints what `auto` means here as JSON, for processes that
do not import torch (`engine.protocol.processor`).
"""

from __future__ import annotations

import platform
import sys
import time
from functools import lru_cache

import msgspec
import torch

from engine.errors import UsageError
from engine.protocol.processor import Processor

CHOICES = "auto, cpu, cuda, cuda:N or mps"
FAST_FROM = (8, 0)  # compute capability of the first CUDA devices with bfloat16 in their matrix units
CLEARLY_FASTER = 1.25
"""How many times as fast as float32 a measured bfloat16 product must be: a busy moment decides nothing."""
TIMED_SIZE, TIMED_ROUNDS = (128, 768, 768), 5


def resolve_device(wanted: str = "auto") -> torch.device:
    """The torch device: `auto` is the first CUDA device, or the CPU; never `mps`, which has to be asked for.

    Raises UsageError for a device that is none, or that this machine does not have.
    """
    if wanted == "auto":
        return torch.device("cuda:0" if torch.cuda.is_available() else "cpu")
    try:
        chosen = torch.device(wanted)
    except RuntimeError as error:
        raise UsageError(f"device must be {CHOICES}, not “{wanted}”.") from error
    if chosen.type == "cuda":
        return _cuda(chosen, wanted)
    if chosen.type == "mps" and not torch.backends.mps.is_available():
        raise UsageError(f"device is “{wanted}”, but torch has no Apple GPU here; choose auto or cpu.")
    if chosen.type not in ("cpu", "mps"):
        raise UsageError(f"device must be {CHOICES}, not “{wanted}”.")
    return chosen


def _cuda(chosen: torch.device, wanted: str) -> torch.device:
    count = torch.cuda.device_count() if torch.cuda.is_available() else 0
    if count == 0:
        raise UsageError(f"device is “{wanted}”, but torch sees no GPU here; choose auto or cpu.")
    if (chosen.index or 0) >= count:
        raise UsageError(f"device is “{wanted}”, but the GPUs here are cuda:0 to cuda:{count - 1}.")
    return torch.device("cuda", chosen.index or 0)


def describe(device: torch.device) -> str:
    """The device as a person is told of it: `cpu AVX2`, `cuda:0 NVIDIA …`, `mps`."""
    if device.type == "cuda":
        return f"{device} {torch.cuda.get_device_name(device)}"
    return f"cpu {instructions()}" if device.type == "cpu" else str(device)


def instructions() -> str:
    """The instruction set that torch's own kernels use on this CPU: AVX512, AVX2, DEFAULT, …"""
    return str(torch.backends.cpu.get_cpu_capability())


def resolve_dtype(wanted: str, device: torch.device) -> str:
    """`auto` is bfloat16 where the device multiplies it fast, else float32; what was asked for stays."""
    if wanted != "auto":
        return wanted
    return "bfloat16" if multiplies_bfloat16_fast(device) else "float32"


def multiplies_bfloat16_fast(device: torch.device) -> bool:
    """Whether matrix products in bfloat16 are faster than in float32 on a device.

    An x86 CPU says so itself; of others, and of AVX512 without the instructions for bfloat16, a measurement
    of some milliseconds does.  Nobody has tried it on `mps`: False there.
    """
    if device.type == "cuda":
        return torch.cuda.get_device_capability(device) >= FAST_FROM
    return device.type == "cpu" and _cpu_multiplies_bfloat16_fast()


def has_onednn_bfloat16() -> bool:
    """Whether oneDNN has bfloat16 layers on this CPU, as torch tells; `ONEDNN_MAX_CPU_ISA` counts."""
    known = hasattr(torch.ops.mkldnn, "_is_mkldnn_bf16_supported")
    return (
        torch.backends.mkldnn.is_available() and known and bool(torch.ops.mkldnn._is_mkldnn_bf16_supported())
    )


@lru_cache(maxsize=1)
def _cpu_multiplies_bfloat16_fast() -> bool:
    if platform.machine().lower() in ("x86_64", "amd64"):
        if not has_onednn_bfloat16():
            return False
        if torch.cpu._is_avx512_bf16_supported() or torch.cpu._is_amx_tile_supported():
            return True
    return _seconds(torch.float32) > CLEARLY_FASTER * _seconds(torch.bfloat16)


def _seconds(dtype: torch.dtype) -> float:
    """Of one product on one thread, the best of a few: what else the machine does matters little then."""
    rows, inner, columns = TIMED_SIZE
    x, weight = torch.ones(rows, inner, dtype=dtype), torch.ones(columns, inner, dtype=dtype)
    threads, best = torch.get_num_threads(), float("inf")
    torch.set_num_threads(1)
    try:
        for _ in range(TIMED_ROUNDS + 1):
            started = time.perf_counter()
            torch.nn.functional.linear(x, weight)
            best = min(best, time.perf_counter() - started)
    finally:
        torch.set_num_threads(threads)
    return best


def processor() -> Processor:
    """What `auto` means on this machine, and how fast it multiplies."""
    device, cpu = resolve_device(), torch.device("cpu")
    dtype = resolve_dtype("auto", cpu)
    rows, inner, columns = TIMED_SIZE
    rate = 2 * rows * inner * columns / _seconds(getattr(torch, dtype))
    return Processor(
        instructions=instructions(),
        cpu_dtype=dtype,
        device=str(device),
        device_name=describe(device),
        device_dtype=resolve_dtype("auto", device),
        gflops=round(rate / 1e9, 1),
    )


if __name__ == "__main__":
    sys.stdout.buffer.write(msgspec.json.encode(processor()))
