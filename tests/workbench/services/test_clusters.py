"""Texts that are alike are found together."""

from __future__ import annotations

from random import Random

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


def test_words_that_are_common_among_other_texts_join_nothing() -> None:
    texts = ["What is the job of the heart?", "What is the time now?", "Name the longest river.", "Fix it."]
    assert clusters(texts)[0].members == (0, 1)  # of four texts alone “what is” looks rare
    assert clusters(texts, [f"What is the {number}?" for number in range(40)]) == []
    (river,) = clusters([*texts, "A river?"], [f"What is the {number}?" for number in range(40)])
    assert (river.members, river.words) == ((2, 4), ("river",))


WORDS = st.lists(
    st.sampled_from(["soup", "salad", "pizza", "python", "rust", "loop", "list", "river", "lake", "sky"]),
    max_size=5,
)


@given(st.lists(WORDS.map(" ".join), max_size=9), st.randoms(use_true_random=False))
def test_the_order_of_the_texts_is_no_matter(texts: list[str], random: Random) -> None:
    shuffled = random.sample(texts, len(texts))
    one, other = (
        [(sorted(some[place] for place in cluster.members), cluster.words) for cluster in clusters(some)]
        for some in (texts, shuffled)
    )
    assert one == other


@given(st.lists(st.text(alphabet="ab cd", max_size=12), max_size=8))
def test_clusters_are_disjoint_and_the_same_again(texts: list[str]) -> None:
    found = clusters(texts)
    members = [place for cluster in found for place in cluster.members]
    assert len(members) == len(set(members))
    assert all(0 <= place < len(texts) for place in members)
    assert clusters(texts) == found
