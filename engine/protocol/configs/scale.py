"""Configuration of using a reward model: exporting it, scoring with it."""

from __future__ import annotations

from typing import Annotated, Literal

from msgspec import Meta

from engine.protocol.configs.applies import Idle, Values, always
from engine.protocol.configs.common import JobConfig, PromptSource, RewardModelName
from engine.protocol.configs.needs import Cost, JobInputs, ResponseTable


class ExportConfig(JobConfig, frozen=True, kw_only=True):
    """Export a reward model to ONNX and verify it against torch."""

    reward_model: Annotated[str, Meta(description="Registered reward model.")]
    int8: Annotated[bool, Meta(description="Also write the int8 model.")] = True
    fp16: Annotated[
        Literal["auto", "always", "never"],
        Meta(description="Also write the float16 model: auto where there is a CUDA device."),
    ] = "auto"
    tolerance: Annotated[
        float, Meta(gt=0, description="Largest |torch - ONNX fp32| allowed, in units of score.")
    ] = 1e-3
    tau_int8: Annotated[
        float, Meta(ge=-1, le=1, description="Smallest Kendall τ allowed between torch and int8 or fp16.")
    ] = 0.95
    samples: Annotated[int, Meta(ge=2, description="Stored responses it is verified on.")] = 200

    @classmethod
    def rules(cls) -> tuple[Idle, ...]:
        return (
            Idle(("dtype", "device"), always, "an export is traced and verified in float32 on the CPU"),
            Idle(("tau_int8",), _only_fp32, "neither int8 nor fp16 is written"),
        )

    def inputs(self) -> JobInputs:
        table = ResponseTable(sample=self.samples, verifies=self.reward_model)
        return JobInputs({"responses": table}, reward_models={"reward_model": self.reward_model})

    def cost(self) -> Cost:
        return Cost(scores=True)


class RegisterConfig(JobConfig, frozen=True, kw_only=True):
    """Register a reward model that was trained elsewhere, and verify its scores."""

    model: Annotated[
        str,
        Meta(description="Folder or hub id of an AutoModelForSequenceClassification with one label."),
    ]
    name: RewardModelName
    chat_template: Annotated[
        str, Meta(description="File with the chat template that it was trained with; empty takes its own.")
    ] = ""
    max_tokens: Annotated[
        int, Meta(ge=0, description="Longest conversation that is scored; longer ones are cut. 0 is 2048.")
    ] = 0

    @classmethod
    def rules(cls) -> tuple[Idle, ...]:
        return (Idle(("seed", "dtype"), always, "its scores are held against transformers' own in float32"),)

    def inputs(self) -> JobInputs:
        return JobInputs({})

    def cost(self) -> Cost:
        return Cost(scores=True)


class ScoreConfig(JobConfig, frozen=True, kw_only=True):
    """Score stored responses with a reward model, in torch."""

    reward_model: Annotated[str, Meta(description="Registered reward model.")]
    prompts: PromptSource = ""
    batch_tokens: Annotated[int, Meta(ge=64, description="Tokens in one forward.")] = 2048

    @classmethod
    def rules(cls) -> tuple[Idle, ...]:
        return (Idle(("seed",), always, "scoring has nothing random"),)

    def inputs(self) -> JobInputs:
        backend = "torch-" if self.dtype == "auto" else f"torch-{self.dtype}"
        table = ResponseTable(source=self.prompts, unscored_by=self.reward_model, backend=backend)
        return JobInputs({"responses": table}, reward_models={"reward_model": self.reward_model})

    def cost(self) -> Cost:
        return Cost(microbatch_tokens=self.batch_tokens, scores=True)


def _only_fp32(values: Values) -> bool:
    return not values["int8"] and values["fp16"] == "never"
