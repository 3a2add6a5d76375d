"""The ranking draft: what keys make of it, for any sequence of keys."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from workbench.screens.rank.layout import columns_for
from workbench.services.ranking.draft import Draft

IDS = ("r0", "r1", "r2", "r3")


def test_letters_place_from_best_to_worst() -> None:
    draft = Draft.of(IDS).place_next("r2").place_next("r0")
    assert draft.ranks() == {"r2": 1, "r0": 2}
    assert draft.order() == "C > A"
    assert draft.left == ("B", "D")
    assert not draft.complete


def test_equals_ties_with_the_last_one() -> None:
    draft = Draft.of(IDS).place_next("r1").tie().place_next("r0").place_next("r3")
    assert draft.order() == "A = B > D"
    assert draft.tie().place_next("r2").ranks() == {"r1": 1, "r0": 1, "r3": 2, "r2": 2}
    assert not draft.tie().tie().tie_next
    assert not Draft.of(IDS).tie().tie_next


def test_digits_move_and_gaps_close() -> None:
    draft = Draft.of(IDS).place("r0", 5).place("r1", 2).place("r0", 9)
    assert draft.rank("r0") == 9
    assert draft.ranks() == {"r1": 1, "r0": 2}


def test_taking_back() -> None:
    draft = Draft.of(IDS).place_next("r1").place_next("r2")
    assert draft.tie().take_back() == draft
    assert draft.take_back().order() == "B"
    assert draft.remove("r1").order() == "C"
    assert Draft.of(IDS).take_back() == Draft.of(IDS)


def test_previous_ranks_come_back() -> None:
    draft = Draft.of(IDS, {"r3": 1, "r0": 2, "r1": 2, "r2": 3, "gone": 4})
    assert draft.complete
    assert draft.order() == "D > A = B > C"


KEYS = st.lists(
    st.one_of(
        st.tuples(st.just("letter"), st.sampled_from(IDS)),
        st.tuples(st.sampled_from(["tie", "back"]), st.just("")),
        st.tuples(st.sampled_from([f"{n}" for n in range(1, 10)]), st.sampled_from(IDS)),
    ),
    max_size=30,
)


@given(KEYS)
def test_any_keys_leave_a_ranking(keys: list[tuple[str, str]]) -> None:
    draft = Draft.of(IDS)
    for action, response in keys:
        if action == "letter":
            draft = draft.place_next(response)
        elif action in ("tie", "back"):
            draft = draft.tie() if action == "tie" else draft.take_back()
        else:
            draft = draft.place(response, int(action))
            assert draft.rank(response) == int(action)
    ranks = draft.ranks()
    assert set(ranks) <= set(IDS)
    assert sorted(set(ranks.values())) == list(range(1, len(set(ranks.values())) + 1))
    assert draft.complete == (len(ranks) == len(IDS))
    typed = dict(draft.placed)
    assert all((typed[a] < typed[b]) == (ranks[a] < ranks[b]) for a in typed for b in typed)
    assert set(ranks) - set(typed) == ({draft.implied} if draft.implied else set())


@pytest.mark.parametrize(
    ("responses", "width", "height", "columns"),
    [
        (2, 80, 14, 2),
        (4, 80, 14, 0),
        (4, 80, 18, 2),
        (4, 160, 38, 4),
        (5, 160, 38, 3),
        (9, 160, 38, 3),
        (1, 80, 14, 1),
    ],
)
def test_columns(responses: int, width: int, height: int, columns: int) -> None:
    assert columns_for(responses, width, height) == columns
