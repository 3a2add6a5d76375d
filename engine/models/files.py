"""The files of a model folder: which are needed, and writing a folder whole or not at all."""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import torch
from transformers.utils import logging as transformers_logging

from engine.errors import ModelFilesError, UsageError
from engine.text import TOKENISER_FILES

PICKLED = ("*.bin", "*.pt", "*.pth", "*.ckpt", "*.pkl")

DTYPES = {"bfloat16": torch.bfloat16, "float32": torch.float32, "float16": torch.float16}


def dtype_of(dtype: str | torch.dtype) -> torch.dtype:
    """`"bfloat16"` or `"float32"` as torch means it."""
    if isinstance(dtype, torch.dtype):
        return dtype
    if dtype not in DTYPES:
        raise UsageError(f'"{dtype}" is not a number format; choose one of {", ".join(DTYPES)}.')
    return DTYPES[dtype]


def check_model_folder(folder: Path) -> Path:
    """The folder itself, once it holds a configuration and safetensors weights.

    Raises ModelFilesError: no config.json, or weights that are absent or only pickled (which would run code).
    """
    folder = Path(folder)
    if not (folder / "config.json").is_file():
        raise ModelFilesError(
            f"{folder} is not a model folder: it has no config.json; "
            "choose the folder that save_pretrained wrote."
        )
    if any(folder.glob("*.safetensors")):
        return folder
    pickled = [path.name for pattern in PICKLED for path in folder.glob(pattern)]
    if pickled:
        raise ModelFilesError(
            f"{folder} holds only pickled weights ({pickled[0]}), which can run code when loaded; "
            "save the model again as safetensors."
        )
    raise ModelFilesError(f"{folder} holds no *.safetensors weights; save the model again as safetensors.")


def copy_tokeniser(source: Path, destination: Path) -> None:
    """Copy the files that `Tokeniser.from_folder` reads."""
    for name in TOKENISER_FILES:
        if (source / name).is_file():
            shutil.copyfile(source / name, destination / name)


@contextmanager
def quiet_transformers() -> Iterator[None]:
    """No progress bars and load reports on stderr, which belongs to errors; the former state comes back."""
    verbosity, bars = transformers_logging.get_verbosity(), transformers_logging.is_progress_bar_enabled()
    transformers_logging.set_verbosity_error()
    transformers_logging.disable_progress_bar()
    try:
        yield
    finally:
        transformers_logging.set_verbosity(verbosity)
        if bars:
            transformers_logging.enable_progress_bar()
