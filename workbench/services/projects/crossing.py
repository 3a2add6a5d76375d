"""The queues of a crossed project: every task is judged in two ways, and everybody judges in both.

People differ more than ways of judging do, so a comparison of ways must not be one of people.  Each
annotator has as much to judge in one way as in the other, in two blocks; half of them begin with the first
way, half with the second, so that practice and fatigue fall on both alike (a crossover design).
"""

from __future__ import annotations

import random
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace

from workbench.services.projects.dealing import Entry, QueuePlan, Task, queue_of


@dataclass(frozen=True)
class Crossing:
    """How two ways are crossed."""

    ways: tuple[str, str]
    same_people: bool
    """Whether those who judge a task in one way judge it in the other too; else others do."""


def deal_crossed(plan: QueuePlan, crossing: Crossing) -> dict[str, list[Entry]]:
    """New entries by annotator, those of one way before those of the other.

    Every task is labelled by `overlap` annotators in each way; of others than the first way's where the
    people are not the same, which needs twice as many.  Gold questions come once, half in each way.
    """
    labels = _labels(plan, crossing)
    return {name: list(_queue(plan, crossing, name, labels)) for name in plan.annotators}


def order_of_ways(plan: QueuePlan, crossing: Crossing, name: str) -> tuple[str, str]:
    """Which way an annotator begins with."""
    names = sorted(plan.annotators)
    random.Random(f"{plan.seed} ways").shuffle(names)
    first, second = crossing.ways
    return (first, second) if names.index(name) % 2 == 0 else (second, first)


def _labels(plan: QueuePlan, crossing: Crossing) -> dict[tuple[str, str], list[Task]]:
    """New labels by annotator and way, in the order of the tasks: each to those who have the least."""
    chooser = random.Random(f"{plan.seed} labels")
    has: dict[tuple[Task, str], set[str]] = {}
    for name, entries in plan.kept.items():
        for entry in entries:
            if entry.kind == "label":
                has.setdefault((entry.task, entry.mode or crossing.ways[0]), set()).add(name)
    load = Counter((name, way) for (_, way), names in has.items() for name in names)
    dealt: dict[tuple[str, str], list[Task]] = {
        (name, way): [] for name in plan.annotators for way in crossing.ways
    }
    for number, task in enumerate(plan.tasks):
        ways = crossing.ways if number % 2 == 0 else crossing.ways[::-1]
        for way in ways:
            (other,) = set(crossing.ways) - {way}
            already, elsewhere = has.get((task, way), set()), has.get((task, other), set())
            if crossing.same_people:
                free = [name for name in plan.annotators if name not in already]
                free.sort(key=lambda name: (name not in elsewhere, load[name, way], chooser.random()))
            else:
                free = [name for name in plan.annotators if name not in already | elsewhere]
                free.sort(
                    key=lambda name: (load[name, way], load[name, way] + load[name, other], chooser.random())
                )
            for name in free[: max(0, plan.overlap - len(already))]:
                dealt[name, way].append(task)
                load[name, way] += 1
                has.setdefault((task, way), set()).add(name)
    return dealt


def _queue(
    plan: QueuePlan, crossing: Crossing, name: str, labels: Mapping[tuple[str, str], list[Task]]
) -> Iterator[Entry]:
    """One annotator's two blocks, each with its own gold questions and repeats."""
    standing = plan.kept.get(name, ())
    met = {entry.task for entry in standing if entry.kind == "gold"}
    place = sorted(plan.annotators).index(name)
    for way in order_of_ways(plan, crossing, name):
        gold = [task for k, task in enumerate(plan.gold) if crossing.ways[(k + place) % 2] == way]
        mine = [entry for entry in standing if (entry.mode or crossing.ways[0]) == way]
        part = replace(plan, gold=tuple(task for task in gold if task not in met), kept={name: mine})
        for entry in queue_of(part, name, labels[name, way], f" {way}"):
            yield replace(entry, mode=way)


def twins(queue: Sequence[Entry], first: str) -> list[Task | None]:
    """For each entry of a queue, the task that must have been judged in the first way before it comes.

    That is its own.  A gold question among them waits with the label before it, and so does not stand out.
    """
    behind: list[Task | None] = []
    waiting = next((entry.task for entry in queue if entry.mode != first and entry.kind != "gold"), None)
    for entry in queue:
        if entry.mode != first and entry.kind != "gold":
            waiting = entry.task
        behind.append(None if entry.mode == first else waiting)
    return behind
