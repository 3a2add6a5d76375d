"""Near matches for names that do not exist."""

from __future__ import annotations

import difflib
from collections.abc import Iterable


def near_match(name: str, known: Iterable[str]) -> str | None:
    """The known name that the person probably meant, or None."""
    by_lower = {candidate.lower(): candidate for candidate in known}
    matches = difflib.get_close_matches(name.lower(), by_lower, n=1, cutoff=0.6)
    return by_lower[matches[0]] if matches else None


def did_you_mean(name: str, known: Iterable[str], *, limit: int = 12) -> str:
    """The end of an error sentence: the near match, or else what there is to choose from."""
    options = sorted(set(known))
    match = near_match(name, options)
    if match is not None:
        return f"Did you mean “{match}”?"
    if not options:
        return "There are none yet."
    shown = ", ".join(options[:limit])
    return f"Known: {shown}{', …' if len(options) > limit else ''}."
