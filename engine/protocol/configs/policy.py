"""What the configurations of policy learning share; `policy_gradient` has PPO, GRPO and RLOO."""

from __future__ import annotations

from dataclasses import replace
from typing import Annotated, ClassVar, Literal

from msgspec import Meta

from engine.errors import UsageError
from engine.protocol.configs.applies import Idle, equal, one_process, unequal
from engine.protocol.configs.common import (
    Activations,
    BaseWeights,
    CheckpointEvery,
    Devices,
    LoraRank,
    MaxGradNorm,
    Nodes,
    RolloutEpochs,
    Sharding,
    Tuning,
    check_activations,
    check_base,
    check_endpoint,
)
from engine.protocol.configs.needs import (
    DECODING,
    SCALE_PROMPTS,
    SCALE_SAMPLES,
    TYPICAL_PROMPT,
    Cost,
    JobInputs,
    PromptTable,
)
from engine.protocol.configs.rates import Objective, described, learning_rate
from engine.protocol.configs.rewarded import RewardedConfig
from engine.protocol.rewards import Component, Constraint, parse_constraint

FASTEST_ASCENT, ASCENT_A_RUN = 0.3, 24.0
"""Of dual ascent in ln λ: beyond the first step it swings, for the policy is slow to answer; over a run."""


