"""Colours that can be told apart and read, by all eyes, and screens that need none."""

from __future__ import annotations

import itertools
import math

import pytest
from textual.color import Color
from textual.theme import Theme

from tests.workbench.ui_rank.driving import opened, shown, until
from tests.workbench.ui_rank.fakes import fake_workspace
from tests.workbench.ui_rank.test_rank_screen import go
from workbench.themes import CLEAR_DARK, CLEAR_LIGHT, THEMES

# Machado, Oliveira and Fernandes 2009, table 1, severity 1.0, on linear RGB.
EYES = {
    "protanopia": (
        (0.152286, 1.052583, -0.204868), (0.114503, 0.786281, 0.099216), (-0.003882, -0.048116, 1.051998),
    ),
    "deuteranopia": (
        (0.367322, 0.860646, -0.227968), (0.280085, 0.672501, 0.047413), (-0.011820, 0.042940, 0.968881),
    ),
    "all": ((1.0, 0.0, 0.0), (0.0, 1.0, 0.0), (0.0, 0.0, 1.0)),
}  # fmt: skip
MEANINGS = (("secondary", "accent"), ("success", "error"), ("success", "warning"), ("primary", "error"))
"""Colours that are each other's opposites: placed or not, well or wrong."""


def linear(colour: str) -> list[float]:
    channels = Color.parse(colour).normalized
    return [c / 12.92 if c <= 0.04045 else ((c + 0.055) / 1.055) ** 2.4 for c in channels]


def seen(colour: str, eyes: str) -> tuple[float, float, float]:
    """CIE L*a*b* (D65) of what such eyes see."""
    rgb = [
        min(1.0, max(0.0, sum(m * c for m, c in zip(row, linear(colour), strict=True)))) for row in EYES[eyes]
    ]
    rows = ((0.4124, 0.3576, 0.1805), (0.2126, 0.7152, 0.0722), (0.0193, 0.1192, 0.9505))
    xyz = [sum(m * c for m, c in zip(row, rgb, strict=True)) for row in rows]
    x, y, z = (
        v ** (1 / 3) if v > 0.008856 else 7.787 * v + 16 / 116
        for v in (xyz[0] / 0.9505, xyz[1], xyz[2] / 1.089)
    )
    return 116 * y - 16, 500 * (x - y), 200 * (y - z)


def contrast(one: str, other: str) -> float:
    """Of WCAG 2: 1 … 21."""
    low, high = sorted(
        sum(w * c for w, c in zip((0.2126, 0.7152, 0.0722), linear(each), strict=True))
        for each in (one, other)
    )
    return (high + 0.05) / (low + 0.05)


@pytest.mark.parametrize("eyes", EYES)
@pytest.mark.parametrize("theme", [CLEAR_DARK, CLEAR_LIGHT], ids=lambda theme: theme.name)
def test_opposites_can_be_told_apart(theme: Theme, eyes: str) -> None:
    for one, other in MEANINGS:
        distance = math.dist(seen(getattr(theme, one), eyes), seen(getattr(theme, other), eyes))
        assert distance > 35, f"{one} and {other}: {distance:.0f}"


@pytest.mark.parametrize("theme", THEMES.values(), ids=lambda theme: theme.name)
def test_every_colour_can_be_read_on_its_background(theme: Theme) -> None:
    for name, ground in itertools.product(
        ("primary", "secondary", "accent", "warning", "error", "foreground"), ("background", "surface")
    ):
        assert contrast(getattr(theme, name), getattr(theme, ground)) >= 4.5, (name, ground)


async def test_without_colours_everything_is_still_said(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("NO_COLOR", "1")
    async with opened(fake_workspace(), (160, 48)) as (app, pilot):
        await go(app, pilot)
        await pilot.press("b")
        await until(pilot, lambda: "rank 1" in shown(app))
        assert app.no_color
        assert "┏━ B ━" in shown(app), "the open response has a border of its own"
        for strip in app.screen._compositor.render_strips():
            for segment in app_filtered(app, strip):
                for colour in (segment.style.color, segment.style.bgcolor) if segment.style else ():
                    if colour is not None and colour.triplet is not None:
                        assert len(set(colour.triplet)) == 1, "only greys"


def app_filtered(app, strip):  # type: ignore[no-untyped-def]
    """A line as the terminal gets it."""
    for each in app._filters:
        strip = strip.apply_filter(each, app.screen.background_colors[1])
    return strip
