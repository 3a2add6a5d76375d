"""Who labels what: tasks dealt to annotators, gold questions and hidden repeats among them.

Everything follows from the seed, so that the same project gives the same queues.
"""

from __future__ import annotations

import random
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Literal

Kind = Literal["label", "gold", "repeat"]


@dataclass(frozen=True)
class Task:
    """Responses to one prompt that are judged together."""

    prompt_id: str
    responses: tuple[str, ...]
    """Ids, sorted."""


@dataclass(frozen=True)
class Entry:
    """One place in an annotator's queue."""

    task: Task
    kind: Kind = "label"
    mode: str | None = None
    """The way of judging; None: the project's."""


@dataclass(frozen=True)
class QueuePlan:
    """What is to be dealt."""

    tasks: tuple[Task, ...]
    """In the order in which they come, unless `shuffled`."""
    annotators: tuple[str, ...]
    overlap: int = 1
    """Each task is for so many annotators."""
    gold: tuple[Task, ...] = ()
    """For every annotator, somewhere among the others."""
    repeats: float = 0.0
    """Share of an annotator's labels that come once more."""
    repeat_after: int = 10
    """Between a label and its repeat at least so many other labels, where the queue is that long."""
    shuffled: bool = True
    """Each annotator has an order of their own."""
    seed: int = 0
    kept: Mapping[str, Sequence[Entry]] = field(default_factory=dict)
    """What stands in queues already, former annotators' too; new entries come behind it."""


def deal(plan: QueuePlan) -> dict[str, list[Entry]]:
    """New entries by annotator, to stand behind those that are kept.

    Every task is labelled by `overlap` different annotators, or by all that there are; kept labels count.
    Nobody has two labels more than another unless what is kept makes it so.
    """
    labels = _labels(plan)
    return {name: queue_of(plan, name, labels[name]) for name in plan.annotators}


def _labels(plan: QueuePlan) -> dict[str, list[Task]]:
    """New labels by annotator, in the order of the tasks: each task to those who have the least."""
    chooser = random.Random(f"{plan.seed} labels")
    has: dict[Task, set[str]] = {}
    for name, entries in plan.kept.items():
        for entry in entries:
            if entry.kind == "label":
                has.setdefault(entry.task, set()).add(name)
    load = Counter({name: sum(name in names for names in has.values()) for name in plan.annotators})
    dealt: dict[str, list[Task]] = {name: [] for name in plan.annotators}
    for task in plan.tasks:
        already = has.get(task, set())
        free = [name for name in plan.annotators if name not in already]
        free.sort(key=lambda name: (load[name], chooser.random()))
        for name in free[: max(0, plan.overlap - len(already))]:
            dealt[name].append(task)
            load[name] += 1
    return dealt


def queue_of(plan: QueuePlan, name: str, labels: list[Task], part: str = "") -> list[Entry]:
    """The new labels of one annotator in their order, with gold questions and repeats among them.

    part: of a queue that has several, which one it is.  A label has its place as its key; what comes
    between has a key between, so that sorting puts it there.
    """
    chooser = random.Random(f"{plan.seed} queue {name}{part}")
    if plan.shuffled:
        labels = labels.copy()
        chooser.shuffle(labels)
    staying = plan.kept.get(name, ())
    known = {entry.task for entry in staying if entry.kind == "gold"}
    count = len(labels)
    places: list[tuple[float, Entry]] = [(float(place), Entry(task)) for place, task in enumerate(labels)]
    places += [(chooser.uniform(-1, count), Entry(task, "gold")) for task in plan.gold if task not in known]
    all_labels = count + sum(entry.kind == "label" for entry in staying)
    wanted = round(plan.repeats * all_labels) - sum(entry.kind == "repeat" for entry in staying)
    far = range(max(0, count - plan.repeat_after - 1))
    repeated = list(far) if len(far) >= wanted else list(range(min(count, max(wanted, 0))))
    for place in chooser.sample(repeated, min(max(wanted, 0), len(repeated))):
        behind = place + plan.repeat_after + 0.5
        key = chooser.uniform(behind, count) if behind < count else count + chooser.random()
        places.append((key, Entry(labels[place], "repeat")))
    return [entry for _, entry in sorted(places, key=lambda placed: placed[0])]
