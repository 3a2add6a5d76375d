"""Packed rows give the hidden states of plain sequences."""

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from transformers import LlamaConfig, LlamaModel, MistralConfig, MistralModel

from engine.models.packing import Row, last_states, pack, response_states, why_not_packable

VOCABULARY = 61


def tiny(attention: str = "sdpa") -> LlamaModel:
    torch.manual_seed(0)
    config = LlamaConfig(
        vocab_size=VOCABULARY, hidden_size=32, intermediate_size=48, num_hidden_layers=2,
        num_attention_heads=4, num_key_value_heads=2, max_position_embeddings=128, pad_token_id=0,
        attn_implementation=attention,
    )  # fmt: skip
    return LlamaModel(config).eval()


MODELS = {name: tiny(name) for name in ("sdpa", "eager")}
ids = st.integers(1, VOCABULARY - 1)
responses = st.lists(st.lists(ids, min_size=1, max_size=7), min_size=1, max_size=4)
rows_of = st.lists(st.builds(Row, st.lists(ids, min_size=1, max_size=9), responses), min_size=1, max_size=3)


def naive(model: LlamaModel, prompt: list[int], response: list[int]) -> torch.Tensor:
    """[len(prompt) + len(response), D] of the plain sequence, without mask or padding."""
    return model(input_ids=torch.tensor([[*prompt, *response]]))[0][0]


@pytest.mark.parametrize("attention", ["sdpa", "eager"])
@pytest.mark.parametrize("packed", [True, False])
@given(rows=rows_of)
@settings(max_examples=25, deadline=None)
def test_equals_the_naive_forward(attention: str, packed: bool, rows: list[Row]) -> None:
    model = MODELS[attention]
    with torch.no_grad():
        batch = pack(rows, pad_id=0, packed=packed)
        at, before = (response_states(model, batch, where=where) for where in ("at", "before"))
        n = 0
        for row in rows:
            for response in row.responses:
                full = naive(model, list(row.prompt), list(response))
                start, length = len(row.prompt), len(response)
                torch.testing.assert_close(at.hidden[n, :length], full[start:], atol=1e-5, rtol=0)
                torch.testing.assert_close(before.hidden[n, :length], full[start - 1 : -1], atol=1e-5, rtol=0)
                torch.testing.assert_close(last_states(at)[n], full[-1], atol=1e-5, rtol=0)
                assert at.tokens[n, :length].tolist() == list(response)
                assert int(at.mask[n].sum()) == length
                n += 1
    assert n == len(at.mask)


def test_other_responses_and_padding_have_no_gradient() -> None:
    model = tiny()
    rows = [Row([3, 4, 5], [[6, 7], [8, 9, 10]]), Row([11], [[12]])]
    states = response_states(model, pack(rows, pad_id=0), where="at")
    states.hidden[0, 0].sum().backward()  # type: ignore[no-untyped-call]
    seen = model.embed_tokens.weight.grad.abs().sum(dim=1) > 0
    assert sorted(torch.nonzero(seen).flatten().tolist()) == [3, 4, 5, 6]


def test_bfloat16_rows_have_no_nan() -> None:
    model = tiny().to(torch.bfloat16)
    batch = pack([Row([1, 2], [[3], [4, 5]]), Row([1] * 8, [[2]])], pad_id=0, dtype=torch.bfloat16)
    assert bool(torch.isfinite(response_states(model, batch, where="before").hidden).all())


def test_a_response_of_no_tokens_is_all_masked() -> None:
    batch = pack([Row([1, 2], [[], [3]])], pad_id=0)
    assert batch.mask.tolist() == [[False], [True]]


def test_a_prompt_of_no_tokens_is_refused() -> None:
    with pytest.raises(ValueError, match="prompt of no tokens"):
        pack([Row([], [[1]])], pad_id=0)
    with pytest.raises(ValueError, match="no response"):
        pack([Row([1], [])], pad_id=0)


@pytest.mark.parametrize("attention", ["sdpa", "eager"])
def test_llama_is_packable(attention: str) -> None:
    assert why_not_packable(tiny(attention)) is None


def test_a_sliding_window_is_not() -> None:
    config = MistralConfig(
        vocab_size=VOCABULARY, hidden_size=32, intermediate_size=48, num_hidden_layers=2,
        num_attention_heads=4, num_key_value_heads=2, sliding_window=4, attn_implementation="sdpa",
    )  # fmt: skip
    assert "sliding window" in str(why_not_packable(MistralModel(config)))


def test_a_model_that_ignores_positions_is_found_by_its_numbers() -> None:
    class Deaf(LlamaModel):
        def forward(self, input_ids, attention_mask=None, position_ids=None, use_cache=None):  # type: ignore[no-untyped-def, override]
            return super().forward(input_ids=input_ids, attention_mask=attention_mask, use_cache=use_cache)

    assert "differ by" in str(why_not_packable(Deaf(tiny().config)))
