"""Configuration of sampling responses."""

from __future__ import annotations

from typing import Annotated, Literal

from msgspec import Meta

from engine.errors import UsageError
from engine.protocol.configs.applies import Idle, equal, unequal
from engine.protocol.configs.common import BatchSequences, Endpoint, PromptLimit, PromptSource, Template
from engine.protocol.configs.endpoint import ENDPOINT_FIELDS, EndpointConfig
from engine.protocol.configs.needs import DECODING, TYPICAL_PROMPT, Cost, JobInputs, PromptTable


class GenerateConfig(EndpointConfig, frozen=True, kw_only=True):
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
    kl_to: Annotated[
        str,
        Meta(description="Policy that the KL of the responses is measured to, in nats; empty measures none."),
    ] = ""
    endpoint: Endpoint = ""
    protocol: Annotated[
        Literal["tokens", "text"],
        Meta(
            description="tokens: a vLLM server with this very policy; text: any OpenAI-compatible endpoint, "
            "which has the policy under that name and gives words alone."
        ),
    ] = "tokens"

    @classmethod
    def rules(cls) -> tuple[Idle, ...]:
        return (
            Idle(("top_p",), equal("temperature", 0.0), "greedy decoding takes the likeliest token"),
            Idle(("device", "dtype"), unequal("endpoint", ""), "the server has its own"),
            Idle(("template", "batch_sequences"), equal("protocol", "text"), "the endpoint has its own"),
            Idle(("kl_to",), unequal("endpoint", ""), "the policy is not here"),
            Idle(ENDPOINT_FIELDS, unequal("protocol", "text"), "they are for the protocol text"),
        )

    def inputs(self) -> JobInputs:
        return JobInputs(
            {"prompts": PromptTable(self.prompts, self.limit)},
            policy=self.policy if self.computes else None,
            reference=self.kl_to,
        )

    @property
    def computes(self) -> bool:
        return self.protocol != "text"

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
        self.check_asking(self.endpoint)
        if self.protocol == "text" and not self.endpoint:
            raise UsageError("The protocol text needs an endpoint: give its address.")
        if self.kl_to and (self.temperature, self.top_p) != (1.0, 1.0):
            raise UsageError(
                "The KL is that of what the policy says at temperature 1 and top_p 1; leave both so, or "
                "leave out kl_to."
            )
