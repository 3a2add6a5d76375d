"""Configuration of learning from comparisons of the policy's own samples, by a reward or by people."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, Annotated, ClassVar, Literal

from msgspec import Meta

from engine.errors import UsageError
from engine.protocol.configs.applies import Idle, always, equal, unequal
from engine.protocol.configs.common import RolloutEpochs
from engine.protocol.configs.needs import JobInputs, RankingTable
from engine.protocol.configs.policy import PolicyLearningConfig
from engine.protocol.configs.rates import Objective, described
from engine.protocol.configs.rewarded import refuse_single_samples
from engine.protocol.rewards import JUDGE, Component, parse_component

if TYPE_CHECKING:
    from engine.protocol.reward_judge import RewardJudge

OF_REWARDS = (
    "reward_model", "rewards", "ensemble", "normalise_score", "missing_stop_penalty",
    "constraint", "constraints", "resample", "overlong_tokens",
)  # fmt: skip
"""Settings of rewards, which people stand in for."""
OF_RATIOS = (
    "ratio_cap", "clip", "clip_high", "surrogate", "entropy_bonus", "kl", "kl_target", "kl_horizon",
    "resample",
)  # fmt: skip
"""Settings of losses that weigh single tokens by their ratio."""


def _is_function(preference: str) -> bool:
    return ":" in preference and not preference.strip().startswith(f"{JUDGE}:")


NO_FUNCTION = Idle(
    ("function_seconds",),
    lambda values: values["compare"] != "reward" and not _is_function(values["preference"]),
    "no function is asked",
)


class ComparedConfig(PolicyLearningConfig, frozen=True, kw_only=True):
    """What the algorithms share whose samples are compared with others."""

    compare: Literal["reward", "preference", "people"] = "reward"
    preference: Annotated[
        str,
        Meta(
            description="A reward model trained with pairwise; a function of (prompt, first, second) that "
            "says how likely the first is better, package.module:function or plugin:NAME; or a judge of "
            "pairs, judge:FILE.toml."
        ),
    ] = ""

    def preferred_by(self) -> str:
        return self.preference if self.compare == "preference" else ""

    def comparing(self) -> str:
        return "" if ":" in self.preference else self.preference

    def comparing_judge(self) -> Component | None:
        judge = self.preferred_by().strip().startswith(f"{JUDGE}:")
        return parse_component(self.preference) if judge else None

    def comparing_function(self) -> str:
        return self.preferred_by() if _is_function(self.preferred_by()) else ""

    def judges(self) -> dict[Component, RewardJudge | None]:
        from engine.protocol.reward_judge import known_judges

        judge = self.comparing_judge()
        return PolicyLearningConfig.judges(self) if judge is None else known_judges([judge])

    def comparisons(self) -> int:
        """Pairs of a prompt that are compared in a step."""
        return self.samples * (self.samples - 1) // 2

    def questions(self, prompts: int | None) -> dict[str, int]:
        judge = self.comparing_judge()
        if judge is None:
            return PolicyLearningConfig.questions(self, prompts)
        return {judge.source: self.steps * self.prompts_per_step * 2 * self.comparisons()}

    def check_request(self) -> None:
        PolicyLearningConfig.check_request(self)
        judge = None if self.comparing_judge() is None else next(iter(self.judges().values()))
        if judge is not None and judge.config.asks == "score":
            raise UsageError(
                f"A preference compares pairs, and {self.preference} gives each sample a number: leave out "
                "asks in its file, or take it as one of rewards."
            )

    def watching(self) -> dict[str, str]:
        pairwise = {"pairwise": self.comparing()} if self.comparing() else {}
        return PolicyLearningConfig.watching(self) | pairwise

    def components(self) -> list[Component]:
        return [] if self.compare != "reward" else PolicyLearningConfig.components(self)

    def check(self) -> None:
        PolicyLearningConfig.check(self)
        if self.compare != "reward" and (self.reward_model or self.rewards):
            who = "People compare" if self.compare == "people" else "A preference compares"
            raise UsageError(f"{who} the samples: leave out reward_model and rewards; gold may watch.")
        if (self.compare == "preference") != bool(self.preference):
            raise UsageError(
                "A preference needs compare preference and the name of a reward model, function or judge; "
                "set both."
            )
        judge = self.comparing_judge()
        if judge is not None and judge.weight != 1:
            raise UsageError(f"The preference {self.preference} has no weight; leave it out.")


class OnlineDPOConfig(ComparedConfig, frozen=True, kw_only=True):
    """Online DPO: sample, compare by a reward, a preference or people, learn from the pairs, again."""

    rate_of: ClassVar[Objective] = "dpo"

    learning_rate: Annotated[
        float, Meta(ge=0, description=described("Policy learning rate, annealed to 0", "dpo"))
    ] = 0.0
    epochs: RolloutEpochs = 1
    kl: Annotated[
        Literal["fixed", "adaptive"], Meta(description="β is constant: the loss holds the policy.")
    ] = "fixed"
    compare: Annotated[
        Literal["reward", "preference", "people"],
        Meta(
            description="What says which sample is better: the reward, a preference of pairs, or people, for "
            "whose rankings each step waits."
        ),
    ] = "reward"
    judged_share: Annotated[
        float, Meta(gt=0, le=1, description="Share of a step's prompts that people must have ranked.")
    ] = 1.0
    pairs: Annotated[
        Literal["all", "best_worst"],
        Meta(description="Every pair of a prompt's samples, or its best against its worst."),
    ] = "all"
    loss: Annotated[
        Literal["sigmoid", "ipo", "sppo"],
        Meta(description="Logistic or squared on pairs, or SPPO's regression on how likely a sample wins."),
    ] = "sigmoid"
    beta: Annotated[
        float, Meta(gt=0, description="How strongly the policy is held to the reference (β; 1/η of SPPO).")
    ] = 0.1
    reference: Annotated[
        Literal["round", "start"],
        Meta(
            description="What log-ratios are to: the policy that sampled (iterative DPO, DNO), or the one "
            "before the first step (online DPO)."
        ),
    ] = "round"

    @classmethod
    def rules(cls) -> tuple[Idle, ...]:
        stands = "people or a preference stand in for the reward"
        return (
            Idle(OF_RATIOS, always, "its loss compares whole responses"),
            *PolicyLearningConfig.rules(),
            Idle(OF_REWARDS, unequal("compare", "reward"), stands),
            NO_FUNCTION,
            Idle(("preference",), unequal("compare", "preference"), "set compare to preference too"),
            Idle(("judged_share",), unequal("compare", "people"), "the reward compares all"),
            Idle(("pairs",), equal("loss", "sppo"), "SPPO learns from each sample"),
        )

    def people_rank(self) -> float:
        return self.judged_share if self.compare == "people" else 0.0

    def inputs(self) -> JobInputs:
        inputs = ComparedConfig.inputs(self)
        if self.compare != "people":
            return inputs
        return replace(inputs, tables={**inputs.tables, "rankings": RankingTable(("overall",), of_run=True)})

    def check(self) -> None:
        ComparedConfig.check(self)
        refuse_single_samples(self.samples, "Samples of a prompt are compared with each other")
        if self.prompts_per_step % self.minibatches:
            raise UsageError(
                f"minibatches must divide prompts_per_step, {self.prompts_per_step}: the samples of a prompt "
                f"are compared in one, and {self.minibatches} does not; choose another number."
            )
        if self.compare == "people" and (self.devices > 1 or self.nodes > 1):
            raise UsageError(
                "A step that waits for people is sampled by one process; leave devices and nodes at 1."
            )
        if self.loss == "sppo" and self.endpoint:
            raise UsageError(
                "SPPO learns from samples of the policy itself; leave out endpoint, or loss sppo."
            )


class NashMDConfig(ComparedConfig, frozen=True, kw_only=True):
    """Nash-MD: learn to be preferred to a mixture of the policy and the one it started as."""

    epochs: RolloutEpochs = 1
    kl: Annotated[
        Literal["fixed", "adaptive"], Meta(description="β is constant: the loss holds the policy.")
    ] = "fixed"
    compare: Annotated[
        Literal["reward", "preference"],
        Meta(
            description="What says how likely a sample is better than an opponent: σ of the difference in "
            "reward, or a preference of pairs."
        ),
    ] = "reward"
    mixture_share: Annotated[
        float,
        Meta(
            ge=0,
            le=1,
            description="Share of the reference in the mixture that opponents are sampled from: 0 is "
            "self-play, 1 the reference alone.",
        ),
    ] = 0.125
    kl_loss: Annotated[
        Literal["sequence", "token"],
        Meta(
            description="KL term of the whole response, whose gradient is that of the KL, or of each token "
            "alone."
        ),
    ] = "sequence"
    beta: Annotated[
        float, Meta(ge=0, description="How strongly the policy is held to the reference (τ of the paper).")
    ] = 0.008

    @classmethod
    def rules(cls) -> tuple[Idle, ...]:
        return (
            Idle(("epochs", "minibatches"), always, "each response is learned from once"),
            Idle(OF_RATIOS, always, "its loss has no ratio"),
            *PolicyLearningConfig.rules(),
            Idle(OF_REWARDS, unequal("compare", "reward"), "a preference stands in for the reward"),
            NO_FUNCTION,
            Idle(("preference",), unequal("compare", "preference"), "set compare to preference too"),
            Idle(("kl_loss",), equal("beta", 0.0), "β is 0, so the loss has no KL term"),
        )

    def mixture(self) -> float | None:
        return self.mixture_share

    def comparisons(self) -> int:
        return self.samples * self.samples

    def check(self) -> None:
        ComparedConfig.check(self)
        if (self.epochs, self.minibatches) != (1, 1):
            raise UsageError("Nash-MD learns from each response once; leave epochs and minibatches at 1.")
        if self.endpoint:
            raise UsageError("A server cannot sample from a mixture of two policies; leave out endpoint.")
