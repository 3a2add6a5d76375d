"""What two orders of a pair say together."""

from __future__ import annotations

import math

from hypothesis import given
from hypothesis import strategies as st

from engine.judging.question import (
    JudgeAnswer,
    PairQuestion,
    mean_share,
    of_difference,
    of_probabilities,
    row_of,
    settle,
)
from engine.judging.tally import JudgeTally

probability = st.floats(0, 1)


@given(probability, probability, probability)
def test_a_distribution_is_turned_when_the_places_are(first: float, second: float, tie: float) -> None:
    one, other = of_probabilities(first, second, tie), of_probabilities(second, first, tie)
    assert one.said == -other.said
    assert one.share is not None
    assert other.share is not None
    assert 0 <= one.share <= 1
    assert math.isclose(one.share + other.share, 1, abs_tol=1e-9)


def test_a_distribution_by_hand() -> None:
    answer = of_probabilities(0.4, 0.1, 0.2)
    assert (answer.said, answer.mass) == (1, 0.4 + 0.1 + 0.2)
    assert answer.share is not None
    assert math.isclose(answer.share, 0.5 / 0.7)
    assert of_probabilities(0.2, 0.1, 0.2).said == 0
    assert of_probabilities(0.0, 0.0).share == 0.5


@given(st.floats(-800, 800))
def test_a_difference_of_scores_is_a_logistic(difference: float) -> None:
    answer = of_difference(difference)
    assert answer.share is not None
    assert math.isclose(answer.share, 0.5 * (1 + math.tanh(difference / 2)), abs_tol=1e-12)
    assert answer.said == (difference > 0) - (difference < 0)


def test_orders_that_agree_count_and_others_tie() -> None:
    first, second, tie = JudgeAnswer(1, 0.9), JudgeAnswer(-1, 0.2), JudgeAnswer(0, 0.5)
    assert settle(first, second, "tie") == 1  # the same response, first in one order and second in the other
    assert settle(second, first, "tie") == -1
    assert settle(tie, tie, "mean") == 0
    assert settle(first, first, "tie") == 0  # whichever stands first is preferred
    assert settle(JudgeAnswer(1, 0.9), JudgeAnswer(1, 0.6), "mean") == 1
    assert settle(JudgeAnswer(1, 0.6), JudgeAnswer(1, 0.9), "mean") == -1
    assert settle(JudgeAnswer(1), JudgeAnswer(1), "mean") == 0  # words alone have no mean
    assert math.isclose(mean_share(JudgeAnswer(1, 0.9), JudgeAnswer(1, 0.6)) or 0, 0.65)


@given(st.lists(st.tuples(st.sampled_from((-1, 0, 1)), st.sampled_from((-1, 0, 1))), min_size=1))
def test_the_tally_is_what_counting_gives(said: list[tuple[int, int]]) -> None:
    tally = JudgeTally()
    for one, other in said:
        straight, turned = JudgeAnswer(one, cost=0.5), JudgeAnswer(other, cached=True)  # type: ignore[arg-type]
        tally.add(straight, turned, settle(straight, turned, "tie"))
    figures = tally.figures()
    assert figures["judge/orders_disagree"] == sum(a != -b for a, b in said) / len(said)
    flat = [value for pair in said for value in pair if value]
    assert figures["judge/first"] == (flat.count(1) / len(flat) if flat else None)
    assert figures["judge/cost"] == 0.5 * len(said)
    assert tally.summary(9)["from_cache"] == len(said)


def test_what_is_kept_of_an_answer_is_short_and_harmless() -> None:
    question = PairQuestion("p", [], "overall", ("a", "b"), ("x", "y"), turned=True)
    row = row_of(question, JudgeAnswer(1, text="\x1b]52;c;x\x07 A\n" + "é" * 10_000), "ai:x", -1)
    assert row["first_id"] == "b"
    assert isinstance(row["answer"], str)
    assert row["answer"].isprintable()
    assert len(row["answer"]) == 500
