"""Configuration of an experiment on over-optimisation with a gold reward model."""

from __future__ import annotations

from typing import Annotated

from msgspec import Meta

from engine.errors import UsageError
from engine.protocol.configs.common import (
    BatchSequences,
    JobConfig,
    PromptLimit,
    PromptSource,
    Template,
)
from engine.protocol.configs.needs import DECODING, TYPICAL_PROMPT, Cost, JobInputs, PromptTable

COUNTS = r"^\d+(,\d+)*\Z"
COUNTS_FORM = {"form": "numbers with commas, as 50,100,200"}


class OveroptimiseConfig(JobConfig, frozen=True, kw_only=True):
    """Train proxies on few labels of a gold reward model, and see what best of n by them is worth."""

    gold: Annotated[str, Meta(description="Registered reward model that labels, and that is the truth.")]
    policy: Annotated[str, Meta(description="Policy that answers; its frozen trunk carries the proxies.")] = (
        "smollm2"
    )
    prompts: PromptSource = ""
    limit: PromptLimit = 0
    labels: Annotated[
        str,
        Meta(
            pattern=COUNTS,
            description="How many pairs each proxy learns, a proxy for each number.",
            extra_json_schema=COUNTS_FORM,
        ),
    ] = "50,100,200,400"
    replicates: Annotated[int, Meta(ge=1, description="Proxies of each number, on other labels each.")] = 3
    samples: Annotated[int, Meta(ge=2, le=1024, description="Responses a prompt (N).")] = 16
    holdout: Annotated[
        float,
        Meta(gt=0.0, lt=1.0, description="Share of prompts on which proxies choose; they learn on the rest."),
    ] = 0.5
    max_new_tokens: Annotated[int, Meta(ge=1, description="Response budget, in tokens.")] = 64
    max_prompt_tokens: Annotated[int, Meta(ge=1, description="Longer prompts are left out, and counted.")] = (
        256
    )
    temperature: Annotated[float, Meta(gt=0.0, description="Sampling temperature.")] = 1.0
    template: Template = "chat"
    batch_sequences: BatchSequences = 32

    def __post_init__(self) -> None:
        if not all(self.counts()):
            raise UsageError("A proxy learns one label at least; take the 0 out of labels.")

    def counts(self) -> tuple[int, ...]:
        """The numbers of labels, ascending and once each."""
        return tuple(sorted({int(count) for count in self.labels.split(",")}))

    def held_out(self) -> tuple[str, float]:
        """Which prompts are kept from the proxies, as `RewardedConfig.held_out` says it."""
        return "share", self.holdout

    def inputs(self) -> JobInputs:
        table = PromptTable(self.prompts, self.limit)
        return JobInputs({"prompts": table}, policy=self.policy, reward_models={"gold": self.gold})

    def cost(self) -> Cost:
        return Cost(
            models=3,
            sampled_at_once=self.batch_sequences,
            row_tokens=self.max_prompt_tokens + self.max_new_tokens,
            scores=True,
        )

    def work(self, prompts: int | None, responses: int | None) -> float | None:
        if not prompts:
            return None
        count = min(prompts, self.limit) if self.limit else prompts
        return count * (self.samples * self.max_new_tokens + TYPICAL_PROMPT) * (DECODING + 2)
