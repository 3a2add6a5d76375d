"""Text of a model, a file or a person, made safe for a terminal.

Nothing a model wrote may be markup and nothing may reach the terminal as a control: an `ESC ]52` in a
response would otherwise set the user's clipboard.  Every widget that shows such text passes it through here.
"""

from __future__ import annotations

import re

from textual.content import Content

from engine.wording import counted

# C0 but tab and newline, DEL, C1, line and paragraph separators, bidi marks, embeddings, overrides,
# isolates, invisible format characters, the byte-order mark, tags, lone surrogates, noncharacters.
_DANGEROUS = re.compile(
    "[\x00-\x08\x0b-\x1f\x7f-\x9f\u00ad\u061c\u180e\u200b\u200e\u200f\u2028-\u202e\u2060-\u206f\ufeff"
    "\ufff9-\ufffb\ufdd0-\ufdef\ufffe\uffff\U000e0000-\U000e007f\ud800-\udfff]"
)
_SPACES = re.compile(r"\s+")


def _harmless(match: re.Match[str]) -> str:
    """Controls become visible pictures (␛), what is no character becomes �, invisible format goes away."""
    code = ord(match[0])
    if code < 0x20:
        return chr(0x2400 + code)
    if code == 0x7F:
        return "␡"
    if (
        0x80 <= code <= 0x9F
        or 0xD800 <= code <= 0xDFFF
        or 0xFDD0 <= code <= 0xFDEF
        or code in (0xFFFE, 0xFFFF)
    ):
        return "\ufffd"
    return "\n" if code in (0x2028, 0x2029) else ""


def safe_text(text: str) -> str:
    """`text` with nothing in it that a terminal obeys; newlines and tabs stay, `\\r` becomes a newline.

    Length may change; the result always encodes as UTF-8.
    """
    if text.isascii() and text.isprintable():
        return text
    text = text.replace("\r\n", "\n").replace("\r", "\n")
    return _DANGEROUS.sub(_harmless, text)


def safe_line(text: str, limit: int = 400) -> str:
    """`text` on one line, runs of white space as one blank, at most `limit` characters."""
    return safe_text(_SPACES.sub(" ", text[: limit * 2])).strip()[:limit]


def cut(text: str, cells: int) -> str:
    """`text` on one line of so many characters at most; where it is longer, “…” says so."""
    line = safe_line(text)
    return line if len(line) <= cells else line[: cells - 1] + "…"


def safe_content(text: str, limit: int | None = None) -> Content:
    """`text` as `Content`, never read as markup; cut after `limit` characters with a line that says so."""
    if limit is None or len(text) <= limit:
        return Content(safe_text(text))
    note = f"\n… {counted(len(text) - limit, 'more character')}"
    return Content.assemble(Content(safe_text(text[:limit])), (note, "$foreground-muted"))
