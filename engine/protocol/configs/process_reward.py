"""Configuration of training a process reward model."""

from __future__ import annotations

from typing import Annotated, Literal

from msgspec import Meta

from engine.errors import UsageError
from engine.protocol.configs.common import (
    NAME,
    NAME_FORM,
    AnnotatorFilter,
    AnnotatorKinds,
    Holdout,
    JobConfig,
    PromptSource,
)
from engine.protocol.configs.needs import (
    PEOPLE_AND_RULES,
    TYPICAL_SCORED,
    Cost,
    JobInputs,
    StepTable,
)
from engine.protocol.configs.reward import FROZEN_TOKENS, LEAST_TOKENS


class ProcessRewardConfig(JobConfig, frozen=True, kw_only=True):
    """Train a process reward model on judged steps: a score at each step's end, on a frozen trunk."""

    name: Annotated[
        str,
        Meta(
            pattern=NAME,
            description="Name the reward model is registered under.",
            extra_json_schema=NAME_FORM,
        ),
    ]
    policy: Annotated[str, Meta(description="Model whose frozen trunk reads the responses.")] = "smollm2"
    prompts: PromptSource = ""
    annotator: AnnotatorFilter = ""
    annotator_kinds: AnnotatorKinds = PEOPLE_AND_RULES
    neutral: Annotated[
        Literal["good", "bad", "left_out"],
        Meta(description="What a neutral step counts as; PRM800K's authors take it as good."),
    ] = "good"
    after_wrong: Annotated[
        Literal["bad", "kept"],
        Meta(
            description="Whether every judged step after the first wrong one counts as bad, or as it was "
            "judged."
        ),
    ] = "kept"
    separator: Annotated[
        str, Meta(description="What ends a step of responses that are scored later; \\n is a line's end.")
    ] = "\\n"
    max_tokens: Annotated[
        int, Meta(ge=0, description="Longest prompt + response; longer ones are cut. 0 is 2048.")
    ] = 0
    holdout: Holdout = 0.2
    folds: Annotated[int, Meta(ge=2, description="Parts of cross-validation over training prompts.")] = 5

    def __post_init__(self) -> None:
        if not self.cut_at:
            raise UsageError("The separator of steps must not be empty; take \\n for lines.")
        if 0 < self.max_tokens < LEAST_TOKENS:
            raise UsageError(
                f"max_tokens is {self.max_tokens}, too few for any text; take {LEAST_TOKENS} or more, or 0."
            )

    @property
    def cut_at(self) -> str:
        """The separator itself: \\n and \\t are written out in a form, on a command line and in TOML."""
        return self.separator.replace("\\n", "\n").replace("\\t", "\t")

    @property
    def limit(self) -> int:
        """The longest prompt + response, in training and later in scoring."""
        return self.max_tokens or FROZEN_TOKENS

    def inputs(self) -> JobInputs:
        table = StepTable(self.annotator, self.prompts, self.annotator_kinds)
        return JobInputs({"steps": table}, policy=self.policy)

    def cost(self) -> Cost:
        return Cost(tuning="frozen", scores=True)

    def work(self, prompts: int | None, responses: int | None) -> float | None:
        return None if responses is None else float(responses * TYPICAL_SCORED)
