"""Configuration of sampling responses."""

from __future__ import annotations

from typing import Annotated, Literal
from urllib.parse import urlsplit

from msgspec import Meta

from engine.errors import UsageError
from engine.protocol.configs.applies import Idle, equal, unequal
from engine.protocol.configs.common import JobConfig


class GenerateConfig(JobConfig, frozen=True, kw_only=True):
    """Sample K responses to every prompt."""

    policy: Annotated[str, Meta(description="Policy by name, hub id or folder; smollm2 is the packaged one.")]
    prompts: Annotated[str, Meta(description="Only prompts of this source; empty takes all.")] = ""
    limit: Annotated[int, Meta(ge=0, description="At most this many prompts; 0 takes all.")] = 0
    samples: Annotated[int, Meta(ge=1, le=64, description="Responses a prompt (K).")] = 4
    temperature: Annotated[float, Meta(ge=0.0, le=10.0, description="Sampling temperature; 0 is greedy.")] = (
        1.0
    )
    top_p: Annotated[
        float, Meta(gt=0.0, le=1.0, description="Nucleus mass; 1 keeps the whole distribution.")
    ] = 1.0
    max_new_tokens: Annotated[int, Meta(ge=1, description="Longest response, in tokens.")] = 128
    template: Annotated[
        Literal["chat", "plain"], Meta(description="Chat template of the model, or plain text.")
    ] = "chat"
    stop: Annotated[
        tuple[str, ...], Meta(description="Strings that end a response, besides the stop tokens.")
    ] = ()
    batch_sequences: Annotated[int, Meta(ge=1, description="Sequences sampled at once.")] = 32
    endpoint: Annotated[
        str,
        Meta(description="A vLLM server with this policy, http://localhost:8000/v1; empty samples here."),
    ] = ""

    @classmethod
    def rules(cls) -> tuple[Idle, ...]:
        return (
            Idle(("top_p",), equal("temperature", 0.0), "greedy decoding takes the likeliest token"),
            Idle(("device", "dtype"), unequal("endpoint", ""), "the server has its own"),
        )

    def __post_init__(self) -> None:
        if self.endpoint and not _is_address(self.endpoint):
            raise UsageError(f"endpoint {self.endpoint} is no address like http://localhost:8000/v1.")


def _is_address(endpoint: str) -> bool:
    try:
        parts = urlsplit(endpoint)
        return parts.scheme in ("http", "https") and bool(parts.hostname) and parts.port != 0
    except ValueError:  # a port that is no number, half an IPv6 address
        return False
