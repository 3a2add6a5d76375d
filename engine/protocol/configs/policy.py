"""Configurations of policy learning from rewards: what PPO, GRPO and RLOO share, and what each adds."""

from __future__ import annotations

from typing import Annotated, Literal

from msgspec import Meta

from engine.errors import UsageError
from engine.protocol.configs.applies import Idle, equal, unequal
from engine.protocol.configs.common import NAME, NAME_FORM, JobConfig
from engine.protocol.configs.rates import described, learning_rate
from engine.protocol.rewards import ENSEMBLE, ENSEMBLE_FORM, Ensemble, components_of

Template = Literal["chat", "plain"]


class RewardedConfig(JobConfig, frozen=True, kw_only=True):
    """What every job that samples from a policy and scores the samples has."""

    name: Annotated[
        str,
        Meta(
            pattern=NAME,
            description="Name the resulting policy is registered under.",
            extra_json_schema=NAME_FORM,
        ),
    ]
    policy: Annotated[str, Meta(description="Policy to start from; also the reference policy.")] = "smollm2"
    reward_model: Annotated[
        str, Meta(description="Registered reward model to maximise; empty when rewards name all there is.")
    ] = ""
    rewards: Annotated[
        tuple[str, ...],
        Meta(
            description="Further components, NAME*WEIGHT: reward models, NAME/CRITERION of one, or Python "
            "functions package.module:function of (prompt, response)."
        ),
    ] = ()
    ensemble: Annotated[
        str,
        Meta(
            pattern=ENSEMBLE,
            description="How several reward models or ensemble members become one score: minimum, or "
            "mean-variance:λ; empty is the weighted sum.",
            extra_json_schema=ENSEMBLE_FORM,
        ),
    ] = ""
    gold: Annotated[
        str,
        Meta(description="Held-out reward model that only watches the run; empty is none."),
    ] = ""
    prompts: Annotated[str, Meta(description="Only prompts of this source; empty takes all.")] = ""
    samples: Annotated[int, Meta(ge=1, description="Responses a prompt (K).")] = 4
    max_new_tokens: Annotated[int, Meta(ge=1, description="Response budget, in tokens.")] = 256
    max_prompt_tokens: Annotated[int, Meta(ge=1, description="Longer prompts are left out, and counted.")] = (
        256
    )
    temperature: Annotated[
        float, Meta(gt=0.0, description="Sampling temperature; also divides every logit.")
    ] = 1.0
    template: Annotated[Template, Meta(description="Chat template of the model, or plain text.")] = "chat"
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

    def __post_init__(self) -> None:
        self.check()

    def check(self) -> None:
        """What no single field can say.  Raises UsageError."""
        components = components_of(self.reward_model, self.rewards)
        if Ensemble.parse(self.ensemble) is not None:
            models = [component for component in components if not component.is_function]
            if not models:
                raise UsageError("An ensemble needs reward models, and all rewards here are functions.")
            if any(component.weight != 1 for component in models):
                raise UsageError("In an ensemble every reward model has weight 1; leave the weights out.")


class PolicyLearningConfig(RewardedConfig, frozen=True, kw_only=True):
    """What PPO, GRPO and RLOO share."""

    tuning: Annotated[
        Literal["lora", "full"], Meta(description="Train low-rank adapters, or every weight.")
    ] = "lora"
    lora_rank: Annotated[int, Meta(ge=1, description="Rank of the adapters.")] = 16
    steps: Annotated[int, Meta(ge=1, description="Rollout-and-update rounds.")] = 50
    prompts_per_step: Annotated[int, Meta(ge=1, description="Prompts sampled a step (B).")] = 8
    epochs: Annotated[int, Meta(ge=1, description="Passes over each rollout.")] = 4
    minibatches: Annotated[int, Meta(ge=1, description="Optimiser steps a pass.")] = 1
    microbatch: Annotated[
        int, Meta(ge=1, description="Sequences in one forward and backward; halved when memory runs out.")
    ] = 16
    learning_rate: Annotated[
        float, Meta(ge=0, description=described("Policy learning rate, annealed to 0", "policy"))
    ] = 0.0
    clip: Annotated[float, Meta(gt=0, description="Ratio clip ε.")] = 0.2
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
    constraint_rate: Annotated[
        float, Meta(gt=0, description="Step of the multiplier's dual ascent, in log λ.")
    ] = 0.1
    multiplier: Annotated[float, Meta(gt=0, description="Multiplier λ of the constraint (initial).")] = 1.0
    collapse: Annotated[
        Literal["warn", "stop", "ignore"],
        Meta(description="What happens when the length or the entropy of responses collapses."),
    ] = "warn"
    collapse_share: Annotated[
        float,
        Meta(gt=0, lt=1, description="Share of the first length or entropy below which they have collapsed."),
    ] = 0.2
    max_grad_norm: Annotated[float, Meta(gt=0, description="Gradient norm is clipped here.")] = 1.0
    checkpoint_every: Annotated[int, Meta(ge=0, description="Steps between checkpoints; 0 writes none.")] = 10
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
            Idle(("lora_rank",), equal("tuning", "full"), "there are no adapters"),
            Idle(("kl_target", "kl_horizon"), equal("kl", "fixed"), "β is constant"),
            Idle(
                ("constraint_bound", "constraint_rate", "multiplier"),
                equal("constraint", ""),
                "there is no constraint",
            ),
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
        return learning_rate(self.learning_rate, "policy", self.tuning)

    def check(self) -> None:
        RewardedConfig.check(self)
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
        if self.heldout_prompts == "reward_model" and all(
            part.is_function for part in components_of(self.reward_model, self.rewards)
        ):
            raise UsageError("No reward model has held out prompts: all rewards here are functions.")
        if self.kl == "adaptive" and self.beta == 0:
            raise UsageError("An adaptive β cannot leave 0; raise beta, or use kl fixed.")
        if self.kl == "adaptive" and self.kl_bound <= self.kl_target:
            raise UsageError(
                f"kl_bound is {self.kl_bound:g}, and β steers to kl_target {self.kl_target:g}: the run would "
                "stop where it is meant to go; raise kl_bound."
            )


