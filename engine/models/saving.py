"""Writing a model folder without a second copy of its weights.

A model in training holds bfloat16 weights on a device, float32 masters of what it trains, and adapters.  What
is saved is one plain model, mostly in float32: each tensor is brought to the processor, merged and converted
when its file is written, so that beside the model there is never more than one file of them in memory.
"""

from __future__ import annotations

import copy
import json
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path

import torch
from huggingface_hub import split_torch_state_dict_into_shards
from safetensors.torch import save_file
from torch import Tensor
from transformers import PreTrainedModel
from transformers.core_model_loading import WeightConverter, revert_weight_conversion
from transformers.modeling_utils import remove_tied_weights_from_state_dict

from engine.files import writing_folder
from engine.models.files import copy_tokeniser, dtype_of, let_older_read, let_others_score, quiet_transformers
from engine.models.four_bit import is_quantised, put_back
from engine.models.lora import Adapters, adapters_of, fused
from engine.models.sharding import whole
from engine.text import Tokeniser

SHARD_BYTES = 1 << 29
"""Largest file of weights, one tensor larger than that excepted: what saving needs in memory."""

WEIGHTS, INDEX = "model{suffix}.safetensors", "model.safetensors.index.json"


def save_model(
    model: PreTrainedModel,
    source_folder: Path,
    destination: Path,
    dtype: str | torch.dtype | None = None,
    masters: Mapping[str, Tensor] | None = None,
    *,
    writes: bool = True,
) -> None:
    """Write config, safetensors and tokeniser files; adapters are merged, the model is left as it is.

    dtype: of the files, the model's own unless given.  masters: tensors by parameter name that take the place
    of the model's, such as an optimiser's float32 weights.  The destination appears whole or not at all.
    Weights divided among ranks are put together tensor by tensor; all ranks call this then, one of which
    `writes`.  Raises WorkbenchError when the disk is full.
    """
    target = dtype_of(dtype) if dtype is not None else model.dtype
    if not writes:
        plain, value = _values(model, target, masters or {})
        for _, names in _files(model, plain, target):
            for name in names:
                value(name)
        return
    with writing_folder(destination) as temporary, quiet_transformers():
        config = copy.deepcopy(model.config)
        config.architectures = [type(model).__name__]
        config.save_pretrained(temporary)
        if model.can_generate() and model.generation_config is not None:
            model.generation_config.save_pretrained(temporary)
        written = json.loads((temporary / "config.json").read_text())  # it names the format in memory
        written["dtype"] = str(target).removeprefix("torch.")
        (temporary / "config.json").write_text(json.dumps(written, indent=2) + "\n")
        _write_weights(model, temporary, target, masters or {})
        copy_tokeniser(Path(source_folder), temporary)
        let_older_read(temporary)
        if type(model).__name__.endswith("ForSequenceClassification"):
            let_others_score(temporary, Tokeniser.from_folder(temporary))


def _write_weights(
    model: PreTrainedModel, folder: Path, target: torch.dtype, masters: Mapping[str, Tensor]
) -> None:
    """The weights in files of at most SHARD_BYTES, and their index where there is more than one."""
    plain, value = _values(model, target, masters)
    where: dict[str, str] = {}
    size = 0
    for file, names in _files(model, plain, target):
        weights = revert_weight_conversion(model, {name: value(name) for name in names})
        save_file(weights, folder / file, metadata={"format": "pt"})
        where |= dict.fromkeys(weights, file)
        size += sum(tensor.nbytes for tensor in weights.values())
    if len(set(where.values())) > 1:
        index = {"metadata": {"total_size": size}, "weight_map": where}
        (folder / INDEX).write_text(json.dumps(index, indent=2, sort_keys=True) + "\n")


def _values(
    model: PreTrainedModel, target: torch.dtype, masters: Mapping[str, Tensor]
) -> tuple[dict[str, Tensor], Callable[[str], Tensor]]:
    """The tensors of a model without adapters, by name; and what makes of a name the one that is written."""
    plain, adapters = _plain(model)
    own = {id(parameter): name for name, parameter in model.named_parameters() if name in masters}

    def value(name: str) -> Tensor:
        key = own.get(id(plain[name]))
        tensor = whole(put_back(plain[name]) if key is None else masters[key]).detach().cpu()
        if (adapter := adapters.get(name)) is not None:
            tensor = fused(tensor, adapter, masters)
        return (tensor.to(target) if tensor.is_floating_point() else tensor).contiguous()

    return plain, value


def _plain(model: PreTrainedModel) -> tuple[dict[str, Tensor], dict[str, Adapters]]:
    """Parameters and buffers under the names of a model without adapters; and the adapters of each."""
    tensors, adapters = dict(model.state_dict(keep_vars=True)), {}
    for prefix, parts in adapters_of(model).items():
        for name in [name for name in tensors if name.startswith(f"{prefix}.")]:
            tensor, rest = tensors.pop(name), name.removeprefix(f"{prefix}.")
            if rest.startswith("base_layer."):
                tensors[f"{prefix}.{rest.removeprefix('base_layer.')}"] = tensor
        adapters[f"{prefix}.weight"] = parts
    for name in model._keys_to_ignore_on_save or ():
        tensors.pop(name, None)
    quantised = {name: tensor for name, tensor in tensors.items() if is_quantised(tensor)}
    others = {name: tensor for name, tensor in tensors.items() if name not in quantised}
    return remove_tied_weights_from_state_dict(others, model) | quantised, adapters  # none of these is tied


def _files(
    model: PreTrainedModel, plain: Mapping[str, Tensor], target: torch.dtype
) -> Iterator[tuple[str, list[str]]]:
    """File names, and what belongs into each."""
    shapes = {
        name: torch.empty(
            tensor.shape, dtype=target if tensor.is_floating_point() else tensor.dtype, device="meta"
        )
        for name, tensor in plain.items()
    }
    # What transformers fuses when it loads (experts of one layer) can only be taken apart as a whole.
    whole = any(
        isinstance(part, WeightConverter) for part in getattr(model, "_weight_conversions", None) or ()
    )
    limit = max(1, sum(tensor.nbytes for tensor in plain.values()) * 4) if whole else SHARD_BYTES
    split = split_torch_state_dict_into_shards(shapes, filename_pattern=WEIGHTS, max_shard_size=limit)
    yield from split.filename_to_tensors.items()
