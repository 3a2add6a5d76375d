"""The report of an experiment: one Markdown file and its pictures, all from the rows of the store."""

from __future__ import annotations

import re
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from engine.files import write_atomic
from storage.interchange.clean import clean_text
from workbench.services.experiments.pictures import forest, scatter
from workbench.services.experiments.results import (
    ArmResult,
    ExperimentResult,
    estimate_text,
    rate_text,
)
from workbench.services.statistics import MeanInterval

COLUMNS = (
    "", "method", "seeds", "reward", "gain", "wins against the start", "own objective", "KL, nats",
    "tokens", "seconds",
)  # fmt: skip
SCORERS = ("", "method", "seeds", "held-out accuracy", "log-loss", "seconds")
LEGEND = (
    "Reward is the judge's mean score, gain what it is above where the method started, on the same "
    "prompts with the same seed. Own objective is the score that the method learned from, in its last "
    "step, in units of its own. KL is that of the responses to where the method started, Σ log π − log "
    "π_ref. Intervals are of 95%: two crossed random effects, seeds and prompts, with Satterthwaite's "
    "degrees of freedom; of a win rate never narrower than Wilson's over the prompts. Of best of n the KL is "
    "ln n − (n − 1)/n, which it cannot exceed, and seconds are those of choosing."
)


def write_report(result: ExperimentResult, folder: Path) -> list[Path]:
    """`report.md` and its pictures in `folder`, each whole or not at all; what was there is replaced."""
    folder.mkdir(parents=True, exist_ok=True)
    pictures = charts(result)
    files = {**{f"{name}.svg": picture for name, picture in pictures.items()}}
    files["report.md"] = markdown(result, list(pictures))
    for name, text in files.items():
        write_atomic(folder / name, text.encode())
    return [folder / name for name in sorted(files)]


def charts(result: ExperimentResult) -> dict[str, str]:
    """The pictures, as SVG, by their names; none of what was not measured."""
    made: dict[str, str] = {}
    if gains := [(arm.arm, arm.gain) for arm in result.arms if arm.gain is not None and arm.kind]:
        made["gain"] = forest(f"Score of {result.judge} above the start", gains)
    wins = [
        (arm.arm, MeanInterval(met.rate, met.low, met.high, arm.seeds, met.prompts))
        for arm in result.arms
        if (met := arm.wins) is not None
    ]
    if wins:
        made["wins"] = forest(f"Won against the start, by {result.judge}", wins, nothing=0.5)
    if moved := [
        (arm.arm, arm.kl, arm.gain) for arm in result.arms if arm.kl is not None and arm.gain is not None
    ]:
        made["kl"] = scatter("Gain against distance", "KL to the start, nats", "gain", moved)
    return made


def markdown(result: ExperimentResult, pictures: Sequence[str]) -> str:
    """The report's text, which shows these pictures."""
    parts = [f"# {_plain(result.name)}", " ".join(map(_plain, result.notes))]
    if answering := [arm for arm in result.arms if not arm.is_reward_model]:
        parts += [_table(COLUMNS, [figures(arm) for arm in answering]), LEGEND]
    if scorers := [arm for arm in result.arms if arm.is_reward_model]:
        parts += ["## Reward models", _table(SCORERS, [scorer_figures(arm) for arm in scorers])]
        parts.append(
            "On judgements that each held out; with one seed and share all hold out the same prompts."
        )
    parts += [f"![{name}]({name}.svg)" for name in pictures]
    if result.meetings:
        arms = [arm.arm for arm in answering]
        rows = [
            (a, *("" if (met := result.meeting(a, b)) is None else rate_text(met) for b in arms))
            for a in arms
        ]
        parts += ["## Who beat whom", "The arm of the row against that of the column; a tie counts one half."]
        parts.append(_table(("", *arms), rows))
    if result.differing:
        arms = [arm.arm for arm in result.arms if arm.kind]
        rows = [
            (key, *(_value(row.get(arm)) if arm in row else "" for arm in arms))
            for key, row in result.differing.items()
        ]
        parts += ["## What differs in their settings", _table(("", *arms), rows)]
    return "\n\n".join(parts) + "\n"


def figures(arm: ArmResult) -> tuple[str, ...]:
    """The cells of an arm under `COLUMNS`."""
    return (
        arm.arm,
        arm.kind,
        f"{arm.done} of {arm.seeds}",
        estimate_text(arm.reward),
        estimate_text(arm.gain, signed=True),
        "–" if arm.wins is None else rate_text(arm.wins),
        estimate_text(arm.objective),
        estimate_text(arm.kl),
        estimate_text(arm.tokens, 1),
        estimate_text(arm.seconds, 0),
    )


def scorer_figures(arm: ArmResult) -> tuple[str, ...]:
    """The cells of a reward model under `SCORERS`."""
    return (
        arm.arm,
        arm.kind,
        f"{arm.done} of {arm.seeds}",
        estimate_text(arm.accuracy),
        estimate_text(arm.log_loss),
        estimate_text(arm.seconds, 0),
    )


def _table(columns: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    lines = [columns, ["---"] * len(columns), *rows]
    return "\n".join("| " + " | ".join(map(_plain, line)) + " |" for line in lines)


def _plain(text: str) -> str:
    """Text of files and models in a cell of a table: on one line, nothing of it Markdown or HTML."""
    return re.sub(r"([\\`*_{}\[\]<>#|])", r"\\\1", " ".join(clean_text(str(text)).split()))


def _value(value: Any) -> str:
    if isinstance(value, list | tuple):
        return ", ".join(map(str, value))
    return f"{value:g}" if isinstance(value, float) else str(value)
