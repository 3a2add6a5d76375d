"""Loading language models that are sampled from and trained; `engine.models.saving` writes them."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import torch
from transformers import AutoConfig, AutoModelForCausalLM, PreTrainedModel

from engine.errors import ModelFilesError, is_out_of_memory
from engine.models.architecture import check_architecture
from engine.models.files import check_model_folder, dtype_of, quiet_transformers
from engine.models.head import head_of
from engine.models.parts import place
from engine.models.rounding import round_weights


def load_policy(
    folder: Path, dtype: str | torch.dtype = "bfloat16", device: str | torch.device = "cpu"
) -> PreTrainedModel:
    """A causal language model in evaluation mode (dropout stays off in training too).

    Raises ModelFilesError when the folder is not one that transformers can load without remote code, or its
    model is not one whose log-probabilities can be computed in parts (`engine.models.head`).
    """
    model, missing = load_weights(AutoModelForCausalLM, folder, dtype)
    if missing:
        raise ModelFilesError(
            f"{folder} is not a language model: it has no {sorted(missing)[0]}; "
            "choose the folder of a policy."
        )
    place(model, device).eval()
    head_of(model)
    return model


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
            config = AutoConfig.from_pretrained(folder, local_files_only=True, trust_remote_code=False)
        except Exception as error:
            raise unloadable(folder, error) from error
        check_architecture(auto_class, config)
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
        except Exception as error:
            if is_out_of_memory(error):
                raise
            raise unloadable(folder, error) from error
    if target == torch.bfloat16:
        round_weights(model)
    return model, set(info["missing_keys"])


def unloadable(folder: Path, error: Exception) -> ModelFilesError:
    """One sentence for whatever transformers says about a folder."""
    if "trust_remote_code" in str(error) or "custom code" in str(error):
        return ModelFilesError(
            f"{folder} needs code of its own to load, which the workbench never runs; "
            "choose a model whose architecture transformers knows."
        )
    reason = (str(error).strip() or type(error).__name__).splitlines()[0][:200].rstrip(".")
    return ModelFilesError(f"The model in {folder} cannot be loaded ({reason}); copy or save it again.")
