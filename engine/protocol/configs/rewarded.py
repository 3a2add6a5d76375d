"""Configurations of jobs that score what a policy says by rewards: what all of them have, and best of n."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Literal

from msgspec import Meta

from engine.errors import UsageError
from engine.protocol.configs.common import (
    BatchSequences,
    JobConfig,
    PolicyName,
    PromptLimit,
    PromptSource,
    StartingPolicy,
    Template,
)
from engine.protocol.configs.needs import (
    DECODING,
    SAMPLED_AT_ONCE,
    TYPICAL_PROMPT,
    TYPICAL_RESPONSE,
    TYPICAL_RUBRIC,
    Cost,
    JobInputs,
    PromptTable,
)
from engine.protocol.rewards import (
    ENSEMBLE,
    ENSEMBLE_FORM,
    Component,
    Constraint,
    Ensemble,
    components_of,
    parse_component,
)

if TYPE_CHECKING:
    from engine.protocol.reward_judge import RewardJudge


class RewardedConfig(JobConfig, frozen=True, kw_only=True):
    """What every job that samples from a policy and scores the samples has."""

    name: PolicyName
    policy: StartingPolicy = "smollm2"
    reward_model: Annotated[
        str, Meta(description="Registered reward model to maximise; empty when rewards name all there is.")
    ] = ""
    rewards: Annotated[
        tuple[str, ...],
        Meta(
            description="Further components, NAME*WEIGHT: reward models, NAME/CRITERION of one, Python "
            "functions, package.module:function, plugin:NAME or verify:NAME (exact_match, pattern, "
            "json_schema, maths, code), or judges, judge:FILE.toml."
        ),
    ] = ()
    function_seconds: Annotated[
        float,
        Meta(
            ge=0,
            description="Time that a function has for a response, in a process of its own; 0 lets it run "
            "with the job, without a limit, and verifiers have 5.",
        ),
    ] = 0.0
    ensemble: Annotated[
        str,
        Meta(
            pattern=ENSEMBLE,
            description="How several reward models or ensemble members become one score: minimum, "
            "mean-variance:λ, or mean-deviation:κ of the differences within a prompt; empty is the weighted "
            "sum.",
            extra_json_schema=ENSEMBLE_FORM,
        ),
    ] = ""
    step_score: Annotated[
        Literal["min", "product", "sum", "last"],
        Meta(
            description="How the steps' scores of a process reward model become one: the worst step's, the "
            "log-chance that all are good, how many are good, or the last step's."
        ),
    ] = "min"
    gold: Annotated[
        str,
        Meta(description="Held-out reward model that only watches the run; empty is none."),
    ] = ""
    prompts: PromptSource = ""
    samples: Annotated[int, Meta(ge=1, description="Responses a prompt (K).")] = 4
    max_new_tokens: Annotated[int, Meta(ge=1, description="Response budget, in tokens.")] = 256
    max_prompt_tokens: Annotated[int, Meta(ge=1, description="Longer prompts are left out, and counted.")] = (
        256
    )
    temperature: Annotated[
        float, Meta(gt=0.0, description="Sampling temperature; also divides every logit.")
    ] = 1.0
    template: Template = "chat"
    normalise_score: Annotated[
        bool,
        Meta(
            description="Shift each component by its mean on samples of the policy before it learns, and "
            "divide it by its standard deviation within a prompt."
        ),
    ] = True
    missing_stop_penalty: Annotated[
        float,
        Meta(
            description="A response that never stopped scores as the others of its prompt do in the mean, "
            "plus this (after normalisation)."
        ),
    ] = -1.0

    def components(self) -> list[Component]:
        """Everything that is maximised.  Raises UsageError when there is nothing, or one thing twice."""
        return components_of(self.reward_model, self.rewards)

    def watching(self) -> dict[str, str]:
        """Further reward models by role, NAME or NAME/CRITERION each."""
        return {"gold": self.gold} if self.gold else {}

    def paying_for_steps(self) -> tuple[str, float]:
        """The process reward model that pays at the ends of steps, and its weight; an empty name for none."""
        return "", 0.0

    def comparing(self) -> str:
        """The reward model whose pairwise preference model compares samples; empty for none."""
        return ""

    def comparing_judge(self) -> Component | None:
        """The judge that compares samples in the place of such a model; None for none."""
        return None

    def comparing_function(self) -> str:
        """The function of Python that does so; empty for none."""
        return ""

    def constrained(self) -> list[Constraint]:
        """The bounds of means that are kept while something else is maximised.  Raises UsageError."""
        return []

    def held_out(self) -> tuple[str, float]:
        """Which prompts are kept from learning (`none`, `reward_model` or `share`), and the share."""
        return "none", 0.0

    def reward_models(self) -> dict[str, str]:
        """The reward models that the job reads, by the role under which its inputs list them."""
        models = {"reward_model": self.reward_model} if self.reward_model else {}
        for component in map(parse_component, self.rewards):
            if component.is_model:
                models[component.role] = component.model
        for bounded in (constraint.component for constraint in self.constrained()):
            if bounded.is_model:
                models[bounded.role] = bounded.model
        return models | {role: Component(name).model for role, name in self.watching().items()}

    def judges(self) -> dict[Component, RewardJudge | None]:
        """The judges that are asked; None for one whose file cannot be read, or not any more."""
        from engine.protocol.reward_judge import known_judges

        bounded = [constraint.component for constraint in self.constrained()]
        return known_judges([*self.components(), *bounded])

    def inputs(self) -> JobInputs:
        from engine.protocol.reward_judge import judge_files, judge_models

        judges = self.judges()
        return JobInputs(
            {"prompts": PromptTable(self.prompts)},
            policy=self.policy,
            policies=judge_models(judges),
            reward_models=self.reward_models(),
            files=judge_files(judges),
        )

    def questions(self, prompts: int | None) -> dict[str, int]:
        """How often each judge is asked, by its name; without those where that is not known."""
        return {}

    def judging(self, prompts: int | None) -> float:
        """Tokens that go through the models that judge here."""
        asked, tokens = self.questions(prompts), 0.0
        for component, judge in self.judges().items():
            if judge is not None and judge.config.by == "model":
                responses = (2 if judge.config.asks == "pairs" else 1) * TYPICAL_RESPONSE
                written = DECODING * judge.config.answer_tokens if judge.config.reasons else 0
                a_question = TYPICAL_RUBRIC + TYPICAL_PROMPT + responses + written
                tokens += asked.get(component.source, 0) * a_question
        return tokens

    def cost(self) -> Cost:
        local = sum(judge is not None and judge.config.by == "model" for judge in self.judges().values())
        return Cost(
            models=1 + len(set(self.reward_models().values())) + local,
            sampled_at_once=SAMPLED_AT_ONCE,
            row_tokens=self.max_prompt_tokens + self.max_new_tokens,
            scores=True,
        )

    def __post_init__(self) -> None:
        self.check()

    def check_request(self) -> None:
        from engine.protocol.reward_judge import read_reward_judge

        for component, judge in self.judges().items():
            if judge is None:
                read_reward_judge(Path(component.file).expanduser())  # which says what is wrong
            elif judge.config.asks == "pairs" and component != self.comparing_judge():
                refuse_single_samples(self.samples, f"{component.source} compares samples of a prompt")

    def check(self) -> None:
        """What no single field can say.  Raises UsageError."""
        components = self.components()
        files = {(one.source, one.file) for one in components}
        files |= {(one.component.source, one.component.file) for one in self.constrained()}
        if len({source for source, _ in files}) < len(files):
            raise UsageError("Two files of judges have one name; give each a name of its own.")
        ensemble = Ensemble.parse(self.ensemble)
        if ensemble is not None:
            if ensemble.kind == "mean-deviation":
                refuse_single_samples(self.samples, "mean-deviation is of differences between samples")
            models = [component for component in components if component.is_model]
            if not models:
                raise UsageError("An ensemble needs reward models, and all rewards here are functions.")
            if any(component.weight != 1 for component in models):
                raise UsageError("In an ensemble every reward model has weight 1; leave the weights out.")


class BestOfNConfig(RewardedConfig, frozen=True, kw_only=True):
    """Sample N responses to every prompt and keep the best by the reward."""

    samples: Annotated[int, Meta(ge=1, le=1024, description="Responses a prompt (N).")] = 16
    limit: PromptLimit = 0
    batch_sequences: BatchSequences = 32

    def inputs(self) -> JobInputs:
        table = PromptTable(self.prompts, self.limit)
        return replace(RewardedConfig.inputs(self), tables={"prompts": table})

    def cost(self) -> Cost:
        return replace(RewardedConfig.cost(self), sampled_at_once=self.batch_sequences)

    def questions(self, prompts: int | None) -> dict[str, int]:
        if not prompts:
            return {}
        count = min(prompts, self.limit) if self.limit else prompts
        return {
            component.source: count * judge.config.asked_of(self.samples)
            for component, judge in self.judges().items()
            if judge is not None
        }

    def work(self, prompts: int | None, responses: int | None) -> float | None:
        if not prompts:
            return None
        count = min(prompts, self.limit) if self.limit else prompts
        tokens = count * (self.samples * self.max_new_tokens + TYPICAL_PROMPT)
        return tokens * (DECODING + len(self.reward_models())) + self.judging(prompts)

    def check(self) -> None:
        RewardedConfig.check(self)
        refuse_single_samples(self.samples, "The best is chosen of several samples")


def refuse_single_samples(samples: int, why: str) -> None:
    """Raises UsageError where a prompt has one sample, and `why` says what needs more."""
    if samples < 2:
        raise UsageError(f"{why}, so samples must be at least 2, not {samples}.")
