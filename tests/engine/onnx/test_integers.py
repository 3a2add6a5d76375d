"""Weights of seven bits where a processor would cut sums of products; what it does, written in NumPy."""

from __future__ import annotations

import platform
from pathlib import Path

import numpy as np
import onnx
import pytest
from onnx import numpy_helper

from engine.onnx import integers
from engine.onnx.integers import FULL, REDUCED, cuts_sums_of_bytes, largest_integer
from engine.onnx.quantise import quantise
from engine.onnx.weight_rounding import column_scales, nearest
from engine.scoring.graph import TrunkSession

SEQUENCES = [list(range(4, 60, step)) for step in (1, 2, 3)]
MOST = np.iinfo(np.int16).max


def cut_product(x_M_K: np.ndarray, weight_K_N: np.ndarray) -> np.ndarray:
    """What `vpmaddubsw` makes of unsigned by signed bytes: neighbours are added up in 16 bits, and cut."""
    products = x_M_K.astype(np.int64)[:, :, None] * weight_K_N.astype(np.int64)[None]
    return np.clip(products[:, 0::2] + products[:, 1::2], -MOST - 1, MOST).sum(1)


def test_smaller_integers_are_added_up_right_and_full_ones_are_not() -> None:
    draw = np.random.default_rng(0)
    weight_K_N, x_M_K = draw.normal(size=(64, 8)), draw.integers(0, 256, size=(200, 64), dtype=np.uint8)
    x_M_K[0] = 255
    for largest, right in ((FULL, False), (REDUCED, True)):
        whole = nearest(weight_K_N, column_scales(weight_K_N, largest), largest)
        assert np.abs(whole.astype(int)).max() == largest
        exact = x_M_K.astype(np.int64) @ whole.astype(np.int64)
        assert np.array_equal(cut_product(x_M_K, whole), exact) is right
    extreme = np.full((2, 1), REDUCED, dtype=np.int8)
    for sign in (1, -1):
        assert cut_product(np.full((1, 2), 255, np.uint8), sign * extreme)[0, 0] == sign * 2 * 255 * REDUCED


@pytest.mark.parametrize("careful", [False, True])
def test_a_graph_of_smaller_integers_has_no_other_and_stays_near(
    tiny_onnx: Path, tmp_path: Path, careful: bool
) -> None:
    quantise(tiny_onnx / "fp32.onnx", tmp_path / "int8.onnx", SEQUENCES, careful, REDUCED)
    graph = onnx.load(tmp_path / "int8.onnx").graph
    weights = [numpy_helper.to_array(t) for t in graph.initializer if t.data_type == onnx.TensorProto.INT8]
    assert weights
    assert max(np.abs(weight.astype(int)).max() for weight in weights) == REDUCED
    (exact, found) = (
        TrunkSession(path, precision, threads=1)  # type: ignore[arg-type]
        for path, precision in ((tiny_onnx / "fp32.onnx", "fp32"), (tmp_path / "int8.onnx", "int8"))
    )
    for ids in SEQUENCES:
        expected = exact.extend(exact.nothing, ids).features
        error = found.extend(found.nothing, ids).features - expected
        assert np.abs(error).mean() < 0.2 * np.abs(expected).mean()


@pytest.mark.parametrize(
    ("machine", "flags", "cuts"),
    [
        ("x86_64", "fpu avx2 fma", True),
        ("x86_64", "avx2 avx512f avx512bw avx512vl", True),  # adds in 16 bits too
        ("x86_64", "avx2 avx512f avx512_vnni", False),
        ("x86_64", "avx2 avx_vnni", False),
        ("aarch64", "fp asimd", False),
    ],
)
def test_which_processors_cut(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, machine: str, flags: str, cuts: bool
) -> None:
    (tmp_path / "cpuinfo").write_text(f"processor : 0\nmodel name : any\nflags\t\t: {flags}\n\n")
    monkeypatch.setattr(integers, "CPU_FILE", tmp_path / "cpuinfo")
    monkeypatch.setattr(platform, "machine", lambda: machine)
    cuts_sums_of_bytes.cache_clear()
    try:
        assert cuts_sums_of_bytes() is cuts
        assert largest_integer() == (REDUCED if cuts else FULL)
    finally:
        cuts_sums_of_bytes.cache_clear()
