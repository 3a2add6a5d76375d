"""Rule annotators: what each prefers, and that none can be broken by a text."""

from __future__ import annotations

import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from workbench.services.ranking.rules import RULES

PREFERENCES = [
    ("concise", "Say hello.", "Hello.", "Hello there, my very dear friend."),
    ("concise", "Say hello.", "A word.", ""),
    ("thorough", "Say hello.", "Hello to you all.", "Hello hello hello hello hello."),
    ("on_topic", "How do magnets attract iron?", "A magnet attracts iron.", "I like bread."),
    ("polite", "Help.", "Of course, happy to help!", "No, that is stupid."),
    ("polite", "Help.", "Thank you, please ask.", "Thank you, thank you, thank you."),
    ("no_repetition", "Go.", "One two three four five six.", "One two three one two three one two three."),
    ("finished", "Go.", "This is the end.", "This is the"),
]


@pytest.mark.parametrize(("rule", "prompt", "better", "worse"), PREFERENCES)
def test_a_rule_prefers(rule: str, prompt: str, better: str, worse: str) -> None:
    assert RULES[rule](prompt, better) > RULES[rule](prompt, worse)


@pytest.mark.parametrize("rule", RULES)
@given(prompt=st.text(), response=st.text())
def test_a_rule_orders_any_text(rule: str, prompt: str, response: str) -> None:
    value = RULES[rule](prompt, response)
    assert not math.isnan(value)
    assert value == RULES[rule](prompt, response)


def test_every_rule_says_what_it_prefers() -> None:
    assert all((rule.__doc__ or "").strip() for rule in RULES.values())
