"""What every job's configuration has, and the kinds of value that several share."""

from __future__ import annotations

from typing import Annotated, Literal
from urllib.parse import urlsplit

from msgspec import Meta, Struct

from engine.errors import UsageError
from engine.protocol.configs.applies import Idle
from engine.protocol.configs.needs import Cost, JobInputs, KindsOfAnnotators
from engine.wording import counted

NAME = r"^\w[\w .+-]{0,79}\Z"
NAME_FORM = {"form": "a name of letters, digits, spaces and . _ + -"}
DEVICE = r"^(auto|cpu|cuda(:\d+)?|mps)\Z"
DEVICE_FORM = {"form": "auto, cpu, cuda, cuda:N or mps"}
DEVICE_HELP = "auto (a CUDA GPU, else the CPU), cpu, cuda, cuda:N, or mps (untested)."
HOST = r"^[\w.-]{0,64}\Z"
HOST_FORM = {"form": "a name of letters, digits and . _ -"}
HOST_HELP = "A machine of the settings, [hosts.NAME], to compute on; empty computes here."
Precision = Literal["auto", "bfloat16", "float32"]
DTYPE_HELP = (
    "Number format of the matrix products; auto is bfloat16 where the device multiplies it fast, else "
    "float32. Master weights are always float32 in training."
)

StartingPolicy = Annotated[str, Meta(description="Policy to start from; also the reference policy.")]
PolicyName = Annotated[
    str,
    Meta(
        pattern=NAME,
        description="Name the resulting policy is registered under.",
        extra_json_schema=NAME_FORM,
    ),
]
RewardModelName = Annotated[
    str,
    Meta(
        pattern=NAME,
        description="Name the reward model is registered under.",
        extra_json_schema=NAME_FORM,
    ),
]
PromptSource = Annotated[str, Meta(description="Only prompts of this source; empty takes all.")]
PromptLimit = Annotated[int, Meta(ge=0, description="At most this many prompts; 0 takes all.")]
AnnotatorFilter = Annotated[str, Meta(description="Only judgements of this annotator; empty takes all.")]
AnnotatorKinds = Annotated[
    KindsOfAnnotators,
    Meta(
        description="Kinds of annotators whose judgements are learned; one named as annotator always is.",
        extra_json_schema={"form": "kinds of annotators: human, import, rule, ai"},
    ),
]
Tuning = Annotated[Literal["lora", "full"], Meta(description="Train low-rank adapters, or every weight.")]
LoraRank = Annotated[int, Meta(ge=1, description="Rank of the adapters.")]
Epochs = Annotated[int, Meta(ge=1, description="Passes over the training prompts.")]
RolloutEpochs = Annotated[int, Meta(ge=1, description="Passes over each rollout.")]
WarmupSteps = Annotated[int, Meta(ge=0, description="Steps to the peak learning rate.")]
BatchPrompts = Annotated[int, Meta(ge=1, description="Prompts a step, each with all its responses.")]
BatchSequences = Annotated[int, Meta(ge=1, description="Sequences sampled at once.")]
Holdout = Annotated[float, Meta(ge=0.0, lt=1.0, description="Share of prompts held out.")]
MaxGradNorm = Annotated[float, Meta(gt=0, description="Gradient norm is clipped here.")]
CheckpointEvery = Annotated[int, Meta(ge=0, description="Steps between checkpoints; 0 writes none.")]
Devices = Annotated[
    int,
    Meta(
        ge=0,
        description="Processes that train together, each on a GPU of its own, or sharing the CPU; 0 takes "
        "every GPU.",
    ),
]
Nodes = Annotated[
    int,
    Meta(
        ge=1,
        description="Machines that train together, each with as many processes as devices says; above 1 "
        "only where a machine of the settings starts them (on).",
    ),
]
Sharding = Annotated[
    Literal["auto", "none", "full"],
    Meta(
        description="Whether several processes divide weights, gradients and moments among them (FSDP2); "
        "auto does where a GPU has no room for all."
    ),
]
Activations = Annotated[
    Literal["keep", "recompute", "offload"],
    Meta(
        description="What a forward pass keeps for the backward one: everything, the inputs of layers, whose "
        "rest is computed again (about a third more work), or those in the processor's memory (on a GPU)."
    ),
]
BaseWeights = Annotated[
    Literal["whole", "4-bit"],
    Meta(
        description="Weights under the adapters: in the job's number format, or in 4 bits (QLoRA's NF4, by "
        "torchao), put back at every product; then they are the reference too."
    ),
]
LabelSmoothing = Annotated[float, Meta(ge=0.0, lt=0.5, description="Chance that a label is wrong.")]
Template = Annotated[Literal["chat", "plain"], Meta(description="Chat template of the model, or plain text.")]


