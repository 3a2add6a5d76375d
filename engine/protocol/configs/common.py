"""What every job's configuration has, and the kinds of value that several share."""

from __future__ import annotations

from typing import Annotated, Literal

from msgspec import Meta, Struct

from engine.protocol.configs.applies import Idle

NAME = r"^\w[\w .+-]{0,79}\Z"
NAME_FORM = {"form": "a name of letters, digits, spaces and . _ + -"}
DEVICE = r"^(auto|cpu|cuda(:\d+)?|mps)\Z"
DEVICE_FORM = {"form": "auto, cpu, cuda, cuda:N or mps"}
DEVICE_HELP = "auto (a CUDA GPU, else the CPU), cpu, cuda, cuda:N, or mps, which nobody has tried yet."
Precision = Literal["auto", "bfloat16", "float32"]
DTYPE_HELP = (
    "Number format of the matrix products; auto is bfloat16 where the device multiplies it fast, else "
    "float32. Master weights are always float32 in training."
)


class JobConfig(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """What every job has."""

    seed: Annotated[int, Meta(ge=0, description="Seed of every random choice of the job.")] = 0
    device: Annotated[str, Meta(pattern=DEVICE, description=DEVICE_HELP, extra_json_schema=DEVICE_FORM)] = (
        "auto"
    )
    dtype: Annotated[Precision, Meta(description=DTYPE_HELP)] = "auto"

    @classmethod
    def rules(cls) -> tuple[Idle, ...]:
        """Which settings mean nothing beside which others."""
        return ()

    def check_request(self) -> None:
        """What is refused when a person asks for it, though a stored run may have it.  Raises UsageError."""
