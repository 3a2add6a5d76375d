"""What this installation is: versions, device, store, counts."""

from __future__ import annotations

import dataclasses
import platform
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import TYPE_CHECKING, Any

from engine.cores import usable_cores
from engine.protocol import processor

if TYPE_CHECKING:
    from workbench.services.workspace import Workspace

PACKAGES = (
    "preference-workbench",
    "textual",
    "duckdb",
    "polars",
    "pyarrow",
    "onnxruntime-gpu",
    "onnxruntime",
    "tokenizers",
    "torch",
    "transformers",
    "peft",
)
GPU_FOLDER = Path("/proc/driver/nvidia/gpus")


def system_info(workspace: Workspace) -> dict[str, dict[str, Any]]:
    """Groups of facts; torch is not imported to find a GPU, its driver is asked."""
    from workbench.services.plugins import installed

    settings = workspace.settings
    path = workspace.store.path
    store: dict[str, Any] = {"path": settings.db, "runs": str(workspace.store.runs_root or "")}
    if path is not None and path.exists():
        store["megabytes"] = round(path.stat().st_size / 1e6, 1)
    return {
        "version": {name: release for name in PACKAGES if (release := _version(name)) is not None},
        "machine": {
            "python": platform.python_version(),
            "system": f"{platform.system()} {platform.machine()}",
            "cores": usable_cores(),
            "gpu": ", ".join(gpu_names()) or "none",
            **_torch_facts(),
        },
        "store": store,
        "settings": {"annotator": settings.annotator, "theme": settings.theme},
        "count": dataclasses.asdict(workspace.library.overview()),
        "plugins": installed(),
    }


def _torch_facts() -> dict[str, str]:
    """What `auto` means here; asked of torch in a process of its own, once a machine."""
    hardware = processor.ask()
    if hardware is None:
        return {"instructions": "unknown: torch is not installed or does not start"}
    return {
        "instructions": hardware.instructions,
        "device auto": hardware.device_name,
        "dtype auto": hardware.device_dtype,
    }


def gpu_names() -> list[str]:
    """Names of the NVIDIA GPUs that the driver knows."""
    names = []
    for path in sorted(GPU_FOLDER.glob("*/information")):
        for line in path.read_text().splitlines():
            key, _, value = line.partition(":")
            if key.strip() == "Model":
                names.append(value.strip())
    return names


def _version(package: str) -> str | None:
    try:
        return version(package)
    except PackageNotFoundError:
        return None
