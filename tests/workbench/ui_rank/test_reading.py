"""What there is to read is in sight, on small terminals too."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from engine.errors import UsageError
from tests.workbench.ui_rank.driving import NARROW, WIDE, opened, shown, until
from tests.workbench.ui_rank.fakes import fake_workspace
from tests.workbench.ui_rank.test_rank_screen import go, to_next
from workbench.screens.rank.cards import Cards, PromptPane
from workbench.screens.rank.layout import LEAST_CARD, LEAST_PROMPT, prompt_rows
from workbench.services.ranking.attention import PAUSE_SECONDS, Attention

TURNS = [
    {"role": "system", "content": "You are a gardener."},
    {"role": "user", "content": "How do I keep basil alive? " * 12},
    {"role": "assistant", "content": "Give it light and water. " * 30},
    {"role": "user", "content": "And which window of my flat is the right one?"},
]


def chat() -> Any:
    workspace = fake_workspace()
    workspace.library.messages = lambda prompt_id: TURNS
    return workspace


async def test_the_last_turn_is_in_sight_and_one_key_shows_them_all() -> None:
    async with opened(chat()) as (app, pilot):
        await go(app, pilot)
        assert "And which window of my flat is the right one?" in shown(app)
        await pilot.press("w")
        await until(pilot, lambda: "Conversation of 4 turns" in shown(app))
        await pilot.press("home")
        await until(pilot, lambda: "You are a gardener." in shown(app))
        await pilot.press("w")
        await until(pilot, lambda: "Conversation of 4 turns" not in shown(app))


async def test_rows_that_the_responses_do_not_need_are_the_prompts() -> None:
    workspace = chat()
    workspace.library.texts = ("Yes.", "No.", "South.", "North.")
    async with opened(workspace) as (app, pilot):
        await go(app, pilot)
        await pilot.pause()
        few = app.screen.query_one(PromptPane).size.height
        assert few >= 8
        assert "Give it light and water." in shown(app)
    workspace = chat()
    workspace.library.texts = ("long text " * 200,) * 4
    async with opened(workspace) as (app, pilot):
        await go(app, pilot)
        await pilot.pause()
        assert app.screen.query_one(PromptPane).outer_size.height == 5


@given(
    room=st.integers(9, 60),
    wanted=st.integers(3, 200),
    cards=st.integers(3, 200),
    most=st.sampled_from([5, 12]),
)
def test_rows_of_the_prompt(room: int, wanted: int, cards: int, most: int) -> None:
    rows = prompt_rows(room, wanted, cards, most)
    assert LEAST_PROMPT <= rows <= max(wanted, LEAST_PROMPT)
    assert room - rows >= min(LEAST_CARD, cards)
    if wanted + cards <= room:
        assert rows == wanted


@pytest.mark.parametrize(("text", "said"), [("", "(empty response)"), (" \n ", "(nothing but white")])
@pytest.mark.parametrize("size", [NARROW, WIDE])
async def test_an_empty_response_says_so(text: str, said: str, size: tuple[int, int]) -> None:
    workspace = fake_workspace()
    workspace.library.texts = (text, "Something.", "Something else.", "More.")
    async with opened(workspace, size) as (app, pilot):
        await go(app, pilot)
        assert said in shown(app)


async def test_code_is_wrapped_in_the_zoom() -> None:
    code = "```python\nvalue = compute(" + ", ".join(f"argument_{n}" for n in range(20)) + ", last_word)\n```"
    workspace = fake_workspace()
    workspace.library.texts = (code,) * 4
    async with opened(workspace) as (app, pilot):
        await go(app, pilot)
        await pilot.press("z")
        await until(
            pilot,
            lambda: "last_word" in shown(app).replace("\n", "").replace(" ", "") or "last_w" in shown(app),
        )
        flat = "".join(line.strip(" │╭╮╰╯─") for line in shown(app).splitlines())
        assert "argument_19" in flat
        assert "last_word" in flat


async def test_layouts_are_remembered_for_each_width() -> None:
    workspace = fake_workspace()
    async with opened(workspace, WIDE) as (app, pilot):
        await go(app, pilot)
        cards = app.screen.query_one(Cards)
        await until(pilot, lambda: app.screen._size_class == "wide")  # type: ignore[attr-defined]
        await pilot.press("v")
        assert (cards.view, cards.columns) == ("columns", 4)
        await pilot.press("v")
        assert (cards.view, cards.columns) == ("rows", 1)
        await pilot.press("v")
        assert cards.view == "one"
        assert cards.has_class("-stack")
        await until(pilot, lambda: workspace.judging.reading.views == {"wide": "one"})
    async with opened(workspace, WIDE) as (app, pilot):
        await go(app, pilot)
        await until(pilot, lambda: app.screen.query_one(Cards).view == "one")
    async with opened(workspace, NARROW) as (app, pilot):
        await go(app, pilot)
        await pilot.pause(0.1)
        assert app.screen.query_one(Cards).view == "auto"


async def test_responses_scroll_alone_or_together() -> None:
    workspace = fake_workspace()
    workspace.library.texts = tuple(f"line {n}\n" * 80 for n in range(4))
    async with opened(workspace, WIDE) as (app, pilot):
        await go(app, pilot)
        cards = app.screen.query_one(Cards).cards
        await pilot.press("j", "j")
        assert [card.top for card in cards] == [2, 0, 0, 0]
        await pilot.press("y", "j")
        assert [card.top for card in cards] == [3, 1, 1, 1]
        await pilot.press("pagedown")
        assert all(card.top > 10 for card in cards)
        await pilot.press("home", "y", "b", "end")
        assert [card.top > 0 for card in cards] == [False, True, False, False], "the open one"


async def test_two_responses_word_by_word() -> None:
    workspace = fake_workspace()
    workspace.library.texts = ("the cat sat", "the dog sat", "the cat ran", "a cow sat")
    async with opened(workspace) as (app, pilot):
        screen = await go(app, pilot)
        assert screen.item is not None
        texts = [candidate.text for candidate in screen.item.responses]
        await pilot.press("x")
        await until(pilot, lambda: "words in common" in shown(app))
        assert "a … d another beside it · esc back" in shown(app)
        assert texts[0] in shown(app)
        assert texts[1] in shown(app)
        await pilot.press("d")
        await until(pilot, lambda: texts[3] in shown(app))
        assert texts[0] not in shown(app)
        marked = [
            segment.text for strip in app.screen._compositor.render_strips() for segment in strip
            if segment.style and segment.style.underline
        ]  # fmt: skip
        assert "".join(marked).strip(), "what differs stands out without colours"


async def test_guidelines_are_one_key_away() -> None:
    workspace = fake_workspace()
    async with opened(workspace) as (app, pilot):
        await go(app, pilot)
        await pilot.press("question_mark")
        await until(pilot, lambda: "Prefer the shorter one." in shown(app))
        await pilot.press("escape")
        workspace.judging.reading.text = UsageError("There are no guidelines.")
        await pilot.press("question_mark")
        await until(pilot, lambda: "There are no guidelines." in shown(app))


async def test_a_note_keeps_every_line_of_a_paste() -> None:
    from textual import events

    workspace = fake_workspace()
    async with opened(workspace) as (app, pilot):
        screen = await go(app, pilot)
        await pilot.press("n")
        app.post_message(events.Paste("first\nsecond\r\nthird"))
        await pilot.pause()
        await pilot.press("ctrl+j", "x", "enter")
        await until(pilot, lambda: screen.draft.note == "first\nsecond\nthird\nx")
        await pilot.press("a", "b", "c", "enter")
        await to_next(pilot, workspace, 1)
        assert workspace.judging.records[0][2]["note"] == "first\nsecond\nthird\nx"


@given(st.lists(st.tuples(st.sampled_from(["touch", "leave", "come_back"]), st.floats(0, 1000)), max_size=20))
def test_pauses_do_not_count(steps: list[tuple[str, float]]) -> None:
    clock = SimpleNamespace(now=0.0)
    attention = Attention(lambda: clock.now)
    attention.begin(3.0)
    expected, away = 3.0, False
    for what, later in steps:
        clock.now += later
        expected += 0.0 if away else min(later, PAUSE_SECONDS)
        getattr(attention, what)()
        away = what == "leave" or (away and what != "come_back")
    assert attention.seconds == pytest.approx(expected)
