"""Verifiable rewards: 1 where a response is right by its prompt's reference answer or metadata, else 0.

`verify:exact_match`, `verify:pattern`, `verify:json_schema`, `verify:maths`, `verify:code`.  Responses are
whatever a model said, so each of the first four runs in a process of its own that is ended after
`function_seconds` (`function_process`), and code in a sandbox (`code_tests`).  Torch-free.
"""

from __future__ import annotations

import json
import unicodedata
from collections.abc import Callable, Mapping
from typing import Any

from engine.errors import UsageError
from engine.policy_learning.rewards.code_tests import code
from engine.policy_learning.rewards.sandbox import find_sandbox

Metadata = Mapping[str, Any]


def exact_match(prompt: str, response: str, reference: str | None) -> float:
    """Whether the response is the reference answer, but for blanks around and between words.

    >>> exact_match("2 + 2?", " 4\\n", "4")
    1.0
    """
    return float(_plain(response) == _plain(_needed(reference, "exact_match", "a reference answer")))


def pattern(prompt: str, response: str, reference: str | None, metadata: Metadata) -> float:
    """Whether a regular expression, `pattern` of the metadata or else the reference answer, is in it."""
    import regex

    wanted = _needed(metadata.get("pattern", reference), "pattern", "a pattern in its metadata")
    try:
        compiled = regex.compile(wanted)
    except regex.error as error:
        raise UsageError(f"“{wanted}” is not a regular expression ({error}); correct the prompt.") from error
    return float(compiled.search(response) is not None)


def json_schema(prompt: str, response: str, reference: str | None, metadata: Metadata) -> float:
    """Whether it is JSON, a code fence around it or not, that fits a schema: `schema` of the metadata or the
    reference answer.  References to other documents are not followed.
    """
    from jsonschema.exceptions import SchemaError  # type: ignore[import-untyped,unused-ignore]
    from jsonschema.validators import validator_for  # type: ignore[import-untyped,unused-ignore]
    from referencing import Registry
    from referencing.exceptions import Unresolvable

    wanted = _needed(metadata.get("schema", reference), "json_schema", "a schema in its metadata")
    try:
        schema = json.loads(wanted) if isinstance(wanted, str) else wanted
        kind = validator_for(schema)
        kind.check_schema(schema)
    except (ValueError, TypeError, SchemaError) as error:
        raise UsageError("A prompt's schema is not a JSON schema; correct the prompt.") from error
    try:
        document = json.loads(_unfenced(response))
    except (ValueError, RecursionError):
        return 0.0
    try:
        return float(kind(schema, registry=Registry()).is_valid(document))
    except Unresolvable as error:
        raise UsageError(
            f"A prompt's schema refers to {error.ref}, which it does not hold; put it into the schema."
        ) from error


def maths(prompt: str, response: str, reference: str | None) -> float:
    """Whether the last expression of the response equals the reference answer, by math-verify and SymPy.

    >>> maths("?", "So it is \\\\boxed{\\\\frac{1}{2}}.", "0.5")
    1.0
    """
    try:
        from math_verify import parse, verify  # type: ignore[import-untyped,unused-ignore]
    except ImportError as error:
        raise UsageError("verify:maths needs the package math-verify; install it.") from error
    answer = _needed(reference, "maths", "a reference answer")
    # the process has its own limit of time; the library's would want signals
    gold = parse(answer, parsing_timeout=None) or parse(f"${answer}$", parsing_timeout=None)
    return float(verify(gold, parse(response, parsing_timeout=None), timeout_seconds=None))


VERIFIERS: dict[str, Callable[..., float | list[float]]] = {
    "exact_match": exact_match,
    "pattern": pattern,
    "json_schema": json_schema,
    "maths": maths,
    "code": code,
}
READY: dict[str, Callable[[], object]] = {"code": find_sandbox}
"""What must be there before a verifier is asked; raises UsageError."""


def _needed(value: Any, name: str, what: str) -> Any:
    if value in (None, ""):
        raise UsageError(
            f"verify:{name} found a prompt without {what}; import prompts with one, or choose others."
        )
    return value


def _plain(text: str) -> str:
    return " ".join(unicodedata.normalize("NFC", text).split())


def _unfenced(text: str) -> str:
    """What stands in a code fence, if the whole text is one."""
    lines = text.strip().splitlines()
    fenced = len(lines) > 2 and lines[0].startswith("```") and lines[-1].strip() == "```"
    return "\n".join(lines[1:-1]) if fenced else text
