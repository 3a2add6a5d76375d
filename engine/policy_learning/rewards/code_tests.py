"""`verify:code`: whether the Python program of a response passes its prompt's tests, in a sandbox.

Tests are statements, run behind the program among its names (`assert f(2) == 4`), or inputs with the outputs
that they must give.  Outputs are compared out here, where no program reaches; statements run beside the
program, and one that goes out of its way can make them pass, so prefer outputs where a policy learns.
"""

from __future__ import annotations

import re
import time
from collections.abc import Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import Any

from engine.cores import usable_cores
from engine.errors import UsageError
from engine.policy_learning.rewards.sandbox import Limits, Sandbox, find_sandbox

FENCE = re.compile(r"^[ \t]*```[ \t]*([\w+.-]*)[^\n]*\n(.*?)(?:^[ \t]*```|\Z)", re.MULTILINE | re.DOTALL)
PYTHON = ("python", "py", "python3")
DATA_SETS = ("tests", "test_list", "test")  # as here, as in MBPP, as in HumanEval


@dataclass(frozen=True)
class CodeTests:
    """What a program must do: statements that must pass, and outputs of inputs."""

    statements: str = ""
    outputs: tuple[tuple[str, str], ...] = ()  # (input, output)


def code(
    prompts: Sequence[str],
    responses: Sequence[str],
    references: Sequence[str | None],
    metadata: Sequence[Mapping[str, Any]],
    seconds: float,
) -> list[float]:
    """Whether the program in each response passes its prompt's tests, within `seconds` together.

    Tests are `tests` of the metadata, MBPP's `test_list` or HumanEval's `test`; without any, the reference
    answer is what the program must print.  Raises UsageError for tests that cannot be read, or no sandbox.
    """
    sandbox = find_sandbox()
    asked = [
        (program_of(response), read_tests(known, reference))
        for response, reference, known in zip(responses, references, metadata, strict=True)
    ]
    with ThreadPoolExecutor(max_workers=usable_cores()) as pool:
        return list(pool.map(lambda each: float(passes(sandbox, each[0], each[1], Limits(seconds))), asked))


def passes(sandbox: Sandbox, program: str, tests: CodeTests, limits: Limits) -> bool:
    """Whether a program passes every test; it is started anew for each input."""
    until = time.monotonic() + limits.seconds
    if tests.statements and not sandbox.run(program, then=tests.statements, limits=limits).finished:
        return False
    for given, wanted in tests.outputs:
        left = until - time.monotonic()
        if left <= 0:
            return False
        outcome = sandbox.run(program, given=given, limits=Limits(left))
        if not outcome.finished or _lines(outcome.said) != _lines(wanted):
            return False
    return True


def program_of(response: str) -> str:
    """The last code block that says it is Python, else the last one of any kind, else all of it.

    >>> program_of("So:\\n```python\\nprint(1)\\n```\\nThat is it.")
    'print(1)\\n'
    """
    blocks = FENCE.findall(response)
    named = [text for language, text in blocks if language.lower() in PYTHON]
    return (named or [text for _, text in blocks] or [response])[-1]


def read_tests(metadata: Mapping[str, Any], reference: str | None) -> CodeTests:
    """The tests of a prompt.  Raises UsageError when it has none, or none that can be read."""
    name = next((name for name in DATA_SETS if metadata.get(name)), "")
    if not name:
        if reference is None:
            raise UsageError(
                "verify:code found a prompt without tests in its metadata or a reference answer; import "
                "prompts with either, or choose others."
            )
        return CodeTests(outputs=(("", reference),))
    given = metadata[name]
    given = [given] if isinstance(given, str) else given
    if isinstance(given, list) and all(isinstance(each, str) for each in given):
        before, after = metadata.get("test_setup_code", ""), _called(metadata) if name == "test" else ""
        return CodeTests("\n".join((before if isinstance(before, str) else "", *given, after)))
    if isinstance(given, list) and all(_is_output(each) for each in given):
        return CodeTests(outputs=tuple((each.get("input", ""), each["output"]) for each in given))
    raise UsageError(
        f"verify:code cannot read “{name}” of a prompt's metadata; write Python statements, a list of them, "
        'or a list of {"input": …, "output": …} with texts.'
    )


def _called(metadata: Mapping[str, Any]) -> str:
    """HumanEval's test is a function `check`, to be called with the program's own."""
    name = metadata.get("entry_point")
    return f"check({name})" if isinstance(name, str) and name.isidentifier() else ""


def _is_output(test: object) -> bool:
    return (
        isinstance(test, dict)
        and isinstance(test.get("output"), str)
        and isinstance(test.get("input", ""), str)
    )


def _lines(text: str) -> list[str]:
    """Lines but for the blanks at their ends and the empty ones behind the last."""
    return [line.rstrip() for line in text.rstrip().splitlines()]
