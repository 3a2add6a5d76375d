"""The score after every token, as colour: one scale for all responses on the screen, with a legend."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import NamedTuple

from textual.app import RenderResult
from textual.color import Color
from textual.content import Content
from textual.widget import Widget
from textual.widgets import Static

from workbench.widgets.safe import safe_line, safe_text

LOW = Color.parse("#d2743f")
HIGH = Color.parse("#3f8fd2")
LEVELS = 12
"""Shades on either side of the middle; few, so that neighbours join into one run of style."""


class Scale(NamedTuple):
    """Scores from `low` to `high`, in the reward model's own unit."""

    low: float
    high: float

    @classmethod
    def of(cls, *scores: Sequence[float]) -> Scale:
        """The range of all finite numbers given; [0, 0] when there are none."""
        finite = [score for line in scores for score in line if math.isfinite(score)]
        return cls(min(finite), max(finite)) if finite else cls(0.0, 0.0)

    def place(self, score: float) -> float:
        """-1 at the lowest, 0 in the middle, 1 at the highest."""
        if not math.isfinite(score) or self.high <= self.low:
            return 0.0
        return max(-1.0, min(1.0, 2 * (score - self.low) / (self.high - self.low) - 1))


def shade(place: float, ground: Color) -> Color:
    """The colour at `place` (-1 … 1): orange below, the ground in the middle, blue above."""
    level = round(abs(place) * LEVELS) / LEVELS
    return ground.blend(HIGH if place > 0 else LOW, level * 0.85, alpha=1.0)


def painted(text: str, colour: Color) -> tuple[str, str]:
    """A part of `Content.assemble`: `text` on `colour`, readable."""
    ink = "#000000" if colour.brightness > 0.5 else "#ffffff"
    return text, f"{ink} on {colour.hex6}"


def heat_content(
    tokens: Sequence[str], scores: Sequence[float], scale: Scale, ground: Color, marked: int | None = None
) -> Content:
    """Each token on the colour of its score; a line break in a token is shown as ⏎ and breaks.

    The token at place `marked` is drawn in reverse, and as ␣ or ∅ where it would not be seen.
    """
    parts: list[tuple[str, str]] = []
    for place, (token, score) in enumerate(zip(tokens, scores, strict=False)):
        colour = shade(scale.place(score), ground)
        if place == marked:
            text, style = painted(safe_line(token) or ("␣" if token else "∅"), colour)
            parts.append(
                (" " + text if token[:1] == " " and token.strip() else text, f"bold reverse {style}")
            )
            continue
        for index, piece in enumerate(safe_text(token).split("\n")):
            if index:
                parts.extend([painted("⏎", colour), ("\n", "")])
            if piece:
                parts.append(painted(piece.replace("\t", " "), colour))
    return Content.assemble(*parts)


def legend_content(label: str, scale: Scale, ground: Color, cells: int = 16) -> Content:
    """`label`, the lowest number, a bar of all colours, the highest number."""
    places = [2 * cell / (cells - 1) - 1 for cell in range(cells)]
    bar = [painted(" ", shade(place, ground)) for place in places]
    return Content.assemble(f"{label} {scale.low:+.2f} ", *bar, f" {scale.high:+.2f}")


class HeatLine(Static):
    """Tokens coloured by their running score."""

    DEFAULT_CSS = "HeatLine { height: auto; width: 1fr; }"

    def __init__(self, *, id: str | None = None) -> None:
        super().__init__("", id=id, markup=False)
        self._state: tuple[Sequence[str], Sequence[float], Scale] = ((), (), Scale(0.0, 0.0))

    def show(self, tokens: Sequence[str], scores: Sequence[float], scale: Scale) -> None:
        """Draw `tokens` [T] with `scores` [T] on `scale`; empty sequences clear the line."""
        self._state = (tokens, scores, scale)
        self._draw()

    def notify_style_update(self) -> None:
        """As Textual's; a changed theme colours the tokens anew."""
        super().notify_style_update()
        if self.is_mounted:
            self._draw()

    def _draw(self) -> None:
        tokens, scores, scale = self._state
        self.update(heat_content(tokens, scores, scale, self.background_colors[1]))


class HeatLegend(Widget):
    """What the colours mean: the lowest and highest score in sight."""

    DEFAULT_CSS = "HeatLegend { height: 1; width: auto; color: $foreground-muted; }"
    CELLS = 16

    def __init__(self, *, id: str | None = None) -> None:
        super().__init__(id=id)
        self._scale: Scale | None = None
        self._label = ""

    def show(self, scale: Scale | None, label: str = "running score") -> None:
        """Draw `scale`, which is one of `label`; None draws nothing."""
        self._scale, self._label = scale, label
        self.refresh(layout=True)

    def render(self) -> RenderResult:
        if self._scale is None:
            return Content("")
        return legend_content(self._label, self._scale, self.background_colors[1], self.CELLS)
