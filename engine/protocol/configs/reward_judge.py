"""Configuration of a judge whose verdicts are a reward: what its TOML file says, apart from the rubric."""

from __future__ import annotations

from typing import Annotated, Literal

from msgspec import Meta

from engine.errors import UsageError
from engine.protocol.configs.applies import Idle, always, equal, unequal
from engine.protocol.configs.endpoint import ENDPOINT_FIELDS, EndpointConfig
from engine.protocol.configs.judge import (
    FUNCTION,
    FUNCTION_FORM,
    FUNCTION_SECONDS,
    JudgingEndpoint,
    JudgingModel,
    JudgingSeconds,
)

VERDICT_TOKENS, REASONING_TOKENS = 16, 512
"""Longest answer of one that gives its verdict alone, and of one that reasons first."""


class RewardJudgeConfig(EndpointConfig, frozen=True, kw_only=True):
    """Who judges the samples, what it is asked, and what happens where it gives no answer."""

    by: Annotated[
        Literal["model", "endpoint", "function"],
        Meta(description="Who judges: a model here, an OpenAI-compatible endpoint, a function."),
    ] = "model"
    policy: JudgingModel = "smollm2"
    endpoint: JudgingEndpoint = ""
    function: Annotated[
        str,
        Meta(
            pattern=FUNCTION,
            description="Function that judges pairs: package.module:function, or plugin:NAME.",
            extra_json_schema=FUNCTION_FORM,
        ),
    ] = ""
    function_seconds: JudgingSeconds = FUNCTION_SECONDS
    asks: Annotated[
        Literal["pairs", "score"],
        Meta(
            description="Which of two samples of a prompt is better, each pair in both orders, or a number "
            "for each sample."
        ),
    ] = "pairs"
    opponents: Annotated[
        int,
        Meta(
            ge=2,
            description="Most others of its prompt that a sample is compared with, an even number.",
        ),
    ] = 8
    scale: Annotated[int, Meta(ge=2, le=100, description="Best number; the worst is 1.")] = 5
    reasons: Annotated[
        bool,
        Meta(description="Whether it writes its reasons before its verdict, as a generative reward model."),
    ] = False
    criterion: Annotated[str, Meta(description="Criterion of the rubric to judge by.")] = "overall"
    max_new_tokens: Annotated[
        int, Meta(ge=0, description="Longest answer, in tokens; 0 takes 16, and 512 with reasons.")
    ] = 0
    batch_tokens: Annotated[int, Meta(ge=64, description="Tokens in one forward.")] = 4096
    failed_share: Annotated[
        float,
        Meta(
            ge=0,
            lt=1,
            description="Share of the questions of a step that may stay without an answer; beyond it the run "
            "ends.",
        ),
    ] = 0.2

    @classmethod
    def rules(cls) -> tuple[Idle, ...]:
        return (
            Idle(("endpoint", *ENDPOINT_FIELDS), unequal("by", "endpoint"), "no endpoint is asked"),
            Idle(("policy", "reasons", "max_new_tokens"), equal("by", "function"), "no model is asked"),
            Idle(("function", "function_seconds"), unequal("by", "function"), "no function is asked"),
            Idle(("batch_tokens",), unequal("by", "model"), "nothing is computed here"),
            Idle(("scale",), equal("asks", "pairs"), "a pair has no number"),
            Idle(("opponents",), equal("asks", "score"), "each sample is rated alone"),
            Idle(("seed", "device", "dtype", "on"), always, "they are the run's"),
        )

    def __post_init__(self) -> None:
        if self.by != "model" and not getattr(self, self.by):
            raise UsageError(f"Say which {self.by} judges: give {self.by}.")
        if self.by == "function" and self.asks == "score":
            raise UsageError("A function that scores samples is a reward itself, package.module:function.")
        if self.opponents % 2:
            raise UsageError(
                f"opponents must be even, for every sample to have as many; {self.opponents} is not."
            )
        self.check_asking(self.endpoint)

    @property
    def answer_tokens(self) -> int:
        """Tokens of the longest answer."""
        return self.max_new_tokens or (REASONING_TOKENS if self.reasons else VERDICT_TOKENS)

    def asked_of(self, samples: int) -> int:
        """How often it is asked about so many samples of one prompt."""
        return samples * min(samples - 1, self.opponents) if self.asks == "pairs" else samples
