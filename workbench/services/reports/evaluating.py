"""Reward models on other people's benchmarks: read, not imported; scored; kept as rows with their figures."""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace
from hashlib import md5
from pathlib import Path
from typing import TYPE_CHECKING

from engine.left_out import REFUSED
from storage import artifacts
from storage.errors import ImportFileError
from storage.measures import benchmarks
from storage.measures.benchmark_records import Benchmark, BenchmarkAbout, BenchmarkItem
from storage.store import Store
from workbench.services.importing import Importing, ImportRequest
from workbench.services.scoring import PRECISIONS, Scoring, ScoringNotes

if TYPE_CHECKING:
    from engine.scoring import Scored, Scorer
    from storage.interchange.compared import Compared, FileComparisons
    from storage.interchange.planning import Plan

SEED = 0
REPLICATES = 1000
FEWEST_REPLICATES = 200
DRAWS = 1_500_000
"""Prompts drawn in all resamples together at most; above it there are fewer resamples."""
PAGE_RESPONSES = 256
BEYOND = "comparisons beyond --limit"
HUB = re.compile(r"^https://huggingface\.co/datasets/([\w.-]+/[\w.-]+)$")
Progress = Callable[[str, float, float], None]
"""Stage, done, of how much."""


@dataclass(frozen=True)
class BenchmarkRequest:
    """What to measure on: how the file is read, and which part of it."""

    asked: ImportRequest = field(default_factory=ImportRequest)
    criterion: str | None = None
    split: str | None = None
    limit: int = 0
    """At most so many prompts, drawn by a hash of their text; 0 takes all."""


