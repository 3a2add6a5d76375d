"""Configuration of an experiment on over-optimisation with a gold reward model."""

from __future__ import annotations

import re
from typing import Annotated

from msgspec import Meta

from engine.errors import UsageError
from engine.protocol.configs.applies import Idle, equal
from engine.protocol.configs.common import (
    BatchSequences,
    JobConfig,
    LoraRank,
    PromptLimit,
    PromptSource,
    Template,
)
from engine.protocol.configs.needs import DECODING, TYPICAL_PROMPT, Cost, JobInputs, PromptTable
from engine.protocol.configs.policy_gradient import RLOOConfig
from engine.protocol.configs.rates import described
from engine.protocol.rewards import ENSEMBLE

COUNTS = r"^\d+(,\d+)*\Z"
COUNTS_FORM = {"form": "numbers with commas, as 50,100,200"}
PLAIN = "plain"
"""The variant of a proxy that is its head alone."""


class OveroptimiseConfig(JobConfig, frozen=True, kw_only=True):
    """Train proxies on few labels of a gold reward model; see what choosing and learning by them is worth."""

    gold: Annotated[str, Meta(description="Registered reward model that labels, and that is the truth.")]
    judge: Annotated[
        str,
        Meta(description="Reward model that says how often the first policy is beaten; empty is gold."),
    ] = ""
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
    conservative: Annotated[
        tuple[str, ...],
        Meta(
            description="Variants of each proxy beside its head alone: an ensemble of heads taken as minimum "
            "mean-variance:λ or mean-deviation:κ."
        ),
    ] = ()
    members: Annotated[int, Meta(ge=2, description="Heads of such an ensemble.")] = 16
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
    steps: Annotated[
        int, Meta(ge=0, description="Steps of a policy that learns from each proxy; 0 is best of n alone.")
    ] = 10
    prompts_per_step: Annotated[int, Meta(ge=1, description="Prompts sampled a step.")] = 8
    step_samples: Annotated[int, Meta(ge=2, description="Responses to each of them.")] = 4
    learning_rate: Annotated[
        float, Meta(ge=0, description=described("Policy learning rate, annealed to 0", "policy"))
    ] = 0.0
    lora_rank: LoraRank = 16
    beta: Annotated[
        float, Meta(ge=0, description="KL coefficient β, constant; 0 lets the policy go as far as it will.")
    ] = 0.0
    microbatch: Annotated[
        int, Meta(ge=1, description="Sequences in one forward and backward; halved when memory runs out.")
    ] = 16

    @classmethod
    def rules(cls) -> tuple[Idle, ...]:
        learning = ("prompts_per_step", "step_samples", "learning_rate", "lora_rank", "beta", "microbatch")
        return (
            Idle(("members",), equal("conservative", ()), "every proxy is its head alone"),
            Idle(learning, equal("steps", 0), "no policy learns"),
        )

    def __post_init__(self) -> None:
        if not all(self.counts()):
            raise UsageError("A proxy learns one label at least; take the 0 out of labels.")
        for variant in self.conservative:
            if not variant or not re.match(ENSEMBLE, variant):
                raise UsageError(
                    f"“{variant}” is no variant; write minimum, mean-variance:0.5 or mean-deviation:1."
                )
        if len(set(self.conservative)) < len(self.conservative):
            raise UsageError("A variant stands twice in conservative; name each once.")

    def counts(self) -> tuple[int, ...]:
        """The numbers of labels, ascending and once each."""
        return tuple(sorted({int(count) for count in self.labels.split(",")}))

    def variants(self) -> tuple[str, ...]:
        """How the heads of a proxy become one score: the head alone, then what is conservative."""
        return (PLAIN, *self.conservative)

    def held_out(self) -> tuple[str, float]:
        """Which prompts are kept from the proxies, as `RewardedConfig.held_out` says it."""
        return "share", self.holdout

    def learning(self, replicate: int) -> RLOOConfig:
        """The policy learning against one proxy: RLOO with adapters, a pass over each rollout."""
        return RLOOConfig(
            name="proxy", policy=self.policy, reward_model="proxy", gold=self.gold, steps=self.steps,
            prompts_per_step=self.prompts_per_step, samples=self.step_samples, kl="fixed", beta=self.beta,
            max_new_tokens=self.max_new_tokens, max_prompt_tokens=self.max_prompt_tokens,
            temperature=self.temperature, template=self.template, learning_rate=self.learning_rate,
            lora_rank=self.lora_rank, microbatch=self.microbatch, seed=self.seed + replicate,
            device=self.device, dtype=self.dtype,
        )  # fmt: skip

    def inputs(self) -> JobInputs:
        models = {"gold": self.gold} | ({"judge": self.judge} if self.judge else {})
        table = PromptTable(self.prompts, self.limit)
        return JobInputs({"prompts": table}, policy=self.policy, reward_models=models)

    def cost(self) -> Cost:
        tokens = self.max_prompt_tokens + self.max_new_tokens
        return Cost(
            models=3 + bool(self.judge) + (self.steps > 0),  # the trunk of the proxies beside the learner
            tuning="lora" if self.steps else "",
            lora_rank=self.lora_rank,
            sampled_at_once=self.batch_sequences,
            row_tokens=tokens,
            microbatch_tokens=self.microbatch * tokens if self.steps else None,
            measures_logprobs=self.steps > 0,
            scores=True,
        )

    def work(self, prompts: int | None, responses: int | None) -> float | None:
        if not prompts:
            return None
        count = min(prompts, self.limit) if self.limit else prompts
        sampling = count * (self.samples * self.max_new_tokens + TYPICAL_PROMPT) * (DECODING + 2)
        step = self.prompts_per_step * (self.step_samples * self.max_new_tokens + TYPICAL_PROMPT)
        ways = len(self.counts()) * self.replicates * len(self.variants())
        return sampling + ways * self.steps * step * (DECODING + 4 + 3)
