"""The themes of the workbench."""

from __future__ import annotations

from textual.theme import Theme

DARK = Theme(
    name="workbench",
    primary="#7fb4ca",
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
    variables={
        "border": "#7fb4ca",
        "border-blurred": "#3a404b",
        "block-cursor-background": "#354650",
        "block-cursor-foreground": "#eceef2",
        "block-cursor-blurred-background": "#262a32",
    },
)
LIGHT = Theme(
    name="workbench-light",
    primary="#2b6a83",
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
    variables={
        "border": "#2b6a83",
        "border-blurred": "#bdb8ac",
        "block-cursor-background": "#bcd3db",
        "block-cursor-foreground": "#16181d",
        "block-cursor-blurred-background": "#e2dfd7",
    },
)
# Blue against orange, yellow in between: hues that people who see no red or no green tell apart (Okabe and
# Ito 2008), lighter and darker for contrast.
CLEAR_DARK = Theme(
    name="workbench-colour-blind",
    primary="#56b4e9",
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
    variables={
        "border": "#56b4e9",
        "border-blurred": "#4a505c",
        "block-cursor-background": "#24455a",
        "block-cursor-foreground": "#ffffff",
        "block-cursor-blurred-background": "#242830",
    },
)
CLEAR_LIGHT = Theme(
    name="workbench-colour-blind-light",
    primary="#005a94",
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
    variables={
        "border": "#005a94",
        "border-blurred": "#a9a59a",
        "block-cursor-background": "#bfdcee",
        "block-cursor-foreground": "#000000",
        "block-cursor-blurred-background": "#e2e0d8",
    },
)
THEMES = {
    "Theme: dark": DARK,
    "Theme: light": LIGHT,
    "Theme: dark, for colour-blind eyes": CLEAR_DARK,
    "Theme: light, for colour-blind eyes": CLEAR_LIGHT,
}
"""By the words under which ctrl+p finds them."""