class Evaluating:
    """Measures the reward models of one store."""

    def __init__(self, store: Store, scoring: Scoring) -> None:
        self.store = store
        self.scoring = scoring

    def reward(
        self,
        name: str,
        on: str | Sequence[str],
        how: BenchmarkRequest | None = None,
        *,
        precision: str | None = None,
        on_progress: Progress | None = None,
    ) -> Benchmark:
        """Measure an exported reward model on a file, several, a folder, or a preset, a data set of the hub.

        Nothing is imported.  `precision` is the quickest that was exported, unless given.  Raises
        NotFoundError for an unknown reward model, UsageError for one that was not exported or that can read
        none of the prompts, ImportFileError for what cannot be read or compares nothing.
        """
        from storage.interchange.compared import comparisons

        how, tell = how or BenchmarkRequest(), on_progress or (lambda stage, done, total: None)
        model = artifacts.reward_model(self.store, name)
        scorer = self.scoring.scorer(name, precision or _quickest(model.precisions))
        paths, asked = _named(on, how.asked)
        if how.criterion is not None:  # of judgements that name none
            asked = replace(asked, criterion=how.criterion)
        plan = Importing(self.store).propose(paths, asked)
        compared = comparisons(
            plan,
            criterion=how.criterion,
            split=how.split,
            on_progress=lambda rows, share: tell("reading", 100 * share, 100),
        )
        _keep_some(compared, how.limit)
        items = _measured(scorer, compared, tell)
        about = _about(
            plan, compared, model.reward_model_id, _criterion_read(scorer, compared.criterion), scorer.backend
        )
        prompts = len({item.prompt_id for item in items})
        measured = benchmarks.add(
            self.store,
            replace(about, split=how.split),
            items,
            sections=_sections(plan),
            seed=SEED,
            replicates=max(FEWEST_REPLICATES, min(REPLICATES, DRAWS // prompts)),
        )
        return benchmarks.listed(self.store, name, measured)[0]

    def listed(self, name: str) -> list[Benchmark]:
        """What a reward model was measured on, the newest first.  Raises NotFoundError."""
        artifacts.reward_model(self.store, name)
        return benchmarks.listed(self.store, name)


def _quickest(precisions: Sequence[str]) -> str:
    return next((each for each in PRECISIONS if each in precisions), PRECISIONS[0])


def _named(on: str | Sequence[str], asked: ImportRequest) -> tuple[list[str], ImportRequest]:
    """Paths to open.  A preset's name stands for its data set on the hub, where nothing else is called so."""
    names = [on] if isinstance(on, str) else list(on)
    if len(names) != 1 or Path(names[0]).expanduser().exists():
        return names, asked
    from storage.interchange.presets.catalogue import BY_NAME

    preset = BY_NAME.get(names[0])
    if preset is None:
        return names, asked
    hub = HUB.match(preset.source)
    if hub is None:
        raise ImportFileError(
            f"{preset.name} is not a data set of the hub: fetch it from {preset.source} and give its file or "
            "folder."
        )
    return [f"hub:{hub[1]}"], replace(asked, preset=asked.preset or preset.name)


def _keep_some(compared: FileComparisons, limit: int) -> None:
    """Keep so many prompts, the same ones each time whatever the order of the file."""
    prompts = {item.prompt_id for item in compared.items}
    if not limit or len(prompts) <= limit:
        return
    chosen = set(sorted(prompts, key=lambda prompt: md5(f"{SEED}/{prompt}".encode()).digest())[:limit])
    items = [item for item in compared.items if item.prompt_id in chosen]
    compared.left_out[BEYOND] += len(compared.items) - len(items)
    compared.items = items


def _measured(scorer: Scorer, compared: FileComparisons, tell: Progress) -> list[BenchmarkItem]:
    """The comparisons with their scores; those of prompts that the model refuses are left out and counted."""
    from storage.interchange.compared import responses_of
    from workbench.services.scoring import scored_or_left_out

    scores: dict[tuple[int, int], Scored | None] = {}
    waiting: list[tuple[int, int]] = []
    texts: list[tuple[list[dict[str, str]], str]] = []
    notes = ScoringNotes()
    total = sum(len(item.policies) for item in compared.items)

    def score() -> None:
        scores.update(zip(waiting, scored_or_left_out(scorer, texts, notes.left_out), strict=True))
        waiting.clear()
        texts.clear()
        tell("scoring", len(scores), total)

    for messages, responses in responses_of(compared.items):
        waiting += [(item, place) for item, place, _ in responses]
        texts += [(messages, text) for _, _, text in responses]
        if len(waiting) >= PAGE_RESPONSES:
            score()
    if waiting:
        score()
    items = []
    for number, item in enumerate(compared.items):
        own = [scores[number, place] for place in range(len(item.policies))]
        read = [scored for scored in own if scored is not None]
        if len(read) == len(own):
            items.append(_row(item, read, compared.criterion))
        else:
            compared.leave(f"comparisons {REFUSED}", item.place)
    if not items:
        raise notes.left_out.nothing_left("choose another reward model, or another file")
    return items


def _row(item: Compared, scored: Sequence[Scored], criterion: str) -> BenchmarkItem:
    return BenchmarkItem(
        prompt_id=item.prompt_id,
        subset=item.subset,
        kind=item.kind,
        place=item.place,
        external_id=item.external_id,
        votes=(item.votes, item.votes_other, item.votes_tie),
        good=len(item.good),
        policies=item.policies,
        characters=tuple(len(text) for text in (*item.good, *item.bad)),
        scores=tuple(each.criteria.get(criterion, each.score) for each in scored),
        cut=tuple(each.cut for each in scored),
    )


def _criterion_read(scorer: Scorer, criterion: str) -> str:
    """The reward model's own criterion where it has that of the file, else its first."""
    return criterion if criterion in scorer.head.criteria else scorer.head.criteria[0]


def _about(plan: Plan, compared: FileComparisons, model: str, scored_as: str, backend: str) -> BenchmarkAbout:
    return BenchmarkAbout(
        name=plan.name,
        reward_model_id=model,
        criterion=compared.criterion,
        scored_as=scored_as,
        backend=backend,
        split=None,
        path=str(plan.source.path.absolute()),
        preset=plan.preset.name if plan.preset else None,
        mapping=str(plan.mapping),
        licence=plan.licence,
        origin=plan.origin,
        rows=compared.rows,
        left_out=dict(compared.left_out.most_common()),
    )


def _sections(plan: Plan) -> dict[str, dict[str, float]]:
    from storage.interchange.presets.sections import SECTIONS

    return SECTIONS.get(plan.preset.name, {}) if plan.preset else {}
