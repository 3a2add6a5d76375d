"""What the files of a model folder say of its tokeniser.  Torch-free."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from engine.errors import ModelFilesError

SPECIAL_NAMES = ("bos_token", "eos_token", "unk_token", "sep_token", "pad_token", "cls_token", "mask_token")


def read_json(path: Path) -> dict[str, Any]:
    """An optional JSON object; empty when the file is absent."""
    if not path.is_file():
        return {}
    try:
        value = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise ModelFilesError(f"{path} is not valid JSON ({error}); copy it again.") from error
    if not isinstance(value, dict):
        raise ModelFilesError(f"{path} must hold a JSON object; copy it again.")
    return value


def positive(value: Any) -> int | None:
    """A whole number above 0 as a file says it; anything else says nothing."""
    return value if type(value) is int and value > 0 else None


def special_tokens(config: dict[str, Any]) -> dict[str, str]:
    """`{"eos_token": "</s>", …}`; a token is written as text or as a record with its content."""
    tokens = {}
    for name in SPECIAL_NAMES:
        value = config.get(name)
        if isinstance(value, dict):
            value = value.get("content")
        if isinstance(value, str):
            tokens[name] = value
    return tokens


def positions(config: dict[str, Any]) -> int | None:
    """How many positions the model has, under the names that architectures give them; of its text part."""
    for part in (config, config.get("text_config")):
        for name in ("max_position_embeddings", "n_positions", "max_seq_len"):
            if isinstance(part, dict) and isinstance(part.get(name), int):
                return int(part[name])
    return None


def find_template(folder: Path, config: dict[str, Any]) -> str | None:
    """The chat template of a model folder: its own file, or of the tokeniser's configuration; else None."""
    path = folder / "chat_template.jinja"
    if path.is_file():
        return path.read_text(encoding="utf-8")
    value = config.get("chat_template")
    if isinstance(value, list):  # older form: [{"name": "default", "template": "…"}, …]
        value = next((item.get("template") for item in value if item.get("name") == "default"), None)
    return value if isinstance(value, str) else None


def stop_ids(folder: Path) -> list[int]:
    """End-of-turn tokens: `eos_token_id` of the generation config, else of the model's config."""
    for name in ("generation_config.json", "config.json"):
        value = read_json(folder / name).get("eos_token_id")
        if value is not None:
            return [int(item) for item in (value if isinstance(value, list) else [value])]
    return []
