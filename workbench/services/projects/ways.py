"""Two ways of judging compared: what a crossed project says of rankings against ratings.

Reliability, repeats, ties, time, and reward models learned from each, all from the project's own entries.
"""

from __future__ import annotations

import math
from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from statistics import fmean, variance
from typing import TYPE_CHECKING

from engine.errors import UsageError
from storage import artifacts
from storage.measures import ways
from storage.measures.ways import WayTime, WayVerdict
from storage.store import Store
from workbench.services.projects.project_file import ProjectFile
from workbench.services.statistics import Z_95, over_seeds_and_prompts

if TYPE_CHECKING:
    from engine.frozen.comparisons import Comparisons
    from engine.frozen.crossed import HeldOut
    from engine.labels.agreement import Coefficient
    from engine.labels.crossed import Contrast, CrossedVerdict

FEW_PEOPLE = 3
"""With fewer, intervals of time are over judgements: they say nothing of other people."""
SHORTEST = 0.1
"""Seconds; a judgement read from a file may say 0."""


@dataclass(frozen=True)
class Timing:
    """A geometric mean of seconds, or a ratio of two, with its 95 % interval."""

    value: float
    low: float
    high: float


@dataclass(frozen=True)
class LearnedModels:
    """Reward models learned from each way, on held-out prompts; by whose verdicts they are measured."""

    base: str
    """The model whose features they read."""
    prompts: int
    accuracy: Mapping[str, Contrast]
    log_loss: Mapping[str, Contrast]


@dataclass(frozen=True)
class Ways:
    """A crossed project's two ways beside each other; differences are the second's less the first's."""

    project: str
    first: str
    second: str
    same_people: bool
    annotators: int
    prompts: int
    judged: tuple[int, int]
    """Entries that were judged, in the first way and in the second."""
    reliability: Contrast
    """Krippendorff's α of several annotators on a pair."""
    repeats: Contrast
    """Verdicts that are the same when a label comes again."""
    ties: Contrast
    across: Coefficient
    """Verdicts in one way that agree with those in the other, by the same person or by another."""
    seconds: tuple[Timing | None, Timing | None]
    ratio: Timing | None
    """How often as long the second takes, person by person."""
    over_people: bool
    """Whether the intervals of time are over people, else over judgements."""
    models: LearnedModels | None
    missing: str
    """Why there are no reward models; empty where there are."""


def compare(store: Store, name: str, project: ProjectFile) -> Ways:
    """The ways of a crossed project.  Raises UsageError for one that is judged in one way alone."""
    from engine.labels import crossed

    if project.crossed is None:
        raise UsageError(
            f"The project “{name}” is judged in one way; to compare two, give its file a table [crossed] "
            'with way = "rate", or another way than its own.'
        )
    first, second = project.ways
    said, took = ways.verdicts(store, name), ways.took(store, name)
    labels = {way: _verdicts(said, way, "label") for way in (first, second)}
    again = {way: _verdicts(said, way, "repeat") for way in (first, second)}
    same = project.crossed.people == "same"
    models, missing = _models(store, said, first, second)
    seconds = tuple(_seconds(took, way) for way in (first, second))
    ratio, over_people = _ratio(took, first, second)
    return Ways(
        project=name,
        first=first,
        second=second,
        same_people=same,
        annotators=len({row.annotator for row in took}),
        prompts=len({row.prompt_id for row in took}),
        judged=tuple(sum(row.mode == way for row in took) for way in (first, second)),  # type: ignore[arg-type]
        reliability=crossed.reliability(labels[first], labels[second]),
        repeats=crossed.repeated((labels[first], again[first]), (labels[second], again[second])),
        ties=crossed.ties(labels[first], labels[second]),
        across=crossed.across(labels[first], labels[second], same_people=same),
        seconds=seconds,  # type: ignore[arg-type]
        ratio=ratio,
        over_people=over_people,
        models=models,
        missing=missing,
    )


def _verdicts(said: Sequence[WayVerdict], way: str, kind: str) -> list[CrossedVerdict]:
    from engine.labels.crossed import CrossedVerdict

    return [
        CrossedVerdict(row.annotator, row.prompt_id, (row.response_a, row.response_b), row.verdict)
        for row in said
        if (row.mode, row.kind) == (way, kind)
    ]


# -- time ------------------------------


def _logs(took: Sequence[WayTime], way: str) -> dict[str, list[float]]:
    """ln seconds by annotator."""
    logs: dict[str, list[float]] = defaultdict(list)
    for row in took:
        if row.mode == way:
            logs[row.annotator].append(math.log(max(row.seconds, SHORTEST)))
    return logs


def _seconds(took: Sequence[WayTime], way: str) -> Timing | None:
    """Geometric mean over people of each one's geometric mean."""
    logs = _logs(took, way)
    return _timing({name: fmean(mine) for name, mine in logs.items()}, [list(logs.values())])


