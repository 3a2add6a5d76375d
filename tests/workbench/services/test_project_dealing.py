"""Queues as mathematics: overlap, balance, gold, distance of repeats, and nothing moves that is kept."""

from __future__ import annotations

from collections import Counter
from dataclasses import replace
from itertools import pairwise

from hypothesis import given
from hypothesis import strategies as st

from workbench.services.projects.crossing import Crossing, deal_crossed, order_of_ways, twins
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


@st.composite
def crossings(draw: st.DrawFn) -> tuple[QueuePlan, Crossing]:
    same = draw(st.booleans())
    names = tuple("abcdef"[: draw(st.integers(1 if same else 2, 6))])
    most = len(names) if same else len(names) // 2
    plan = QueuePlan(
        tasks(draw(st.integers(0, 30))),
        names,
        overlap=draw(st.integers(1, most)),
        gold=tasks(draw(st.integers(0, 5)), "g"),
        repeats=draw(st.floats(0, 1)),
        repeat_after=draw(st.integers(0, 12)),
        seed=draw(st.integers(0, 3)),
    )
    return plan, Crossing(("rank", "rate"), same)


@given(crossings())
def test_a_crossed_project_has_each_task_in_both_ways_and_everybody_in_two_blocks(
    made: tuple[QueuePlan, Crossing],
) -> None:
    plan, crossing = made
    dealt = deal_crossed(plan, crossing)
    who: dict[tuple[Task, str | None], set[str]] = {}
    for name, queue in dealt.items():
        for entry in queue:
            if entry.kind == "label":
                who.setdefault((entry.task, entry.mode), set()).add(name)
        ways = [entry.mode for entry in queue]
        assert sum(a != b for a, b in pairwise(ways)) <= 1, "two blocks"
        assert Counter(e.task for e in queue if e.kind == "gold") == Counter(plan.gold)
    for task in plan.tasks:
        ranked, rated = who[task, "rank"], who[task, "rate"]
        assert len(ranked) == len(rated) == plan.overlap
        assert ranked == rated if crossing.same_people else not ranked & rated
    loads = Counter((name, way) for (_, way), names in who.items() for name in names)
    every = [loads[name, way] for name in plan.annotators for way in crossing.ways]
    assert max(every) - min(every) <= 2
    begun = Counter(order_of_ways(plan, crossing, name)[0] for name in plan.annotators)
    assert abs(begun["rank"] - begun["rate"]) <= 1, "half begin with each"
    assert deal_crossed(plan, crossing) == dealt, "the seed says all"


@given(crossings())
def test_what_is_dealt_already_is_not_dealt_again(made: tuple[QueuePlan, Crossing]) -> None:
    plan, crossing = made
    dealt = deal_crossed(plan, crossing)
    again = deal_crossed(replace(plan, kept=dealt), crossing)
    assert not any(entry.kind in ("label", "gold") for queue in again.values() for entry in queue)


@given(crossings())
def test_what_is_judged_twice_waits_for_the_first_time(made: tuple[QueuePlan, Crossing]) -> None:
    plan, crossing = made
    for name, queue in deal_crossed(plan, replace(crossing, same_people=True)).items():
        first = order_of_ways(plan, crossing, name)[0]
        known = {entry.task for entry in queue if (entry.mode, entry.kind) == (first, "label")}
        for entry, twin in zip(queue, twins(queue, first), strict=True):
            assert twin is None if entry.mode == first else twin in known or not known
            assert entry.kind == "gold" or twin in (None, entry.task)
