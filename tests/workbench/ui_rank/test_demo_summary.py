"""The demo's end in a terminal: a table that stays until it is put away."""

from __future__ import annotations

import pytest

from tests.workbench.ui_rank.driving import NARROW, WIDE, opened, shown, until
from tests.workbench.ui_rank.fakes import fake_workspace
from workbench.demo_watch import show_summary
from workbench.screens.demo_summary import DemoSummaryScreen
from workbench.services.demo import DemoTable


def table() -> DemoTable:
    """Figures of the size that the demo gives."""
    figures = {"max_difference": 0.67, "mean_difference": 0.1, "kendall_tau": 0.92, "samples": 32}
    return DemoTable(
        reward_model="demo-reward",
        policy_before="smollm2",
        policy_after="demo-ppo",
        accuracy=0.847,
        log_loss=0.464,
        onnx={"fp32": {**figures, "max_difference": 1.4e-5, "kendall_tau": 1.0}, "int8": figures},
        score_before=-4.047,
        score_before_error=0.158,
        score_after=-2.654,
        score_after_error=0.105,
        difference=1.393,
        difference_error=0.123,
        kl=5.938,
        kl_bound=50.0,
        tokens_before=29.8,
        tokens_after=9.6,
        win_rate=0.934,
        win_low=0.712,
        win_high=0.988,
        eval_prompts=16,
    )


@pytest.mark.parametrize("size", [NARROW, WIDE])
async def test_the_table_stands_whole_until_esc(size: tuple[int, int]) -> None:
    async with opened(fake_workspace(), size) as (app, pilot):
        show_summary(app, table())
        await until(pilot, lambda: "The demo is done" in shown(app))
        text = shown(app)
        for part in (
            "-4.047 ± 0.158",
            "-2.654 ± 0.105",
            "5.938 (bound 50)",
            "0.934 [0.712, 0.988]",
            "29.8",
            "0.847",
            "ONNX int8: Kendall τ with torch",
            "0.92",
            "F6 compares",
        ):
            assert part in text, part
        await pilot.press("b", "enter")
        assert isinstance(app.screen, DemoSummaryScreen)
        await pilot.press("escape")
        await until(pilot, lambda: "The demo is done" not in shown(app))


async def test_f6_leaves_the_table_for_the_comparison() -> None:
    async with opened(fake_workspace()) as (app, pilot):
        show_summary(app, table())
        await until(pilot, lambda: isinstance(app.screen, DemoSummaryScreen))
        await pilot.press("f6")
        await until(pilot, lambda: app.current_mode == "compare")
