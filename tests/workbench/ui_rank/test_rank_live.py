"""The live model's line on the rank screen, the order of the queue, and that nothing is told too early."""

from __future__ import annotations

from typing import Any

import pytest
from textual.pilot import Pilot

from tests.workbench.ui_rank.driving import NARROW, WIDE, opened, shown, until
from tests.workbench.ui_rank.fakes import FakeLive, fake_workspace
from workbench.app import WorkbenchApp
from workbench.screens.rank.lines import agreement_line, live_content, sparkline
from workbench.screens.rank.screen import RankScreen
from workbench.services.live import Agreement, LiveState

LEARNED = LiveState(
    base="smollm2",
    standing=34,
    refits=5,
    judgements=34,
    pairs=120,
    accuracy=0.71,
    accuracy_error=0.04,
    log_loss=0.56,
    strength=0.25,
    seconds=0.41,
    history=(0.69, 0.64, 0.6, 0.57, 0.56),
)


def workspace(state: LiveState = LEARNED) -> Any:
    made = fake_workspace()
    made.live = FakeLive(state)
    return made


async def go(app: WorkbenchApp, pilot: Pilot[None]) -> RankScreen:
    await pilot.press("f3")
    await until(pilot, lambda: isinstance(app.screen, RankScreen) and app.screen.queue_order != "")
    assert isinstance(app.screen, RankScreen)
    await until(pilot, lambda: app.screen.item is not None)  # type: ignore[attr-defined]
    return app.screen


@pytest.mark.parametrize(
    ("state", "line"),
    [
        (LiveState(), "live L starts a reward model that learns as you rank"),
        (LiveState(computing="reward-1a2b3c 62%"), "live features are being computed: reward-1a2b3c 62%"),
        (LiveState(base="smollm2", standing=12), "live from the 20th judgement, 8 to go"),
        (LiveState(base="smollm2", standing=20, working=True), "live first fit …"),
        (LEARNED, "live 34 judgements · held-out 0.71 ± 0.04 · log-loss 0.56 █▅▃▂▁ · refit 0.4 s"),
    ],
)
def test_what_the_line_says(state: LiveState, line: str) -> None:
    assert live_content(state, 200).plain == line


def test_the_line_leaves_out_what_does_not_fit() -> None:
    assert live_content(LEARNED, 60).plain == "live 34 judgements · held-out 0.71 · log-loss 0.56 █▅▃▂▁"


def test_a_fit_no_better_than_a_coin_says_so() -> None:
    assert "no better than a coin" in live_content(LiveState(refits=1, log_loss=0.70), 200).plain


def test_a_problem_is_told_without_control_characters() -> None:
    line = live_content(LiveState(base="x", problem="The file \x1b]52;c;x\x07 is [bold]broken."), 200).plain
    assert "\x1b" not in line
    assert "[bold]broken" in line


def test_sparkline() -> None:
    assert sparkline([]) == ""
    assert sparkline([0.5, 0.5]) == "▁▁"
    assert sparkline([0.0, 1.0]) == "▁█"
    assert len(sparkline(list(range(50)))) == 8


def test_agreement_in_letters() -> None:
    line = agreement_line(Agreement(1, 1, ("r2", "r1")), {"r1": "A", "r2": "B"})
    assert line.plain == "model: B > A  agrees on 1 of 1 pair"


@pytest.mark.parametrize("size", [NARROW, WIDE])
async def test_the_line_stands_below_and_follows_the_state(size: tuple[int, int]) -> None:
    made = workspace()
    async with opened(made, size) as (app, pilot):
        await go(app, pilot)
        await until(pilot, lambda: "live 34 judgements · held-out 0.71" in shown(app))
        assert "o oldest first" in shown(app)
        made.live.state = LiveState(base="smollm2", standing=3)
        await until(pilot, lambda: "from the 20th judgement, 17 to go" in shown(app))
        assert made.live.noticed > 0


async def test_the_models_ranking_comes_only_after_enter_and_goes_with_the_next_key() -> None:
    made = workspace()
    async with opened(made) as (app, pilot):
        await go(app, pilot)
        for key in ("b", "a", "c", "d"):
            await pilot.press(key)
            assert "agrees on" not in shown(app)
        await pilot.press("enter")
        await until(pilot, lambda: "agrees on 4 of 6 pairs" in shown(app))
        await until(pilot, lambda: app.screen.item is not None)  # type: ignore[attr-defined]
        await pilot.press("a")
        assert "agrees on" not in shown(app)


async def test_the_models_ranking_can_be_switched_off() -> None:
    made = workspace()
    async with opened(made) as (app, pilot):
        await go(app, pilot)
        await pilot.press("m")
        await until(pilot, lambda: not made.judging.queue.shows_agreement)
        await pilot.press("a", "b", "c", "d", "enter")
        await until(pilot, lambda: len(made.judging.records) == 1)
        await until(pilot, lambda: app.screen.item is not None)  # type: ignore[attr-defined]
        assert "agrees on" not in shown(app)


async def test_o_goes_through_the_orders_and_l_starts_the_features() -> None:
    made = workspace(LiveState())
    async with opened(made) as (app, pilot):
        await go(app, pilot)
        for name, text in (("random", "o random"), ("least_agreed", "o least agreed")):
            await pilot.press("o")
            await until(pilot, lambda text=text: text in shown(app))  # type: ignore[misc]
            assert made.judging.queue.order == name
        assert not made.live.asked
        await pilot.press("L")
        await until(pilot, lambda: made.live.asked == [made.jobs])
        await until(pilot, lambda: "computes features" in shown(app))
