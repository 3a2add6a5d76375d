"""Configurations of learning from stored responses: what all of them have, and imitation."""

from __future__ import annotations

from typing import Annotated, ClassVar, Literal

from msgspec import Meta

from engine.errors import UsageError
from engine.protocol.configs.applies import Idle, equal, one_process, unequal
from engine.protocol.configs.common import (
    Activations,
    AnnotatorFilter,
    AnnotatorKinds,
    BaseWeights,
    BatchPrompts,
    CheckpointEvery,
    Devices,
    Epochs,
    Holdout,
    JobConfig,
    LoraRank,
    MaxGradNorm,
    Nodes,
    PolicyName,
    PromptSource,
    Sharding,
    StartingPolicy,
    Template,
    Tuning,
    WarmupSteps,
    check_activations,
    check_base,
)
from engine.protocol.configs.needs import (
    PEOPLE_AND_RULES,
    TYPICAL_PROMPT,
    Cost,
    JobInputs,
    RankingTable,
    ResponseTable,
)
from engine.protocol.configs.rates import ImitationRate, Objective, learning_rate


class StoredResponsesConfig(JobConfig, frozen=True, kw_only=True):
    """What SFT, DPO and the others that read stored responses share."""

    rate_of: ClassVar[Objective] = "sft"
    """Whose default learning rate it takes."""

    name: PolicyName
    policy: StartingPolicy = "smollm2"
    prompts: PromptSource = ""
    annotator: AnnotatorFilter = ""
    annotator_kinds: AnnotatorKinds = PEOPLE_AND_RULES
    criterion: Annotated[str, Meta(description="Judgements of this criterion are learned.")] = "overall"
    tuning: Tuning = "lora"
    lora_rank: LoraRank = 16
    base: BaseWeights = "whole"
    epochs: Epochs = 1
    learning_rate: ImitationRate = 0.0
    warmup_steps: WarmupSteps = 5
    batch_prompts: BatchPrompts = 8
    devices: Devices = 1
    nodes: Nodes = 1
    sharding: Sharding = "auto"
    microbatch: Annotated[
        int, Meta(ge=1, description="Prompts in one forward and backward; halved when memory runs out.")
    ] = 4
    activations: Activations = "keep"
    max_tokens: Annotated[
        int, Meta(ge=8, description="Longest prompt + response; prompts are cut on the left.")
    ] = 512
    truncated: Annotated[
        Literal["keep", "leave out"],
        Meta(description="Responses cut by their budget: kept without an end of turn, or left out."),
    ] = "keep"
    template: Template = "chat"
    holdout: Holdout = 0.1
    max_grad_norm: MaxGradNorm = 1.0
    checkpoint_every: CheckpointEvery = 20

    @property
    def peak_learning_rate(self) -> float:
        """The rate given, the default in the place of 0."""
        return learning_rate(self.learning_rate, self.rate_of, self.tuning)

    def criteria(self) -> tuple[str, ...]:
        """The criteria whose judgements are learned."""
        return (self.criterion,)

    def inputs(self) -> JobInputs:
        table = RankingTable(
            self.criteria(), self.criterion, self.annotator, self.prompts, kinds=self.annotator_kinds
        )
        return JobInputs({"rankings": table}, policy=self.policy)

    def cost(self) -> Cost:
        return Cost(
            tuning=self.tuning,
            lora_rank=self.lora_rank,
            microbatch_tokens=self.microbatch * self.max_tokens,
            activations=self.activations,
            four_bits=self.base == "4-bit",
        )

    def work(self, prompts: int | None, responses: int | None) -> float | None:
        return None if not prompts else prompts * self.tokens_a_prompt(1) * 3.0 * self.epochs

    def tokens_a_prompt(self, responses: int) -> int:
        """Of an ordinary prompt with so many responses."""
        return min(self.max_tokens, TYPICAL_PROMPT * (1 + 2 * responses))

    @classmethod
    def rules(cls) -> tuple[Idle, ...]:
        return (
            Idle(("lora_rank", "base"), equal("tuning", "full"), "there are no adapters"),
            Idle(("sharding",), one_process, "one process has all weights"),
        )

    def __post_init__(self) -> None:
        self.check()

    def check(self) -> None:
        """What no single field can say.  Raises UsageError."""
        if self.microbatch > self.batch_prompts:
            raise UsageError(
                f"microbatch is {self.microbatch} and a step has {self.batch_prompts} prompts; "
                "lower microbatch or raise batch_prompts."
            )
        self.check_devices(self.batch_prompts)
        check_activations(self.activations, self.device)
        check_base(self.base, self.tuning, self.sharding)


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
                ("annotator", "annotator_kinds", "criterion"),
                equal("learn_from", "responses"),
                "stored responses are learned without judgements",
            ),
            Idle(("responses_of",), unequal("learn_from", "responses"), "set learn_from to responses too"),
        )

    def inputs(self) -> JobInputs:
        if self.learn_from != "responses":
            return StoredResponsesConfig.inputs(self)
        table = ResponseTable(policy=self.responses_of, source=self.prompts)
        return JobInputs({"responses": table}, policy=self.policy)

    def check(self) -> None:
        StoredResponsesConfig.check(self)
        if self.responses_of and self.learn_from != "responses":
            raise UsageError("responses_of chooses among stored responses; set learn_from to responses too.")
