"""Configurations of direct preference learning: from pairs, or from responses good or bad for themselves."""

from __future__ import annotations

from dataclasses import replace
from typing import Annotated, ClassVar, Literal

from msgspec import Meta

from engine.errors import UsageError
from engine.protocol.configs.applies import Idle, equal, unequal
from engine.protocol.configs.imitation import StoredResponsesConfig
from engine.protocol.configs.needs import TYPICAL_PROMPT, TYPICAL_RESPONSES, Cost
from engine.protocol.configs.rates import ImitationRate, Objective, PreferenceRate

LOG_THREE = 1.0986122886681098
"""log θ at which a tie is as likely as either win between equals (Chen et al., arXiv 2409.17431)."""

Beta = Annotated[float, Meta(gt=0, description="How strongly the policy is held to the reference (β).")]


class PreferenceConfig(StoredResponsesConfig, frozen=True, kw_only=True):
    """What direct preference learning shares: all responses of a prompt pass together."""

    rate_of: ClassVar[Objective] = "dpo"

    def measured_passes(self) -> tuple[float, float]:
        """Passes without gradient: once before the first step, and in every epoch."""
        return 0.0, 0.0

    def cost(self) -> Cost:
        others = (TYPICAL_RESPONSES - 1) * max(
            0, self.max_tokens - TYPICAL_PROMPT
        )  # share their prompt's tokens
        return replace(
            StoredResponsesConfig.cost(self),
            microbatch_tokens=self.microbatch * (self.max_tokens + others),
            measures_logprobs=True,
        )

    def work(self, prompts: int | None, responses: int | None) -> float | None:
        if not prompts:
            return None
        once, an_epoch = self.measured_passes()
        return prompts * self.tokens_a_prompt(TYPICAL_RESPONSES) * ((3.0 + an_epoch) * self.epochs + once)


class PairConfig(PreferenceConfig, frozen=True, kw_only=True):
    """What learning from pairs shares."""

    weights: Annotated[
        Literal["equal", "consensus"],
        Meta(
            description="Every judgement's pairs count alike, or each pair once, by how far its judgements "
            "agree."
        ),
    ] = "equal"


class DPOConfig(PairConfig, frozen=True, kw_only=True):
    """Direct preference optimisation on the pairs that rankings imply."""

    learning_rate: PreferenceRate = 0.0
    loss: Annotated[
        Literal["sigmoid", "ipo", "robust"],
        Meta(
            description="Logistic loss (DPO), squared to a margin (IPO), or logistic and unbiased where "
            "labels are wrong with the chance label_smoothing (robust DPO)."
        ),
    ] = "sigmoid"
    beta: Annotated[
        float, Meta(gt=0, description="How strongly the policy is held to the reference (β; τ of IPO).")
    ] = 0.1
    label_smoothing: Annotated[
        float,
        Meta(ge=0.0, lt=0.5, description="Chance that a label is wrong (conservative DPO, robust DPO)."),
    ] = 0.0
    average: Annotated[
        Literal["sum", "token"],
        Meta(
            description="Log-probabilities of a response summed, or averaged over its tokens "
            "(length-normalised DPO, which takes β near 5)."
        ),
    ] = "sum"
    length_penalty: Annotated[
        float,
        Meta(ge=0, description="Reward a token that is put down to length, not learned (R-DPO's α)."),
    ] = 0.0
    nll: Annotated[
        float, Meta(ge=0, description="Weight of imitating the winner beside the preference (RPO's α).")
    ] = 0.0
    ties: Annotated[
        Literal["leave out", "rao_kupper"],
        Meta(description="Ties of rankings: left out, or learned by Rao and Kupper's model."),
    ] = "leave out"
    tie: Annotated[
        float,
        Meta(gt=0, description="Difference of rewards that is not noticed (log θ of Rao and Kupper)."),
    ] = LOG_THREE

    @classmethod
    def rules(cls) -> tuple[Idle, ...]:
        return (
            *StoredResponsesConfig.rules(),
            Idle(("label_smoothing",), equal("loss", "ipo"), "IPO has no labels to smooth"),
            Idle(("length_penalty",), equal("loss", "ipo"), "IPO's margin has no offset"),
            Idle(
                ("label_smoothing",), equal("ties", "rao_kupper"), "a label that may be wrong is a near tie"
            ),
            Idle(("weights",), equal("ties", "rao_kupper"), "judgements that disagree are near a tie"),
            Idle(("tie",), unequal("ties", "rao_kupper"), "ties are left out"),
        )

    def measured_passes(self) -> tuple[float, float]:
        return 1.0, 0.0  # the reference's

    def check(self) -> None:
        StoredResponsesConfig.check(self)
        if self.loss == "ipo" and self.label_smoothing:
            raise UsageError("label_smoothing belongs to the sigmoid loss; IPO has no labels to smooth.")
        if self.loss == "robust" and not self.label_smoothing:
            raise UsageError(
                "The robust loss must know how many labels are wrong; set label_smoothing, or loss sigmoid."
            )
        if self.ties == "rao_kupper" and self.weights != "equal":
            raise UsageError("Ties are learned from every judgement; leave out weights, or ties.")
        if self.ties == "rao_kupper" and self.loss != "sigmoid":
            raise UsageError(f"Ties are learned with the sigmoid loss; leave out ties, or loss {self.loss}.")


