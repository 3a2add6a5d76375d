"""Language models that are sampled from and trained: load and save in Hugging Face's layout."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError
from transformers import AutoModelForCausalLM, PreTrainedModel

from engine.errors import ModelFilesError
from engine.models.files import (
    check_model_folder,
    copy_tokeniser,
    dtype_of,
    quiet_transformers,
    writing_folder,
)
from engine.models.lora import has_lora, merged
from engine.models.parts import place
from engine.models.rounding import round_weights

LOAD_ERRORS = (OSError, ValueError, KeyError, RuntimeError, SafetensorError)
"""What transformers raises for a folder that it cannot load."""


def load_policy(
    folder: Path, dtype: str | torch.dtype = "bfloat16", device: str | torch.device = "cpu"
) -> PreTrainedModel:
    """A causal language model in evaluation mode (dropout stays off in training too).

    Raises ModelFilesError when the folder is not one that transformers can load without remote code.
    """
    model, missing = load_weights(AutoModelForCausalLM, folder, dtype)
    if missing:
        raise ModelFilesError(
            f"{folder} is not a language model: it has no {sorted(missing)[0]}; "
            "choose the folder of a policy."
        )
    return place(model, device).eval()


def load_weights(
    auto_class: Any, folder: Path, dtype: str | torch.dtype, **options: Any
) -> tuple[PreTrainedModel, set[str]]:
    """A model of a transformers auto class, and the names of its weights that the folder lacks.

    The one place that loads a model folder: safetensors only, no remote code, no network.  For bfloat16 the
    file's own format is loaded and rounded here (`engine.models.rounding` says why).  Raises ModelFilesError.
    """
    folder, target = check_model_folder(folder), dtype_of(dtype)
    with quiet_transformers(), torch.random.fork_rng(devices=[]):
        try:
            model, info = auto_class.from_pretrained(
                folder,
                dtype="auto" if target == torch.bfloat16 else target,
                use_safetensors=True,
                local_files_only=True,
                trust_remote_code=False,
                output_loading_info=True,
                **options,
            )
        except LOAD_ERRORS as error:
            raise unloadable(folder, error) from error
    if target == torch.bfloat16:
        round_weights(model)
    return model, set(info["missing_keys"])


def save_policy(
    model: PreTrainedModel, source_folder: Path, destination: Path, dtype: str | torch.dtype | None = None
) -> None:
    """Save a policy with its source's tokeniser files; adapters are merged, `dtype` converts the weights.

    The destination appears whole or not at all.  Raises WorkbenchError when the disk is full.
    """
    save_model(merged(model) if has_lora(model) else model, source_folder, destination, dtype)


def save_model(
    model: PreTrainedModel, source_folder: Path, destination: Path, dtype: str | torch.dtype | None = None
) -> None:
    """Write config, safetensors and tokeniser files; the model in memory keeps its number format."""
    target = dtype_of(dtype) if dtype is not None else model.dtype
    weights = {
        name: tensor.to(target) if tensor.is_floating_point() else tensor
        for name, tensor in model.state_dict().items()
    }
    with writing_folder(destination) as temporary, quiet_transformers():
        model.save_pretrained(temporary, state_dict=weights)
        config = json.loads((temporary / "config.json").read_text())  # it names the format in memory
        config["dtype"] = str(target).removeprefix("torch.")
        (temporary / "config.json").write_text(json.dumps(config, indent=2) + "\n")
        copy_tokeniser(Path(source_folder), temporary)


def unloadable(folder: Path, error: Exception) -> ModelFilesError:
    """One sentence for whatever transformers says about a folder."""
    if "trust_remote_code" in str(error) or "custom code" in str(error):
        return ModelFilesError(
            f"{folder} needs code of its own to load, which the workbench never runs; "
            "choose a model whose architecture transformers knows."
        )
    reason = (str(error).strip() or type(error).__name__).splitlines()[0][:200].rstrip(".")
    return ModelFilesError(f"The model in {folder} cannot be loaded ({reason}); copy or save it again.")
