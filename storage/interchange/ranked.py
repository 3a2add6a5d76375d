"""Ranked responses, in two layouts.

- one response a row: prompt, response, and rank (1 is best, equal ranks tie) or rating (higher is better);
  rows of the same prompt and annotator (and group, where there is such a column) are one judgement. Without
  rank and rating the responses come in unjudged.
- one prompt a row: prompt, responses (a list), ranks or ratings (lists of the same length).
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from storage.ids import SEPARATOR
from storage.interchange.clean import clean_text
from storage.interchange.rows import RowError, chat_of, integer_of, kind_of, list_of, number_of, text_of
from storage.interchange.shapes import Job, Shape
from storage.interchange.staging import Verdict


def take_row(job: Job, values: Mapping[str, Any], number: int) -> None:
    """One response a row."""
    prompt = _prompt(job, values)
    text = text_of(values, job.columns["response"])
    rank = integer_of(values, job.columns["rank"]) if job.has("rank") else None
    rating = number_of(values, job.columns["rating"]) if job.has("rating") else None
    if rank is not None and rank < 1:
        raise RowError(f"the rank is {rank}; ranks count from 1, the best")
    if prompt is None:
        return
    response = job.staging.response(prompt, job.name(values, "policy", job.options.policy), text)
    if rank is None and rating is None:
        return
    annotator = job.name(values, "annotator", job.options.annotator)
    group = SEPARATOR.join((prompt, annotator, job.name(values, "group", "")))
    verdict = Verdict(response, rank, rating if rank is None else None)
    job.staging.ranked_row(group, prompt, annotator, verdict)


def take_list(job: Job, values: Mapping[str, Any], number: int) -> None:
    """One prompt a row."""
    prompt = _prompt(job, values)
    texts = list_of(values, job.columns["responses"])
    ranks = _numbers(job, values, "ranks", len(texts))
    ratings = _numbers(job, values, "ratings", len(texts)) if ranks is None else None
    policies = (
        list_of(values, job.columns["policies"]) if job.has("policies") else [job.options.policy] * len(texts)
    )
    if len(policies) != len(texts):
        raise RowError(f"there are {len(texts)} responses and {len(policies)} policies")
    for value in [*texts, *policies]:
        if not isinstance(value, str):
            raise RowError(f"a response or policy is {kind_of(value)} where text is expected")
    if prompt is None:
        return
    given = zip(policies, texts, strict=True)
    ids = [job.staging.response(prompt, clean_text(policy), clean_text(text)) for policy, text in given]
    verdicts: dict[str, Verdict] = {}
    for place, response in enumerate(ids):
        if ranks is not None:
            verdicts.setdefault(response, Verdict(response, int(ranks[place]), None, place))
        elif ratings is not None:
            verdicts.setdefault(response, Verdict(response, None, ratings[place], place))
    if len(verdicts) > 1:
        kind = "ranking" if ranks is not None else "rating"
        annotator = job.name(values, "annotator", job.options.annotator)
        job.staging.judgement(prompt, annotator, kind, list(verdicts.values()))
    elif verdicts:
        job.skipped["only one response is ranked"] += 1


def _prompt(job: Job, values: Mapping[str, Any]) -> str | None:
    chat = chat_of(values, job.columns["prompt"])
    if not chat or not chat[-1]["content"].strip():
        job.skipped["the prompt is empty"] += 1
        return None
    return job.staging.prompt(chat, source=job.name(values, "source", "") or None)


def _numbers(job: Job, values: Mapping[str, Any], role: str, length: int) -> list[float] | None:
    if not job.has(role):
        return None
    column = job.columns[role]
    found = list_of(values, column)
    if len(found) != length:
        raise RowError(f'there are {length} responses and {len(found)} values in "{column}"')
    numbers = [number_of({column: value}, column) for value in found]
    if role == "ranks" and any(n is None or n < 1 or n != int(n) for n in numbers):
        raise RowError(
            f'"{column}" holds something else than ranks; ranks are whole numbers from 1, the best'
        )
    if any(n is None for n in numbers):
        raise RowError(f'"{column}" holds an empty value')
    return [n for n in numbers if n is not None]


RANKED = Shape(
    "ranked",
    needs=(("prompt", "response", "rank"), ("prompt", "response", "rating")),
    may=("policy", "annotator", "group", "source", "rank", "rating"),
    take=take_row,
)
RANKED_LISTS = Shape(
    "ranked_lists",
    needs=(("prompt", "responses"),),
    may=("ranks", "ratings", "policies", "annotator", "source"),
    take=take_list,
)
RESPONSES = Shape("responses", needs=(("prompt", "response"),), may=("policy", "source"), take=take_row)
