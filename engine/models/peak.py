"""What a device multiplies at best, and how much of its memory a process has taken."""

from __future__ import annotations

import resource
import sys
import time

import torch

from engine.models import device as devices

GPUS = {
    "GB200": 2500, "B200": 2250, "B100": 1750, "GH200": 989, "H200 NVL": 836, "H200": 989, "H100 PCIe": 756,
    "H100 NVL": 836, "H100": 989, "H800": 989, "H20": 148, "A100": 312, "A800": 312, "L40S": 362, "L40": 181,
    "L4": 121, "A40": 150, "A30": 165, "A10": 125, "RTX A6000": 155, "RTX 6000 Ada": 364, "RTX 5090": 209,
    "RTX 4090": 165, "RTX 3090": 71, "MI325X": 1307, "MI300X": 1307,
}  # fmt: skip
"""10¹² operations a second in bfloat16, dense, by a part of the name; from the makers' data sheets.  The
first that fits counts."""
HALVES = (torch.bfloat16, torch.float16)
TIMED, ROUNDS = (256, 1024, 1024), 3


def best_rate(device: torch.device, dtype: torch.dtype) -> float | None:
    """Operations a second of a product of matrices: of a GPU as published, of a processor as measured now,
    on the threads that torch has (some 30 ms); None where neither is known.
    """
    if device.type == "cpu":
        return _measured(dtype)
    name = devices.describe(device)
    if device.type != "cuda" or dtype not in HALVES or "MIG" in name:
        return None
    words = f"{name.replace('-', ' ')} "
    return next((rate * 1e12 for part, rate in GPUS.items() if f" {part} " in words), None)


def _measured(dtype: torch.dtype) -> float:
    rows, inner, columns = TIMED
    x, weight = torch.ones(rows, inner, dtype=dtype), torch.ones(columns, inner, dtype=dtype)
    best = float("inf")
    for _ in range(ROUNDS + 1):  # the first one makes ready
        started = time.perf_counter()
        torch.nn.functional.linear(x, weight)
        best = min(best, time.perf_counter() - started)
    return 2 * rows * inner * columns / best


def peak_memory(device: torch.device) -> int:
    """Bytes at the most so far: of the GPU what tensors took, of the processor the process's own."""
    if device.type == "cuda":
        return int(torch.cuda.max_memory_allocated(device))
    most = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return most if sys.platform == "darwin" else most * 1024
