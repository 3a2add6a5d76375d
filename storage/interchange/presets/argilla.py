"""Records of Argilla, of both versions, as its `to_dict` and `to_json` write them."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from storage.interchange.mapping.cells import RowError, number_of
from storage.interchange.presets.tools import Plain, ToolVerdict, beside, is_answer, judged_rows, stem_of

SUBMITTED = "submitted"
OF_RECORD = ("id", "status", "_server_id", "external_id", "metadata", "vectors")


def argilla_columns(row: Mapping[str, Any]) -> Iterator[Plain]:
    """Records as the columns of a data set, as `to_datasets` of both versions writes them."""
    questions = [name.removesuffix(".responses.users") for name in row if name.endswith(".responses.users")]
    questions += [
        name.removesuffix("-suggestion-metadata") for name in row if name.endswith("-suggestion-metadata")
    ]
    responses: Plain = {}
    suggestions: Plain = {}
    for question in questions:
        responses[question] = _answers_in(row, question)
        about = row.get(f"{question}-suggestion-metadata") or {}
        suggestions[question] = {
            "value": row.get(f"{question}.suggestion", row.get(f"{question}-suggestion")),
            "score": row.get(f"{question}.suggestion.score", about.get("score")),
            "agent": row.get(f"{question}.suggestion.agent", about.get("agent")),
        }
    own = tuple(f"{q}{mark}" for q in questions for mark in (".responses", ".suggestion", "-suggestion"))
    rest = {k: v for k, v in row.items() if k not in questions and not k.startswith(own or ("\0",))}
    fields = {k: v for k, v in rest.items() if k not in OF_RECORD and not k.startswith("metadata.")}
    about_row = {k: v for k, v in rest.items() if k not in fields}
    yield from argilla({**about_row, "fields": fields, "responses": responses, "suggestions": suggestions})


def _answers_in(row: Mapping[str, Any], question: str) -> list[Plain]:
    """What people answered: objects, an object of lists, or a column for each part of them."""
    old = row.get(question)
    if isinstance(old, list):
        return [entry for entry in old if isinstance(entry, dict)]
    parts = {
        "value": row.get(f"{question}.responses") or [],
        "user_id": row.get(f"{question}.responses.users") or [],
        "status": row.get(f"{question}.responses.status") or [],
    }
    if isinstance(old, dict):
        parts = {name: old.get(name) or [] for name in parts}
    size = len(parts["value"])
    return [
        {name: values[n] if n < len(values) else None for name, values in parts.items()} for n in range(size)
    ]


def argilla(row: Mapping[str, Any]) -> Iterator[Plain]:
    """The fields as columns, one row an annotator and criterion; suggestions are an annotator of kind ai.

    What is no verdict is kept: answers to other questions, scores of suggestions, and what people have not
    submitted.
    """
    fields = dict(row.get("fields") or {})
    answers = {k: v for k, v in fields.items() if is_answer(k, fields)}
    if not answers:
        raise RowError('"fields" holds no responses')
    about = {k: v for k, v in row.items() if k not in ("fields", "responses", "suggestions")}
    base = beside(about, {k: v for k, v in fields.items() if k not in answers}, "fields")
    people, unsubmitted = _people(row.get("responses") or {})
    machines, scores = _machines(row.get("suggestions") or {})
    if unsubmitted:
        base["not_submitted"] = unsubmitted
    names = list(answers)
    for annotator, values in [*people.items(), *machines.items()] or [(None, {})]:
        made: Plain = {
            **base,
            "annotator": annotator,
            "responses": [{"name": k, "text": v} for k, v in answers.items()],
        }
        if annotator in scores:
            made["suggestion_confidence"] = scores[annotator]
        verdicts, rest = [], {}
        for question, value in values.items():
            verdict = _verdict(question, value, names)
            if verdict is None:
                rest[question] = value
            else:
                verdicts.append(verdict)
        if rest:
            made["answers"] = rest
        yield from judged_rows(made, verdicts)


def _people(responses: Any) -> tuple[dict[str | None, Plain], list[Plain]]:
    """By annotator the values by question, and what was discarded or is a draft."""
    said: list[tuple[str, Plain]] = []
    if isinstance(responses, list):  # records of version 1: one entry a person
        for entry in responses:
            for question, value in (entry.get("values") or {}).items():
                given = value if isinstance(value, dict) else {"value": value}
                said.append((question, {**entry, **given}))
    else:
        said = [
            (question, entry)
            for question, entries in responses.items()
            for entry in (entries if isinstance(entries, list) else [])
        ]
    people: dict[str | None, Plain] = {}
    unsubmitted = []
    for question, entry in said:
        user, status = str(entry.get("user_id")), entry.get("status") or SUBMITTED
        if status == SUBMITTED:
            people.setdefault(user, {})[question] = entry.get("value")
        elif entry.get("value") is not None:
            unsubmitted.append(
                {"user_id": user, "question": question, "value": entry["value"], "status": status}
            )
    return people, unsubmitted


def _machines(suggestions: Any) -> tuple[dict[str | None, Plain], dict[str | None, Plain]]:
    """By agent the values by question, and how sure it was, where it says so."""
    if isinstance(suggestions, dict):
        pairs = list(suggestions.items())
    else:
        pairs = [(s.get("question_name") or s.get("question_id"), s) for s in suggestions]
    values: dict[str | None, Plain] = {}
    scores: dict[str | None, Plain] = {}
    for question, entry in pairs:
        if isinstance(entry, dict) and entry.get("value") is not None:
            agent = f"ai:{entry.get('agent') or 'suggestion'}"
            values.setdefault(agent, {})[str(question)] = entry["value"]
            if entry.get("score") is not None:
                scores.setdefault(agent, {})[str(question)] = entry["score"]
    return values, scores


def _verdict(question: str, value: Any, names: list[str]) -> ToolVerdict | None:
    """A ranking, a choice of one response, or a rating; None for anything else."""
    if isinstance(value, dict) and isinstance(
        value.get("rank"), list
    ):  # as `datasets` keeps a list of objects
        value = [
            {"rank": rank, "value": name}
            for rank, name in zip(value["rank"], value.get("value") or (), strict=False)
        ]
    listed = value if isinstance(value, list) else [value]
    if listed and all(isinstance(v, dict) and "rank" in v for v in listed):
        ranks = {v.get("value"): v.get("rank") for v in listed}
    elif len(listed) > 1 and set(map(str, listed)) <= set(names):
        ranks = {v: n for n, v in enumerate(listed, 1)}
    elif len(listed) == 1 and str(listed[0]) in names:
        return ToolVerdict("best", question, {names.index(str(listed[0])): True})
    elif number_of(value) is not None and not isinstance(value, bool):
        return _rating(question, value, names)
    else:
        return None
    return ToolVerdict(
        "rank", question, {n: ranks[name] for n, name in enumerate(names) if ranks.get(name) is not None}
    )


def _rating(question: str, value: Any, names: list[str]) -> ToolVerdict | None:
    place = next(
        (n for n, name in enumerate(names) if name in question or question.endswith(name[-2:])), None
    )
    if place is not None:
        return ToolVerdict("rating", stem_of(question, names[place]), {place: value})
    return ToolVerdict("rating", question, {0: value}) if len(names) == 1 else None
