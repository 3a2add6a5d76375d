"""Charts of an experiment as SVG: a forest of intervals, and figures against each other."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise
from xml.etree import ElementTree as Tree

from storage.interchange.clean import clean_text
from workbench.services.statistics import MeanInterval

WIDTH, ROW, MARGIN, NAMES = 720, 26, 16, 230
INK, FAINT, LINE = "#24292f", "#6e7781", "#d0d7de"
COLOURS = ("#0969da", "#cf222e", "#1a7f37", "#8250df", "#bf8700", "#1b7c83", "#953800", "#57606a")
Row = tuple[str, MeanInterval]


@dataclass(frozen=True)
class Line:
    """A curve of a picture: (x, y with its interval), x ascending."""

    name: str
    points: tuple[tuple[float, MeanInterval], ...]
    colour: int
    """Its place among `COLOURS`."""
    dash: str = ""
    """As SVG writes a dashed line; empty for none."""
    strong: bool = True
    """With points and intervals, not a thin line alone."""


def forest(title: str, rows: Sequence[Row], *, nothing: float = 0.0) -> str:
    """Each row's mean with its interval, under a line at `nothing`: where there is no difference."""
    height = 2 * MARGIN + ROW * (len(rows) + 2)
    picture = _picture(title, height)
    left, right = NAMES, WIDTH - 110
    scale, ticks = _axis([nothing, *_ends([value for _, value in rows])], left, right)
    bottom = MARGIN + ROW * (len(rows) + 1)
    _ticks_below(picture, scale, ticks, MARGIN + ROW, bottom)
    _line(picture, scale(nothing), MARGIN + ROW, scale(nothing), bottom, FAINT)
    for number, (name, value) in enumerate(rows):
        y = MARGIN + ROW * (number + 1.5)
        colour = COLOURS[number % len(COLOURS)]
        _text(picture, NAMES - 12, y + 4, name, anchor="end")
        if value.low is not None and value.high is not None:
            _line(picture, scale(value.low), y, scale(value.high), y, colour, 2)
        _dot(picture, scale(value.mean), y, colour)
        _text(picture, WIDTH - 100, y + 4, f"{value.mean:+.2f}", colour=colour)
    return Tree.tostring(picture, encoding="unicode")


def scatter(
    title: str, x_title: str, y_title: str, rows: Sequence[tuple[str, MeanInterval, MeanInterval]]
) -> str:
    """Each row's (x, y) with both intervals; the legend beside it."""
    height, left, right, top, bottom = 400, 70, WIDTH - 220, MARGIN + ROW, 340
    picture = _picture(title, height)
    across, x_ticks = _axis([0.0, *_ends([x for _, x, _ in rows])], left, right)
    up, y_ticks = _axis([0.0, *_ends([y for *_, y in rows])], bottom, top)
    _ticks_below(picture, across, x_ticks, top, bottom)
    for tick in y_ticks:
        _line(picture, left, up(tick), right, up(tick), LINE)
        _text(picture, left - 8, up(tick) + 4, f"{tick:g}", anchor="end", colour=FAINT)
    _text(picture, (left + right) / 2, bottom + 40, x_title, anchor="middle", colour=FAINT)
    _text(picture, left, top - 8, y_title, colour=FAINT)
    for number, (name, x, y) in enumerate(rows):
        colour = COLOURS[number % len(COLOURS)]
        if x.low is not None and x.high is not None:
            _line(picture, across(x.low), up(y.mean), across(x.high), up(y.mean), colour)
        if y.low is not None and y.high is not None:
            _line(picture, across(x.mean), up(y.low), across(x.mean), up(y.high), colour)
        _dot(picture, across(x.mean), up(y.mean), colour)
        if (place := top + 8 + 20 * number) < bottom + 50:
            _dot(picture, right + 24, place, colour)
            _text(picture, right + 34, place + 4, name)
    return Tree.tostring(picture, encoding="unicode")


class _Axis:
    """Where a value lies between two ends of the picture."""

    def __init__(self, low: float, high: float, begin: float, end: float) -> None:
        self.low, self.span, self.begin, self.length = low, high - low, begin, end - begin

    def __call__(self, value: float) -> float:
        return round(self.begin + (value - self.low) / self.span * self.length, 2)


def _axis(values: Sequence[float], begin: float, end: float) -> tuple[_Axis, list[float]]:
    """An axis that holds all values, and round numbers along it."""
    low, high = min(values), max(values)
    if high - low < 1e-9:
        low, high = low - 0.5, high + 0.5
    low, high = low - 0.05 * (high - low), high + 0.05 * (high - low)
    raw = (high - low) / 5
    size = 10 ** math.floor(math.log10(raw))
    step = next(size * some for some in (1, 2, 5, 10) if size * some >= raw)
    ticks = [round(k * step, 10) for k in range(math.ceil(low / step), math.floor(high / step) + 1)]
    return _Axis(low, high, begin, end), ticks


