"""What people and files do to a reward model: a score all the same and the person told, or a sentence."""

from __future__ import annotations

import json
import shutil
from dataclasses import replace
from pathlib import Path

import numpy as np
import onnx
import pytest

from engine.errors import ModelFilesError, NonFiniteError
from engine.scoring import Precision, Scorer

CHAT = [{"role": "user", "content": "Say something."}]
PRECISIONS = pytest.mark.parametrize("precision", ["fp32", "int8"])


@pytest.fixture
def copy(tiny_onnx: Path, tmp_path: Path) -> Path:
    return Path(shutil.copytree(tiny_onnx, tmp_path / "onnx"))


@PRECISIONS
def test_an_empty_response_has_the_score_of_its_end(tiny_onnx: Path, precision: Precision) -> None:
    (scored,) = Scorer.open(tiny_onnx, precision, threads=1).score(CHAT, [""])
    assert scored.tokens == ["<|im_end|>"]
    assert np.isfinite(scored.score)
    assert not scored.cut


@PRECISIONS
def test_a_prompt_longer_than_the_context_is_cut_on_the_left_and_told(
    tiny_onnx: Path, precision: Precision
) -> None:
    scorer = Scorer.open(tiny_onnx, precision, threads=1)
    long, longer = (
        [{"role": "user", "content": start + "word " * 500}] for start in ("", "Once upon a time ")
    )
    (one,), (other,) = scorer.score(long, ["yes"]), scorer.score(longer, ["yes"])
    assert one.cut
    assert other.cut
    assert one.tokens == ["y", "e", "s", "<|im_end|>"]
    assert other.score == pytest.approx(one.score, abs=1e-4)  # what differs was cut


@PRECISIONS
@pytest.mark.parametrize(
    "text",
    [
        "Добрый день, как дела?",
        "今天天气很好。",
        "שלום עולם",
        "👩‍👩‍👧 नमस्ते",
        "e\u0301\u202e\x1b]52;c;x\x07\ud800",
    ],
)
def test_any_language_is_scored_token_by_token(tiny_onnx: Path, precision: Precision, text: str) -> None:
    scorer = Scorer.open(tiny_onnx, precision, threads=1)
    (scored,) = scorer.score(CHAT, [text])
    assert np.isfinite(scored.token_scores).all()
    assert len(scored.tokens) == len(scored.token_scores)
    assert "".join(scored.tokens) == text.replace("\ud800", "?") + "<|im_end|>"


@PRECISIONS
def test_a_hundred_kilobytes_are_cut_told_and_leave_no_trace_in_memory(
    tiny_onnx: Path, precision: Precision
) -> None:
    scorer = Scorer.open(tiny_onnx, precision, threads=1)
    for text in ("lorem ipsum " * 8500, "x" * 100_000, "\n" * 100_000):
        (scored,) = scorer.score(CHAT, [text])
        assert scored.cut
        assert scorer.max_tokens == 512
        assert len(scored.token_scores) == 512 - min(128, len(scorer.tokeniser.encode_prompt(CHAT)))
    assert scorer.cache.bytes <= scorer.cache.limit_bytes


def test_weights_that_are_not_numbers_are_told_and_not_kept(copy: Path) -> None:
    graph = onnx.load(copy / "fp32.onnx")
    weight = next(tensor for tensor in graph.graph.initializer if tuple(tensor.dims) == (64, 32))
    weight.CopyFrom(onnx.numpy_helper.from_array(np.full((64, 32), np.nan, dtype=np.float32), weight.name))
    onnx.save(graph, copy / "fp32.onnx")
    scorer = Scorer.open(copy, "fp32", threads=1)
    for _ in range(2):
        with pytest.raises(NonFiniteError, match="not numbers"):
            scorer.score(CHAT, ["x"])
    with pytest.raises(NonFiniteError, match="not numbers"):
        scorer.score_many([(CHAT, "x")])


def test_a_tokeniser_of_another_model_is_refused(copy: Path) -> None:
    tokenizer = json.loads((copy / "tokenizer.json").read_text())
    words = tokenizer["model"]["vocab"]
    words["a"], words["b"] = words["b"], words["a"]  # as many tokens, other ids
    (copy / "tokenizer.json").write_text(json.dumps(tokenizer))
    with pytest.raises(ModelFilesError, match="not the one that the model was exported with"):
        Scorer.open(copy)
    tokenizer["model"]["vocab"] |= {f"new{n}": 300 + n for n in range(100)}
    (copy / "tokenizer.json").write_text(json.dumps(tokenizer))
    with pytest.raises(ModelFilesError, match="do not belong together"):
        Scorer.open(copy)


def test_a_head_of_another_trunk_is_refused(copy: Path) -> None:
    scorer = Scorer.open(copy, "fp32", threads=1)
    with pytest.raises(ModelFilesError, match="reads 32 features of layers 1 and"):
        scorer.with_head(replace(scorer.head, layers=(1,)))
    wide = replace(scorer.head, weight=np.zeros((1, 64), dtype=np.float32))
    with pytest.raises(ModelFilesError, match=r"reads 64 features of layers 2 and .* gives 32 of 2"):
        scorer.with_head(wide)
    (copy / "reward.json").unlink()
    with pytest.raises(ModelFilesError, match="cannot be read"):
        Scorer.open(copy, "fp32")


def test_a_graph_of_an_older_export_is_refused(copy: Path) -> None:
    graph = onnx.load(copy / "fp32.onnx")
    del graph.metadata_props[:]
    onnx.save(graph, copy / "fp32.onnx")
    with pytest.raises(ModelFilesError, match="another version"):
        Scorer.open(copy, "fp32")
