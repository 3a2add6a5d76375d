"""What records of annotation tools share: answers among other fields, and verdicts of several kinds."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any, Literal

from storage.interchange.mapping.names import named, plain, tokens

Plain = dict[str, Any]
NO_CRITERION = """
    a answer answers b best better choice chosen comparison compare feedback is item items label number
    order overall pair pairwise pick pref prefer preference preferred pw quality rank ranker ranking
    rankings rate rating ratings response responses rlhf score scores select selected selection star
    stars the verdict which winner
"""
SAYING_NO_CRITERION = frozenset(NO_CRITERION.split())


@dataclass(frozen=True)
class ToolVerdict:
    """What one question says of the answers, by their places."""

    kind: Literal["rank", "rating", "best"]
    question: str
    values: Mapping[int, Any]


def is_answer(name: str, fields: Mapping[str, Any]) -> bool:
    """Whether a field is called as answers are: response, response_2, output-a."""
    stem = re.sub(r"([_\W]+[a-h]|[_\W]*\d+)$", "", name)
    return named("response", plain(stem)) >= 0.85 and isinstance(fields[name], str | list)


def beside(about: Mapping[str, Any], fields: Mapping[str, Any], prefix: str) -> Plain:
    """Both as columns; a field that is called as another column or as a verdict has a prefix."""
    taken = {*about, "annotator", "responses", "best", "criterion", "answers", "results", "note", "seconds"}
    return {**about, **{f"{prefix}.{k}" if k in taken else k: v for k, v in fields.items()}}


def judged_rows(made: Plain, verdicts: list[ToolVerdict]) -> Iterator[Plain]:
    """`made`, with what is said of its answers.

    What a question is called is a criterion, in a row of its own; `rating`, `best` or `ranking` says none.
    """
    by_criterion: dict[str | None, list[ToolVerdict]] = {}
    overall: dict[str, str] = {}  # by kind, the question that says no criterion
    for verdict in verdicts:
        said_none = not tokens(verdict.question) - SAYING_NO_CRITERION
        if said_none and overall.setdefault(verdict.kind, verdict.question) == verdict.question:
            by_criterion.setdefault(None, []).append(verdict)
        else:
            by_criterion.setdefault(verdict.question, []).append(verdict)
    for criterion, said in by_criterion.items() or [(None, [])]:
        row = {**made, "criterion": criterion, "responses": [dict(r) for r in made["responses"]]}
        for verdict in said:
            for place, value in verdict.values.items():
                if verdict.kind == "best":
                    row["best"] = place
                else:
                    row["responses"][place][verdict.kind] = value
        yield row


def stem_of(question: str, answer: str) -> str:
    """`helpfulness` of `helpfulness_response_1`, asked of response_1."""
    stem = re.sub(rf"[_\W]*{re.escape(answer)}[_\W]*", " ", question, flags=re.IGNORECASE)
    if stem == question:  # helpfulness_1 of response_1
        stem = re.sub(rf"[_\W]*{re.escape(answer[-1:])}$", "", question, flags=re.IGNORECASE)
    return stem.strip(" _-.") or "rating"
