"""Rule annotators: plain functions `(prompt text, response text) -> float`, higher is better.

They judge in bulk for experiments without people, and are recorded as annotators of kind `rule` under the
name `rule:<name>`.  Equal values are ties.  To add one, write the function and list it in `RULES`, or give it
the entry point `workbench.rules` in a package of your own.
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Callable
from typing import Any

from engine.errors import UsageError
from engine.protocol.plugins import Plugged

Rule = Callable[[str, str], float]

WORD = re.compile(r"[^\W_]+(?:['’][^\W_]+)*")
SENTENCE_END = re.compile(r"[.!?…。！？][\"'”’)\]]*\s*$")
FUNCTION_WORDS = frozenset(
    WORD.findall(
        """
    a about after all also am an and any are as at be because been but by can could did do does down
    each few for from give had has have he her here him his how i if in into is it its just let make may
    me might more most must my no not of off on one only or our out over please s she should so some
    such t tell than that the their them then there these they this those through to too two under up us
    use very was we were what when where which while who why will with without would write you your
"""
    )
)
COURTESIES = re.compile(
    r"\b(please|thank you|thanks|sorry|welcome|happy to|glad to|of course|kindly|appreciate|hope this helps"
    r"|feel free|let me know)\b",
    re.IGNORECASE,
)
RUDENESS = re.compile(r"\b(stupid|idiot|dumb|shut up|hate|damn|hell|ugly|moron|nonsense)\b", re.IGNORECASE)


def words(text: str) -> list[str]:
    """Lower-case words of a text, in order."""
    return [match.group().lower() for match in WORD.finditer(text)]


def concise(prompt: str, response: str) -> float:
    """Fewer words are better; a response without a word is worst."""
    count = len(words(response))
    return -float(count) if count else float("-inf")


def thorough(prompt: str, response: str) -> float:
    """More different words are better: the opposite wish of `concise`, harder to please by repetition."""
    return float(len(set(words(response))))


def on_topic(prompt: str, response: str) -> float:
    """Share of the prompt's content words that the response takes up (0 … 1)."""
    asked = {_stem(word) for word in words(prompt) if word not in FUNCTION_WORDS}
    if not asked:
        return 0.0
    return len(asked & {_stem(word) for word in words(response)}) / len(asked)


def polite(prompt: str, response: str) -> float:
    """Courtesies less rudenesses, each kind of courtesy counted once so that repeating it earns nothing."""
    courtesies = {match.group().lower() for match in COURTESIES.finditer(response)}
    return float(len(courtesies) - len(RUDENESS.findall(response)))


def no_repetition(prompt: str, response: str) -> float:
    """Share of word trigrams that are different (0 … 1); texts of fewer than three words repeat nothing."""
    said = words(response)
    trigrams = list(zip(said, said[1:], said[2:], strict=False))
    if not said:
        return 0.0
    return len(Counter(trigrams)) / len(trigrams) if trigrams else 1.0


def finished(prompt: str, response: str) -> float:
    """1 for a response that ends where a sentence ends, 0 for one that breaks off."""
    return float(bool(SENTENCE_END.search(response)))


def _plugged_rule(name: str, value: Any) -> Rule:
    """The rule of a plugin.  Raises UsageError for what cannot be called."""
    if not callable(value):
        raise UsageError(f"The plugin “{name}” is not a function; correct its entry point.")
    rule: Rule = value
    return rule


RULES: Plugged[Rule] = Plugged(
    "rules",
    {rule.__name__: rule for rule in (concise, thorough, on_topic, polite, no_repetition, finished)},
    _plugged_rule,
)
"""Every rule: what is built in, then those of plugins."""
PREFIX = "rule:"


def _stem(word: str) -> str:
    """Enough of a stem that plural and singular meet; not a linguist's."""
    for ending in ("ing", "ed", "es", "s"):
        if word.endswith(ending) and len(word) - len(ending) >= 3:
            return word[: -len(ending)]
    return word
