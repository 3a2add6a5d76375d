"""Where the time of a step of policy learning goes, and what would help."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from statistics import fmean
from typing import Any

PARTS = {"rollout": "sampling", "scoring": "scoring and measuring", "update": "the update"}
"""Metrics `policy/seconds_…` and what a person calls them."""
LAST_STEPS = 10
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
        return f"A step takes {self.whole:.3g} s: {shares}{rate}. {self.advice}".strip()


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
        advice=_advice(first, config) if stands_out else "",
    )


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
