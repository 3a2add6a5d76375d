"""What was fetched ahead is what the store would say, and nothing is left out."""

from __future__ import annotations

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from storage import prompts, responses
from storage.store import Store
from workbench.services.ranking.judging import Judging
from workbench.services.ranking.upcoming import Upcoming


def made(count: int) -> tuple[Store, Judging]:
    store = Store.open(":memory:")
    for number in range(count):
        prompt = prompts.add(store, [{"role": "user", "content": f"question {number}"}])
        for text in "abc":
            responses.add(store, prompt, text, f"answer {text} to {number}")
    return store, Judging(store)


@given(st.lists(st.sampled_from(["judge", "pair", "skip", "undo", "redo", "prepare"]), max_size=14))
@settings(max_examples=10, deadline=None)
def test_the_next_prompt_is_that_of_the_store(steps: list[str]) -> None:
    store, judging = made(3)
    with store:
        for step in steps:
            if step == "prepare":
                judging.prepare("ada")
            elif step in ("undo", "redo"):
                getattr(judging, step)("ada")
            elif (item := judging.next_item("ada", mode="pair" if step == "pair" else "rank")) is not None:
                if step == "skip":
                    judging.skip(item, "ada", "why", seconds=1)
                else:
                    ranks = {c.response_id: n for n, c in enumerate(item.responses, 1)}
                    judging.record(item, "ada", ranks, seconds=1)
            found = judging.next_item("ada")
            wanted = judging.queue.prompts("ada", "oldest")
            assert ([] if found is None else [found.prompt_id]) == wanted
            pair = judging.next_item("ada", mode="pair")
            wanted_pair = judging.queue.pairs("ada", "oldest")
            shown = set() if pair is None else {c.response_id for c in pair.responses}
            assert shown == {r for each in wanted_pair for r in (each.response_a, each.response_b)}


def test_a_prompt_that_gets_new_responses_comes_again() -> None:
    store, judging = made(3)
    with store:
        first = judging.next_item("ada")
        assert first is not None
        judging.skip(first, "ada", "why", seconds=1)
        responses.add(store, first.prompt_id, "d", "a new answer")
        seen = set()
        while (item := judging.next_item("ada")) is not None:
            assert item.prompt_id not in seen
            seen.add(item.prompt_id)
            judging.skip(item, "ada", "why", seconds=1)
        assert first.prompt_id in seen
        assert len(seen) == 3


def test_excluded_prompts_are_held_back_and_not_forgotten() -> None:
    store, judging = made(2)
    with store:
        first = judging.next_item("ada")
        assert first is not None
        other = judging.next_item("ada", exclude=[first.prompt_id])
        assert other is not None
        assert other.prompt_id != first.prompt_id
        again = judging.next_item("ada")
        assert again is not None
        assert again.prompt_id == first.prompt_id


@pytest.mark.parametrize("count", [0, 1, 63, 64, 65, 200])
def test_batches_leave_nothing_out_and_ask_seldom(count: int) -> None:
    queue: Upcoming[int] = Upcoming()
    done: set[int] = set()
    asked: list[int] = []

    def fetch(limit: int) -> list[int]:
        asked.append(limit)
        return [value for value in range(count) if value not in done][:limit]

    while (value := queue.first(("x",), fetch, lambda v: v not in done)) is not None:
        assert value == len(done)
        done.add(value)
        queue.refill(("x",), fetch)
    assert len(done) == count
    assert len(asked) <= 2 + count // 20


def test_the_least_agreed_pair_comes_first_though_its_prompt_has_others(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    store, judging = made(2)
    with store:
        waiting = judging.queue.pairs("ada", "oldest", limit=9)
        ours = [pair for pair in waiting if pair.prompt_id == waiting[0].prompt_id]
        others = [pair for pair in waiting if pair.prompt_id != waiting[0].prompt_id]
        monkeypatch.setattr(judging.queue, "pairs", lambda *_, **__: [ours[0], others[0], ours[1]])
        assert judging._next.pair("ada", "least_agreed", "overall", None, ()) == ours[0]
        held_back = [ours[0].prompt_id]
        assert judging._next.pair("ada", "least_agreed", "overall", None, held_back) == others[0]
