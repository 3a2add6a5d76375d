"""Every way to judge, by its keys; and what a draft says, as mathematics."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.workbench.ui_rank.driving import WIDE, opened, shown, until
from tests.workbench.ui_rank.fakes import fake_workspace
from tests.workbench.ui_rank.test_rank_screen import go, to_next
from workbench.screens.rank.cards import Cards
from workbench.screens.rank.screen import RankScreen
from workbench.services.ranking.draft import MODES, Draft, Mode

FOUR = ("r1", "r2", "r3", "r4")


async def choose(app: Any, pilot: Any, mode: Mode) -> RankScreen:
    screen = await go(app, pilot)
    await pilot.press("P", *["down"] * list(MODES).index(mode), "enter")
    await until(pilot, lambda: screen.item is not None and screen.draft.mode == mode)
    return screen


@pytest.mark.parametrize(
    ("key", "better", "strength", "outcome"),
    [
        ("a", 0, 2.0, None), ("b", 1, 2.0, None), ("1", 0, 3.0, None), ("2", 0, 1.0, None),
        ("4", 1, 1.0, None), ("5", 1, 3.0, None), ("t", None, None, None), ("3", None, None, None),
        ("equals_sign", None, None, None), ("0", None, None, "both_bad"),
    ],
)  # fmt: skip
async def test_a_pair_is_judged_by_one_key(
    key: str, better: int | None, strength: float | None, outcome: str | None
) -> None:
    workspace = fake_workspace()
    async with opened(workspace) as (app, pilot):
        screen = await choose(app, pilot, "pair")
        assert screen.item is not None
        pair = [candidate.response_id for candidate in screen.item.responses]
        await pilot.press(key)
        await to_next(pilot, workspace, 1)
        _, ranks, details = workspace.judging.records[0]
        verdict = details["draft"].verdict()
        assert (verdict.kind, verdict.strength, verdict.outcome) == ("pair", strength, outcome)
        wanted = {pair[0]: 1, pair[1]: 1} if better is None else {pair[better]: 1, pair[1 - better]: 2}
        assert ranks == wanted


async def test_four_responses_are_ranked_with_four_keys() -> None:
    workspace = fake_workspace()
    async with opened(workspace) as (app, pilot):
        screen = await go(app, pilot)
        assert screen.item is not None
        ids = [candidate.response_id for candidate in screen.item.responses]
        await pilot.press("c", "a", "d", "enter")
        await to_next(pilot, workspace, 1)
        assert workspace.judging.records[0][1] == {ids[2]: 1, ids[0]: 2, ids[3]: 3, ids[1]: 4}


async def test_the_best_few() -> None:
    workspace = fake_workspace(responses=5)
    async with opened(workspace, WIDE) as (app, pilot):
        await choose(app, pilot, "best")
        await pilot.press("enter")
        assert not workspace.judging.records
        await pilot.press("e", "b")
        assert "E > B > the rest" in shown(app)
        await pilot.press("enter")
        await to_next(pilot, workspace, 1)
        verdict = workspace.judging.records[0][2]["draft"].verdict()
        assert verdict.kind == "partial"
        assert sorted(verdict.ranks.values()) == [1, 2, 3, 3, 3]


async def test_best_and_worst() -> None:
    workspace = fake_workspace()
    async with opened(workspace) as (app, pilot):
        await choose(app, pilot, "best_worst")
        await pilot.press("d", "a")
        assert "D best, A worst" in shown(app)
        await pilot.press("enter")
        await to_next(pilot, workspace, 1)
        verdict = workspace.judging.records[0][2]["draft"].verdict()
        assert verdict.kind == "best_worst"
        assert sorted(verdict.ranks.values()) == [1, 2, 2, 3]


async def test_ratings_by_several_criteria_in_one_go() -> None:
    workspace = fake_workspace(responses=2)
    async with opened(workspace, WIDE) as (app, pilot):
        screen = await choose(app, pilot, "rate")
        assert "A help  1 poor 2 fair 3 good" in shown(app)
        await pilot.press("3", "9", "1")
        assert "B help" in shown(app), "9 is no value of the scale; both of A are rated"
        await pilot.press("enter")
        assert not workspace.judging.records
        await pilot.press("2", "2", "a", "backspace", "b", "1")
        assert "All is rated." in shown(app)
        assert screen.item is not None
        a, b = (candidate.response_id for candidate in screen.item.responses)
        await pilot.press("enter")
        await to_next(pilot, workspace, 1)
        verdict = workspace.judging.records[0][2]["draft"].verdict()
        assert verdict.ratings == {"help": {a: 3, b: 2}, "harm": {a: 1, b: 1}}


async def test_confidence_goes_up_and_down() -> None:
    async with opened(fake_workspace()) as (app, pilot):
        screen = await go(app, pilot)
        for key, wanted in (
            ("full_stop", 1),
            ("full_stop", 2),
            ("full_stop", 3),
            ("full_stop", 3),
            ("comma", 2),
        ):
            await pilot.press(key)
            assert screen.draft.confidence == wanted
        assert "fairly sure" in shown(app)
        await pilot.press("comma", "comma", "comma")
        assert screen.draft.confidence is None


async def test_keys_can_be_bound_anew() -> None:
    workspace = fake_workspace()
    workspace.settings.keys = {"flag": "f", "tie": "slash", "record": "f9"}
    async with opened(workspace, WIDE) as (app, pilot):
        screen = await go(app, pilot)
        await pilot.press("a", "slash", "b", "exclamation_mark", "f")
        assert (screen.draft.order(), screen.draft.flagged) == ("A = B", True)
        await pilot.press("c", "enter")
        assert not workspace.judging.records
        assert "/ tie" in shown(app)
        await pilot.press("f9")
        await to_next(pilot, workspace, 1)


# -- drafts as values ------------------------------

drafts = st.builds(
    lambda mode, keys: _typed(Draft(FOUR, mode=mode, criteria=("x", "y")), keys),
    st.sampled_from(list(MODES)),
    st.lists(st.tuples(st.sampled_from("lrd=b"), st.integers(0, 3), st.integers(1, 5)), max_size=12),
)


def _typed(draft: Draft, keys: list[tuple[str, int, int]]) -> Draft:
    for key, place, value in keys:
        response = FOUR[place]
        if draft.mode == "rate":
            draft = draft.take_back() if key == "b" else draft.rate("xy"[value % 2], response, value)
        elif key == "l":
            draft = draft.place_next(response)
        elif key == "r" and draft.mode in ("rank", "best"):
            draft = draft.place(response, value)
        elif key == "=" and draft.mode in ("rank", "best"):
            draft = draft.tie()
        elif key == "d":
            draft = draft.remove(response)
        else:
            draft = draft.take_back()
    return draft


@given(drafts)
def test_a_kept_draft_is_the_same_when_it_comes_back(draft: Draft) -> None:
    back = Draft.read(draft.mode, draft.content(), FOUR)
    assert back is not None
    assert replace(back, criteria=draft.criteria) == draft
    assert Draft.read(draft.mode, draft.content(), FOUR[:3]) is None


@given(drafts)
def test_a_complete_draft_places_every_response_and_changes_no_order(draft: Draft) -> None:
    if not draft.complete or draft.mode == "pair":
        return
    verdict = draft.verdict()
    if draft.mode == "rate":
        assert set(verdict.ratings) == {"x", "y"}
        assert all(set(values) == set(FOUR) for values in verdict.ratings.values())
        return
    assert set(verdict.ranks) == set(FOUR)
    levels = sorted(set(verdict.ranks.values()))
    assert levels == list(range(1, len(levels) + 1)), "ranks have no gaps"
    for one, rank in draft.placed:
        for other, beside in draft.placed:
            assert (verdict.ranks[one] < verdict.ranks[other]) == (rank < beside)
        for other in FOUR:
            if draft.rank(other) is None and draft.mode != "best_worst":
                assert verdict.ranks[other] >= verdict.ranks[one], "what is implied is last, or equal to it"


@pytest.mark.parametrize(
    ("ranks", "implied"),
    [((1, 2, 3), True), ((1, 1, 3), True), ((1, 2, 2), True), ((1, 1, 2), True), ((1, 1, 1), True),
     ((2, 3, 4), False), ((1, 3, 4), False), ((1, 2, 4), False), ((2, 2, 4), False)],
)  # fmt: skip
def test_a_place_that_digits_leave_open_is_not_guessed(ranks: tuple[int, ...], implied: bool) -> None:
    draft = Draft(FOUR)
    for response, rank in zip(FOUR, ranks, strict=False):
        draft = draft.place(response, rank)
    assert draft.complete == implied
    assert draft.implied == ("r4" if implied else None)


async def test_many_are_sorted_pair_by_pair() -> None:
    """Two at a time, one key each, back again by another; the ranking is recorded when the order is known."""
    workspace = fake_workspace()
    async with opened(workspace) as (app, pilot):
        screen = await choose(app, pilot, "sort")
        assert screen.item is not None
        best_first = sorted(candidate.response_id for candidate in screen.item.responses)
        assert "at most 5 to go" in shown(app)
        await pilot.press("a")
        await until(pilot, lambda: "1 compared" in shown(app))
        await pilot.press("3", "0", "c", "backspace")
        await until(pilot, lambda: "0 compared" in shown(app))
        assert not screen.draft.begun
        while not screen.draft.complete:
            first, second = (card.response_id for card in screen.query_one(Cards).cards)
            assert (first, second) == screen.draft.sorting.question
            done = len(screen.draft.answers)
            await pilot.press("a" if best_first.index(first) < best_first.index(second) else "b")
            await until(pilot, lambda done=done: len(screen.draft.answers) == done + 1)  # type: ignore[misc]
        assert "All 4 are in order" in shown(app)
        await pilot.press("enter")
        await to_next(pilot, workspace, 1)
        draft = workspace.judging.records[0][2]["draft"]
        assert draft.verdict().kind == "ranking"
        assert draft.ranks() == {response: rank for rank, response in enumerate(best_first, 1)}
        await until(pilot, lambda: "✓ 4 responses in order recorded" in shown(app))
