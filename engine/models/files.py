"""The files of a model folder: which are needed, and writing a folder whole or not at all."""

from __future__ import annotations

import json
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import torch
from transformers.utils import logging as transformers_logging

from engine.chat_template import ending_with_turn
from engine.errors import ModelFilesError, UsageError
from engine.text import TOKENISER_FILES, Tokeniser

PICKLED = ("*.bin", "*.pt", "*.pth", "*.ckpt", "*.pkl")

DTYPES = {"bfloat16": torch.bfloat16, "float32": torch.float32, "float16": torch.float16}


def dtype_of(dtype: str | torch.dtype) -> torch.dtype:
    """`"bfloat16"` or `"float32"` as torch means it."""
    if isinstance(dtype, torch.dtype):
        return dtype
    if dtype not in DTYPES:
        raise UsageError(f"“{dtype}” is not a number format; choose one of {', '.join(DTYPES)}.")
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


def let_older_read(folder: Path) -> None:
    """Say in a saved folder's files, under transformers 4's names too, what transformers 5 calls otherwise.

    Without it the older one, on which many tools still stand, takes its default for the base of the rotary
    embedding without a word, and knows no tokeniser of that class.
    """
    path = folder / "config.json"
    config = json.loads(path.read_text(encoding="utf-8"))
    older = {"torch_dtype": config.get("dtype")}
    rope = config.get("rope_parameters")
    if isinstance(rope, dict) and isinstance(rope.get("rope_theta"), int | float):  # one for all layers
        older |= {name: rope[name] for name in ("rope_theta", "partial_rotary_factor") if name in rope}
        if rope.get("rope_type", "default") != "default":
            older["rope_scaling"] = {name: value for name, value in rope.items() if name not in older}
    path.write_text(json.dumps(older | config, indent=2) + "\n", encoding="utf-8")
    path = folder / "tokenizer_config.json"
    if path.is_file():
        said = json.loads(path.read_text(encoding="utf-8"))
        if said.get("tokenizer_class") in ("TokenizersBackend", "PreTrainedTokenizerFast"):
            said["tokenizer_class"] = "PreTrainedTokenizerFast"
            said.setdefault("model_input_names", ["input_ids", "attention_mask"])  # no token_type_ids
            path.write_text(json.dumps(said, ensure_ascii=False, indent=2) + "\n", encoding="utf-8")


def let_others_score(folder: Path, tokeniser: Tokeniser) -> None:
    """Change the tokeniser's files in a reward model's folder so that other tools score as this one does.

    They score at the last token that is not padding, of a conversation as `apply_chat_template` writes it and
    of batches that the tokeniser pads.  So it pads with what the model's configuration calls padding, and the
    template ends a conversation with the token that ends a turn: many write a line break behind it.
    """
    pad = tokeniser.token(tokeniser.pad_id)
    for name in ("tokenizer_config.json", "special_tokens_map.json"):
        path = folder / name
        if pad is not None and path.is_file():
            said = json.loads(path.read_text(encoding="utf-8"))
            path.write_text(json.dumps(said | {"pad_token": pad}, ensure_ascii=False, indent=2) + "\n")
    template, end = tokeniser.chat_template, tokeniser.token(tokeniser.turn_id)
    if template is not None and end is not None and tokeniser.after_answer is not None:
        ended = ending_with_turn(template, end, tokeniser.after_answer)
        (folder / "chat_template.jinja").write_text(ended, encoding="utf-8")


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
