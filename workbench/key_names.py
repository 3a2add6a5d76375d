"""Names and keys of what can be bound anew in the settings file."""

from __future__ import annotations

from collections.abc import Mapping

RANK_KEYS: Mapping[str, str] = {
    "record": "enter,space",
    "tie": "equals_sign",
    "equal": "t",
    "zoom": "z",
    "whole_prompt": "w",
    "skip": "s",
    "undo": "u",
    "redo": "r",
    "mode": "p",
    "modes": "P",
    "guidelines": "question_mark",
    "differences": "x",
    "layout": "v",
    "together": "y",
    "note": "n",
    "passage": "quotation_mark",
    "flag": "exclamation_mark",
    "surer": "full_stop",
    "less_sure": "comma",
    "session": "E",
    "project": "Q",
    "order": "o",
    "features": "L",
    "agreement": "m",
}
"""Keys of the rank screen by name; several stand behind each other with commas."""
TAKEN = frozenset("abcdefghijk0123456789")
"""Letters and digits that place and rate, and j and k, which scroll: nothing else can have them."""
