"""What a job will need, before it is started: sizes of its model, and the rate of earlier runs."""

from __future__ import annotations

import json
import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import msgspec
import platformdirs

from engine.errors import WorkbenchError
from engine.protocol import processor
from engine.protocol.building import build_typed
from engine.protocol.catalog import JOBS, job_kind
from engine.protocol.configs import JobConfig
from engine.protocol.configs.needs import QueueTable, RankingTable
from engine.protocol.estimate import Estimate, estimate, sizes_of, work_of
from engine.protocol.rundir import RunDir
from storage import judgements, policies, prompts, runs
from storage.records import RunRow
from storage.store import Store
from workbench.services.labels.labels_used import label_words

PACKAGED = "smollm2"
PACKAGED_CONFIG: Mapping[str, Any] = {
    "hidden_size": 576, "intermediate_size": 1536, "num_attention_heads": 9, "num_hidden_layers": 30,
    "num_key_value_heads": 3, "tie_word_embeddings": True, "vocab_size": 49152,
}  # fmt: skip
"""Of SmolLM2-135M, so that the packaged model need not be unpacked to be estimated."""


class Estimating:
    """The estimates of one store, for screens.  Thread-safe."""

    def __init__(self, store: Store) -> None:
        self._store = store

    def sentence(self, config: JobConfig) -> str:
        """Memory and time, and whose judgements are learned; empty for a job that reads neither."""
        words = [estimated(self._store, config).sentence] if config.inputs().policy else []
        return " ".join([*words, *label_words(self._store, config)])


def estimated(store: Store, config: JobConfig) -> Estimate:
    """Memory and time of a job that has not been submitted; of another machine nothing is known here."""
    if config.on:
        return Estimate(None, None, f"What {config.on} has of memory and speed is not known here.")
    config = _settled(config)
    inputs = config.inputs()
    return estimate(
        config,
        model_config(store, inputs.policy or ""),
        prompts=_prompts(store, inputs.source),
        responses=_features(store, config),
        rate=measured_rate(store, config),
    )


def _features(store: Store, config: JobConfig) -> int | None:
    """Of how many responses a job needs the features of a frozen trunk; None when of none."""
    inputs = config.inputs()
    if not inputs.features_of:
        return None
    wanted = 0
    for table in inputs.tables.values():
        match table:
            case RankingTable():
                wanted += judgements.count_judged_responses(store, table.criteria)
            case QueueTable():
                wanted += table.limit
    return min(wanted, prompts.counts(store).responses)


def _settled(config: JobConfig) -> JobConfig:
    """With `auto` of device and number format as torch would resolve it here."""
    if "auto" not in (config.device, config.dtype):
        return config
    hardware = processor.ask()
    if hardware is None:
        return config
    device = hardware.place(config.device) if config.device == "auto" else config.device
    return msgspec.structs.replace(config, device=device, dtype=hardware.dtype(config.dtype, device))


def model_config(store: Store, policy: str) -> dict[str, Any]:
    """`config.json` of a policy by name or folder; empty when it is not on this machine yet.

    A hub id is known once some run has read it.
    """
    row = policies.find(store, policy)
    folder = Path(row.model if row is not None and row.model else policy).expanduser()
    config = _read(folder / "config.json") or _read(_cached(policy))
    return config or (dict(PACKAGED_CONFIG) if policy == PACKAGED else {})


def measured_rate(store: Store, config: JobConfig) -> float | None:
    """Parameter-tokens a second of the newest finished run of this kind, device and number format."""
    kind, device = job_kind(config).kind, config.device
    for row in runs.run_rows(store):
        if row.kind == kind and row.status == "done" and row.started_at and row.ended_at:
            if device != "auto" and not (row.device or "").startswith(device):
                continue
            if config.dtype != (row.dtype or row.config.get("dtype")):
                continue
            together = row.config.get("devices", 1), row.config.get("nodes", 1)
            if (config.processes, config.machines) != together:
                continue
            work = _work(store, row)
            seconds = (row.ended_at - row.started_at).total_seconds()
            if work and seconds > 1:
                return work / seconds
    return None


def _work(store: Store, row: RunRow) -> float | None:
    try:
        config = build_typed(JOBS[row.kind].config, row.config)
        run = RunDir(Path(row.run_dir or ""))
        sizes = sizes_of(_read(Path(run.model("policy").folder) / "config.json"))
    except WorkbenchError:
        return None
    if sizes is None:
        return None
    return work_of(config, sizes, _prompts(store, config.inputs().source), _computed(run))


def _computed(run: RunDir) -> int | None:
    """Of how many responses a run has computed the features itself; None when of none."""
    count = _read(run.path / "features" / "features.json").get("computed")
    return count if isinstance(count, int) and count else None


def _prompts(store: Store, source: str) -> int:
    counted = prompts.sources(store)
    return sum(count for name, count in counted if not source or name == source)


def _cached(name: str) -> Path:
    """Where the packaged model lies once it has been converted."""
    root = os.environ.get("WORKBENCH_CACHE") or platformdirs.user_cache_dir("workbench")
    files = sorted((Path(root).expanduser() / "models").glob(f"{Path(name).name}-*/config.json"))
    return files[-1] if files else Path(name) / "config.json"


def _read(path: Path) -> dict[str, Any]:
    try:
        config = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return {}
    return config if isinstance(config, dict) else {}
