"""Which words two texts share, and which only one of them has."""

from __future__ import annotations

import re
from dataclasses import dataclass
from difflib import SequenceMatcher

WORDS = re.compile(r"\s+|\w+|[^\w\s]")
MOST_WORDS = 1500
"""difflib takes quadratic time: longer texts are compared up to here, the rest counts as different."""


@dataclass(frozen=True, slots=True)
class Piece:
    """Part of a text; `own` where the other text does not have it at this place."""

    text: str
    own: bool


@dataclass(frozen=True, slots=True)
class Difference:
    """Both texts in pieces, and how alike they are: 0 nothing shared … 1 equal."""

    old: tuple[Piece, ...]
    new: tuple[Piece, ...]
    likeness: float


def word_diff(old: str, new: str) -> Difference:
    """Compare word by word; the pieces of each side join to that text again."""
    old_words, new_words = WORDS.findall(old), WORDS.findall(new)
    matcher = SequenceMatcher(None, old_words[:MOST_WORDS], new_words[:MOST_WORDS], autojunk=False)
    old_pieces: list[Piece] = []
    new_pieces: list[Piece] = []
    shared = 0
    for kind, a, b, c, d in matcher.get_opcodes():
        own = kind != "equal"
        shared += 0 if own else sum(not word.isspace() for word in new_words[c:d])
        _add(old_pieces, "".join(old_words[a:b]), own)
        _add(new_pieces, "".join(new_words[c:d]), own)
    _add(old_pieces, "".join(old_words[MOST_WORDS:]), True)
    _add(new_pieces, "".join(new_words[MOST_WORDS:]), True)
    longest = max(sum(not w.isspace() for w in words) for words in (old_words, new_words))
    return Difference(tuple(old_pieces), tuple(new_pieces), shared / longest if longest else 1.0)


def _add(pieces: list[Piece], text: str, own: bool) -> None:
    if not text:
        return
    if pieces and pieces[-1].own == own:
        pieces[-1] = Piece(pieces[-1].text + text, own)
    else:
        pieces.append(Piece(text, own))
