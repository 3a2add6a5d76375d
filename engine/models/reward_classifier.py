"""Reward models: an `AutoModelForSequenceClassification`, one label a criterion, as other tools load them.

The score is the head on the hidden state of the last real token, the end-of-sequence token of the response.
`engine.models.reward_model` reads these and those of a frozen trunk alike.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import torch
from transformers import AutoModelForSequenceClassification, PreTrainedModel

from engine.errors import ModelFilesError, NonFiniteError, UsageError
from engine.models.parts import backbone, output_head, place
from engine.models.policy import load_weights
from engine.text import Tokeniser

OVERALL = "overall"
"""The criterion of a reward model that has one and does not name it."""


def init_reward_classifier(
    folder: Path,
    *,
    dtype: str | torch.dtype = "float32",
    device: str | torch.device = "cpu",
    seed: int = 0,
    criteria: Sequence[str] = (OVERALL,),
) -> PreTrainedModel:
    """A reward model on the weights of a language model; one row of the head a criterion.

    Head N(0, 1/√(D+1)), bias 0.

    The initialisation is that of summarize_from_feedback_details, reward.py.

    Raises ModelFilesError when the folder does not hold a language model with its tokeniser.
    """
    model, missing = load_weights(AutoModelForSequenceClassification, folder, dtype, num_labels=len(criteria))
    try:
        head = output_head(model)
    except ValueError as error:
        raise ModelFilesError(
            f"{model.config.model_type} has no linear head for scores; set tuning to frozen, or choose "
            "another model."
        ) from error
    if any(not name.startswith(("score.", "classifier.")) for name in missing):
        raise ModelFilesError(f"{folder} lacks weights ({sorted(missing)[0]}); copy or save it again.")
    generator = torch.Generator().manual_seed(seed)
    with torch.no_grad():
        spread = 1.0 / math.sqrt(head.weight.shape[-1] + 1)
        head.weight.copy_(torch.randn(head.weight.shape, generator=generator) * spread)
        if head.bias is not None:
            head.bias.zero_()
    model.config.pad_token_id = Tokeniser.from_folder(folder).pad_id
    model.config.id2label = dict(enumerate(criteria))
    model.config.label2id = {name: row for row, name in enumerate(criteria)}
    return place(model, device).eval()


def load_reward_classifier(
    folder: Path, dtype: str | torch.dtype = "bfloat16", device: str | torch.device = "cpu"
) -> PreTrainedModel:
    """A saved reward model in evaluation mode, its own head (not that of a frozen trunk).

    Raises UsageError when the folder holds another kind of model, NonFiniteError when its head is not finite.
    """
    model, missing = load_weights(AutoModelForSequenceClassification, folder, dtype)
    if missing:
        raise UsageError(
            f"{folder} is not a reward model: it has no {sorted(missing)[0]}; train one from it first."
        )
    if not torch.isfinite(output_head(model).weight).all():
        raise NonFiniteError(f"The reward model in {folder} has weights that are not finite; train it again.")
    return place(model, device).eval()


def criteria_of(model: PreTrainedModel) -> tuple[str, ...]:
    """The names of the head's rows; a label that nobody named is `overall`, or its number."""
    labels: dict[Any, str] = {**(model.config.id2label or {})}
    names = [str(labels.get(row, f"LABEL_{row}")) for row in range(output_head(model).out_features)]
    if names == ["LABEL_0"]:
        return (OVERALL,)
    return tuple(names)


def token_scores(
    model: PreTrainedModel,
    input_ids: torch.Tensor,  # [N, T]
    attention_mask: torch.Tensor | None = None,  # [N, T] 2-D, or a 4-D additive mask
    position_ids: torch.Tensor | None = None,  # [N, T]
) -> torch.Tensor:
    """The head's first criterion at every token, [N, T] float32.

    With right padding and causal attention no mask is needed.
    """
    hidden = backbone(model)(
        input_ids=input_ids, attention_mask=attention_mask, position_ids=position_ids, use_cache=False
    ).last_hidden_state
    head = output_head(model)
    with torch.autocast(
        hidden.device.type, enabled=False
    ):  # the head is cheap: no bfloat16 rounding of scores
        bias = head.bias[:1].float() if head.bias is not None else None
        return torch.nn.functional.linear(hidden.float(), head.weight[:1].float(), bias).squeeze(-1)
