"""Checkpoints of divided weights: every rank writes its parts, and any number of ranks reads them.

torch.distributed.checkpoint decides who reads which piece; the files are safetensors with the place of each
piece in their header (its Hugging Face layout), never its own format, which is pickle.
"""

from __future__ import annotations

import warnings
from collections.abc import Mapping
from pathlib import Path

import torch.distributed.checkpoint as dcp
from safetensors import safe_open
from torch import Tensor
from torch.distributed.checkpoint import HuggingFaceStorageReader, HuggingFaceStorageWriter

from engine.training.optimiser import MasterAdam
from engine.training.ranks import current


def save_parts(folder: Path, optimisers: Mapping[str, MasterAdam]) -> None:
    """Write this rank's parts of weights and moments; all ranks call it, with one folder."""
    tensors = {key: value for key, value in _tensors(optimisers).items() if value.dim()}
    dcp.save(tensors, storage_writer=HuggingFaceStorageWriter(str(folder), save_distributed=True))


def scalars(optimisers: Mapping[str, MasterAdam]) -> dict[str, Tensor]:
    """What of the optimisers has no dimension to be divided by."""
    return {key: value for key, value in _tensors(optimisers).items() if not value.dim()}


def load_parts(folder: Path, optimisers: Mapping[str, MasterAdam]) -> None:
    """Put weights and moments back, whatever number of ranks wrote them and whatever number reads.

    Raises KeyError or ValueError when they do not fit.
    """
    there = _names(folder)
    wanted = {key: value for key, value in _tensors(optimisers, filled=True).items() if key in there}
    plain = {key: value for key, value in wanted.items() if not value.dim()}
    large = {key: value for key, value in wanted.items() if value.dim()}
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", "torch.distributed is disabled")  # one process may read them too
        reader = HuggingFaceStorageReader(str(folder))
        dcp.load(large, storage_reader=reader, no_dist=current().world == 1)
    for file in sorted(folder.glob("*.safetensors")):
        with safe_open(file, framework="pt") as opened:
            for key in set(plain) & set(opened.keys()):
                plain[key] = opened.get_tensor(key)
    for name, optimiser in optimisers.items():
        prefix = f"optimiser.{name}."
        found = large | plain
        optimiser.load_tensors(
            {key.removeprefix(prefix): value for key, value in found.items() if key.startswith(prefix)}
        )


def _names(folder: Path) -> set[str]:
    names: set[str] = set()
    for file in sorted(folder.glob("*.safetensors")):
        with safe_open(file, framework="pt") as opened:
            names |= set(opened.keys())
    return names


def _tensors(optimisers: Mapping[str, MasterAdam], *, filled: bool = False) -> dict[str, Tensor]:
    return {
        f"optimiser.{name}.{key}": value
        for name, optimiser in optimisers.items()
        for key, value in optimiser.divided_tensors(filled=filled).items()
    }
