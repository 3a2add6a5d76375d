"""Comments on passages: marked by keys, kept with the judgement, told by the store, back after undo."""

from __future__ import annotations

from dataclasses import replace

from hypothesis import given
from hypothesis import strategies as st

from storage.records import Span
from tests.workbench.ui_rank.driving import opened, shown, until
from tests.workbench.ui_rank.fakes import fake_workspace
from tests.workbench.ui_rank.test_rank_screen import go, to_next
from workbench.screens.rank.cards import Cards
from workbench.screens.rank.passages import PassageScreen, stored_index
from workbench.services.ranking.draft import Draft
from workbench.services.workspace import Workspace
from workbench.settings import Settings
from workbench.widgets.safe import safe_text


async def test_a_passage_is_marked_and_written_on_by_keys() -> None:
    workspace = fake_workspace()
    async with opened(workspace) as (app, pilot):
        screen = await go(app, pilot)
        card = screen.query_one(Cards).opened
        assert card is not None
        await pilot.press("quotation_mark")
        await until(pilot, lambda: isinstance(app.screen, PassageScreen))
        assert "Nothing is written on it yet." in shown(app)
        await pilot.press("right", "space", *["right"] * 4, "enter", *"odd", "enter")
        await until(pilot, lambda: "odd" in shown(app))
        await pilot.press("escape")
        await until(pilot, lambda: app.screen is screen)
        assert screen.draft.spans == (Span(card.response_id, 1, 5, "odd"),)
        assert "1 passage" in shown(app)
        await pilot.press("a", "b", "c", "enter")
        await to_next(pilot, workspace, 1)
        assert workspace.judging.records[0][2]["draft"].spans[0].comment == "odd"


async def test_a_comment_is_changed_removed_and_left() -> None:
    workspace = fake_workspace()
    async with opened(workspace) as (app, pilot):
        screen = await go(app, pilot)
        await pilot.press("quotation_mark")
        await until(pilot, lambda: isinstance(app.screen, PassageScreen))
        await pilot.press("space", *["right"] * 3, "enter", *"no", "escape")
        await until(pilot, lambda: not app.screen.query_one("#passage-comment").display)
        await pilot.press("home", "space", *["right"] * 3, "enter", *"yes", "enter")
        await until(pilot, lambda: "yes" in shown(app))
        await pilot.press("d", "escape")
        await until(pilot, lambda: app.screen is screen)
        assert screen.draft.spans == ()
        await pilot.press("quotation_mark", "enter", "x", "enter", "escape")  # no mark: the word
        await until(pilot, lambda: bool(screen.draft.spans) and app.screen is screen)
        card = screen.query_one(Cards).opened
        assert card is not None
        assert screen.draft.spans == (Span(card.response_id, 0, len(card.text.split()[0]), "x"),)


def test_the_store_tells_the_passage_and_undo_gives_it_back() -> None:
    with Workspace.open(Settings(db=":memory:", annotator="ada")) as workspace:
        from storage import prompts, responses

        prompt = prompts.add(workspace.store, [{"role": "user", "content": "Why?"}])
        for text in ("Because of the air.", "Nobody knows."):
            responses.add(workspace.store, prompt, "a", text)
        judging = workspace.judging
        item = judging.next_item("ada")
        assert item is not None
        first = next(c for c in item.responses if c.text.startswith("Because"))
        draft = replace(item.draft, spans=(Span(first.response_id, 8, 18, "vague"),))
        assert draft.begun
        assert Draft.read("rank", draft.content(), draft.responses) == replace(draft, criteria=())
        judging.submit(item, "ada", draft.place_next(first.response_id), seconds=1)
        told = "SELECT annotator, passage, comment FROM span_comments"
        assert workspace.store.rows(told) == [("ada", "of the air", "vague")]
        again = judging.undo("ada")
        assert again is not None
        assert again.draft.spans == draft.spans
        assert workspace.store.rows(told) == []
        assert judging.redo("ada") is not None
        assert workspace.store.rows(told) == [("ada", "of the air", "vague")]
        assert judging.undo("ada") is not None
        judging.skip(again, "ada", "why", seconds=1, spans=draft.spans)
        assert workspace.store.rows(told) == [("ada", "of the air", "vague")]


@given(st.text(alphabet="ab\r\n\t\x1b\u202ec", max_size=12), st.integers(0, 12))
def test_a_place_in_what_is_shown_is_one_in_what_is_stored(text: str, shown_: int) -> None:
    """What stands before it there is shown as what stands before it on the screen."""
    visible = safe_text(text)
    index = stored_index(text, min(shown_, len(visible)))
    assert len(safe_text(text[:index])) == min(shown_, len(visible))
