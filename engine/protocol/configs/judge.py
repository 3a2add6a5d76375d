"""Configuration of judging by a model, an endpoint, a reward model or a function."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Annotated, Literal

from msgspec import Meta

from engine.errors import UsageError
from engine.protocol.configs.applies import Idle, equal, unequal
from engine.protocol.configs.common import PromptLimit, PromptSource
from engine.protocol.configs.endpoint import ENDPOINT_FIELDS, EndpointConfig
from engine.protocol.configs.needs import (
    TYPICAL_PROMPT,
    TYPICAL_RESPONSE,
    TYPICAL_RESPONSES,
    TYPICAL_RUBRIC,
    Cost,
    JobInputs,
    PairTable,
)

PREFIX = "ai:"
JudgingModel = Annotated[
    str, Meta(description="Model that judges, by name, hub id or folder; of an endpoint its name there.")
]
JudgingEndpoint = Annotated[str, Meta(description="Address of the endpoint, as http://localhost:11434/v1.")]
FUNCTION = r"^([A-Za-z_][\w.]*:[A-Za-z_]\w*)?\Z"
FUNCTION_FORM = {"form": "package.module:function, or plugin:NAME"}
JudgingSeconds = Annotated[
    float,
    Meta(
        ge=0,
        description="Time that a function has for a question, in a process of its own; 0 lets it run with "
        "the job, without a limit.",
    ),
]
FUNCTION_SECONDS = 60.0
JUDGE_NAME = r"^(\w[\w .+-]{0,79})?\Z"
JUDGE_NAME_FORM = {"form": "a name of letters, digits, spaces and . _ + -"}
SCORERS = ("reward_model", "preference")
WITHOUT_WORDS = (*SCORERS, "function")


class JudgeConfig(EndpointConfig, frozen=True, kw_only=True):
    """Let a model judge pairs of responses, each in both orders."""

    by: Annotated[
        Literal["model", "endpoint", "reward_model", "preference", "function"],
        Meta(
            description="Who judges: a model here, an OpenAI-compatible endpoint, a reward model, the "
            "pairwise preference model beside it, a function."
        ),
    ] = "model"
    policy: JudgingModel = "smollm2"
    endpoint: JudgingEndpoint = ""
    reward_model: Annotated[str, Meta(description="Registered reward model that judges.")] = ""
    function: Annotated[
        str,
        Meta(
            pattern=FUNCTION,
            description="Function that judges: package.module:function, or plugin:NAME.",
            extra_json_schema=FUNCTION_FORM,
        ),
    ] = ""
    function_seconds: JudgingSeconds = FUNCTION_SECONDS
    name: Annotated[
        str,
        Meta(
            pattern=JUDGE_NAME,
            description="Judgements are stored under ai:NAME; empty takes the judge's own name.",
            extra_json_schema=JUDGE_NAME_FORM,
        ),
    ] = ""
    rubric: Annotated[
        str, Meta(description="TOML or Markdown file that says what counts; empty takes the built-in one.")
    ] = ""
    criterion: Annotated[
        str, Meta(description="Criteria of the rubric to judge by; several with commas, or all.")
    ] = "overall"
    pairs: Annotated[
        Literal["all", "judged"],
        Meta(description="Every pair of a prompt's responses, or those that people have judged too."),
    ] = "all"
    prompts: PromptSource = ""
    experiment: Annotated[
        str, Meta(description="Only pairs of different arms of this experiment; empty takes all pairs.")
    ] = ""
    limit: PromptLimit = 0
    pairs_a_prompt: Annotated[
        int, Meta(ge=0, description="At most this many pairs of a prompt, by chance; 0 takes all.")
    ] = 0
    disagreement: Annotated[
        Literal["tie", "mean"],
        Meta(description="Where the two orders disagree: a tie, or what their mean says."),
    ] = "tie"
    max_new_tokens: Annotated[
        int, Meta(ge=1, description="Longest answer of an endpoint, in tokens; one that reasons needs more.")
    ] = 16
    max_characters: Annotated[
        int, Meta(ge=100, description="Pairs with more characters in prompt and responses are left out.")
    ] = 40_000
    batch_tokens: Annotated[int, Meta(ge=64, description="Tokens in one forward.")] = 4096

    @classmethod
    def rules(cls) -> tuple[Idle, ...]:
        elsewhere = unequal("by", "endpoint")
        return (
            Idle(("policy",), equal("by", *WITHOUT_WORDS), "no language model is asked"),
            Idle(("endpoint", "max_new_tokens", *ENDPOINT_FIELDS), elsewhere, "no endpoint is asked"),
            Idle(("reward_model",), unequal("by", *SCORERS), "no reward model is asked"),
            Idle(("function", "function_seconds"), unequal("by", "function"), "no function is asked"),
            Idle(("rubric",), equal("by", *WITHOUT_WORDS), "only a language model reads a rubric"),
            Idle(("device", "dtype"), equal("by", "endpoint", "function"), "nothing is computed here"),
            Idle(("batch_tokens",), equal("by", "endpoint", "function"), "nothing is computed here"),
            Idle(("seed",), equal("pairs_a_prompt", 0), "nothing is drawn by chance"),
        )

    def __post_init__(self) -> None:
        field = "reward_model" if self.by in SCORERS else self.by
        if self.by != "model" and not getattr(self, field):
            raise UsageError(f"Say which {field.replace('_', ' ')} judges: give {field}.")
        self.check_asking(self.endpoint)

    def check_request(self) -> None:
        if self.rubric:
            from engine.protocol.rubric import read_rubric

            read_rubric(Path(self.rubric).expanduser()).chosen(self.criteria())

    @property
    def annotator(self) -> str:
        """The annotator that the judgements are stored under."""
        own = {
            "reward_model": self.reward_model,
            "preference": f"{self.reward_model} pairwise",
            "function": self.function.removeprefix("plugin:"),
        }
        judge = Path(own.get(self.by, self.policy)).name
        rubric = f" {Path(self.rubric).stem}" if self.rubric else ""
        named = self.name or re.sub(r"[^\w .+-]", "-", judge + rubric)[:80]
        return PREFIX + named

    def criteria(self) -> tuple[str, ...] | None:
        """The criteria named, in order and once each; None for all of the rubric."""
        names = tuple(dict.fromkeys(name for part in self.criterion.split(",") if (name := part.strip())))
        return None if names in ((), ("all",)) else names

    def identity(self) -> tuple[object, ...]:
        asked = (self.policy, self.endpoint, self.options, self.max_new_tokens)
        model = {"model": (self.policy,), "endpoint": asked}.get(self.by, (self.reward_model, self.function))
        return (self.by, *model, self.disagreement)

    @property
    def computes(self) -> bool:
        return self.by in ("model", *SCORERS)

    def inputs(self) -> JobInputs:
        table = PairTable(
            source=self.prompts,
            limit=self.limit,
            pairs_a_prompt=self.pairs_a_prompt,
            seed=self.seed,
            judged_by_people=self.pairs == "judged",
            annotator=self.annotator,
            experiment=self.experiment,
        )
        return JobInputs(
            {"pairs": table},
            policy=self.policy if self.by == "model" else None,
            reward_models={"reward_model": self.reward_model} if self.by in SCORERS else {},
            files={"rubric": self.rubric} if self.rubric else {},
            judge=self.annotator,
        )

    def cost(self) -> Cost:
        return Cost(
            microbatch_tokens=self.batch_tokens,
            scores=True,
            endpoint=self.endpoint,
            computes=self.computes,
        )

    def work(self, prompts: int | None, responses: int | None) -> float | None:
        if not prompts or self.by != "model" or self.pairs == "judged":
            return None
        count = min(prompts, self.limit) if self.limit else prompts
        pairs = TYPICAL_RESPONSES * (TYPICAL_RESPONSES - 1) // 2
        pairs = min(pairs, self.pairs_a_prompt) if self.pairs_a_prompt else pairs
        criteria = len(self.criteria() or ("",))
        return float(count * pairs * 2 * criteria * (TYPICAL_RUBRIC + TYPICAL_PROMPT + 2 * TYPICAL_RESPONSE))