class PolicyLearningConfig(RewardedConfig, frozen=True, kw_only=True):
    """What PPO, GRPO and RLOO share."""

    rate_of: ClassVar[Objective] = "policy"
    """Whose default learning rate it takes."""

    tuning: Tuning = "lora"
    lora_rank: LoraRank = 16
    base: BaseWeights = "whole"
    steps: Annotated[int, Meta(ge=1, description="Rollout-and-update rounds.")] = 50
    prompts_per_step: Annotated[int, Meta(ge=1, description="Prompts sampled a step (B).")] = 8
    devices: Devices = 1
    nodes: Nodes = 1
    sharding: Sharding = "auto"
    endpoint: Annotated[
        str,
        Meta(
            description="A vLLM server with this policy, http://localhost:8000/v1, or several with commas "
            "between; empty samples here."
        ),
    ] = ""
    staleness: Annotated[
        int,
        Meta(
            ge=0,
            description="Steps that a server may sample ahead, from the policy as it then is; 0 waits for "
            "each step.",
        ),
    ] = 0
    ratio_cap: Annotated[
        float,
        Meta(
            ge=1.0,
            description="A token that the server's policy gave less probability than the trained one counts "
            "by that ratio, at most this.",
        ),
    ] = 2.0
    epochs: RolloutEpochs = 4
    minibatches: Annotated[int, Meta(ge=1, description="Optimiser steps a pass.")] = 1
    microbatch: Annotated[
        int, Meta(ge=1, description="Sequences in one forward and backward; halved when memory runs out.")
    ] = 16
    activations: Activations = "keep"
    learning_rate: Annotated[
        float, Meta(ge=0, description=described("Policy learning rate, annealed to 0", "policy"))
    ] = 0.0
    clip: Annotated[float, Meta(gt=0, description="Ratio clip ε.")] = 0.2
    clip_high: Annotated[float, Meta(ge=0, description="Upper ratio clip (DAPO takes 0.28); 0 is clip.")] = (
        0.0
    )
    surrogate: Annotated[
        Literal["clipped", "cispo"],
        Meta(
            description="A clipped token has no gradient (PPO), or keeps one of truncated weight (CISPO), "
            "bounded from above alone."
        ),
    ] = "clipped"
    entropy_bonus: Annotated[
        float, Meta(ge=0, description="Weight of the mean entropy a token in what is maximised.")
    ] = 0.0
    overlong_tokens: Annotated[
        int,
        Meta(ge=0, description="Over this many last tokens of its budget a response loses more and more."),
    ] = 0
    overlong_penalty: Annotated[
        float, Meta(gt=0, description="What a response that fills its budget loses of its score.")
    ] = 1.0
    resample: Annotated[
        int,
        Meta(
            ge=0,
            description="Rounds of further prompts a step in the place of those whose samples all score "
            "alike (dynamic sampling).",
        ),
    ] = 0
    kl: Annotated[Literal["fixed", "adaptive"], Meta(description="β constant, or steered to the target.")] = (
        "adaptive"
    )
    beta: Annotated[float, Meta(ge=0, description="KL coefficient β (initial).")] = 0.05
    kl_target: Annotated[
        float,
        Meta(
            gt=0,
            description="KL a response that the adaptive β steers to, in nats.",
        ),
    ] = 6.0
    kl_horizon: Annotated[
        int,
        Meta(
            ge=0,
            description="Episodes in which a KL that is off by a factor moves the adaptive β by that "
            "factor; 0 takes an eighth of the run.",
        ),
    ] = 0
    kl_bound: Annotated[float, Meta(gt=0, description="The run stops above this KL a response, in nats.")] = (
        50.0
    )
    target_kl_update: Annotated[
        float,
        Meta(
            ge=0, description="Mean per-token KL to the sampling policy that ends an update early; 0 never."
        ),
    ] = 0.1
    constraint: Annotated[
        str, Meta(description="Reward model of a cost whose mean must stay below a bound; empty is none.")
    ] = ""
    constraint_bound: Annotated[float, Meta(description="Largest mean cost, as its model scores.")] = 0.0
    constraints: Annotated[
        tuple[str, ...],
        Meta(
            description="Further bounds of means, NAME <= BOUND or NAME >= BOUND each; NAME as in rewards.",
        ),
    ] = ()
    constraint_rate: Annotated[
        float,
        Meta(
            ge=0,
            description="Step of the multipliers' dual ascent, in log λ; 0 takes 24 over the steps, at most "
            "0.3: what is off is taken back in an eighth of the run.",
        ),
    ] = 0.0
    multiplier: Annotated[float, Meta(gt=0, description="Multiplier λ of each constraint (initial).")] = 1.0
    collapse: Annotated[
        Literal["warn", "stop", "ignore"],
        Meta(description="What happens when the length or the entropy of responses collapses."),
    ] = "warn"
    collapse_share: Annotated[
        float,
        Meta(gt=0, lt=1, description="Share of the first length or entropy below which they have collapsed."),
    ] = 0.2
    max_grad_norm: MaxGradNorm = 1.0
    checkpoint_every: CheckpointEvery = 10
    policy_every: Annotated[
        int,
        Meta(
            ge=0,
            description="Steps between policies that are kept, NAME STEP each; 0 keeps the last one alone.",
        ),
    ] = 0
    trace_every: Annotated[int, Meta(ge=0, description="Steps between token traces; 0 writes none.")] = 5
    gold_every: Annotated[int, Meta(ge=1, description="Steps between evaluations by the gold scorer.")] = 1
    heldout_prompts: Annotated[
        Literal["none", "reward_model", "share"],
        Meta(
            description="Prompts that the policy does not learn on and is evaluated on: those that the "
            "reward models held out, or a share of all."
        ),
    ] = "none"
    holdout: Annotated[float, Meta(gt=0.0, lt=1.0, description="Share of prompts held out.")] = 0.1
    evaluate_every: Annotated[
        int, Meta(ge=1, description="Steps between evaluations on held-out prompts (metrics heldout/…).")
    ] = 10
    evaluate_prompts: Annotated[
        int, Meta(ge=1, description="At most this many held-out prompts are answered in an evaluation.")
    ] = 16

    @classmethod
    def rules(cls) -> tuple[Idle, ...]:
        return (
            Idle(("lora_rank", "base"), equal("tuning", "full"), "there are no adapters"),
            Idle(("sharding",), one_process, "one process has all weights"),
            Idle(("kl_target", "kl_horizon"), equal("kl", "fixed"), "β is constant"),
            Idle(("constraint_bound",), equal("constraint", ""), "there is no constraint"),
            Idle(
                ("constraint_rate", "multiplier"),
                lambda values: not (values["constraint"] or values["constraints"]),
                "there is no constraint",
            ),
            Idle(
                ("ratio_cap", "staleness"),
                equal("endpoint", ""),
                "sampling and training are one policy here",
            ),
            Idle(("overlong_penalty",), equal("overlong_tokens", 0), "no token of the budget is dear"),
            Idle(("resample",), equal("samples", 1), "a single sample has nothing to differ from"),
            Idle(("collapse_share",), equal("collapse", "ignore"), "a collapse is ignored"),
            Idle(("gold_every",), equal("gold", ""), "there is no gold scorer"),
            Idle(
                ("evaluate_every", "evaluate_prompts"),
                equal("heldout_prompts", "none"),
                "no prompt is held out",
            ),
            Idle(("holdout",), unequal("heldout_prompts", "share"), "set heldout_prompts to share too"),
        )

    @property
    def peak_learning_rate(self) -> float:
        """The policy's, the default in the place of 0."""
        return learning_rate(self.learning_rate, self.rate_of, self.tuning)

    @property
    def ascent_rate(self) -> float:
        """`constraint_rate`, its default in the place of 0."""
        return self.constraint_rate or min(FASTEST_ASCENT, ASCENT_A_RUN / self.steps)

    def constrained(self) -> list[Constraint]:
        one = [Constraint(Component(self.constraint), self.constraint_bound)] if self.constraint else []
        return [*one, *map(parse_constraint, self.constraints)]

    def held_out(self) -> tuple[str, float]:
        return self.heldout_prompts, self.holdout

    def people_rank(self) -> float:
        """Share of a step's prompts that people rank before the policy learns from it; 0: nobody is asked."""
        return 0.0

    def preferred_by(self) -> str:
        """The preference of pairs that stands in for the reward; empty for none."""
        return ""

    def mixture(self) -> float | None:
        """Share of the reference in the mixture that opponents are sampled from; None: there are none."""
        return None

    def critics(self) -> int:
        """Models trained beside the policy."""
        return 0

    def inputs(self) -> JobInputs:
        names = dict.fromkeys(part.model for part in self.components() if part.is_model)
        heldout_by = tuple(names) if self.heldout_prompts == "reward_model" else None
        table = PromptTable(self.prompts, heldout_by=heldout_by)
        return replace(RewardedConfig.inputs(self), tables={"prompts": table})

    def cost(self) -> Cost:
        sampling, full = RewardedConfig.cost(self), self.tuning == "full"
        prompts = max(1, self.microbatch // self.samples) * self.max_prompt_tokens
        # A critic lies on the reward model's weights where it can; adapters taken off are the reference.
        critics = self.critics() if full or not self.reward_models() else 0
        return replace(
            sampling,
            models=sampling.models + full + critics,
            tuning=self.tuning,
            activations=self.activations,
            four_bits=self.base == "4-bit",
            lora_rank=self.lora_rank,
            trained=1 + self.critics(),
            microbatch_tokens=prompts + self.microbatch * self.max_new_tokens,
            measures_logprobs=True,
        )

    def work(self, prompts: int | None, responses: int | None) -> float | None:
        tokens = self.prompts_per_step * (self.samples * self.max_new_tokens + TYPICAL_PROMPT)
        # By policy, reference, critic and reward models.
        measured = 2 + self.critics() + len(self.reward_models())
        trained = 3 * self.epochs * (1 + self.critics())
        learning = self.steps * tokens * ((1 + self.resample) * (DECODING + measured) + trained)
        learning += self.judging(prompts)
        if self.heldout_prompts == "none":
            return learning
        answered = self.evaluate_prompts * (self.samples * self.max_new_tokens + TYPICAL_PROMPT)
        return learning + len(self.evaluations()) * answered * (DECODING + measured - self.critics())

    def questions(self, prompts: int | None) -> dict[str, int]:
        asked: dict[str, int] = {}
        for component, judge in self.judges().items():
            if judge is not None:
                first = min(SCALE_PROMPTS, prompts or SCALE_PROMPTS)
                scale = first * judge.config.asked_of(-(-SCALE_PROMPTS * SCALE_SAMPLES // first))
                a_prompt = judge.config.asked_of(self.samples)
                steps = self.steps * (1 + self.resample) * self.prompts_per_step * a_prompt
                heldout = 0 if self.heldout_prompts == "none" else len(self.evaluations())
                asked[component.source] = scale + steps + heldout * self.evaluate_prompts * a_prompt
        return asked

    def remote(self) -> str:
        """The server that samples and trains the policy; empty where this machine does."""
        return str(getattr(self, "trainer", ""))

    def evaluations(self) -> list[int]:
        """The numbers of steps after which the policy is evaluated on held-out prompts, if there are any."""
        return [*range(0, self.steps, self.evaluate_every), self.steps]

    def check(self) -> None:
        RewardedConfig.check(self)
        names = [constraint.name for constraint in self.constrained()]
        if twice := next((name for name in names if names.count(name) > 1), None):
            raise UsageError(f"“{twice}” is bounded twice on one side; leave one bound out.")
        self.check_devices(self.prompts_per_step)
        check_activations(self.activations, self.device)
        check_base(self.base, self.tuning, self.sharding, self.endpoint)
        for address in self.endpoint.split(","):
            if not address.strip() and self.endpoint:
                raise UsageError(f"endpoint {self.endpoint} has a comma with no address beside it.")
            check_endpoint(address.strip())
        if self.endpoint and self.tuning == "full":
            raise UsageError(
                "A server is given adapters, not every weight: set tuning to lora, or leave endpoint empty."
            )
        responses = self.prompts_per_step * self.samples
        if self.minibatches > responses:
            raise UsageError(
                f"minibatches is {self.minibatches}, and a step has {responses} responses "
                "(prompts_per_step × samples); lower minibatches or sample more."
            )
        if responses % self.minibatches:
            raise UsageError(
                f"minibatches must divide the {responses} responses of a step (prompts_per_step × samples), "
                f"and {self.minibatches} does not; choose another number."
            )
        if self.heldout_prompts == "reward_model" and not any(part.is_model for part in self.components()):
            raise UsageError("No reward model has held out prompts: none is among the rewards here.")
        if self.overlong_tokens > self.max_new_tokens:
            raise UsageError(
                f"overlong_tokens is {self.overlong_tokens} and a response has {self.max_new_tokens} at most "
                "(max_new_tokens); lower it."
            )
        if self.clip_high and self.clip_high < self.clip:
            raise UsageError(
                f"clip_high is {self.clip_high:g}, below clip {self.clip:g}; raise it, or leave it 0."
            )
        if self.kl == "adaptive" and self.beta == 0:
            raise UsageError("An adaptive β cannot leave 0; raise beta, or use kl fixed.")
        if self.kl == "adaptive" and self.kl_bound <= self.kl_target:
            raise UsageError(
                f"kl_bound is {self.kl_bound:g}, and β steers to kl_target {self.kl_target:g}: the run would "
                "stop where it is meant to go; raise kl_bound."
            )
