"""Judges' files and endpoints, for the tests of jobs that ask judges."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import msgspec

from engine.policy_learning.rewards.judges import JudgePart, open_judge
from engine.policy_learning.rewards.parts import Conversation
from engine.protocol.rewards import parse_component
from engine.protocol.rundir import RunDir
from tests.engine.chat_serving import ChatFake, ok
from tests.engine.policy_learning.jobs import CONFIGS

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


def keep_judges(run: RunDir, folder: Path, endpoint: ChatFake) -> None:
    """The judges `far`, an endpoint, and `near`, a model here, as a run's copies of their files."""
    far = {"by": "endpoint", "endpoint": endpoint.endpoint, "policy": "m"}
    for name, settings in {"far": far, "near": {"rubric": SHORT}}.items():
        path = folder / f"{name}.toml"
        path.write_bytes(msgspec.toml.encode(settings))
        run.keep_file(f"judge {name}", path)


def opened(folder: Path, models: dict[str, Path] | None = None, **settings: Any) -> JudgePart:
    """The judge of a run whose copy of the file has these settings."""
    run = RunDir.create(folder / "runs" / "one", CONFIGS["rloo"])
    component = parse_component(f"judge:{written(folder, **settings)}*2")
    run.keep_file(component.role, written(folder, **settings))
    return open_judge(component, run, models or {}, "float32", "cpu")


def said(*texts: str, prompt: str = "p") -> list[Conversation]:
    return [Conversation([{"role": "user", "content": prompt}], text) for text in texts]
