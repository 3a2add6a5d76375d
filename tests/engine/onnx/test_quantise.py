"""Evening out changes nothing in float32; int8 of a token does not depend on its company, and is near."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import onnx
import pytest

from engine.onnx.channels import even_out
from engine.onnx.quantise import CALIBRATION_TOKENS, QUANTILE, _high_quantile, calibrate, save
from engine.scoring.graph import TrunkSession

SEQUENCES = [list(range(4, 60, step)) for step in (1, 2, 3)]


def features(path: Path, ids: list[int]) -> np.ndarray:
    session = TrunkSession(path, "fp32", threads=1)
    return session.extend(session.nothing, ids).features


def test_evening_out_changes_nothing_in_float32(tiny_onnx: Path, tmp_path: Path) -> None:
    source = tmp_path / "fp32.onnx"
    source.write_bytes((tiny_onnx / "fp32.onnx").read_bytes())
    model = onnx.load(source)
    before = {tensor.name: tensor.raw_data for tensor in model.graph.initializer}
    sizes = calibrate(model, tmp_path / "scratch", SEQUENCES)
    assert [path.name for path in tmp_path.iterdir()] == ["fp32.onnx"]
    even_out(model, sizes.channels)
    changed = [tensor for tensor in model.graph.initializer if before[tensor.name] != tensor.raw_data]
    assert len(changed) == 8  # of each layer: up, down, values, output; the fake's norms are one tensor
    save(model, tmp_path / "even.onnx")
    found, expected = (features(tmp_path / name, SEQUENCES[0]) for name in ("even.onnx", "fp32.onnx"))
    np.testing.assert_allclose(found, expected, rtol=1e-3, atol=1e-4)


def test_int8_of_a_token_does_not_depend_on_its_company(tiny_onnx: Path) -> None:
    session = TrunkSession(tiny_onnx / "int8.onnx", "int8", threads=1)
    alone = [session.extend(session.nothing, ids).features for ids in SEQUENCES]
    together = session.run([session.nothing] * 3, SEQUENCES, pad_id=3)
    for one, other in zip(alone, together, strict=True):
        np.testing.assert_allclose(one, other.features, atol=1e-4)


def test_the_embeddings_take_half(tiny_onnx: Path) -> None:
    graph = onnx.load(tiny_onnx / "int8.onnx").graph
    kinds = {tuple(tensor.dims): tensor.data_type for tensor in graph.initializer}
    assert kinds[(272, 32)] == onnx.TensorProto.FLOAT16
    assert all(kind != onnx.TensorProto.FLOAT for dims, kind in kinds.items() if dims == (32, 64))


@pytest.mark.parametrize("precision", ["fp32", "int8"])
def test_batches_with_pasts_of_any_length_give_what_one_gives(tiny_onnx: Path, precision: str) -> None:
    session = TrunkSession(tiny_onnx / f"{precision}.onnx", "fp32", threads=1)
    whole = [session.extend(session.nothing, ids) for ids in SEQUENCES]
    cuts = [0, 5, 11]
    pasts = [passage.until(cut) for passage, cut in zip(whole, cuts, strict=True)]
    rest = [ids[cut:] for ids, cut in zip(SEQUENCES, cuts, strict=True)]
    for found, passage in zip(session.run(pasts, rest, pad_id=3), whole, strict=True):
        np.testing.assert_allclose(found.features, passage.features, atol=1e-4)
        assert found.known == passage.known == len(passage)
        for one, other in zip(found.cached.arrays, passage.cached.arrays, strict=True):
            np.testing.assert_allclose(one[:, :, : found.known], other[:, :, : found.known], atol=1e-4)


@pytest.mark.parametrize("tokens", [1, 2, 57, CALIBRATION_TOKENS])
def test_the_high_quantile_is_numpys(tokens: int) -> None:
    size_T_D = np.abs(np.random.default_rng(0).normal(size=(tokens, 9))).astype(np.float32)
    expected_D = np.quantile(size_T_D, QUANTILE, axis=0)
    np.testing.assert_allclose(_high_quantile(size_T_D), expected_D, rtol=1e-5)
