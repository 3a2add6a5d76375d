"""Register a reward model that was trained elsewhere, once its scores are transformers' own."""

from __future__ import annotations

from collections.abc import Iterator

from engine.jobs.background import in_background
from engine.models.catalogue import resolving
from engine.models.device import resolve_device
from engine.models.registered import check, make_folder
from engine.models.reward_model import load_reward_model
from engine.protocol.configs import RegisterConfig
from engine.protocol.events import Artifact, Event, Finished, Progress
from engine.protocol.rundir import RunDir


def run(config: RegisterConfig, directory: RunDir) -> Iterator[Event]:
    """Yield an Artifact of kind reward_model, whose weights are links to those of the model.

    Raises UsageError for what is no such reward model, VerificationError where scores differ.
    """
    source = yield from resolving(config.model)
    destination = directory.path / "model"
    make_folder(source, destination, chat_template=config.chat_template, max_tokens=config.max_tokens)
    yield Progress(stage="loading model", done=0)
    device = resolve_device(config.device)
    reward_model = yield from in_background(
        "loading model", lambda: load_reward_model(destination, "float32", device)
    )
    worst = yield from in_background("verifying", lambda: check(source, reward_model, destination))
    yield Artifact(
        kind="reward_model",
        name=config.name,
        path=directory.relative(destination),
        details={
            "base": config.model,
            "folder": str(source),
            "registered": True,
            "criteria": reward_model.criteria,
            "max_tokens": reward_model.tokeniser.score_tokens,
            "max_difference": worst,
        },
    )
    yield Finished(summary={"max_difference": worst, "max_tokens": reward_model.tokeniser.score_tokens})
