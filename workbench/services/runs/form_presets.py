"""What the form of a job can be filled with at once: settings that belong together, under a name."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

from engine.errors import UsageError
from engine.protocol.building import check_field
from engine.protocol.catalog import JOBS
from engine.protocol.fields import fields
from engine.protocol.suggest import did_you_mean

if TYPE_CHECKING:
    from storage.records import RunRow

DEFAULTS = "the defaults"
SHIPPED: Mapping[str, Mapping[str, Any]] = {
    "a first look, in minutes": {
        "steps": 5, "prompts_per_step": 4, "samples": 4, "max_new_tokens": 32, "epochs": 1,
    },
    "little memory": {"tuning": "lora", "critic": "shared", "activations": "recompute"},
}  # fmt: skip
"""Of each what a job has; the rest stays as it is by default."""
RUNS = 8
"""So many runs of the kind, the newest first, whose settings are offered."""


def settings_of(run: RunRow) -> dict[str, Any]:
    """What a run was started with, as a form takes it; its product's name is for one run only."""
    known = {field.name for field in fields(JOBS[run.kind].config)} if run.kind in JOBS else set()
    return {name: value for name, value in run.config.items() if name in known and name != "name"}


def presets(
    kind: str, own: Mapping[str, Mapping[str, Any]], runs: Sequence[RunRow]
) -> dict[str, dict[str, Any]]:
    """Settings by the name that a person reads: the defaults, their own, those shipped, those of runs."""
    known = {field.name for field in fields(JOBS[kind].config)}
    found: dict[str, dict[str, Any]] = {DEFAULTS: {}}
    found |= {name: dict(values) for name, values in own.items()}
    for name, values in SHIPPED.items():
        had = {setting: value for setting, value in values.items() if setting in known}
        if len(had) > 1:
            found.setdefault(name, had)
    newest = sorted((run for run in runs if run.kind == kind), key=lambda run: run.created_at, reverse=True)
    return found | {f"as {run.run_id} ({run.name})": settings_of(run) for run in newest[:RUNS]}


def read_presets(where: str, table: Any) -> dict[str, dict[str, dict[str, Any]]]:
    """The tables `[presets.KIND.NAME]` of a settings file, each value checked.  Raises UsageError."""
    if not isinstance(table, dict):
        raise UsageError(f"{where} must hold tables as in [presets.ppo.small].")
    for kind, named in table.items():
        if kind not in JOBS:
            raise UsageError(f"{where} has a job “{kind}” that there is not. {did_you_mean(kind, JOBS)}")
        if not isinstance(named, dict) or not all(isinstance(values, dict) for values in named.values()):
            raise UsageError(f"{where} {kind} must hold tables as in [presets.{kind}.small].")
        for name, values in named.items():
            for setting, value in values.items():
                try:
                    check_field(
                        JOBS[kind].config, setting, tuple(value) if isinstance(value, list) else value
                    )
                except UsageError as error:
                    raise UsageError(f"{where} {kind}.{name}: {error}") from None
    return table
