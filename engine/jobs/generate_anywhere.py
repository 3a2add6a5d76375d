"""The job `generate`: by tokens, here or on a server with the same policy, or by words from any endpoint."""

from __future__ import annotations

from collections.abc import Iterator

from engine.protocol.configs import GenerateConfig
from engine.protocol.events import Event
from engine.protocol.rundir import RunDir


def run(config: GenerateConfig, directory: RunDir) -> Iterator[Event]:
    """As `generate.run` or `generate_text.run`; torch is imported for the first alone."""
    if config.protocol == "text":
        from engine.jobs import generate_text

        return generate_text.run(config, directory)
    from engine.jobs import generate

    return generate.run(config, directory)