class PPOConfig(PolicyLearningConfig, frozen=True, kw_only=True):
    """Proximal policy optimisation against a reward."""

    critic: Annotated[
        Literal["separate", "shared"],
        Meta(description="A critic of its own, from the reward model, or a head on the policy's trunk."),
    ] = "separate"
    critic_learning_rate: Annotated[
        float, Meta(ge=0, description=described("Critic learning rate, annealed to 0", "critic"))
    ] = 0.0
    clip_value: Annotated[float, Meta(gt=0, description="Value clip.")] = 0.2
    value_coefficient: Annotated[float, Meta(ge=0, description="Weight of the value loss.")] = 0.1
    gamma: Annotated[float, Meta(ge=0, le=1, description="Discount γ.")] = 1.0
    lam: Annotated[float, Meta(ge=0, le=1, description="GAE λ.")] = 0.95
    whiten_advantages: Annotated[bool, Meta(description="Whiten advantages over response tokens.")] = True

    @property
    def critic_peak_learning_rate(self) -> float:
        """The critic's, the default in the place of 0."""
        return learning_rate(self.critic_learning_rate, "critic", self.tuning)


class GRPOConfig(PolicyLearningConfig, frozen=True, kw_only=True):
    """Group-relative policy optimisation: no critic, advantages from the other samples of a prompt."""

    samples: Annotated[int, Meta(ge=1, description="Responses a prompt: the group (K), two at least.")] = 8
    epochs: Annotated[int, Meta(ge=1, description="Passes over each rollout.")] = 1
    scale_advantages: Annotated[
        bool, Meta(description="Divide advantages by the group's standard deviation; no is Dr. GRPO.")
    ] = True
    loss_average: Annotated[
        Literal["response", "token", "budget"],
        Meta(
            description="Each response counts the same (GRPO), each token does, or each token over the "
            "response budget (Dr. GRPO)."
        ),
    ] = "response"
    kl_loss: Annotated[
        Literal["k2", "k3"],
        Meta(description="Estimator of the loss's KL term; k2 has the right gradient, k3 is the paper's."),
    ] = "k2"

    @classmethod
    def rules(cls) -> tuple[Idle, ...]:
        none = Idle(("kl_loss",), equal("beta", 0.0), "β is 0, so the loss has no KL term")
        return (*PolicyLearningConfig.rules(), none)

    def check(self) -> None:
        PolicyLearningConfig.check(self)
        refuse_single_samples(self.samples, "GRPO compares the samples of a prompt")


class RLOOConfig(PolicyLearningConfig, frozen=True, kw_only=True):
    """REINFORCE with a leave-one-out baseline: no critic."""

    samples: Annotated[int, Meta(ge=1, description="Responses a prompt (K), two at least.")] = 4
    epochs: Annotated[int, Meta(ge=1, description="Passes over each rollout.")] = 1

    def check(self) -> None:
        PolicyLearningConfig.check(self)
        refuse_single_samples(self.samples, "RLOO takes the other samples of a prompt as baseline")


class BestOfNConfig(RewardedConfig, frozen=True, kw_only=True):
    """Sample N responses to every prompt and keep the best by the reward."""

    samples: Annotated[int, Meta(ge=1, le=1024, description="Responses a prompt (N).")] = 16
    limit: Annotated[int, Meta(ge=0, description="At most this many prompts; 0 takes all.")] = 0
    batch_sequences: Annotated[int, Meta(ge=1, description="Sequences sampled at once.")] = 32

    def check(self) -> None:
        RewardedConfig.check(self)
        refuse_single_samples(self.samples, "The best is chosen of several samples")


def refuse_single_samples(samples: int, why: str) -> None:
    if samples < 2:
        raise UsageError(f"{why}, so samples must be at least 2, not {samples}.")
