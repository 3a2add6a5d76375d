"""Each way of decoding against the forward pass, and which of them is chosen."""

from __future__ import annotations

import pytest
import torch
from transformers import AutoModelForCausalLM, PreTrainedModel

from engine.errors import ModelFilesError
from engine.rollout import decoders
from engine.rollout.decoders import decoder_of
from tests.engine.models.families import tiny_config

pytestmark = pytest.mark.filterwarnings("ignore")


def made(family: str) -> PreTrainedModel:
    torch.manual_seed(0)
    model: PreTrainedModel = AutoModelForCausalLM.from_config(tiny_config(family)).eval()
    return model


@pytest.mark.parametrize(
    ("family", "decoder"),
    [
        ("llama", "generic"),
        ("gemma2", "generic"),
        ("mamba", "own_cache"),
        ("qwen3_next", "own_cache"),
        ("openai-gpt", "no_cache"),
    ],
)
def test_the_fastest_way_that_is_right(family: str, decoder: str) -> None:
    assert decoder_of(made(family)) == decoder


def test_states_in_a_cache_of_keys_are_never_trusted() -> None:
    """A recurrent state under left padding is another text's: the fast way must not be tried at all."""
    assert not decoders._attends_only(made("qwen3_next"))
    assert not decoders._attends_only(made("falcon_h1"))
    assert decoders._attends_only(made("gemma2"))


def test_a_model_that_no_way_decodes_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(decoders, "_difference", lambda *_: 0.5)
    with pytest.raises(ModelFilesError, match=r"cannot be sampled from: .*differ by 0\.5"):
        decoder_of(made("llama"))
