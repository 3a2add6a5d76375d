"""A function of a prompt and a response serves as a reward and as a rule."""

from __future__ import annotations


def brevity(prompt: str, response: str) -> float:
    """Fewer characters are better."""
    return -float(len(response))
