"""Two responses a row and one column an annotator, each holding `a`, `b`, `tie` or nothing.

The same response in several rows is one response: it is told by prompt, policy and text. Every annotator's
verdict on a row is a judgement of kind pair. Instead of a column an annotator there may be one column
`winner`.

A column's name is the annotator's: `annotator_1` of two files is one person, so that a file in two parts, or
under another name, makes nobody twice. Where they are different people, the user names each file's group
(`annotator` "lab" makes them `lab annotator_1` …).
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any

from storage.interchange.rows import RowError, chat_of, kind_of, text_of
from storage.interchange.shapes import Job, Shape
from storage.interchange.staging import Verdict

ANNOTATOR = re.compile(r"^(annotator|judge|rater|labell?er)[ _-]?\w+$", re.IGNORECASE)
SAYS = {
    "a": (1, 2),
    "response_a": (1, 2),
    "model_a": (1, 2),
    "b": (2, 1),
    "response_b": (2, 1),
    "model_b": (2, 1),
    "tie": (1, 1),
    "equal": (1, 1),
    "both": (1, 1),
}


def take(job: Job, values: Mapping[str, Any], number: int) -> None:
    chat = chat_of(values, job.columns["prompt"])
    texts = [text_of(values, job.columns[role]) for role in ("response_a", "response_b")]
    policies = [job.name(values, role, job.options.policy) for role in ("policy_a", "policy_b")]
    verdicts = _verdicts(job, values)
    if not chat or not chat[-1]["content"].strip():
        job.skipped["the prompt is empty"] += 1
        return
    if texts[0] == texts[1] and policies[0] == policies[1]:
        job.skipped["both responses are the same"] += 1
        return
    prompt = job.staging.prompt(chat, source=job.name(values, "source", "") or None)
    a, b = (job.staging.response(prompt, policies[k], texts[k]) for k in (0, 1))
    for annotator, (rank_a, rank_b) in verdicts.items():
        verdict = [Verdict(a, rank_a, None, 0), Verdict(b, rank_b, None, 1)]
        job.staging.judgement(prompt, annotator, "pair", verdict)


def annotator_columns(extra: tuple[str, ...]) -> list[str]:
    return [column for column in extra if ANNOTATOR.match(column)]


def _verdicts(job: Job, values: Mapping[str, Any]) -> dict[str, tuple[int, int]]:
    """Ranks of the two responses, by annotator."""
    found: dict[str, tuple[int, int]] = {}
    for column in annotator_columns(job.extra):
        said = _said(values, column)
        if said is not None:
            found[job.options.annotator_prefix + column] = said
    if job.has("verdict"):
        said = _said(values, job.columns["verdict"])
        if said is not None:
            found[job.name(values, "annotator", job.options.annotator)] = said
    return found


def _said(values: Mapping[str, Any], column: str) -> tuple[int, int] | None:
    value = values.get(column)
    if value is None or value == "":
        return None
    said = SAYS.get(value.strip().lower()) if isinstance(value, str) else None
    if said is None:
        shown = f'"{value[:40]}"' if isinstance(value, str) else kind_of(value)
        raise RowError(f'"{column}" is {shown} where a, b or tie is expected')
    return said


ANNOTATED_PAIRS = Shape(
    "annotated_pairs",
    needs=(("prompt", "response_a", "response_b"),),
    may=("policy_a", "policy_b", "verdict", "annotator", "source"),
    take=take,
)
