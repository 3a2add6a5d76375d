"""Configurations of PPO, GRPO and RLOO: what each adds to policy learning."""

from __future__ import annotations

from typing import Annotated, Literal

from msgspec import Meta

from engine.protocol.configs.applies import Idle, equal
from engine.protocol.configs.common import RolloutEpochs
from engine.protocol.configs.policy import PolicyLearningConfig
from engine.protocol.configs.rates import described, learning_rate
from engine.protocol.configs.rewarded import refuse_single_samples
from engine.protocol.configs.trainer import Trainer, check_trainer


class SteppedConfig(PolicyLearningConfig, frozen=True, kw_only=True):
    """What the algorithms share that can learn from a reward at each step's end."""

    process_reward: Annotated[
        str,
        Meta(description="Process reward model that pays at the end of each step; empty is none."),
    ] = ""
    process_weight: Annotated[
        float, Meta(gt=0, description="What a step that is surely good earns; one surely bad loses it.")
    ] = 1.0

    @classmethod
    def rules(cls) -> tuple[Idle, ...]:
        none = Idle(("process_weight",), equal("process_reward", ""), "nothing pays for steps")
        return (*PolicyLearningConfig.rules(), none)

    def watching(self) -> dict[str, str]:
        process = {"process": self.process_reward} if self.process_reward else {}
        return PolicyLearningConfig.watching(self) | process

    def paying_for_steps(self) -> tuple[str, float]:
        return self.process_reward, self.process_weight


class PPOConfig(SteppedConfig, frozen=True, kw_only=True):
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

    def critics(self) -> int:
        return 1 if self.critic == "separate" else 0


class GRPOConfig(SteppedConfig, frozen=True, kw_only=True):
    """Group-relative policy optimisation: no critic, advantages from the other samples of a prompt."""

    samples: Annotated[int, Meta(ge=1, description="Responses a prompt: the group (K), two at least.")] = 8
    epochs: RolloutEpochs = 1
    ratio: Annotated[
        Literal["token", "sequence"],
        Meta(
            description="Ratio of each token, or of the whole response, its geometric mean (GSPO, which "
            "takes clip near 4e-4)."
        ),
    ] = "token"
    baseline: Annotated[
        Literal["group", "others"],
        Meta(description="Mean of all samples of the prompt, or of the others (leave one out)."),
    ] = "group"
    scale_advantages: Annotated[
        bool, Meta(description="Divide advantages by a standard deviation; no is Dr. GRPO.")
    ] = True
    scale_of: Annotated[
        Literal["group", "batch"],
        Meta(description="Standard deviation of the prompt's samples, or of the whole step (REINFORCE++)."),
    ] = "group"
    loss_average: Annotated[
        Literal["response", "token", "budget"],
        Meta(
            description="Each response counts the same (GRPO), each token does, or each token over the "
            "response budget (Dr. GRPO)."
        ),
    ] = "response"
    kl_loss: Annotated[
        Literal["k2", "k3", "sequence"],
        Meta(
            description="Estimator of the loss's KL term: k2 has each token's gradient, sequence that of the "
            "whole response, k3 is the paper's."
        ),
    ] = "k2"
    trainer: Trainer = ""

    @classmethod
    def rules(cls) -> tuple[Idle, ...]:
        none = Idle(("kl_loss",), equal("beta", 0.0), "β is 0, so the loss has no KL term")
        return (
            *SteppedConfig.rules(),
            none,
            Idle(("baseline",), equal("scale_advantages", True), "scaling takes the difference away"),
            Idle(("scale_of",), equal("scale_advantages", False), "advantages are not scaled"),
            Idle(("ratio",), equal("surrogate", "cispo"), "CISPO weighs single tokens"),
        )

    def check(self) -> None:
        PolicyLearningConfig.check(self)
        refuse_single_samples(self.samples, "GRPO compares the samples of a prompt")
        check_trainer(self, self.trainer)


class RLOOConfig(PolicyLearningConfig, frozen=True, kw_only=True):
    """REINFORCE with a leave-one-out baseline: no critic."""

    samples: Annotated[int, Meta(ge=1, description="Responses a prompt (K), two at least.")] = 4
    epochs: RolloutEpochs = 1
    trainer: Trainer = ""

    def check(self) -> None:
        PolicyLearningConfig.check(self)
        refuse_single_samples(self.samples, "RLOO takes the other samples of a prompt as baseline")
        check_trainer(self, self.trainer)
