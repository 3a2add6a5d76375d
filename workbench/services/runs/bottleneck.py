"""Where the time and the memory of policy learning go, and what would help."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from statistics import fmean
from typing import Any

import msgspec

from engine.errors import WorkbenchError
from engine.protocol.building import build_typed
from engine.protocol.catalog import JOBS
from engine.protocol.estimate import sizes_of
from engine.protocol.memory import memory_of, parts_of
from engine.protocol.rundir import RunDir
from storage.records import RunRow

PARTS = {"rollout": "sampling", "scoring": "scoring and measuring", "update": "the update"}
"""Metrics `policy/seconds_…` and what a person calls them."""
LAST_STEPS = 10
PEAK = "policy/peak_gib"
LEAST = 50 << 20
"""Bytes from which a part is worth a word."""
MOST = 0.5
"""A part that takes more than this share is worth a word."""

Points = Sequence[tuple[int, float]]


@dataclass(frozen=True)
class StepTime:
    """The mean over the last steps."""

    seconds: Mapping[str, float]
    """By part, as a person calls it; the longest first."""
    steps: int
    tokens_a_second: float | None
    """Sampled tokens over the seconds of sampling."""
    reached: Mapping[str, float]
    """Operations as a share of what the device multiplies at best, by part; empty where that is not known."""
    advice: str
    """What would help, a sentence; empty where no part stands out."""

    @property
    def whole(self) -> float:
        """Seconds of a step."""
        return sum(self.seconds.values())

    @property
    def sentence(self) -> str:
        """`A step takes 23.8 s: the update 82 %, sampling 12 %, …; 341 tokens/s are sampled.  …`"""
        shares = ", ".join(f"{name} {value / self.whole:.0%}" for name, value in self.seconds.items())
        rate = f"; {self.tokens_a_second:,.0f} tokens/s are sampled" if self.tokens_a_second else ""
        mfu = ", ".join(
            f"{name} {share:.0%}" if share >= 0.01 else f"{name} below 1%"
            for name, share in self.reached.items()
        )
        mfu = f" Of what the device multiplies at best: {mfu}." if mfu else ""
        return f"A step takes {self.whole:.3g} s: {shares}{rate}.{mfu} {self.advice}".strip()


def step_time(config: Mapping[str, Any], metrics: Mapping[str, Points]) -> StepTime | None:
    """From the metrics of a run; None for one that has told no such times."""
    means = {}
    for key, name in PARTS.items():
        points = [value for _, value in metrics.get(f"policy/seconds_{key}", ())][-LAST_STEPS:]
        if points:
            means[name] = fmean(points)
    if not means or sum(means.values()) <= 0:
        return None
    ordered = dict(sorted(means.items(), key=lambda item: -item[1]))
    first, seconds = next(iter(ordered.items()))
    stands_out = seconds > MOST * sum(ordered.values())
    lengths = [value for _, value in metrics.get("policy/length", ())][-LAST_STEPS:]
    responses = int(config.get("prompts_per_step", 0)) * int(config.get("samples", 0))
    sampling = means.get(PARTS["rollout"])
    return StepTime(
        seconds=ordered,
        steps=min(LAST_STEPS, len(metrics.get("policy/seconds_update", ()))),
        tokens_a_second=fmean(lengths) * responses / sampling if lengths and responses and sampling else None,
        reached={
            name: share for key, name in PARTS.items() if (share := _mean(metrics, f"policy/mfu_{key}"))
        },
        advice=_advice(first, config) if stands_out else "",
    )


def _mean(metrics: Mapping[str, Points], name: str) -> float | None:
    """Of the last steps; None where there are none."""
    points = [value for _, value in metrics.get(name, ())][-LAST_STEPS:]
    return fmean(points) if points else None


def memory_sentence(row: RunRow, metrics: Mapping[str, Points]) -> str:
    """`Memory at its peak 2.1 GB (2.4 estimated); each part at its largest, estimated: weights 0.8, …`

    Empty for a run that has not said what it took.  Of divided or several processes each is meant.
    """
    peaks = [value for _, value in metrics.get(PEAK, ())]
    if not peaks:
        return ""
    said = f"Memory at its peak {max(peaks):.1f} GB"
    found = _estimated(row)
    if found is None:
        return f"{said}."
    whole, parts = found
    each = ", ".join(f"{name} {size / 2**30:.1f}" for name, size in parts.items() if size >= LEAST)
    return f"{said} ({whole / 2**30:.1f} estimated); each part at its largest, estimated: {each}."


def _estimated(row: RunRow) -> tuple[int, dict[str, int]] | None:
    """The peak and its parts, from the settings of the run and the policy that it read."""
    try:
        config = build_typed(JOBS[row.kind].config, row.config)
        folder = Path(RunDir(Path(row.run_dir or "")).model("policy").folder)
        sizes = sizes_of(json.loads((folder / "config.json").read_text(encoding="utf-8")))
        if sizes is None:
            return None
        place = (row.device or config.device).split(" ")[0]
        settled = msgspec.structs.replace(config, device=place, dtype=row.dtype or config.dtype)
        processes = 1 if place.startswith("cuda") else max(1, config.processes)
        return memory_of(settled, sizes) // processes, parts_of(settled, sizes)
    except (WorkbenchError, OSError, ValueError, KeyError):
        return None


def _advice(part: str, config: Mapping[str, Any]) -> str:
    """What would shorten the longest part, of what this configuration has not done yet."""
    if part == PARTS["rollout"]:
        if not config.get("endpoint") and config.get("tuning") == "lora":
            return "A vLLM server (endpoint), or a lower max_new_tokens, would help most."
        return "A lower max_new_tokens, or several devices, would help most."
    if part == PARTS["scoring"]:
        return "A smaller reward model, or fewer of them, would help most."
    if int(config.get("epochs", 1)) > 1:
        return f"Fewer epochs than {config['epochs']}, or several devices, would help most."
    if config.get("tuning") == "full":
        return "Adapters (tuning lora), or several devices, would help most."
    if config.get("critic") == "separate":
        return "A shared critic, or several devices, would help most."
    return "Several devices would help most."
