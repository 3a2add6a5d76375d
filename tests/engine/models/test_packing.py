"""Packed rows give the hidden states of plain sequences."""

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from peft import LoraConfig, inject_adapter_in_model
from transformers import LlamaConfig, LlamaModel, MistralConfig, MistralModel

from engine.models.packing import Row, can_lie_flat, pack, response_states, why_not_packable

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


def with_lora(attention: str) -> LlamaModel:
    """The same model with adapters that are not zero."""
    model = tiny(attention)
    model.base_model_prefix = ""
    layers = [name for name, module in model.named_modules() if isinstance(module, torch.nn.Linear)]
    inject_adapter_in_model(LoraConfig(r=2, target_modules=layers, init_lora_weights=False), model)
    for name, parameter in model.named_parameters():
        if "lora_" in name:
            parameter.data *= 0.1  # as large as the weights they adapt
    return model.eval()


ADAPTED = {name: with_lora(name) for name in ("sdpa", "eager")}


@pytest.mark.parametrize("lora", [False, True])
@pytest.mark.parametrize(
    ("attention", "layout"),
    [("sdpa", "masked"), ("eager", "masked"), ("sdpa", "plain"), ("eager", "plain"), ("sdpa", "flat")],
)
@given(rows=rows_of)
@settings(max_examples=15, deadline=None)
def test_equals_the_naive_forward(attention: str, layout: str, lora: bool, rows: list[Row]) -> None:
    model = (ADAPTED if lora else MODELS)[attention]
    with torch.no_grad():
        batch = pack(rows, pad_id=0, packed=layout != "plain", flat=layout == "flat")
        at, before = (response_states(model, batch, where=where) for where in ("at", "before"))
        n = 0
        for row in rows:
            for response in row.responses:
                full = naive(model, list(row.prompt), list(response))
                start, length = len(row.prompt), len(response)
                torch.testing.assert_close(at.hidden[n, :length], full[start:], atol=1e-5, rtol=0)
                torch.testing.assert_close(before.hidden[n, :length], full[start - 1 : -1], atol=1e-5, rtol=0)
                assert at.tokens[n, :length].tolist() == list(response)
                assert int(at.mask[n].sum()) == length
                n += 1
    assert n == len(at.mask)


@given(rows=rows_of)
@settings(max_examples=15, deadline=None)
def test_gradients_do_not_depend_on_the_layout(rows: list[Row]) -> None:
    found = []
    for packed, flat in ((True, False), (False, False), (True, True)):
        model = tiny()
        states = response_states(model, pack(rows, pad_id=0, packed=packed, flat=flat), where="at")
        states.hidden[states.mask].square().mean().backward()  # type: ignore[no-untyped-call]
        found.append({name: p.grad for name, p in model.named_parameters()})
    for name, gradient in found[0].items():
        for other in found[1:]:
            torch.testing.assert_close(other[name], gradient, atol=1e-5, rtol=1e-4)


@pytest.mark.parametrize("flat", [False, True])
def test_other_responses_and_padding_have_no_gradient(flat: bool) -> None:
    model = tiny()
    rows = [Row([3, 4, 5], [[6, 7], [8, 9, 10]]), Row([11], [[12]])]
    states = response_states(model, pack(rows, pad_id=0, flat=flat), where="at")
    states.hidden[0, 0].sum().backward()  # type: ignore[no-untyped-call]
    seen = model.embed_tokens.weight.grad.abs().sum(dim=1) > 0
    assert sorted(torch.nonzero(seen).flatten().tolist()) == [3, 4, 5, 6]


@pytest.mark.parametrize("flat", [False, True])
def test_bfloat16_rows_have_no_nan(flat: bool) -> None:
    model = tiny().to(torch.bfloat16)
    rows = [Row([1, 2], [[3], [4, 5]]), Row([1] * 8, [[2]])]
    batch = pack(rows, pad_id=0, dtype=torch.bfloat16, flat=flat)
    assert bool(torch.isfinite(response_states(model, batch, where="before").hidden).all())


def test_a_response_of_no_tokens_is_all_masked() -> None:
    for flat in (False, True):
        batch = pack([Row([1, 2], [[], [3]])], pad_id=0, flat=flat)
        assert batch.mask.tolist() == [[False], [True]]


def test_a_prompt_of_no_tokens_is_refused() -> None:
    with pytest.raises(ValueError, match="prompt of no tokens"):
        pack([Row([], [[1]])], pad_id=0)
    with pytest.raises(ValueError, match="no response"):
        pack([Row([1], [])], pad_id=0)


@pytest.mark.parametrize("attention", ["sdpa", "eager"])
def test_llama_is_packable(attention: str) -> None:
    assert why_not_packable(tiny(attention)) is None
    assert can_lie_flat(tiny(attention))


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


def test_a_model_that_does_not_hand_arguments_on_does_not_lie_flat() -> None:
    class Strict(LlamaModel):
        def forward(self, input_ids, attention_mask=None, position_ids=None, use_cache=None):  # type: ignore[no-untyped-def, override]
            return super().forward(
                input_ids=input_ids,
                attention_mask=attention_mask,
                position_ids=position_ids,
                use_cache=use_cache,
            )

    model = Strict(tiny().config).eval()
    assert why_not_packable(model) is None
    assert not can_lie_flat(model)
    assert model.config._attn_implementation == "sdpa"
