"""How large the integers of a weight may be where the file is used.

x86 processors without VNNI multiply unsigned by signed bytes with `vpmaddubsw`, which adds neighbouring
products in 16 bits and cuts what does not fit: 255·127 + 255·127 does not, 255·64 + 255·64 does
(onnxruntime's advice for such machines is the same, `reduce_range`).  VNNI, AMX and ARM add in 32 bits.
"""

from __future__ import annotations

import platform
from functools import lru_cache
from pathlib import Path

import torch

FULL, REDUCED = 127, 64
"""Largest integer of a weight: of eight bits, and of what two products in 16 bits can hold."""
ADDS_IN_32_BITS = frozenset({"avx512_vnni", "avx_vnni", "amx_int8"})
CPU_FILE = Path("/proc/cpuinfo")


def largest_integer() -> int:
    """FULL where this machine adds products of bytes in 32 bits, else REDUCED."""
    return REDUCED if cuts_sums_of_bytes() else FULL


@lru_cache(maxsize=1)
def cuts_sums_of_bytes() -> bool:
    """Whether this is an x86 processor without VNNI.  No variable turns onnxruntime into one."""
    if platform.machine().lower() not in ("x86_64", "amd64"):
        return False
    try:
        lines = [line for line in CPU_FILE.read_text().splitlines() if line.startswith("flags")]
    except OSError:  # no Linux: torch knows of AVX512's VNNI, and the smaller integers are right everywhere
        return not torch.cpu._is_vnni_supported()
    return not ADDS_IN_32_BITS & set(" ".join(lines).split())
