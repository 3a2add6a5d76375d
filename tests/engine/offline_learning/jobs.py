"""Small runs of learning from stored responses, for the tests of their loop."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import msgspec
import torch
from safetensors.torch import load_file

from engine.offline_learning import cpo, dpo, kto, orpo, sft, simpo
from engine.protocol.configs import (
    CPOConfig,
    DPOConfig,
    KTOConfig,
    ORPOConfig,
    SFTConfig,
    SimPOConfig,
    StoredResponsesConfig,
)
from engine.protocol.events import Event
from engine.protocol.rundir import RunDir
from tests.engine.training.runs import make_run, rankings

COMMON: dict[str, Any] = {
    "name": "better", "policy": "p", "device": "cpu", "dtype": "float32", "epochs": 2, "batch_prompts": 4,
    "microbatch": 2, "holdout": 0.25, "learning_rate": 2e-3, "checkpoint_every": 2,
}  # fmt: skip
CONFIGS: dict[str, StoredResponsesConfig] = {
    "sft": SFTConfig(**COMMON),
    "dpo": DPOConfig(**COMMON),
    "simpo": SimPOConfig(**COMMON),
    "cpo": CPOConfig(**COMMON),
    "orpo": ORPOConfig(**COMMON),
    "kto": KTOConfig(**COMMON),
}
RUNS: dict[str, Callable[..., Any]] = {
    "sft": sft.run, "dpo": dpo.run, "simpo": simpo.run, "cpo": cpo.run, "orpo": orpo.run, "kto": kto.run,
}  # fmt: skip


class Job:
    def __init__(self, path: Path, models: dict[str, Path], kind: str, **changes: Any) -> None:
        self.config = msgspec.structs.replace(CONFIGS[kind], **changes)
        rows = rankings(10)
        self.run: RunDir = make_run(path, self.config, models, {"rankings": rows, "responses": rows[:8]})
        self.kind = kind

    def start(self) -> Any:
        return RUNS[self.kind](self.config, self.run)

    def events(self) -> list[Event]:
        return list(self.start())

    def weights(self) -> dict[str, torch.Tensor]:
        return load_file(self.run.path / "model" / "model.safetensors")
