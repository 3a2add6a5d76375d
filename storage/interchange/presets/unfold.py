"""Rows of tools and trees, brought into rows that a mapping can name."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Iterator, Mapping
from itertools import groupby
from typing import Any

from storage.interchange.mapping.cells import RowError, missing, number_of

Row = Mapping[str, Any]
Plain = dict[str, Any]


def tldr(row: Row) -> Iterator[Plain]:
    """The post or the article is the prompt."""
    info = row.get("info") or {}
    text = info.get("post") or info.get("article")
    if missing(text):
        raise RowError('"info" holds neither a post nor an article')
    yield {**row, "prompt": text}


def math_shepherd(row: Row) -> Iterator[Plain]:
    """Each step ends with ки in `input`; in `label` + or - stands there, behind the same words."""
    text, labelled = str(row.get("input") or ""), str(row.get("label") or "").replace("ки", "")
    parts = [part.strip() for part in re.split(r"ки(?:\s*\?)?", text)]
    parts = parts[:-1] if not parts[-1] else parts
    signs: list[str] = []
    place = 0
    for part in parts:
        match = re.compile(re.escape(part) + r"\s*([+-])").match(labelled, place)
        if match is None:
            raise RowError('"label" does not say of each step of "input" whether it is right')
        signs.append(match[1])
        place = match.end() + len(labelled[match.end() :]) - len(labelled[match.end() :].lstrip())
    question, mark, first = (parts or [""])[0].partition("Step 1:")
    if not mark:
        raise RowError('"input" holds no question with steps behind it')
    rest = {k: v for k, v in row.items() if k not in ("input", "label")}
    yield {**rest, "prompt": question.strip(), "steps": [mark + first, *parts[1:]], "step_labels": signs}


def prm800k(row: Row) -> Iterator[Plain]:
    """The steps that were taken, with their ratings; what else was proposed for a step stays as metadata."""
    question, label = row.get("question") or {}, row.get("label") or {}
    texts: list[str] = []
    ratings: list[Any] = []
    others: list[Any] = []
    for number, step in enumerate(label.get("steps") or []):
        completions = step.get("completions") or []
        place = step.get("chosen_completion")
        human = step.get("human_completion")
        if place is None and human is None and completions:
            place = 0  # the labelling ended here
        chosen = completions[place] if place is not None and place < len(completions) else human
        if not chosen:
            continue
        texts.append(str(chosen.get("text") or "") if isinstance(chosen, dict) else str(chosen))
        rating = chosen.get("rating") if isinstance(chosen, dict) else None
        ratings.append(1 if rating is None and chosen is human else rating)  # who wrote it wrote a right one
        rest = [c for n, c in enumerate(completions) if n != place]
        if rest:
            others.append({"step": number, "completions": rest})
    if not texts:
        raise RowError("there are no steps in it")
    about_row = {k: v for k, v in row.items() if k not in ("question", "label")}
    about_row |= {
        f"question_{k}": v for k, v in question.items() if k not in ("problem", "ground_truth_answer")
    }
    about_row |= {k: v for k, v in label.items() if k != "steps"}
    yield {
        **about_row,
        "problem": question.get("problem"),
        "reference": question.get("ground_truth_answer"),
        "steps": texts,
        "step_labels": ratings,
        "other_completions": others,
    }


def oasst_tree(row: Row) -> Iterator[Plain]:
    """Every turn of the user with its replies."""
    root = row.get("prompt")
    if not isinstance(root, dict):
        raise RowError('"prompt" is not a message')
    about_tree = {k: v for k, v in row.items() if k not in ("prompt", "message_tree_id")}
    yield from _replies(root, [], {**about_tree, "tree": row.get("message_tree_id")})


def _replies(message: Mapping[str, Any], before: list[Plain], about_tree: Plain) -> Iterator[Plain]:
    stack = [(message, before)]
    while stack:
        turn, earlier = stack.pop()
        asked = turn.get("role") in ("prompter", "user", None)
        chat = [*earlier, {"role": "user" if asked else "assistant", "content": turn.get("text") or ""}]
        replies = [r for r in turn.get("replies") or [] if isinstance(r, dict) and not r.get("deleted")]
        if asked:
            answers = [{**{k: v for k, v in r.items() if k != "replies"}} for r in replies]
            about = {k: v for k, v in turn.items() if k not in ("replies", "text", "role", "message_id")}
            if gone := len(turn.get("replies") or []) - len(replies):
                about["deleted_replies"] = gone
            yield {**about_tree, **about, "id": turn.get("message_id"), "prompt": chat, "responses": answers}
        stack += [(reply, chat) for reply in reversed(replies)]


def oasst_messages(rows: Iterable[Row]) -> Iterator[Plain]:
    """Trees from messages one a row; the rows of a tree stand together, parents before children."""
    for tree, members in groupby(rows, key=lambda row: row.get("message_tree_id")):
        messages = [dict(m) for m in members]
        by_id = {m.get("message_id"): m for m in messages}
        roots = []
        for message in messages:
            parent = by_id.get(message.get("parent_id"))
            if parent is None:
                roots.append(message)
            else:
                parent.setdefault("replies", []).append(message)
        for root in roots:
            for made in _replies(root, [], {}):
                for answer in made["responses"]:
                    for name in ("message_tree_id", "parent_id", "replies"):
                        answer.pop(name, None)
                for name in ("message_tree_id", "parent_id"):
                    made.pop(name, None)
                yield {**made, "tree": tree}


def argilla(row: Row) -> Iterator[Plain]:
    """The fields as columns, one row an annotator and question; suggestions are an annotator of kind ai."""
    fields = dict(row.get("fields") or {})
    answers = {k: v for k, v in fields.items() if _is_answer(k, fields)}
    base: Plain = {k: v for k, v in fields.items() if k not in answers}
    base |= {k: v for k, v in row.items() if k not in ("fields", "responses", "suggestions")}
    said = list(_argilla_said(row))
    if not answers:
        raise RowError('"fields" holds no responses')
    for annotator, values in said or [(None, {})]:
        made: Plain = {
            **base,
            "annotator": annotator,
            "responses": [{"name": k, "text": v} for k, v in answers.items()],
        }
        rest: Plain = {}
        for question, value in values.items():
            _argilla_value(made, rest, question, value, list(answers))
        if rest:
            made["answers"] = rest
        yield made


def _is_answer(name: str, fields: Mapping[str, Any]) -> bool:
    from storage.interchange.mapping.names import named, plain

    stem = re.sub(r"([_\W]+[a-h]|[_\W]*\d+)$", "", name)
    return named("response", plain(stem)) >= 0.85 and isinstance(fields[name], str | list)


def _argilla_said(row: Row) -> Iterator[tuple[str | None, Plain]]:
    """(annotator, value by question)."""
    by_user: dict[str, Plain] = {}
    responses = row.get("responses") or {}
    if isinstance(responses, list):  # records of version 1: one entry a person
        for entry in responses:
            if entry.get("status", "submitted") == "submitted":
                values = {
                    q: v.get("value") if isinstance(v, dict) else v
                    for q, v in (entry.get("values") or {}).items()
                }
                by_user.setdefault(str(entry.get("user_id")), {}).update(values)
        responses = {}
    for question, entries in responses.items():
        for entry in entries if isinstance(entries, list) else []:
            if entry.get("status", "submitted") == "submitted":
                by_user.setdefault(str(entry.get("user_id")), {})[question] = entry.get("value")
    yield from by_user.items()
    suggested: dict[str, Plain] = {}
    suggestions = row.get("suggestions") or {}
    pairs = (
        suggestions.items()
        if isinstance(suggestions, dict)
        else [(s.get("question_name") or s.get("question_id"), s) for s in suggestions]
    )
    for question, entry in pairs:
        if isinstance(entry, dict) and entry.get("value") is not None:
            suggested.setdefault(f"ai:{entry.get('agent') or 'suggestion'}", {})[str(question)] = entry[
                "value"
            ]
    yield from suggested.items()


def _argilla_value(made: Plain, rest: Plain, question: str, value: Any, names: list[str]) -> None:
    """A ranking, a choice of one response, a rating, or anything else, which is kept as it is."""
    listed = value if isinstance(value, list) else [value]
    if listed and all(isinstance(v, dict) and "rank" in v for v in listed):
        ranks = {v.get("value"): v.get("rank") for v in listed}
    elif len(listed) > 1 and set(map(str, listed)) <= set(names):
        ranks = {v: n for n, v in enumerate(listed, 1)}
    elif len(listed) == 1 and str(listed[0]) in names:
        made["best"] = names.index(str(listed[0]))
        return
    elif number_of(value) is not None and not isinstance(value, bool):
        place = next(
            (n for n, name in enumerate(names) if name in question or question.endswith(name[-2:])), None
        )
        if place is None and len(names) == 1:
            place = 0
        if place is not None:
            made.setdefault("ratings", [None] * len(names))[place] = value
            return
        rest[question] = value
        return
    else:
        rest[question] = value
        return
    for answer in made["responses"]:
        if ranks.get(answer["name"]) is not None:
            answer["rank"] = ranks[answer["name"]]


def labelstudio(row: Row) -> Iterator[Plain]:
    """The data as columns, one row an annotation; what was cancelled says nothing."""
    data = dict(row.get("data") or {})
    base: Plain = {"id": row.get("id"), "meta": row.get("meta")}
    annotations = [
        a for a in row.get("annotations") or row.get("completions") or [] if not a.get("was_cancelled")
    ]
    for annotation in annotations or [{}]:
        person = annotation.get("completed_by")
        if isinstance(person, dict):
            person = person.get("email") or person.get("id")
        made: Plain = {
            **base,
            **data,
            "annotator": None if person is None else f"annotator {person}",
            "seconds": annotation.get("lead_time"),
        }
        results = annotation.get("result") or []
        names, ordered = _studio_answers(data, results)
        if not ordered:
            raise RowError('"data" holds no responses')
        for name in names:
            made.pop(name, None)
        made["responses"] = ordered
        for result in results:
            _studio_result(made, result)
        yield made


def _studio_answers(data: Plain, results: list[Plain]) -> tuple[list[str], list[Plain]]:
    """The keys of the data that are responses, and the responses."""
    for result in results:
        sides = str(result.get("to_name", "")).split(",")
        if result.get("type") == "pairwise" and len(sides) == 2 and all(s in data for s in sides):
            return sides, [{"name": s, "text": data[s]} for s in sides]
    for key, value in data.items():
        if (
            isinstance(value, list)
            and value
            and all(isinstance(v, dict) and ("body" in v or "text" in v or "html" in v) for v in value)
        ):
            return [key], [
                {
                    "name": str(v.get("id", n)),
                    "text": v.get("body") or v.get("text") or v.get("html"),
                    "title": v.get("title"),
                }
                for n, v in enumerate(value)
            ]
        if isinstance(value, list) and len(value) > 1 and all(isinstance(v, str) for v in value):
            return [key], [{"name": str(n), "text": v} for n, v in enumerate(value)]
    names = [k for k in data if _is_answer(k, data)]
    return names, [{"name": k, "text": data[k]} for k in names]


def _studio_result(made: Plain, result: Plain) -> None:
    value = result.get("value") or {}
    answers = made["responses"]
    if result.get("type") == "pairwise" or "selected" in value:
        side = value.get("selected")
        if side in ("left", "right") and len(answers) >= 2:
            answers[0]["rank"], answers[1]["rank"] = (1, 2) if side == "left" else (2, 1)
            return
        if len(answers) >= 2:
            answers[0]["rank"] = answers[1]["rank"] = 1
            return
    ranker = value.get("ranker")
    if ranker is not None:
        order = _studio_order(ranker)
        place = {str(name): n for n, name in enumerate(order or (), 1)}
        for answer in answers:
            if answer["name"] in place:
                answer["rank"] = place[answer["name"]]
        if order is None or (isinstance(ranker, dict) and sum(map(bool, ranker.values())) > 1):
            made.setdefault("results", []).append(result)  # what lies in the other buckets
        return
    if "rating" in value or "number" in value:
        target = next(
            (
                a
                for a in answers
                if a["name"] in (result.get("to_name"), *str(result.get("from_name", "")).split("_"))
            ),
            None,
        )
        if target is not None or len(answers) == 1:
            (target or answers[0])["rating"] = value.get("rating", value.get("number"))
            return
    if "choices" in value and len(value["choices"]) == 1 and len(answers) == 2:
        from storage.interchange.mapping.verdict_words import worded

        verdict = worded(value["choices"][0])
        names = [a["name"].lower() for a in answers]
        said = str(value["choices"][0]).lower()
        better = verdict.better if verdict else "ab"[names.index(said)] if said in names else None
        if better in ("a", "b", "tie", "bad"):
            answers[0]["rank"], answers[1]["rank"] = {"a": (1, 2), "b": (2, 1)}.get(better, (1, 1))
            return
    if "text" in value and "note" not in made:
        text = value["text"]
        made["note"] = " ".join(map(str, text)) if isinstance(text, list) else str(text)
        return
    made.setdefault("results", []).append(result)


def _studio_order(ranker: Any) -> list[Any] | None:
    """The items in their order.  Buckets sort items; only one that is alone or called rank ranks them."""
    if isinstance(ranker, list):
        return ranker
    filled = (
        {k: v for k, v in ranker.items() if isinstance(v, list) and v} if isinstance(ranker, dict) else {}
    )
    ranked = [v for k, v in filled.items() if len(filled) == 1 or "rank" in str(k).lower()]
    return ranked[0] if len(ranked) == 1 else None


ONE: dict[str, Callable[[Row], Iterator[Plain]]] = {
    "tldr": tldr,
    "prm800k": prm800k,
    "math_shepherd": math_shepherd,
    "oasst_tree": oasst_tree,
    "argilla": argilla,
    "labelstudio": labelstudio,
}
MANY: dict[str, Callable[[Iterable[Row]], Iterator[Plain]]] = {"oasst_messages": oasst_messages}