def _ends(values: Sequence[MeanInterval]) -> list[float]:
    ends = [end for value in values for end in (value.low, value.mean, value.high) if end is not None]
    return [end for end in ends if math.isfinite(end)]


def _picture(title: str, height: float) -> Tree.Element:
    picture = Tree.Element(
        "svg",
        {
            "xmlns": "http://www.w3.org/2000/svg",
            "viewBox": f"0 0 {WIDTH} {height:g}",
            "font-family": "sans-serif",
            "font-size": "13",
            "role": "img",
        },
    )
    Tree.SubElement(picture, "title").text = clean_text(title)
    Tree.SubElement(picture, "rect", {"width": "100%", "height": "100%", "fill": "#ffffff"})
    _text(picture, MARGIN, MARGIN + 8, title, weight="bold")
    return picture


def _ticks_below(picture: Tree.Element, scale: _Axis, ticks: Sequence[float], top: float, low: float) -> None:
    for tick in ticks:
        _line(picture, scale(tick), top, scale(tick), low, LINE)
        _text(picture, scale(tick), low + 18, f"{tick:g}", anchor="middle", colour=FAINT)


def _line(
    picture: Tree.Element,
    x: float,
    y: float,
    to_x: float,
    to_y: float,
    colour: str,
    width: int = 1,
    dash: str = "",
) -> None:
    ends = {"x1": f"{x:g}", "y1": f"{y:g}", "x2": f"{to_x:g}", "y2": f"{to_y:g}"}
    dashed = {"stroke-dasharray": dash} if dash else {}
    Tree.SubElement(picture, "line", {**ends, "stroke": colour, "stroke-width": str(width), **dashed})


def _dot(picture: Tree.Element, x: float, y: float, colour: str, radius: float = 4) -> None:
    Tree.SubElement(picture, "circle", {"cx": f"{x:g}", "cy": f"{y:g}", "r": f"{radius:g}", "fill": colour})


def _text(
    picture: Tree.Element,
    x: float,
    y: float,
    text: str,
    *,
    anchor: str = "start",
    colour: str = INK,
    weight: str = "normal",
) -> None:
    place = {"x": f"{x:g}", "y": f"{y:g}", "text-anchor": anchor, "fill": colour, "font-weight": weight}
    Tree.SubElement(picture, "text", place).text = clean_text(text)


def curves_picture(
    title: str, panels: Sequence[tuple[str, Sequence[Line]]], x_title: str, y_title: str
) -> str:
    """Panels beside each other on the same axes: lines with their points and intervals, one legend."""
    height, top, bottom = 420, MARGIN + 2 * ROW, 360
    picture = _picture(title, height)
    lines = [line for _, some in panels for line in some]
    ends = [end for line in lines for _, value in line.points for end in _ends([value])]
    across = max(x for line in lines for x, _ in line.points)
    wide, legend = WIDTH - 190, WIDTH - 165
    width = (wide - 50) / len(panels)
    for number, (name, some) in enumerate(panels):
        left = 50 + width * number
        along, x_ticks = _axis([0.0, across], left, left + width - 24)
        up, y_ticks = _axis([0.0, *ends], bottom, top)
        _ticks_below(picture, along, x_ticks, top, bottom)
        for tick in y_ticks:
            _line(picture, left, up(tick), left + width - 24, up(tick), LINE)
            if not number:
                _text(picture, left - 8, up(tick) + 4, f"{tick:g}", anchor="end", colour=FAINT)
        _text(picture, left, top - 8, name, colour=FAINT)
        for line in some:
            _draw(picture, line, along, up)
    _text(picture, 50 + (wide - 50) / 2, bottom + 40, x_title, anchor="middle", colour=FAINT)
    _text(picture, MARGIN, bottom + 40, y_title, colour=FAINT)
    known = list(dict.fromkeys((line.name, line.colour, line.dash) for line in lines))
    for place, (name, colour, dash) in enumerate(known):
        y = top + 18 * place
        _line(picture, legend, y, legend + 24, y, COLOURS[colour % len(COLOURS)], 2, dash)
        _text(picture, legend + 32, y + 4, name)
    return Tree.tostring(picture, encoding="unicode")


def _draw(picture: Tree.Element, line: Line, along: _Axis, up: _Axis) -> None:
    colour = COLOURS[line.colour % len(COLOURS)]
    for (x, value), (to_x, to) in pairwise(line.points):
        _line(
            picture,
            along(x),
            up(value.mean),
            along(to_x),
            up(to.mean),
            colour,
            2 if line.strong else 1,
            line.dash,
        )
    if not line.strong:
        return
    for x, value in line.points:
        if value.low is not None and value.high is not None:
            _line(picture, along(x), up(value.low), along(x), up(value.high), colour)
        _dot(picture, along(x), up(value.mean), colour, 2.5)
