"""Text from a file or a model, made safe to keep: no control characters, no direction overrides."""

from __future__ import annotations

import re

# C0 but newline and tab, DEL, C1, the bidirectional controls, lone surrogates.
UNSAFE = re.compile("[\x00-\x08\x0b-\x1f\x7f-\x9f\u061c\u200e\u200f\u202a-\u202e\u2066-\u2069\ud800-\udfff]")


def clean_text(text: str) -> str:
    """`text` with line ends as \\n and without control characters.  Cleaning twice changes nothing."""
    if "\r" in text:
        text = text.replace("\r\n", "\n").replace("\r", "\n")
    return UNSAFE.sub("", text)
