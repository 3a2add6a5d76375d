"""The two themes of the workbench."""

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
