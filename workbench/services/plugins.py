"""Which plugins are installed, and which of them cannot be used."""

from __future__ import annotations

from engine.errors import UsageError
from engine.protocol import plugins as engine_plugins
from engine.protocol.catalog import JOBS
from storage import plugins as storage_plugins
from storage.errors import StoreError
from workbench.services.ranking.rules import RULES


def installed() -> dict[str, str]:
    """Every plugin as `group name`, with where it is, or the sentence why it cannot be used."""
    plugins: dict[str, str] = {}
    faults = {"jobs": JOBS.faults(), "rules": RULES.faults()}
    for group in engine_plugins.GROUPS:
        for name, point in engine_plugins.plugged(group).items():
            fault = faults[group].get(name) if group in faults else _fault(group, name)
            plugins[f"{group} {name}"] = fault or point.value
    for kind in storage_plugins.GROUPS:
        for name, point in storage_plugins.plugged(kind).items():
            try:
                storage_plugins.load(kind, name)
                plugins[f"{kind} {name}"] = point.value
            except StoreError as error:
                plugins[f"{kind} {name}"] = str(error)
    return plugins


def _fault(group: engine_plugins.Group, name: str) -> str | None:
    try:
        engine_plugins.load(group, name)
    except UsageError as error:
        return str(error)
    return None
