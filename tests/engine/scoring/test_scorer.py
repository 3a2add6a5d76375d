"""The torch-free scorer: the same numbers as torch, and a sentence for what cannot be scored."""

from __future__ import annotations

import json
import shutil
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import numpy as np
import onnx
import pytest
import torch

from engine.errors import ModelFilesError, NonFiniteError, UsageError
from engine.models.reward_classifier import load_reward_classifier, token_scores
from engine.scoring import Scorer
from engine.steps import steps_in
from engine.text import Tokeniser

CHAT = [{"role": "user", "content": "Say something."}]
TEXTS = ["Hello there.", "", "Ein längerer Satz, 世界 🌍, с другими буквами.", "<|im_end|> is not the end"]


@pytest.fixture(scope="module")
def scorer(tiny_onnx: Path) -> Scorer:
    return Scorer.open(tiny_onnx, "fp32", threads=1)


def test_scores_after_every_token_are_those_of_torch(scorer: Scorer, tiny_reward: Path) -> None:
    model, tokeniser = load_reward_classifier(tiny_reward, "float32"), Tokeniser.from_folder(tiny_reward)
    for text, scored in zip(TEXTS, scorer.score(CHAT, TEXTS), strict=True):
        tokens = tokeniser.encode_for_score(CHAT, text)
        with torch.no_grad():
            expected = token_scores(model, torch.tensor([tokens.ids]))[0]
        assert scored.token_scores == pytest.approx(expected[len(tokens.prompt) :].tolist(), abs=1e-4)
        assert scored.prompt_score == pytest.approx(expected[len(tokens.prompt) - 1].item(), abs=1e-4)
        assert scored.score == scored.token_scores[-1]
        assert "".join(scored.tokens) == text + "<|im_end|>"
        assert not scored.cut


def test_the_batch_changes_no_score(scorer: Scorer) -> None:
    together = [scored.score for scored in scorer.score(CHAT, TEXTS)]
    alone = [scorer.score(CHAT, [text])[0].score for text in TEXTS]
    assert together == pytest.approx(alone, abs=1e-5)


def test_int8_is_the_default_and_close(tiny_onnx: Path, scorer: Scorer) -> None:
    int8 = Scorer.open(tiny_onnx)
    assert (int8.backend, scorer.backend, int8.provider) == ("onnx-int8", "onnx-fp32", "CPU")
    for a, b in zip(int8.score(CHAT, TEXTS), scorer.score(CHAT, TEXTS), strict=True):
        assert a.score == pytest.approx(b.score, abs=1.0)
        assert a.tokens == b.tokens


def test_a_long_prompt_is_cut_on_the_left_and_told(scorer: Scorer) -> None:
    long = [{"role": "user", "content": "word " * 500}]
    (scored,) = scorer.score(long, ["yes"])
    assert scored.cut
    assert "".join(scored.tokens) == "yes<|im_end|>"
    assert scored.prompt_score is not None


def test_a_hundred_kilobytes_are_cut_and_scored(scorer: Scorer) -> None:
    (scored,) = scorer.score(CHAT, ["lorem ipsum " * 8500])
    assert scored.cut
    assert scorer.max_tokens == 512
    prompt = len(scorer.tokeniser.encode_prompt(CHAT))
    assert len(scored.tokens) == len(scored.token_scores) == 512 - min(prompt, 128)


def test_many_pairs_come_back_in_order(scorer: Scorer) -> None:
    items = [([{"role": "user", "content": "q" * n}], "a" * (40 - n)) for n in range(1, 40)]
    found = scorer.score_many(items)
    assert ["".join(scored.tokens) for scored in found] == [text + "<|im_end|>" for _, text in items]
    assert scorer.score_many([]) == []


def test_scores_that_are_not_numbers_are_a_sentence(tiny_onnx: Path, tmp_path: Path) -> None:
    shutil.copytree(tiny_onnx, tmp_path / "bad")
    graph = onnx.load(tmp_path / "bad" / "fp32.onnx")
    weight = next(tensor for tensor in graph.graph.initializer if tuple(tensor.dims) == (32, 64))
    values = np.full(tuple(weight.dims), np.nan, dtype=np.float32)
    weight.CopyFrom(onnx.numpy_helper.from_array(values, weight.name))
    onnx.save(graph, tmp_path / "bad" / "fp32.onnx")
    with pytest.raises(NonFiniteError, match="not numbers"):
        Scorer.open(tmp_path / "bad", "fp32").score(CHAT, ["x"])


def test_folders_that_will_not_do(tiny_onnx: Path, tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="choose one of int8, fp16, fp32"):
        Scorer.open(tiny_onnx, "int4")  # type: ignore[arg-type]
    with pytest.raises(ModelFilesError, match="holds no int8 model"):
        Scorer.open(tmp_path)
    bad = tmp_path / "bad"
    shutil.copytree(tiny_onnx, bad)
    (bad / "int8.onnx").write_bytes(b"nothing")
    with pytest.raises(ModelFilesError, match="cannot be opened"):
        Scorer.open(bad)
    config = json.loads((bad / "config.json").read_text())
    (bad / "config.json").write_text(json.dumps(config | {"vocab_size": 100}))
    with pytest.raises(ModelFilesError, match="do not belong together"):
        Scorer.open(bad)
    (bad / "int8.onnx").unlink()
    with pytest.raises(ModelFilesError, match="there is fp32"):
        Scorer.open(bad)


def test_neither_torch_nor_transformers_is_imported(tiny_onnx: Path) -> None:
    code = (
        "import sys; from pathlib import Path; from engine.scoring import Scorer;"
        "s = Scorer.open(Path(sys.argv[1]));"
        "s.score([{'role': 'user', 'content': 'q'}], ['a']);"
        "heavy = {'torch', 'transformers', 'onnx', 'polars', 'pyarrow'};"
        "print(sorted(heavy & set(sys.modules)))"
    )
    done = subprocess.run(
        [sys.executable, "-c", code, str(tiny_onnx)], capture_output=True, text=True, check=True
    )
    assert done.stdout.strip() == "[]"
    assert done.stderr == ""


def test_a_process_reward_model_scores_step_by_step(scorer: Scorer) -> None:
    """Each token has the score at the end of its step, and the response that of its worst step."""
    text = "one\n\ntwo\nthree"
    (plain,) = scorer.score(CHAT, [text])
    stepping = scorer.with_head(replace(scorer.head, steps="\n"))
    (found,) = stepping.score(CHAT, [text])
    (batched,) = stepping.score_many([(CHAT, text)])
    at = steps_in(plain.tokens).at
    assert len(at) == 3
    ends = [plain.token_scores[place] for place in at]
    expected = [score for score, width in zip(ends, np.diff([-1, *at]), strict=True) for _ in range(width)]
    assert found.token_scores == pytest.approx(expected, abs=1e-5)
    assert batched.token_scores == pytest.approx(expected, abs=1e-3)
    assert found.score == pytest.approx(min(ends), abs=1e-5)
    assert found.by_step
    assert not plain.by_step