Endpoint = Annotated[
    str, Meta(description="A vLLM server with this policy, http://localhost:8000/v1; empty samples here.")
]


def check_endpoint(endpoint: str) -> None:
    """That a server's address, if there is one, is one.  Raises UsageError."""
    try:
        parts = urlsplit(endpoint)
        good = parts.scheme in ("http", "https") and bool(parts.hostname) and parts.port != 0
        good = good and parts.username is None and parts.password is None  # which would be stored
    except ValueError:  # a port that is not a number, half an IPv6 address
        good = False
    if endpoint and not good:
        raise UsageError(f"endpoint {endpoint} is not an address like http://localhost:8000/v1.")


def check_activations(activations: str, device: str) -> None:
    """That what leaves a GPU is asked to leave one.  Raises UsageError."""
    if activations == "offload" and device in ("cpu", "mps"):
        raise UsageError(
            f"activations is offload, which moves them off a GPU, and device is {device}: it would save "
            "nothing; choose recompute."
        )


def check_base(base: str, tuning: str, sharding: str, endpoint: str = "") -> None:
    """That weights in 4 bits lie under adapters, undivided, and sample here.  Raises UsageError."""
    if base == "whole":
        return
    if tuning != "lora":
        raise UsageError("Weights in 4 bits are not trained: set tuning to lora, or base to whole.")
    if sharding == "full":
        raise UsageError("Weights in 4 bits are not divided: set sharding to none, or base to whole.")
    if endpoint:
        raise UsageError(
            "A server samples from whole weights, which are not what learns: leave endpoint empty, or set "
            "base to whole."
        )


class JobConfig(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """What every job has."""

    seed: Annotated[int, Meta(ge=0, description="Seed of every random choice of the job.")] = 0
    device: Annotated[str, Meta(pattern=DEVICE, description=DEVICE_HELP, extra_json_schema=DEVICE_FORM)] = (
        "auto"
    )
    dtype: Annotated[Precision, Meta(description=DTYPE_HELP)] = "auto"
    on: Annotated[str, Meta(pattern=HOST, description=HOST_HELP, extra_json_schema=HOST_FORM)] = ""

    @property
    def processes(self) -> int:
        """Processes that compute the job together; 0 for as many as there are GPUs."""
        return int(getattr(self, "devices", 1))

    @property
    def machines(self) -> int:
        """Machines that compute it together, with so many processes each."""
        return int(getattr(self, "nodes", 1))

    @classmethod
    def rules(cls) -> tuple[Idle, ...]:
        """Which settings mean nothing beside which others."""
        return ()

    def inputs(self) -> JobInputs:
        """Tables and models that the job reads.  Raises UsageError where the configuration does not say."""
        raise UsageError(
            f"{type(self).__name__} does not say what the job reads: it needs a method inputs()."
        )

    def cost(self) -> Cost:
        """What its memory follows from.  Raises UsageError where the configuration does not say."""
        raise UsageError(f"{type(self).__name__} does not say what the job costs: it needs a method cost().")

    def work(self, prompts: int | None, responses: int | None) -> float | None:
        """Tokens that go through a model, each pass for itself and a backward pass counting twice.

        prompts: how many there are; responses: of how many features of a frozen trunk are lacking.  None
        where that is not known, or the work depends on more.
        """
        return None

    def questions(self, prompts: int | None) -> dict[str, int]:
        """How often each judge of samples is asked, by its name; prompts: how many there are."""
        return {}

    @property
    def computes(self) -> bool:
        """Whether it works with models in its own process, which needs torch and keeps a device busy."""
        return True

    def identity(self) -> tuple[object, ...]:
        """What makes the judge of a job that judges what it is, apart from its files."""
        return ()

    def check_devices(self, prompts: int) -> None:
        """That each process has a prompt in every step.  Raises UsageError."""
        if self.processes > prompts:
            raise UsageError(
                f"devices is {self.processes} and a step has {counted(prompts, 'prompt')}: some would have "
                "nothing to do; lower devices or take more prompts a step."
            )
        each = counted(max(1, self.processes), "process", "processes")
        if self.machines * max(1, self.processes) > prompts:
            raise UsageError(
                f"nodes is {self.machines} with {each} each, and a step has {counted(prompts, 'prompt')}: "
                "some would have nothing to do; lower nodes or take more prompts a step."
            )
        if self.machines > 1 and not self.on:
            raise UsageError(
                f"nodes is {self.machines}, and here is one machine; name with on one of the settings that "
                "starts a run on several (docs/elsewhere.md), or leave nodes at 1."
            )

    def check_request(self) -> None:
        """What is refused when a person asks for it, though a stored run may have it.  Raises UsageError."""
