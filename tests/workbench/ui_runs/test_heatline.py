"""Colours of running scores."""

from __future__ import annotations

import math

from hypothesis import given
from hypothesis import strategies as st
from textual.color import Color

from workbench.screens.score_parts import preference
from workbench.widgets.heatline import HIGH, LOW, Scale, heat_content, shade

GROUND = Color.parse("#16181d")
SCORES = st.lists(st.floats(-50, 50), min_size=2, max_size=30)


@given(SCORES)
def test_places_follow_the_scores(scores: list[float]) -> None:
    scale = Scale.of(scores)
    places = [scale.place(score) for score in scores]
    assert all(-1 <= place <= 1 for place in places)
    for first, second, lower, upper in zip(scores, scores[1:], places, places[1:], strict=False):
        if first < second:
            assert lower <= upper


def test_the_middle_is_the_ground_and_the_ends_lean_to_their_colours() -> None:
    assert shade(0.0, GROUND) == GROUND
    for place, colour in ((-1.0, LOW), (1.0, HIGH)):
        assert abs(shade(place, GROUND).rgb[0] - colour.rgb[0]) < abs(GROUND.rgb[0] - colour.rgb[0])


def test_numbers_that_are_not_finite_are_no_fault() -> None:
    scale = Scale.of([math.nan, math.inf, 1.0])
    assert scale == Scale(1.0, 1.0)
    assert scale.place(math.nan) == 0.0
    assert Scale.of([]) == Scale(0.0, 0.0)


def test_tokens_stand_in_order_and_line_breaks_show() -> None:
    content = heat_content(["One", " two\n", "\x1b]52;x\x07"], [0.1, 0.2, 0.3], Scale(0.1, 0.3), GROUND)
    assert content.plain == "One two⏎\n␛]52;x␇"


@given(st.floats(-700, 700), st.floats(-700, 700))
def test_preference_is_a_probability_and_antisymmetric(first: float, second: float) -> None:
    chance = preference(first, second)
    assert 0 <= chance <= 1
    assert math.isclose(chance + preference(second, first), 1, abs_tol=1e-12)
    assert math.isclose(preference(math.log(3), 0), 0.75)
