"""Measurements of reward models on files of judgements: rows in, figures with intervals, and out again."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import asdict
from typing import Any

from storage.ids import random_id
from storage.measures.benchmark_records import Benchmark, BenchmarkAbout, BenchmarkFigure, BenchmarkItem
from storage.sql import block
from storage.store import Store

ITEMS = (
    "benchmark_id",
    "item",
    "prompt_id",
    "subset",
    "kind",
    "place",
    "external_id",
    "votes",
    "votes_other",
    "votes_tie",
)
RESPONSES = ("benchmark_id", "item", "response", "good", "policy", "characters", "score", "cut")


def add(
    store: Store,
    about: BenchmarkAbout,
    items: Sequence[BenchmarkItem],
    *,
    sections: Mapping[str, Mapping[str, float]],
    seed: int,
    replicates: int,
) -> str:
    """Store a measurement and its figures in one transaction; its id.

    sections: by section, the subsets in it with their weights.
    """
    benchmark = random_id("b")
    own = [
        (benchmark, n, i.prompt_id, i.subset, i.kind, i.place, i.external_id, *i.votes)
        for n, i in enumerate(items)
    ]
    responses = [
        (benchmark, n, place, place < item.good, *said)
        for n, item in enumerate(items)
        for place, said in enumerate(zip(item.policies, item.characters, item.scores, item.cut, strict=True))
    ]
    weights = [
        {"subset": subset, "section": section, "weight": weight}
        for section, subsets in sections.items()
        for subset, weight in subsets.items()
    ]
    with store.transaction():
        row = {**asdict(about), "left_out": json.dumps(dict(about.left_out), ensure_ascii=False)}
        store.write(
            block("benchmarks", "add"),
            {**row, "benchmark_id": benchmark, "seed": seed, "replicates": replicates},
        )
        store.write_many(block("benchmarks", "add_items"), ITEMS, own, {"external_id": "string"})
        store.write_many(block("benchmarks", "add_responses"), RESPONSES, responses)
        store.write(
            block("benchmarks", "measure"),
            {
                "benchmark_id": benchmark,
                "sections": json.dumps(weights),
                "seed": seed,
                "replicates": replicates,
            },
        )
    return benchmark


def listed(store: Store, reward_model: str, benchmark_id: str | None = None) -> list[Benchmark]:
    """The newest measurement of a reward model on each benchmark, with its figures, newest first."""
    rows = store.rows(
        block("benchmarks", "list"), {"reward_model": reward_model, "benchmark_id": benchmark_id}
    )
    return [
        _benchmark([*row[:11], json.loads(row[11]), row[12], tuple(figures(store, row[0]))]) for row in rows
    ]


def _benchmark(values: list[Any]) -> Benchmark:
    return Benchmark(*values)


def figures(store: Store, benchmark_id: str) -> list[BenchmarkFigure]:
    """What was measured of a benchmark, each figure with its interval; by level, part and name."""
    return store.records(BenchmarkFigure, block("benchmarks", "figures"), {"benchmark_id": benchmark_id})
