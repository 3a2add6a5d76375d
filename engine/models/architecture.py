"""Whether an architecture is one to train, from its configuration, before any weight is read."""

from __future__ import annotations

from typing import Any

import torch
from torch import nn
from transformers import (
    AutoModelForCausalLM,
    AutoModelForMaskedLM,
    AutoModelForSequenceClassification,
    PreTrainedConfig,
)

from engine.errors import ModelFilesError


def check_architecture(auto_class: Any, config: PreTrainedConfig) -> None:
    """Raises ModelFilesError, one sentence, for what `auto_class` of transformers cannot or should not be."""
    kind = config.model_type
    if type(config) not in auto_class._model_mapping:
        raise ModelFilesError(f"{kind} {_lacking(auto_class)}")
    if config.is_encoder_decoder:
        raise ModelFilesError(
            f"{kind} is an encoder with a decoder, which answers another text than its prompt; "
            "choose a causal language model."
        )
    if auto_class is AutoModelForCausalLM:
        if reads_both_ways(config):
            raise ModelFilesError(
                f"{kind} reads text in both directions (is_decoder is false in its config.json); "
                "choose a causal language model."
            )
        _check_head(config)


def reads_both_ways(config: PreTrainedConfig) -> bool:
    """Whether it is an encoder, as far as its configuration says."""
    masked = type(config) in AutoModelForMaskedLM._model_mapping  # GPT-NeoX says is_decoder false too
    return masked and getattr(config, "is_decoder", True) is False


def _lacking(auto_class: Any) -> str:
    if auto_class is AutoModelForSequenceClassification:
        return (
            "has no sequence classification in transformers, as which a fine-tuned reward model is saved; "
            "set tuning to frozen, or choose another model."
        )
    what = "causal language model" if auto_class is AutoModelForCausalLM else "model without a head"
    return f"has no {what} in transformers; choose another model."


def _check_head(config: PreTrainedConfig) -> None:
    """Build the model without memory for its weights, and look at what maps hidden states to logits."""
    kind = config.model_type
    try:
        with torch.device("meta"):
            head = AutoModelForCausalLM.from_config(config, trust_remote_code=False).get_output_embeddings()
    except Exception as error:  # a package that it needs, settings that exclude each other
        reason = str(error).strip().splitlines()[0][:150].rstrip(".") if str(error) else type(error).__name__
        raise ModelFilesError(f"{kind} cannot be built here ({reason}); choose another model.") from error
    if not isinstance(head, nn.Linear):
        raise ModelFilesError(
            f"The output head of {kind} is not one linear layer, so its log-probabilities cannot be trained; "
            "choose another model."
        )
