"""Small runs of learning from stored responses, for the tests of their loop."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import msgspec

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
from tests.engine.training.runs import TrainingJob, make_run, rankings

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


class Job(TrainingJob):
    """A run of one kind on a few rankings."""

    def __init__(self, path: Path, models: dict[str, Path], kind: str, **changes: Any) -> None:
        config = msgspec.structs.replace(CONFIGS[kind], **changes)
        rows = rankings(10)
        run = make_run(path, config, models, {"rankings": rows, "responses": rows[:8]})
        super().__init__(config, run, RUNS[kind])
