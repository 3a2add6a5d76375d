"""What is cached changes no score, whatever is typed where."""

from __future__ import annotations

import threading
from pathlib import Path

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from engine.scoring import Precision, Scorer
from engine.scoring.cache import PassageCache, common
from engine.scoring.graph import KeysAndValues, Passage

CHAT = [{"role": "user", "content": "Say something."}]
WORDS = ["", "a", "ab", "é", " of the", "世", "<|im_end|>", "\n"]
EDITS = st.lists(
    st.tuples(st.integers(0, 1), st.integers(0, 30), st.integers(0, 6), st.sampled_from(WORDS)), max_size=8
)


@pytest.fixture(scope="module")
def scorers(tiny_onnx: Path) -> dict[Precision, Scorer]:
    return {name: Scorer.open(tiny_onnx, name, threads=1) for name in ("fp32", "int8")}


@pytest.mark.parametrize("precision", ["fp32", "int8"])
@given(edits=EDITS)
@settings(max_examples=25, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_any_edits_give_the_score_of_the_whole_text(
    scorers: dict[Precision, Scorer], precision: Precision, edits: list[tuple[int, int, int, str]]
) -> None:
    """int8 rounds every token by itself; where a float32 sum of another order falls on the other side of half
    a step, one token's activation is a step apart, which moved a score by 0.02 once in thousands of edits.
    """
    close = 1e-4 if precision == "fp32" else 0.05
    scorer, texts = scorers[precision], ["Hello there, you.", "Hello there"]
    for which, at, removed, added in edits:
        text = texts[which]
        texts[which] = text[:at] + added + text[at + removed :]
        for cached, (whole,) in zip(
            scorer.score(CHAT, texts), [scorer.score_many([(CHAT, text)]) for text in texts], strict=True
        ):
            assert cached.tokens == whole.tokens
            assert cached.token_scores == pytest.approx(whole.token_scores, abs=close)
            assert cached.prompt_score == pytest.approx(whole.prompt_score, abs=1e-4)


def test_typing_costs_the_new_tokens_only(tiny_onnx: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    scorer = Scorer.open(tiny_onnx, "fp32", threads=1)
    fed: list[int] = []
    extend = scorer._trunk.extend
    monkeypatch.setattr(
        scorer._trunk,
        "extend",
        lambda before, ids, keep: (fed.append(len(ids)), extend(before, ids, keep))[1],
    )
    scorer.score(CHAT, ["A long answer", "A short one"])  # the second shares prompt and "A "
    scorer.score(CHAT, ["A long answer", "A short one."])
    scorer.score(CHAT, ["A long answer", "A short one."])
    scorer.score(CHAT, ["A song answer", "A short one."])
    prompt = len(scorer.tokeniser.encode_prompt(CHAT))
    assert fed == [prompt + 14, 10, 2, 11]  # the last one goes on from "A s"


def test_another_head_shares_session_and_cache(scorers: dict[Precision, Scorer]) -> None:
    from dataclasses import replace

    scorer = scorers["fp32"]
    head = scorer.head
    ensemble = np.stack([head.weight, 3 * head.weight])
    other = scorer.with_head(
        replace(
            head,
            weight=2 * head.weight,
            criteria=("kind",),
            ensemble_weight=ensemble,
            ensemble_bias=np.stack([head.bias, head.bias]),
        )
    )
    (one,), (two,) = scorer.score(CHAT, ["Hi."]), other.score(CHAT, ["Hi."])
    assert other.cache is scorer.cache
    assert two.score == pytest.approx(2 * one.score, abs=1e-5)
    assert two.uncertainty == pytest.approx(abs(one.score), abs=1e-5)
    assert one.uncertainty is None
    assert (two.criteria, one.criteria) == ({"kind": two.score}, {"overall": one.score})


def test_threads_do_not_disturb_each_other(scorers: dict[Precision, Scorer]) -> None:
    scorer, found = scorers["fp32"], {}
    texts = [f"Answer {'x' * n}{n}" for n in range(12)]

    def work(text: str) -> None:
        found[text] = scorer.score(CHAT, [text])[0].score

    threads = [threading.Thread(target=work, args=(text,)) for text in texts]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    expected = [scored.score for scored in scorer.score_many([(CHAT, text) for text in texts])]
    assert [found[text] for text in texts] == pytest.approx(expected, abs=1e-4)


def passage(*ids: int) -> Passage:
    cached = KeysAndValues.empty(1, 2, 4, len(ids), np.float32)
    return Passage(np.array(ids), np.zeros((len(ids), 8), dtype=np.float32), cached, len(ids))


def test_the_cache_is_bounded_and_drops_what_was_not_used() -> None:
    cache = PassageCache(limit=2)
    assert cache.best([1]) is None
    cache.add(passage(1, 2, 3))
    cache.add(passage(4, 5))
    found = cache.best([1, 2, 9])
    assert found is not None
    assert (found[0].ids.tolist(), found[1]) == ([1, 2, 3], 2)
    cache.add(passage(6))
    assert (len(cache), cache.best([4, 5])) == (2, None)
    cache.limit_bytes = passage(1).bytes * 5
    cache.add(passage(*range(20)))  # larger than all there is room for
    assert len(cache) == 2
    cache.add(passage(7, 8))
    assert cache.bytes <= cache.limit_bytes
    cache.clear()
    assert (len(cache), cache.bytes) == (0, 0)


def test_texts_that_part_do_not_overwrite_each_other() -> None:
    def new(*tokens: float) -> list[np.ndarray]:
        return [np.repeat(np.array(tokens, dtype=np.float32)[:, None], 8, axis=1)] * 2

    def read(cached: KeysAndValues, length: int) -> list[float]:
        assert (cached.arrays[0][0, :, :length] == cached.arrays[1][0, :1, :length, :1]).all()
        return [float(x) for x in cached.arrays[0][0, 0, :length, 0]]

    prompt = KeysAndValues.empty(1, 2, 4, 0, np.float32).extended(0, new(1, 2, 3))
    first = prompt.extended(3, new(4, 5))
    assert first is prompt  # nobody had written there
    second = prompt.extended(3, new(6))
    edited = first.extended(1, new(7, 8))
    grown = second.extended(4, new(*range(200)))
    assert len({id(cached) for cached in (first, second, edited, grown)}) == 4
    assert read(first, 5) == [1, 2, 3, 4, 5]
    assert read(second, 4) == [1, 2, 3, 6]
    assert read(edited, 3) == [1, 7, 8]
    assert read(grown, 204) == [1, 2, 3, 6, *range(200)]
    assert all(np.isfinite(array).all() for array in grown.arrays)  # also behind the text


@given(st.lists(st.integers(0, 2), max_size=6), st.lists(st.integers(0, 2), max_size=6))
def test_common_beginnings(first: list[int], second: list[int]) -> None:
    count = common(np.array(first, dtype=np.int64), np.array(second, dtype=np.int64))
    assert first[:count] == second[:count]
    assert count == min(len(first), len(second)) or first[count] != second[count]
