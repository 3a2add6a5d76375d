"""Queues as mathematics: overlap, balance, gold, distance of repeats, and nothing moves that is kept."""

from __future__ import annotations

from collections import Counter
from dataclasses import replace

from hypothesis import given
from hypothesis import strategies as st

from workbench.services.projects.dealing import Entry, QueuePlan, Task, deal


def tasks(count: int, letter: str = "p") -> tuple[Task, ...]:
    return tuple(Task(f"{letter}{n}", (f"{letter}{n}a", f"{letter}{n}b")) for n in range(count))


@st.composite
def plans(draw: st.DrawFn) -> QueuePlan:
    names = tuple("abcde"[: draw(st.integers(1, 5))])
    return QueuePlan(
        tasks(draw(st.integers(0, 40))),
        names,
        overlap=draw(st.integers(1, len(names))),
        gold=tasks(draw(st.integers(0, 5)), "g"),
        repeats=draw(st.floats(0, 1)),
        repeat_after=draw(st.integers(0, 12)),
        shuffled=draw(st.booleans()),
        seed=draw(st.integers(0, 3)),
    )


def labels(queue: list[Entry]) -> list[Task]:
    return [entry.task for entry in queue if entry.kind == "label"]


@given(plans())
def test_each_task_is_for_so_many_different_people(plan: QueuePlan) -> None:
    dealt = deal(plan)
    counts = Counter(task for queue in dealt.values() for task in labels(queue))
    assert counts == Counter(dict.fromkeys(plan.tasks, plan.overlap))
    assert all(len(set(labels(queue))) == len(labels(queue)) for queue in dealt.values())
    loads = [len(labels(queue)) for queue in dealt.values()]
    assert max(loads) - min(loads) <= 1
    assert deal(plan) == dealt, "the seed says all"
    if not plan.shuffled:
        assert all(labels(queue) == [t for t in plan.tasks if t in labels(queue)] for queue in dealt.values())


@given(plans())
def test_everybody_meets_every_gold_question_once(plan: QueuePlan) -> None:
    for queue in deal(plan).values():
        assert sorted(entry.task.prompt_id for entry in queue if entry.kind == "gold") == [
            task.prompt_id for task in plan.gold
        ]


@given(plans())
def test_repeats_come_once_and_far_behind(plan: QueuePlan) -> None:
    for queue in deal(plan).values():
        repeats = [entry.task for entry in queue if entry.kind == "repeat"]
        own = labels(queue)
        assert len(repeats) == len(set(repeats)) == round(plan.repeats * len(own))
        far = max(0, len(own) - plan.repeat_after - 1)
        for task in repeats:
            first, again = queue.index(Entry(task)), queue.index(Entry(task, "repeat"))
            assert again > first
            if far >= len(repeats):
                between = sum(entry.kind == "label" for entry in queue[first + 1 : again])
                assert between >= plan.repeat_after


@given(plans(), st.data())
def test_what_is_kept_counts_and_only_the_rest_is_dealt(plan: QueuePlan, data: st.DataObject) -> None:
    whole = deal(plan)
    kept = {name: queue[: data.draw(st.integers(0, len(queue)))] for name, queue in whole.items()}
    more = replace(plan, kept=kept, tasks=tasks(len(plan.tasks) + 3))
    dealt = deal(more)
    counts = Counter(task for name in whole for task in [*labels(kept[name]), *labels(dealt[name])])
    assert counts == Counter(dict.fromkeys(more.tasks, plan.overlap))
    for name, queue in dealt.items():
        both = [*kept[name], *queue]
        assert len(set(both)) == len(both), "no entry twice"
        assert sum(entry.kind == "gold" for entry in both) == len(plan.gold)


def test_who_has_left_counts_too() -> None:
    one, two = tasks(2)
    plan = QueuePlan((one, two), ("a", "b"), overlap=2, kept={"gone": [Entry(one)]})
    dealt = deal(plan)
    assert Counter(task for queue in dealt.values() for task in labels(queue)) == {one: 1, two: 2}
