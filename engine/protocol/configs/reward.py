"""Configuration of reward training."""

from __future__ import annotations

from typing import Annotated, Literal

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
    LabelSmoothing,
    LoraRank,
    MaxGradNorm,
    Nodes,
    PromptSource,
    RewardModelName,
    Sharding,
    WarmupSteps,
    check_activations,
    check_base,
)
from engine.protocol.configs.needs import (
    PEOPLE_AND_RULES,
    TYPICAL_SCORED,
    Cost,
    JobInputs,
    QueueTable,
    RankingTable,
    Table,
)
from engine.protocol.configs.rates import described, learning_rate

WITH_TIES = ("davidson", "rao_kupper")
WEIGHTS_ONLY = (
    "tie", "epochs", "learning_rate", "warmup_steps", "batch_prompts", "batch_tokens", "activations",
    "margin", "label_smoothing", "centring", "lm_coefficient", "max_grad_norm", "evaluations",
    "checkpoint_every",
)  # fmt: skip
"""Settings of learning by steps, which a head on a frozen trunk does not do."""
LEAST_TOKENS = 8
FROZEN_TOKENS = 2048
"""Longest text of a frozen trunk, which reads each response once and keeps nothing for a backward pass."""
TUNED_TOKENS = 512


class RewardConfig(JobConfig, frozen=True, kw_only=True):
    """Train a reward model on rankings."""

    name: RewardModelName
    policy: Annotated[str, Meta(description="Model to start from.")] = "smollm2"
    prompts: PromptSource = ""
    annotator: AnnotatorFilter = ""
    annotator_kinds: AnnotatorKinds = PEOPLE_AND_RULES
    criterion: Annotated[
        str, Meta(description="Criteria to learn, a score each; several with commas, or all.")
    ] = "overall"
    objective: Annotated[
        Literal["bradley_terry", "plackett_luce", "davidson", "rao_kupper", "rating"],
        Meta(description="Loss; davidson and rao_kupper learn from ties, rating from ratings."),
    ] = "bradley_terry"
    tie: Annotated[
        float,
        Meta(ge=0.0, description="Davidson's ν or Rao and Kupper's log θ (metric train/tie); 0 learns it."),
    ] = 0.0
    annotators: Annotated[
        Literal["apart", "majority"],
        Meta(description="Every judgement counts, or pairs on which a majority agrees."),
    ] = "apart"
    weights: Annotated[
        Literal["equal", "agreement", "consensus"],
        Meta(
            description="Judgements count alike, by how far their annotator agrees with the others, or by "
            "the ability that the model of labels gives them."
        ),
    ] = "equal"
    tuning: Annotated[
        Literal["lora", "full", "frozen", "auto"],
        Meta(description="Low-rank adapters, every weight, a head alone, or what cross-validates best."),
    ] = "frozen"
    queue_responses: Annotated[
        int,
        Meta(ge=0, description="Responses of the label queue that a frozen trunk reads besides judged ones."),
    ] = 0
    length: Annotated[
        Literal["raw", "controlled"],
        Meta(description="controlled: length explains verdicts and is left out of scores (tuning frozen)."),
    ] = "raw"
    pairwise: Annotated[
        bool,
        Meta(
            description="Fit a pairwise preference model too, which may run in circles as no score can "
            "(tuning frozen)."
        ),
    ] = False
    lora_rank: LoraRank = 16
    base: BaseWeights = "whole"
    ensemble: Annotated[int, Meta(ge=1, description="Heads, whose spread is the uncertainty.")] = 1
    epochs: Epochs = 1
    learning_rate: Annotated[
        float, Meta(ge=0, description=described("Peak learning rate of Adam", "reward"))
    ] = 0.0
    warmup_steps: WarmupSteps = 5
    batch_prompts: BatchPrompts = 4
    devices: Devices = 1
    nodes: Nodes = 1
    sharding: Sharding = "auto"
    batch_tokens: Annotated[
        int, Meta(ge=64, description="Tokens in one forward and backward; less takes less memory.")
    ] = 2048
    activations: Activations = "keep"
    max_tokens: Annotated[
        int,
        Meta(
            ge=0,
            description="Longest prompt + response, in training and later in scoring; longer ones are cut. "
            "0 is 2048 on a frozen trunk, else 512.",
        ),
    ] = 0
    holdout: Holdout = 0.2
    margin: Annotated[float, Meta(ge=0.0, description="Margin a rank of distance.")] = 0.0
    label_smoothing: LabelSmoothing = 0.0
    centring: Annotated[float, Meta(ge=0.0, description="Weight of (r_w + r_l)².")] = 0.01
    lm_coefficient: Annotated[
        float, Meta(ge=0.0, description="Weight of the language-model loss on the best response.")
    ] = 0.0
    max_grad_norm: MaxGradNorm = 1.0
    evaluations: Annotated[
        int, Meta(ge=1, description="Evaluations an epoch; of the first epoch they are the learning curve.")
    ] = 1
    folds: Annotated[int, Meta(ge=2, description="Parts of cross-validation over training prompts.")] = 5
    budget_minutes: Annotated[
        float, Meta(gt=0, description="Time that auto may take to compare lora and full with frozen.")
    ] = 30.0
    checkpoint_every: CheckpointEvery = 20

    @property
    def peak_learning_rate(self) -> float:
        """The rate given, the default in the place of 0."""
        return learning_rate(self.learning_rate, "reward", self.tuning)

    def __post_init__(self) -> None:
        self.check_devices(self.batch_prompts)
        check_activations(self.activations, self.device)
        check_base(self.base, self.tuning, self.sharding)
        if 0 < self.max_tokens < LEAST_TOKENS:
            raise UsageError(
                f"max_tokens is {self.max_tokens}, too few for any text; take {LEAST_TOKENS} or more, or 0."
            )

    @classmethod
    def rules(cls) -> tuple[Idle, ...]:
        return (
            Idle(
                WEIGHTS_ONLY, equal("tuning", "frozen"), "a head on a frozen trunk is fitted, not descended"
            ),
            Idle(
                ("devices", "nodes", "sharding"),
                equal("tuning", "frozen", "auto"),
                "one process fits a head on a frozen trunk",
            ),
            Idle(("sharding",), one_process, "one process has all weights"),
            Idle(("tie",), unequal("objective", *WITH_TIES), "only davidson and rao_kupper learn from ties"),
            Idle(
                ("margin", "label_smoothing"),
                unequal("objective", "bradley_terry"),
                "they belong to bradley_terry",
            ),
            Idle(("centring",), equal("objective", "rating"), "ratings fix where zero is"),
            Idle(("weights",), equal("annotators", "majority"), "a majority has no annotators to weigh"),
            Idle(("lora_rank",), unequal("tuning", "lora", "auto"), "there are no adapters"),
            Idle(("base",), unequal("tuning", "lora"), "it lies under adapters"),
            Idle(
                ("length",), equal("tuning", "lora", "full"), "only a head on a frozen trunk controls for it"
            ),
            Idle(("pairwise",), equal("tuning", "lora", "full"), "the pairwise model reads a frozen trunk"),
            Idle(("folds",), equal("tuning", "lora", "full"), "fine-tuning is not cross-validated"),
            Idle(("queue_responses",), equal("tuning", "lora", "full"), "only a frozen trunk has features"),
            Idle(("budget_minutes",), unequal("tuning", "auto"), "only auto compares ways of tuning"),
            Idle(("evaluations",), equal("holdout", 0.0), "no prompt is held out"),
        )

    def inputs(self) -> JobInputs:
        tables: dict[str, Table] = {
            "rankings": RankingTable(
                self.criteria(), self.criterion, self.annotator, self.prompts, kinds=self.annotator_kinds
            )
        }
        reads_features = self.tuning in ("frozen", "auto")
        if reads_features and self.queue_responses:
            first = (self.criteria() or ("overall",))[0]
            tables["responses"] = QueueTable(first, self.queue_responses)
        return JobInputs(tables, policy=self.policy, features_of=self.policy if reads_features else "")

    def cost(self) -> Cost:
        return Cost(
            tuning="full" if self.tuning == "auto" else self.tuning,  # auto may train every weight
            lora_rank=self.lora_rank,
            microbatch_tokens=self.batch_tokens,
            activations=self.activations,
            four_bits=self.base == "4-bit",
            scores=True,
        )

    def work(self, prompts: int | None, responses: int | None) -> float | None:
        if self.tuning != "frozen" or responses is None:
            return None
        return float(responses * TYPICAL_SCORED)

    def check_request(self) -> None:
        if self.tuning == "frozen" and self.objective not in ("bradley_terry", "davidson"):
            raise UsageError(
                f"On a frozen trunk the objective is bradley_terry, or davidson, which learns from ties; "
                f"{self.objective} is for tuning full or lora."
            )

    def limit_of(self, tuning: str) -> int:
        """The longest prompt + response that a way of tuning reads, in training and later in scoring."""
        return self.max_tokens or (FROZEN_TOKENS if tuning == "frozen" else TUNED_TOKENS)

    @property
    def limit(self) -> int:
        """`limit_of` the configuration's own way."""
        return self.limit_of(self.tuning)

    def criteria(self) -> tuple[str, ...] | None:
        """The criteria named, in order and once each; None for all that there are."""
        names = tuple(dict.fromkeys(name for part in self.criterion.split(",") if (name := part.strip())))
        return None if names in ((), ("all",)) else names
