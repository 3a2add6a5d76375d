"""Configuration of sampling responses."""

from __future__ import annotations

from typing import Annotated

from msgspec import Meta

from engine.protocol.configs.applies import Idle, equal, unequal
from engine.protocol.configs.common import (
    BatchSequences,
    Endpoint,
    JobConfig,
    PromptLimit,
    PromptSource,
    Template,
    check_endpoint,
)
from engine.protocol.configs.needs import DECODING, TYPICAL_PROMPT, Cost, JobInputs, PromptTable


class GenerateConfig(JobConfig, frozen=True, kw_only=True):
    """Sample K responses to every prompt."""

    policy: Annotated[str, Meta(description="Policy by name, hub id or folder; smollm2 is the packaged one.")]
    prompts: PromptSource = ""
    limit: PromptLimit = 0
    samples: Annotated[int, Meta(ge=1, le=64, description="Responses a prompt (K).")] = 4
    temperature: Annotated[float, Meta(ge=0.0, le=10.0, description="Sampling temperature; 0 is greedy.")] = (
        1.0
    )
    top_p: Annotated[
        float, Meta(gt=0.0, le=1.0, description="Nucleus mass; 1 keeps the whole distribution.")
    ] = 1.0
    max_new_tokens: Annotated[int, Meta(ge=1, description="Longest response, in tokens.")] = 128
    template: Template = "chat"
    stop: Annotated[
        tuple[str, ...], Meta(description="Strings that end a response, besides the stop tokens.")
    ] = ()
    batch_sequences: BatchSequences = 32
    endpoint: Endpoint = ""

    @classmethod
    def rules(cls) -> tuple[Idle, ...]:
        return (
            Idle(("top_p",), equal("temperature", 0.0), "greedy decoding takes the likeliest token"),
            Idle(("device", "dtype"), unequal("endpoint", ""), "the server has its own"),
        )

    def inputs(self) -> JobInputs:
        return JobInputs({"prompts": PromptTable(self.prompts, self.limit)}, policy=self.policy)

    def cost(self) -> Cost:
        return Cost(
            sampled_at_once=self.batch_sequences,
            row_tokens=TYPICAL_PROMPT + self.max_new_tokens,
            endpoint=self.endpoint,
        )

    def work(self, prompts: int | None, responses: int | None) -> float | None:
        if not prompts:
            return None
        count = min(prompts, self.limit) if self.limit else prompts
        return count * (self.samples * self.max_new_tokens + TYPICAL_PROMPT) * DECODING

    def __post_init__(self) -> None:
        check_endpoint(self.endpoint)
