"""Rewards that are functions: what they are asked, what they may not do, and the verifiers."""

import importlib.util
import json
import sys
import time
from pathlib import Path
from typing import Any

import pytest

from engine.errors import UsageError
from engine.policy_learning.rewards.function_process import TimedFunction
from engine.policy_learning.rewards.functions import Item, RewardFunction
from engine.policy_learning.rewards.verifiers import exact_match, json_schema, maths, pattern

FUNCTIONS = """
import sys, time

def plain(question, answer):
    return len(answer)

def knowing(prompt, response, reference, metadata):
    print("chatter")
    return float(response == reference) + metadata.get("bonus", 0)

def every(prompts, responses, references, metadata):
    return [len(prompts) + (r == q) for r, q in zip(responses, references)]

def too_few(prompts, responses):
    return [1.0]

def hangs(prompt, response):
    if response == "long":
        time.sleep(60)
    return 1.0

def fails(prompt, response):
    raise KeyError("x")

def leaves(prompt, response):
    import os
    os._exit(3)
"""
ITEMS = [Item("q", "four", "four", {"bonus": 2}), Item("q", "five", None, None)]


@pytest.fixture(autouse=True)
def _functions(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "asked.py").write_text(FUNCTIONS)
    monkeypatch.syspath_prepend(str(tmp_path))
    monkeypatch.delitem(sys.modules, "asked", raising=False)


def test_a_function_is_asked_by_the_names_of_its_parameters() -> None:
    found = {
        name: RewardFunction.found(f"asked:{name}").scores(ITEMS) for name in ("plain", "knowing", "every")
    }
    assert found == {"plain": [4.0, 4.0], "knowing": [3.0, 0.0], "every": [3.0, 2.0]}
    with pytest.raises(UsageError, match="asked:too_few gave 1 score for 2 responses"):
        RewardFunction.found("asked:too_few").scores(ITEMS)
    with pytest.raises(UsageError, match=r"no verifier “maths2”. Did you mean “maths”"):
        RewardFunction.found("verify:maths2")


def test_a_process_of_its_own_says_the_same_and_is_ended_when_time_runs_out() -> None:
    for name in ("knowing", "every"):
        timed = TimedFunction(f"asked:{name}", 30.0)
        assert timed.scores(ITEMS) == RewardFunction.found(f"asked:{name}").scores(ITEMS)
        timed.close()
    slow = TimedFunction("asked:hangs", 0.5)
    began = time.monotonic()
    items = [Item("q", "short"), Item("q", "long"), Item("q", "short")]
    assert slow.scores(items) == [1.0, None, 1.0]  # the next one has a fresh process
    assert time.monotonic() - began < 50
    slow.close()
    with pytest.raises(UsageError, match=r"asked:fails failed \(KeyError: 'x'\)"):
        TimedFunction("asked:fails", 30.0).scores(ITEMS)
    with pytest.raises(UsageError, match="process of the reward function asked:leaves ended by itself"):
        TimedFunction("asked:leaves", 30.0).scores(ITEMS)
    with pytest.raises(UsageError, match="asked:missing does not exist"):
        TimedFunction("asked:missing", 30.0).scores(ITEMS)


@pytest.mark.parametrize(
    ("response", "reference", "right"),
    [(" four\nfive ", "four five", True), ("Four", "four", False), ("cafe\u0301", "café", True)],
)
def test_exact_match_forgives_blanks_alone(response: str, reference: str, right: bool) -> None:
    assert exact_match("q", response, reference) == float(right)


def test_a_pattern_is_the_metadatas_or_the_reference() -> None:
    assert pattern("q", "it is 42.", r"\b42\b", {}) == 1.0
    assert pattern("q", "it is 421", r"\b42\b", {}) == 0.0
    assert pattern("q", "yes", "no", {"pattern": "^yes$"}) == 1.0
    with pytest.raises(UsageError, match="is not a regular expression"):
        pattern("q", "x", "(", {})
    with pytest.raises(UsageError, match="verify:pattern found a prompt without a pattern in its metadata"):
        pattern("q", "x", None, {})


def test_a_pattern_that_never_ends_is_ended() -> None:
    timed = TimedFunction("verify:pattern", 1.0)
    items = [Item("q", "a" * 64 + "b", r"^((?:a|aa)+)+$", {}), Item("q", "aaa", "a+", {})]
    assert timed.scores(items)[1] == 1.0
    timed.close()


@pytest.mark.skipif(importlib.util.find_spec("jsonschema") is None, reason="jsonschema is not installed")
@pytest.mark.parametrize(
    ("response", "right"),
    [('{"age": 3}', True), ('```json\n{"age": 3}\n```', True), ('{"age": "3"}', False), ("{age: 3}", False),
     ("[" * 100_000, False)],
)  # fmt: skip
def test_json_fits_its_schema(response: str, right: bool) -> None:
    schema: dict[str, Any] = {
        "type": "object",
        "required": ["age"],
        "properties": {"age": {"type": "integer"}},
    }
    assert json_schema("q", response, None, {"schema": schema}) == float(right)
    assert json_schema("q", response, json.dumps(schema), {}) == float(right)


@pytest.mark.skipif(importlib.util.find_spec("jsonschema") is None, reason="jsonschema is not installed")
def test_a_schema_reaches_no_other_document() -> None:
    with pytest.raises(UsageError, match=r"refers to http://127\.0\.0\.1:9/x"):
        json_schema("q", "{}", None, {"schema": {"$ref": "http://127.0.0.1:9/x"}})
    with pytest.raises(UsageError, match="is not a JSON schema"):
        json_schema("q", "{}", None, {"schema": {"type": "nonsense"}})


@pytest.mark.skipif(importlib.util.find_spec("math_verify") is None, reason="math-verify is not installed")
@pytest.mark.parametrize(
    ("response", "reference", "right"),
    [(r"So it is $\boxed{\frac{1}{2}}$.", "0.5", True), ("The answer is 12", "12", True), ("13", "12", False),
     (r"$x^2+2x+1$", r"$(x+1)^2$", True), ("no idea", "12", False)],
)  # fmt: skip
def test_maths_is_compared_by_value(response: str, reference: str, right: bool) -> None:
    assert maths("q", response, reference) == float(right)
