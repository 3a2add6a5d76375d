"""Judges' files and endpoints, for the tests of jobs that ask judges."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import msgspec

from tests.engine.chat_serving import ChatFake, ok

SHORT = {"instructions": "Judge.", "criteria": {"overall": ""}}  # the model has few positions


def says(text: str) -> Any:
    """An endpoint's answer of this text alone."""
    return ok({"choices": [{"message": {"content": text}, "finish_reason": "stop"}]})


def written(folder: Path, **settings: Any) -> Path:
    path = folder / "cook.toml"
    path.write_bytes(msgspec.toml.encode(settings))
    return path


def judging(fake: ChatFake, folder: Path, **settings: Any) -> Path:
    return written(folder, by="endpoint", endpoint=fake.endpoint, policy="m", **settings)
