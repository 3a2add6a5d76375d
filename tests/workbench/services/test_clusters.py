"""Texts that are alike are found together."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from workbench.services.clusters import clusters

RECIPES = [f"Write a recipe for a {dish} with garlic and tomatoes." for dish in ("soup", "pizza", "salad")]
CODE = [f"Fix the bug in this Python function that {does} a list." for does in ("sorts", "reverses")]


def test_subjects_are_told_apart_by_their_words() -> None:
    texts = [CODE[0], RECIPES[0], "Why is the sky blue?", RECIPES[1], CODE[1], RECIPES[2]]
    recipes, code = clusters(texts)
    assert recipes.members == (1, 3, 5)
    assert code.members == (0, 4)
    assert {"recipe", "garlic", "tomatoes"} <= set(recipes.words)
    assert "python" in code.words
    assert not {"soup", "pizza"} & set(recipes.words)  # of one text alone


def test_texts_that_share_nothing_or_everything_have_no_clusters() -> None:
    assert clusters([]) == []
    assert clusters(["one thing", "quite another"]) == []
    assert clusters(["the same", "the same", "the same"]) == []  # no word tells any of them


@given(st.lists(st.text(alphabet="ab cd", max_size=12), max_size=8))
def test_clusters_are_disjoint_and_the_same_again(texts: list[str]) -> None:
    found = clusters(texts)
    members = [place for cluster in found for place in cluster.members]
    assert len(members) == len(set(members))
    assert all(0 <= place < len(texts) for place in members)
    assert clusters(texts) == found
