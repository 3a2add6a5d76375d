"""Steps of a response: the pieces between separators, by default lines.  Torch-free.

A line of a solution is a step (Lightman et al., "Let's verify step by step", arXiv 2305.20050, §2).  A step
ends behind its separators, so that the steps of a text, joined, are the text.
"""

from __future__ import annotations

from bisect import bisect_left
from collections.abc import Sequence
from itertools import accumulate
from typing import NamedTuple

NEWLINE = "\n"


class StepPlaces(NamedTuple):
    """Where the steps of a response end."""

    ends: list[int]  # in characters
    at: list[int]  # in tokens, from 0


def step_ends(text: str, separator: str = NEWLINE) -> list[int]:
    """Where each step of the text ends, in characters; the last end is the text's.

    A step has something besides separators and white space, so blank lines belong to the step before them,
    those at the beginning to the first.  An empty text has one step.  Raises ValueError for no separator.

    >>> step_ends("a\\n\\nb\\n")
    [3, 5]
    """
    if not separator:
        raise ValueError("The separator of steps must not be empty.")
    ends: list[int] = []
    at, said = 0, False
    for part in text.split(separator):
        if part.strip():
            if said:
                ends.append(at)
            said = True
        at += len(part) + len(separator)
    return [*ends, len(text)]


def steps_of(text: str, separator: str = NEWLINE) -> list[str]:
    """The steps of the text, which joined are the text.

    >>> steps_of("a\\n\\nb\\n")
    ['a\\n\\n', 'b\\n']
    """
    return cut_at(text, step_ends(text, separator))


def cut_at(text: str, ends: Sequence[int]) -> list[str]:
    """The text cut at these ends.

    >>> cut_at("abc", [1, 3])
    ['a', 'bc']
    """
    return [text[start:end] for start, end in zip([0, *ends[:-1]], ends, strict=True)]


def token_ends(pieces: Sequence[str], ends: Sequence[int]) -> list[int]:
    """At which token each step ends: the first that holds its last character; of the last step the last.

    pieces: what each token of the response adds to its text, `Tokeniser.pieces`, the token that ends the turn
    last.  Steps of which a cut text has nothing share its last token.

    >>> token_ends(["a", "\\nb", "c", "<end>"], [2, 4])
    [1, 3]
    """
    reached = list(accumulate(map(len, pieces)))
    last = len(pieces) - 1
    return [*(min(bisect_left(reached, end), last) for end in ends[:-1]), last]


def steps_in(pieces: Sequence[str], separator: str = NEWLINE) -> StepPlaces:
    """Where the steps of a response end that is given by its tokens.

    pieces: as `token_ends` wants them; what the last one, which ends the turn, is called is no text.

    >>> steps_in(["a", "\\nb", "c", "<end>"])
    StepPlaces(ends=[2, 4], at=[1, 3])
    """
    spoken = [*pieces[:-1], ""]
    ends = step_ends("".join(spoken), separator)
    return StepPlaces(ends, token_ends(spoken, ends))
