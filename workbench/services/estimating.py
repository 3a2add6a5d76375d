"""What a job will need, told before it is started."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from engine.errors import UsageError
from engine.protocol.catalog import JOBS, build_typed, job_kind
from engine.protocol.configs import JobConfig
from engine.protocol.estimate import Estimate, estimate, sizes_of, work_of

if TYPE_CHECKING:
    from storage.records import RunRow
    from storage.store import Store

PACKAGED = "smollm2"
PACKAGED_CONFIG: Mapping[str, Any] = {
    "hidden_size": 576, "intermediate_size": 1536, "num_attention_heads": 9, "num_hidden_layers": 30,
    "num_key_value_heads": 3, "tie_word_embeddings": True, "vocab_size": 49152,
}  # fmt: skip
"""Of SmolLM2-135M, so that the packaged model need not be unpacked to be estimated."""


class Estimating:
    """Estimates from the store: sizes of models in it, paces of runs in it.  Thread-safe."""

    def __init__(self, store: Store) -> None:
        self._store = store

    def sentence(self, config: JobConfig) -> str:
        """Memory and time in a sentence; empty for a job that reads no policy."""
        return self.of(config).sentence if getattr(config, "policy", "") else ""

    def of(self, config: JobConfig) -> Estimate:
        """The estimate, at the pace of the last such run where there is one."""
        model_config = self._model_config(str(getattr(config, "policy", "")))
        prompts = self._prompts(config)
        return estimate(config, model_config, prompts=prompts, rate=self._rate(config, model_config))

    def _model_config(self, policy: str) -> Mapping[str, Any]:
        """`config.json` of a policy's folder; empty when it is not on this machine."""
        from storage import policies

        row = policies.find(self._store, policy)
        name = (row.model if row is not None else None) or policy
        if name == PACKAGED:
            return PACKAGED_CONFIG
        try:
            found = json.loads((Path(name).expanduser() / "config.json").read_text(encoding="utf-8"))
        except (OSError, ValueError):
            return {}
        return found if isinstance(found, dict) else {}

    def _prompts(self, config: JobConfig) -> int:
        """How many prompts of its source there are."""
        from storage import prompts

        wanted = getattr(config, "prompts", "")
        return sum(number for source, number in prompts.sources(self._store) if wanted in ("", source))

    def _rate(self, config: JobConfig, model_config: Mapping[str, Any]) -> float | None:
        """Parameter-tokens a second of the newest finished run of this kind, policy and device."""
        from storage import runs

        sizes = sizes_of(model_config)
        kind = job_kind(config).kind
        for row in runs.run_rows(self._store) if sizes is not None else ():
            seconds = _seconds(row)
            alike = all(row.config.get(name) == getattr(config, name) for name in ("policy", "device"))
            if row.kind != kind or row.status != "done" or not alike or not seconds or sizes is None:
                continue
            try:
                work = work_of(build_typed(JOBS[kind].config, row.config), sizes, None)
            except UsageError:  # a configuration of an older version
                continue
            if work is not None:
                return work / seconds
        return None


def _seconds(row: RunRow) -> float | None:
    if row.started_at is None or row.ended_at is None:
        return None
    return (row.ended_at - row.started_at).total_seconds()
