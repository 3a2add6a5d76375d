"""The themes of the workbench."""

from __future__ import annotations

from typing import Any

from textual.theme import Theme


def _theme(
    name: str, *, primary: str, border_blurred: str, cursor: tuple[str, str, str], **colours: Any
) -> Theme:
    """`cursor`: background and text of a list's cursor, and its background without the focus."""
    variables = {
        "border": primary,
        "border-blurred": border_blurred,
        "block-cursor-background": cursor[0],
        "block-cursor-foreground": cursor[1],
        "block-cursor-blurred-background": cursor[2],
    }
    return Theme(name=name, primary=primary, variables=variables, **colours)


DARK = _theme(
    "workbench",
    primary="#7fb4ca",
    border_blurred="#3a404b",
    cursor=("#354650", "#eceef2", "#262a32"),
    secondary="#98bb9c",
    accent="#e0a363",
    warning="#dca561",
    error="#d27e7e",
    success="#98bb9c",
    foreground="#d5d7dc",
    background="#16181d",
    surface="#1d2026",
    panel="#262a32",
    dark=True,
)
LIGHT = _theme(
    "workbench-light",
    primary="#2b6a83",
    border_blurred="#bdb8ac",
    cursor=("#bcd3db", "#16181d", "#e2dfd7"),
    secondary="#3e6b45",
    accent="#9c5a10",
    warning="#8a5a00",
    error="#a5303a",
    success="#3e6b45",
    foreground="#23262b",
    background="#f6f5f1",
    surface="#eeece6",
    panel="#e2dfd7",
    dark=False,
)
CLEAR_DARK = _theme(
    "workbench-colour-blind",
    primary="#56b4e9",
    border_blurred="#4a505c",
    cursor=("#24455a", "#ffffff", "#242830"),
    secondary="#8fd0f5",
    accent="#e69f00",
    warning="#f0e442",
    error="#ff7f2a",
    success="#56b4e9",
    foreground="#e6e8ec",
    background="#101216",
    surface="#181b21",
    panel="#242830",
    dark=True,
)
CLEAR_LIGHT = _theme(
    "workbench-colour-blind-light",
    primary="#005a94",
    border_blurred="#a9a59a",
    cursor=("#bfdcee", "#000000", "#e2e0d8"),
    secondary="#0072b2",
    accent="#a34a00",
    warning="#7a6200",
    error="#b23c00",
    success="#005a94",
    foreground="#16181d",
    background="#fafaf7",
    surface="#f0efea",
    panel="#e2e0d8",
    dark=False,
)
THEMES = {
    "Theme: dark": DARK,
    "Theme: light": LIGHT,
    "Theme: dark, for colour-blind eyes": CLEAR_DARK,
    "Theme: light, for colour-blind eyes": CLEAR_LIGHT,
}
"""By the words under which ctrl+p finds them."""
