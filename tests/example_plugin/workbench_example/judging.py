"""A function of a prompt, two responses and a criterion judges pairs."""

from __future__ import annotations


def briefer(prompt: str, first: str, second: str, criterion: str) -> float:
    """Probability that the first response is better: the share of the characters that the second one has."""
    return len(second) / max(1, len(first) + len(second))
