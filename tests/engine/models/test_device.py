"""Device and number format: `auto` has one answer, and both kinds of processor can be had on one machine."""

from __future__ import annotations

import os
import platform
import subprocess
import sys

import msgspec
import pytest
import torch

from engine.errors import UsageError
from engine.models import device as devices
from engine.models.device import has_onednn_bfloat16, multiplies_bfloat16_fast, resolve_device, resolve_dtype
from engine.models.files import DTYPES
from engine.protocol.processor import PROBE, Processor
from tests.conftest import AVX2

CPU = torch.device("cpu")


def test_a_device_that_is_not_there_is_refused_in_a_sentence() -> None:
    assert resolve_device("cpu") == CPU
    for wrong in ("gpu9", "tpu", "meta"):
        with pytest.raises(UsageError, match="device must be auto, cpu"):
            resolve_device(wrong)
    with pytest.raises(UsageError, match=r"torch sees no GPU here|there are only"):
        resolve_device("cuda:63")


def test_an_apple_gpu_is_used_when_asked_for_and_never_by_auto(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(torch.backends.mps, "is_available", lambda: False)
    with pytest.raises(UsageError, match="no Apple GPU here"):
        resolve_device("mps")
    monkeypatch.setattr(torch.backends.mps, "is_available", lambda: True)
    assert resolve_device("mps").type == "mps"
    assert resolve_device("auto").type != "mps"
    assert resolve_dtype("auto", torch.device("mps")) == "float32"


@pytest.mark.parametrize(
    ("capability", "dtype"), [((7, 5), "float32"), ((8, 0), "bfloat16"), ((12, 0), "bfloat16")]
)
def test_auto_on_a_gpu_follows_its_compute_capability(
    monkeypatch: pytest.MonkeyPatch, capability: tuple[int, int], dtype: str
) -> None:
    monkeypatch.setattr(torch.cuda, "get_device_capability", lambda device: capability)
    assert resolve_dtype("auto", torch.device("cuda:0")) == dtype


def test_what_was_asked_for_stays() -> None:
    for dtype in DTYPES:
        assert resolve_dtype(dtype, CPU) == dtype
    assert resolve_dtype("auto", CPU) == ("bfloat16" if multiplies_bfloat16_fast(CPU) else "float32")


@pytest.mark.parametrize(
    ("machine", "onednn", "instruction", "times", "fast"),
    [
        ("x86_64", False, True, (1.0, 0.1), False),  # held back by ONEDNN_MAX_CPU_ISA
        ("x86_64", True, True, (1.0, 9.0), True),  # a busy moment decides nothing
        ("x86_64", True, False, (1.0, 1.0), False),  # AVX512 that only imitates it
        ("x86_64", True, False, (1.0, 0.5), True),
        ("aarch64", True, False, (1.0, 0.9), False),
        ("aarch64", False, False, (1.0, 0.5), True),
    ],
)
def test_a_processor_says_it_or_is_measured(
    monkeypatch: pytest.MonkeyPatch,
    machine: str,
    onednn: bool,
    instruction: bool,
    times: tuple[float, float],
    fast: bool,
) -> None:
    monkeypatch.setattr(platform, "machine", lambda: machine)
    monkeypatch.setattr(devices, "has_onednn_bfloat16", lambda: onednn)
    monkeypatch.setattr(torch.cpu, "_is_avx512_bf16_supported", lambda: instruction)
    monkeypatch.setattr(torch.cpu, "_is_amx_tile_supported", lambda: False)
    monkeypatch.setattr(
        devices, "_seconds", dict(zip((torch.float32, torch.bfloat16), times, strict=True)).get
    )
    assert devices._cpu_multiplies_bfloat16_fast.__wrapped__() is fast


def test_measuring_leaves_the_threads_as_they_were() -> None:
    before = torch.get_num_threads()
    assert devices._seconds(torch.float32) > 0
    assert torch.get_num_threads() == before


def test_the_other_kind_of_processor_can_be_had_here() -> None:
    """What `make test-avx2` sets makes torch a processor without bfloat16."""
    if platform.machine() != "x86_64":
        pytest.skip("the variables are those of x86 processors")
    said = subprocess.run(PROBE, capture_output=True, check=True, env=os.environ | AVX2)
    found = msgspec.json.decode(said.stdout, type=Processor)
    assert (found.instructions, found.cpu_dtype) == ("AVX2", "float32")
    asked = "import torch; raise SystemExit(torch.ops.mkldnn._is_mkldnn_bf16_supported())"
    assert subprocess.run([sys.executable, "-c", asked], env=os.environ | AVX2).returncode == 0


def test_a_suite_that_is_to_run_without_bfloat16_does() -> None:
    if platform.machine() != "x86_64" or any(os.environ.get(name) != AVX2[name] for name in AVX2):
        pytest.skip("this run is to use the processor as it is")
    assert devices.instructions() == "AVX2"
    assert not has_onednn_bfloat16()
    assert resolve_dtype("auto", CPU) == "float32"