def _ratio(took: Sequence[WayTime], first: str, second: str) -> tuple[Timing | None, bool]:
    """Seconds of the second way over those of the first, of everybody who judged in both."""
    one, other = _logs(took, first), _logs(took, second)
    both = sorted(one.keys() & other.keys())
    gaps = {name: fmean(other[name]) - fmean(one[name]) for name in both}
    parts = [[one[name] for name in both], [other[name] for name in both]]
    return _timing(gaps, parts), len(both) >= FEW_PEOPLE


def _timing(by_person: Mapping[str, float], parts: Sequence[Sequence[Sequence[float]]]) -> Timing | None:
    """exp of the mean over people, by Student's t over them; of few by the spread of judgements.

    parts: for each term of a person's value the ln seconds that it is the mean of, by person.
    """
    count = len(by_person)
    if not count:
        return None
    centre = fmean(by_person.values())
    if count >= FEW_PEOPLE:
        found = over_seeds_and_prompts({(n, ""): value for n, value in enumerate(by_person.values())})
        assert found is not None
        low, high = found.low, found.high
    else:
        known = all(len(mine) > 1 for part in parts for mine in part)
        spread = sum(variance(mine) / len(mine) for part in parts for mine in part) if known else math.nan
        half = Z_95 * math.sqrt(spread) / count
        low, high = centre - half, centre + half
    low, high = (math.nan if end is None else math.exp(end) for end in (low, high))
    return Timing(math.exp(centre), low, high)


# -- reward models ------------------------------


def _models(
    store: Store, said: Sequence[WayVerdict], first: str, second: str
) -> tuple[LearnedModels | None, str]:
    """Heads on a frozen trunk's features, or why there are none."""
    from engine.errors import WorkbenchError
    from engine.frozen.crossed import BOTH, held_out
    from engine.frozen.settings import live_settings
    from workbench.services.live_fit import opened

    there = [Path(row.path) for row in artifacts.listed(store, kind="features") if Path(row.path).is_dir()]
    if not there:
        return None, (
            "There are no features of responses yet; workbench train reward NAME --tuning frozen computes "
            "them, and reward models are then learned from each way here."
        )
    try:
        features = opened(there)
        votes = _votes(said, first, second)
        with_features = set(features.ids)
        votes = {pair: counts for pair, counts in votes.items() if {*pair[1:]} <= with_features}
        ids = sorted({response for pair in votes for response in pair[1:]})
        comparisons = _comparisons(votes, ids, (first, second))
        held = held_out(features.rows(ids), comparisons, live_settings())
    except WorkbenchError as error:
        return None, str(error)
    prompts = len({pair[0] for pair in votes})
    of = {way: (held[first, way], held[second, way]) for way in (first, second, BOTH)}
    return LearnedModels(
        features.info.base,
        prompts,
        {way: _contrast(*pair, "right") for way, pair in of.items()},
        {way: _contrast(*pair, "loss") for way, pair in of.items()},
    ), ""


Pair = tuple[str, str, str]
"""Prompt and two responses."""


def _votes(said: Sequence[WayVerdict], first: str, second: str) -> dict[Pair, dict[str, list[int]]]:
    """Labels on each pair in each way, of prompts that both ways have: verdicts by way."""
    votes: dict[Pair, dict[str, list[int]]] = defaultdict(lambda: {first: [], second: []})
    prompts: dict[str, set[str]] = defaultdict(set)
    for row in said:
        if row.kind == "label" and row.mode in (first, second):
            votes[row.prompt_id, row.response_a, row.response_b][row.mode].append(row.verdict)
            prompts[row.prompt_id].add(row.mode)
    return {pair: by_way for pair, by_way in sorted(votes.items()) if len(prompts[pair[0]]) == 2}


def _comparisons(
    votes: Mapping[Pair, Mapping[str, Sequence[int]]], ids: Sequence[str], names: Sequence[str]
) -> dict[str, Comparisons]:
    """The same pairs in the same order for each way."""
    from engine.frozen.comparisons import stacked

    row_of = {response: row for row, response in enumerate(ids)}
    number = {prompt: n for n, prompt in enumerate(dict.fromkeys(pair[0] for pair in votes))}
    return {
        way: stacked(
            [
                (number[prompt], row_of[a], row_of[b], *(by_way[way].count(v) for v in (1, -1, 0)))
                for (prompt, a, b), by_way in votes.items()
            ]
        )
        for way in names
    }


def _contrast(first: HeldOut, second: HeldOut, what: str) -> Contrast:
    """Right pairs or nats over pairs, of the prompts that have any."""
    import numpy as np

    from engine.labels.crossed import contrast, share_ends, share_figure

    def loss_ends(sums_P: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """A prompt that a coin says twice as badly as it need, and one that is sure and right."""
        size = sums_P[:, 1].mean() if len(sums_P) else 1.0
        return np.array([0.0, size]), np.array([2 * math.log(2) * size, size])

    def sums(held: HeldOut) -> dict[str, list[float]]:
        figures = (getattr(held, what).tolist(), held.pairs.tolist())
        return {
            f"{place:09d}": [value, n] for place, (value, n) in enumerate(zip(*figures, strict=True)) if n
        }

    return contrast(sums(first), sums(second), share_figure, share_ends if what == "right" else loss_ends)
