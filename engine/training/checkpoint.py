"""Everything that a training run needs to go on bit for bit: safetensors and JSON only.

`tensors.safetensors` holds master weights and moments of each optimiser and the state of the random number
generators of the libraries; `state.json` the cursors and coefficients of the algorithm.  Divided weights lie
in `shard-*.safetensors`, a file a rank; either is continued from by any number of processes.
"""

from __future__ import annotations

import hashlib
import json
import random
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import torch
from safetensors import safe_open
from safetensors.torch import load_file, save_file
from torch import Tensor

from engine.errors import WorkbenchError
from engine.files import writing_folder
from engine.protocol.rundir import RunDir
from engine.training.divided_checkpoint import load_parts, save_parts, scalars
from engine.training.optimiser import MasterAdam
from engine.training.ranks import current

VERSION = 1


def save_checkpoint(
    run: RunDir,
    step: int,
    *,
    optimisers: Mapping[str, MasterAdam],
    state: Mapping[str, Any],
    keep: int = 2,
) -> None:
    """Write the checkpoint of the state after `step`; a process killed meanwhile leaves the one before.

    Of several ranks, which hold the same weights, one writes; of divided weights every rank writes its own.
    """
    ranks, divided = current(), any(optimiser.divided for optimiser in optimisers.values())
    if not ranks.main:
        if divided:
            save_parts(Path(ranks.gather("", str)[0]), optimisers)
        return
    record = {"version": VERSION, "step": step, "python_random": random.getstate(), "state": dict(state)}
    tensors = {f"random.{name}": value for name, value in _library_states().items()}
    tensors |= scalars(optimisers) if divided else whole_tensors(optimisers)
    with run.writing_checkpoint(step, keep=keep) as folder:
        if divided:
            save_parts(Path(ranks.gather(str(folder), str)[0]), optimisers)
        _save(tensors, folder)
        (folder / "state.json").write_text(json.dumps(record))


def whole_tensors(optimisers: Mapping[str, MasterAdam]) -> dict[str, Tensor]:
    """Everything that the optimisers hold, by name."""
    return {
        f"optimiser.{name}.{key}": value
        for name, optimiser in optimisers.items()
        for key, value in optimiser.tensors().items()
    }


def load_checkpoint(
    folder: Path,
    *,
    optimisers: Mapping[str, MasterAdam],
) -> dict[str, Any]:
    """Put weights and moments back; returns the algorithm's state.

    Raises WorkbenchError when the checkpoint does not belong to this configuration.
    """
    try:
        record = json.loads((folder / "state.json").read_text())
        if record["version"] != VERSION:
            raise KeyError("version")
        written = list(folder.glob("shard-*.safetensors"))
        if written or any(optimiser.divided for optimiser in optimisers.values()):
            load_parts(folder, optimisers)
            tensors = _read(folder, "random.")
        else:
            tensors = load_file(folder / "tensors.safetensors")
            for name, optimiser in optimisers.items():
                prefix = f"optimiser.{name}."
                own = {key.removeprefix(prefix): t for key, t in tensors.items() if key.startswith(prefix)}
                optimiser.load_tensors(own)
    except Exception as error:
        raise WorkbenchError(
            f"The checkpoint {folder} cannot be continued from ({error}); "
            "remove it to continue from an older one, or start the run again."
        ) from error
    _restore_libraries(record, tensors)
    state: dict[str, Any] = record["state"]
    return state


def _read(folder: Path, prefix: str) -> dict[str, Tensor]:
    """Only the tensors of this name."""
    with safe_open(folder / "tensors.safetensors", framework="pt") as file:
        return {key: file.get_tensor(key) for key in file.keys() if key.startswith(prefix)}  # noqa: SIM118


def _library_states() -> dict[str, Tensor]:
    """States of the generators that libraries may draw from behind our back."""
    numpy_state = np.random.get_state(legacy=False)
    assert isinstance(numpy_state, dict)
    states = {
        "torch": torch.get_rng_state(),
        "numpy": torch.from_numpy(numpy_state["state"]["key"].astype(np.int64)),
        "numpy_place": torch.tensor([numpy_state["state"]["pos"]]),
    }
    if torch.cuda.is_available():
        states |= {f"cuda{i}": state for i, state in enumerate(torch.cuda.get_rng_state_all())}
    return states


def _restore_libraries(record: Mapping[str, Any], tensors: Mapping[str, Tensor]) -> None:
    version, words, gauss = record["python_random"]
    random.setstate((version, tuple(words), gauss))
    torch.set_rng_state(tensors["random.torch"])
    key = tensors["random.numpy"].numpy().astype(np.uint32)
    np.random.set_state(("MT19937", key, int(tensors["random.numpy_place"][0]), 0, 0.0))
    if torch.cuda.is_available():
        for i in range(torch.cuda.device_count()):
            if f"random.cuda{i}" in tensors:
                torch.cuda.set_rng_state(tensors[f"random.cuda{i}"], i)


def save_failed_batch(
    run: RunDir, step: int, tensors: Mapping[str, Tensor], details: Mapping[str, Any]
) -> Path:
    """Keep the batch that a run broke on, to look at or replay; returns its folder."""
    destination = run.path / "failed-batch"
    with writing_folder(destination) as folder:
        _save(tensors, folder)
        (folder / "details.json").write_text(json.dumps({"step": step, **details}))
    return destination


def _save(tensors: Mapping[str, Tensor], folder: Path) -> None:
    plain = {name: value.detach().contiguous().cpu() for name, value in tensors.items()}
    save_file(plain, folder / "tensors.safetensors")


def seeded(*parts: object, device: str | torch.device = "cpu") -> torch.Generator:
    """A generator whose stream depends on every part, so that different uses of one seed share nothing."""
    return torch.Generator(device=device).manual_seed(stable_hash(*parts) >> 1)


def stable_hash(*parts: object) -> int:
    """64 bits that depend on the parts only, the same in every process."""
    digest = hashlib.sha256("\x1f".join(map(str, parts)).encode()).digest()
    return int.from_bytes(digest[:8], "big")