class SimPOConfig(PairConfig, frozen=True, kw_only=True):
    """Simple preference optimisation: no reference, rewards a token, a margin between them."""

    learning_rate: PreferenceRate = 0.0
    beta: Annotated[float, Meta(gt=0, description="Scale of the reward a token (β).")] = 2.0
    gamma: Annotated[
        float, Meta(ge=0, description="Margin wanted between the rewards of winner and loser (γ).")
    ] = 1.0


class CPOConfig(PairConfig, frozen=True, kw_only=True):
    """Contrastive preference optimisation: DPO without a reference, imitation of the winner beside it."""

    rate_of: ClassVar[Objective] = "sft"

    learning_rate: ImitationRate = 0.0
    beta: Annotated[float, Meta(gt=0, description="Scale of the implicit reward (β).")] = 0.1
    nll: Annotated[float, Meta(ge=0, description="Weight of imitating the winner.")] = 1.0


class ORPOConfig(PairConfig, frozen=True, kw_only=True):
    """Odds-ratio preference optimisation: imitation and preference at once, without a reference."""

    rate_of: ClassVar[Objective] = "sft"

    learning_rate: ImitationRate = 0.0
    beta: Annotated[
        float, Meta(gt=0, description="Weight of the odds ratio beside imitation (the paper's λ).")
    ] = 0.1


class KTOConfig(PreferenceConfig, frozen=True, kw_only=True):
    """Kahneman–Tversky optimisation: responses that are good or bad, each for itself."""

    learning_rate: PreferenceRate = 0.0
    labels: Annotated[
        Literal["ranks", "ratings"],
        Meta(
            description="What says that a response is good: more pairs won than lost, or ratings of at least "
            "the threshold."
        ),
    ] = "ranks"
    threshold: Annotated[float, Meta(description="Mean rating from which a response is desirable.")] = 0.5
    beta: Beta = 0.1
    desirable_weight: Annotated[float, Meta(gt=0, description="Weight of desirable responses (λ_D).")] = 1.0
    undesirable_weight: Annotated[float, Meta(gt=0, description="Weight of undesirable responses (λ_U).")] = (
        1.0
    )

    @classmethod
    def rules(cls) -> tuple[Idle, ...]:
        ranked = Idle(("threshold",), unequal("labels", "ratings"), "ranks say what is good")
        return (*StoredResponsesConfig.rules(), ranked)

    def measured_passes(self) -> tuple[float, float]:
        return 2.0, 1.0  # the reference's of both, and the policy's of every prompt with another's responses
