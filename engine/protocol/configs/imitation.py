"""Configurations of learning from stored responses: imitation and direct preference optimisation."""

from __future__ import annotations

from typing import Annotated, Literal

from msgspec import Meta

from engine.errors import UsageError
from engine.protocol.configs.applies import Idle, equal, unequal
from engine.protocol.configs.common import NAME, NAME_FORM, JobConfig
from engine.protocol.configs.rates import described, learning_rate


class StoredResponsesConfig(JobConfig, frozen=True, kw_only=True):
    """What SFT and DPO share."""

    name: Annotated[
        str,
        Meta(
            pattern=NAME,
            description="Name the trained policy is registered under.",
            extra_json_schema=NAME_FORM,
        ),
    ]
    policy: Annotated[str, Meta(description="Policy to start from; also the reference policy.")] = "smollm2"
    prompts: Annotated[str, Meta(description="Only prompts of this source; empty takes all.")] = ""
    annotator: Annotated[str, Meta(description="Only judgements of this annotator; empty takes all.")] = ""
    criterion: Annotated[str, Meta(description="Judgements of this criterion are learned.")] = "overall"
    tuning: Annotated[
        Literal["lora", "full"], Meta(description="Train low-rank adapters, or every weight.")
    ] = "lora"
    lora_rank: Annotated[int, Meta(ge=1, description="Rank of the adapters.")] = 16
    epochs: Annotated[int, Meta(ge=1, description="Passes over the training prompts.")] = 1
    learning_rate: Annotated[
        float, Meta(ge=0, description=described("Peak learning rate of Adam", "sft"))
    ] = 0.0
    warmup_steps: Annotated[int, Meta(ge=0, description="Steps to the peak learning rate.")] = 5
    batch_prompts: Annotated[int, Meta(ge=1, description="Prompts a step, each with all its responses.")] = 8
    microbatch: Annotated[
        int, Meta(ge=1, description="Prompts in one forward and backward; halved when memory runs out.")
    ] = 4
    max_tokens: Annotated[
        int, Meta(ge=8, description="Longest prompt + response; prompts are cut on the left.")
    ] = 512
    truncated: Annotated[
        Literal["keep", "leave out"],
        Meta(description="Responses cut by their budget: kept without an end of turn, or left out."),
    ] = "keep"
    template: Annotated[
        Literal["chat", "plain"], Meta(description="Chat template of the model, or plain text.")
    ] = "chat"
    holdout: Annotated[float, Meta(ge=0.0, lt=1.0, description="Share of prompts held out.")] = 0.1
    max_grad_norm: Annotated[float, Meta(gt=0, description="Gradient norm is clipped here.")] = 1.0
    checkpoint_every: Annotated[int, Meta(ge=0, description="Steps between checkpoints; 0 writes none.")] = 20

    @property
    def peak_learning_rate(self) -> float:
        """The rate given, the default in the place of 0."""
        return learning_rate(self.learning_rate, "sft", self.tuning)

    def criteria(self) -> tuple[str, ...]:
        """The criteria whose judgements are learned."""
        return (self.criterion,)

    @classmethod
    def rules(cls) -> tuple[Idle, ...]:
        return (Idle(("lora_rank",), equal("tuning", "full"), "there are no adapters"),)

    def __post_init__(self) -> None:
        self.check()

    def check(self) -> None:
        """What no single field can say.  Raises UsageError."""
        if self.microbatch > self.batch_prompts:
            raise UsageError(
                f"microbatch is {self.microbatch} and a step has {self.batch_prompts} prompts; "
                "lower microbatch or raise batch_prompts."
            )


class SFTConfig(StoredResponsesConfig, frozen=True, kw_only=True):
    """Supervised fine-tuning: imitate good responses."""

    learn_from: Annotated[
        Literal["best", "responses"],
        Meta(description="The best-ranked responses of each judgement, or stored responses as they are."),
    ] = "best"
    responses_of: Annotated[
        str,
        Meta(description="With learn_from responses: only those of this policy; empty takes all."),
    ] = ""

    @classmethod
    def rules(cls) -> tuple[Idle, ...]:
        return (
            *StoredResponsesConfig.rules(),
            Idle(
                ("annotator", "criterion"),
                equal("learn_from", "responses"),
                "stored responses are learned without judgements",
            ),
            Idle(("responses_of",), unequal("learn_from", "responses"), "set learn_from to responses too"),
        )

    def check(self) -> None:
        StoredResponsesConfig.check(self)
        if self.responses_of and self.learn_from != "responses":
            raise UsageError("responses_of chooses among stored responses; set learn_from to responses too.")


class DPOConfig(StoredResponsesConfig, frozen=True, kw_only=True):
    """Direct preference optimisation on the pairs that rankings imply."""

    learning_rate: Annotated[
        float, Meta(ge=0, description=described("Peak learning rate of Adam", "dpo"))
    ] = 0.0
    loss: Annotated[
        Literal["sigmoid", "ipo"], Meta(description="Logistic loss (DPO), or squared to a margin (IPO).")
    ] = "sigmoid"
    beta: Annotated[
        float, Meta(gt=0, description="How strongly the policy is held to the reference (β; τ of IPO).")
    ] = 0.1
    label_smoothing: Annotated[
        float, Meta(ge=0.0, lt=0.5, description="Chance that a label is wrong (conservative DPO).")
    ] = 0.0

    @property
    def peak_learning_rate(self) -> float:
        """The rate given, the default in the place of 0."""
        return learning_rate(self.learning_rate, "dpo", self.tuning)

    @classmethod
    def rules(cls) -> tuple[Idle, ...]:
        ipo = Idle(("label_smoothing",), equal("loss", "ipo"), "IPO has no labels to smooth")
        return (*StoredResponsesConfig.rules(), ipo)

    def check(self) -> None:
        StoredResponsesConfig.check(self)
        if self.loss == "ipo" and self.label_smoothing:
            raise UsageError("label_smoothing belongs to the sigmoid loss; IPO has no labels to smooth.")
