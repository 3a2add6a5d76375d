"""Adapters as files that peft, and servers that read its layout, load onto the base model."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path

import torch
from safetensors.torch import save_file
from torch import Tensor
from transformers import PreTrainedModel

from engine.files import writing_folder
from engine.models.lora import adapters_of

PREFIX = "base_model.model."
"""Before the names of the model's own modules in peft's files."""


def save_adapters(
    model: PreTrainedModel, destination: Path, base: str, masters: Mapping[str, Tensor] | None = None
) -> None:
    """Write the adapters of `model` to the folder `destination`, whole or not at all.

    base: the name of the model below them; masters: float32 weights in the place of parameters by name.
    """
    adapters_by_name, masters = adapters_of(model), masters or {}
    parameters = dict(model.named_parameters())
    tensors = {
        f"{PREFIX}{name}.{part}.weight": masters.get(key, parameters[key])
        for name, adapters in adapters_by_name.items()
        for part, key in (("lora_A", adapters.down), ("lora_B", adapters.up))
    }
    first = next(iter(adapters_by_name.values())).layer
    rank = next(iter(first.r.values()))
    config = {
        "peft_type": "LORA",
        "task_type": "CAUSAL_LM",
        "base_model_name_or_path": base,
        "r": rank,
        "lora_alpha": round(next(iter(first.scaling.values())) * rank),
        "lora_dropout": 0.0,
        "bias": "none",
        "fan_in_fan_out": first.fan_in_fan_out,
        "target_modules": sorted({name.rpartition(".")[2] for name in adapters_by_name}),
        "inference_mode": True,
    }
    with writing_folder(destination) as folder:
        (folder / "adapter_config.json").write_text(json.dumps(config, indent=1))
        plain = {
            name: tensor.detach().to("cpu", torch.float32).contiguous() for name, tensor in tensors.items()
        }
        save_file(plain, folder / "adapter_model.safetensors", metadata={"format": "pt"})
