"""The score screen with the live model's head, and with conversations of the store."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

from textual.widgets import TextArea

from tests.workbench.ui_rank.fakes import FakeLive
from tests.workbench.ui_runs.drawn import drawn
from tests.workbench.ui_runs.fakes import FakeScorer, FakeScoring, workspace
from tests.workbench.ui_runs.test_score_screen import open_score
from tests.workbench.ui_runs.waiting import until
from workbench.app import WorkbenchApp
from workbench.screens.score_parts import StoredPair, example
from workbench.services.live import LiveState

CONVERSATION = [
    {"role": "user", "content": "Hello."},
    {"role": "assistant", "content": "Hello, how can I help?"},
    {"role": "user", "content": "Name a herb."},
]


class FittingLive(FakeLive):
    """Every exported model's trunk fits; the score is the number of the fit."""

    def fits(self, model: Any) -> bool:
        return True

    def scorer(self, scoring: Any, name: str, precision: str) -> Any:
        refits = self.state.refits

        def score(messages: Any, responses: list[str]) -> list[Any]:
            one = SimpleNamespace(
                tokens=["a"], token_scores=[float(refits)], cut=False, uncertainty=0.125, by_step=False
            )
            return [SimpleNamespace(**vars(one), score=float(refits)) for _ in responses]

        return SimpleNamespace(score=score, provider="CPU")


class ListeningScoring(FakeScoring):
    """Remembers the messages that it was asked to score."""

    def __init__(self) -> None:
        super().__init__()
        self.heard: list[tuple[Any, list[str]]] = []

    def scorer(self, name: str, precision: str = "int8") -> FakeScorer:
        scorer = super().scorer(name, precision)
        score = scorer.score

        def listening(messages: Any, responses: list[str]) -> list[Any]:
            self.heard.append((messages, responses))
            return score(messages, responses)

        scorer.score = listening  # type: ignore[method-assign]
        return scorer


async def test_scores_follow_the_refits() -> None:
    made = workspace()
    made.live = FittingLive(LiveState(base="smollm2", refits=1, judgements=20))
    app = WorkbenchApp(made)
    async with app.run_test(size=(80, 24)) as pilot:
        await open_score(pilot)
        assert "concise-rm" in drawn(app)
        screen: Any = app.screen
        screen.query_one("#model").action_move(1)
        await until(pilot, lambda: "+1.000 ± 0.125" in drawn(app))
        assert "concise-rm · live model" in drawn(app)
        assert "20 judgements" in drawn(app)
        made.live.state = LiveState(base="smollm2", refits=2, judgements=23)
        await until(pilot, lambda: "+2.000 ± 0.125" in drawn(app))
        assert "23 judgements" in drawn(app)


async def test_the_live_head_is_offered_when_it_has_been_fitted() -> None:
    made = workspace()
    made.live = FakeLive()
    app = WorkbenchApp(made)
    async with app.run_test(size=(80, 24)) as pilot:
        await open_score(pilot)
        screen: Any = app.screen
        assert screen.query_one("#model").names == ["concise-rm"]
        made.live.fits = lambda model: True
        made.live.state = LiveState(base="smollm2", refits=1, judgements=20)
        offered = ["concise-rm", "concise-rm · live model"]
        await until(pilot, lambda: screen.query_one("#model").names == offered)


async def test_a_stored_conversation_is_scored_with_all_its_turns() -> None:
    scoring = ListeningScoring()
    made = workspace(scoring=scoring)
    made.library.messages = lambda prompt_id: CONVERSATION
    app = WorkbenchApp(made)
    async with app.run_test(size=(80, 24)) as pilot:
        await open_score(pilot)
        assert scoring.heard[-1][0] == CONVERSATION
        assert "after 2 earlier turns" in drawn(app)
        prompt = app.screen.query_one("#prompt", TextArea)
        assert prompt.text == "Name a herb."
        prompt.text = "Name two."
        await until(pilot, lambda: scoring.heard[-1][0][-1]["content"] == "Name two.")
        assert scoring.heard[-1][0][:2] == CONVERSATION[:2]
        prompt.text = ""
        await until(pilot, lambda: "after 2 earlier turns" not in drawn(app))
        prompt.text = "Something else."
        await until(pilot, lambda: scoring.heard[-1][0] == [{"role": "user", "content": "Something else."}])


def test_an_untouched_text_is_scored_as_stored() -> None:
    stored = {"prompt": "a\r\nb", "text-a": "x\x07", "text-b": "y"}
    shown = {"prompt": "a\nb", "text-a": "x", "text-b": "y"}
    kept = StoredPair(texts=stored, shown=shown)
    assert kept.read(shown) == ((("user", "a\r\nb"),), ("x\x07", "y"))
    assert kept.read({**shown, "text-a": "x!"}) == ((("user", "a\r\nb"),), ("x!", "y"))


def test_the_example_of_an_empty_store() -> None:
    assert example(workspace(), 0) is not None
    empty = workspace()
    empty.library.count = lambda: 0
    assert example(empty, 0) is None
