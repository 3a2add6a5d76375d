"""Tasks of Label Studio as its JSON export writes them."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from storage.interchange.mapping.cells import RowError
from storage.interchange.presets.tools import Plain, ToolVerdict, beside, is_answer, judged_rows, stem_of

OF_TASK = ("data", "annotations", "completions", "predictions")


def labelstudio(row: Mapping[str, Any]) -> Iterator[Plain]:
    """The data as columns, one row an annotation and criterion; predictions are an annotator of kind ai.

    What was cancelled says nothing, and is kept as metadata, as is every result that is no verdict.
    """
    data = dict(row.get("data") or {})
    about = {k: v for k, v in row.items() if k not in OF_TASK and v not in (None, [], {}, "")}
    annotations = list(row.get("annotations") or row.get("completions") or [])
    predictions = [p for p in row.get("predictions") or [] if isinstance(p, dict) and p.get("result")]
    if cancelled := [a for a in annotations if a.get("was_cancelled")]:
        about["cancelled"] = cancelled
    said = [(_person(a), a) for a in annotations if not a.get("was_cancelled")]
    said += [(f"ai:{p.get('model_version') or 'prediction'}", p) for p in predictions]
    for annotator, annotation in said or [(None, {})]:
        results = annotation.get("result") or []
        names, ordered = _answers(data, results)
        if not ordered:
            raise RowError('"data" holds no responses')
        made = beside(about, {k: v for k, v in data.items() if k not in names}, "data")
        made |= {"annotator": annotator, "seconds": annotation.get("lead_time"), "responses": ordered}
        if annotation.get("score") is not None:
            made["prediction_confidence"] = annotation["score"]
        verdicts = [verdict for result in results if (verdict := _result(made, result)) is not None]
        yield from judged_rows(made, verdicts)


def _person(annotation: Plain) -> str | None:
    person = annotation.get("completed_by")
    if isinstance(person, dict):
        person = person.get("email") or person.get("id")
    return None if person is None else f"annotator {person}"


def _answers(data: Plain, results: list[Plain]) -> tuple[list[str], list[Plain]]:
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
            return [key], [_item(n, v) for n, v in enumerate(value)]
        if isinstance(value, list) and len(value) > 1 and all(isinstance(v, str) for v in value):
            return [key], [{"name": str(n), "text": v} for n, v in enumerate(value)]
    names = [k for k in data if is_answer(k, data)]
    return names, [{"name": k, "text": data[k]} for k in names]


def _item(number: int, item: Plain) -> Plain:
    text = next(key for key in ("body", "text", "html") if key in item)
    rest = {k: v for k, v in item.items() if k not in (text, "id", "rank", "rating", "name")}
    return {"name": str(item.get("id", number)), "text": item[text], **rest}


def _result(made: Plain, result: Plain) -> ToolVerdict | None:
    """The verdict of one control; what is none is put among the notes or the results."""
    value = result.get("value") or {}
    answers, question = made["responses"], str(result.get("from_name") or result.get("type"))
    if (result.get("type") == "pairwise" or "selected" in value) and len(answers) >= 2:
        ranks = {"left": (1, 2), "right": (2, 1)}.get(str(value.get("selected")), (1, 1))
        return ToolVerdict("rank", question, dict(enumerate(ranks)))
    if (ranker := value.get("ranker")) is not None:
        order = _order(ranker)
        if order is None or (isinstance(ranker, dict) and sum(map(bool, ranker.values())) > 1):
            made.setdefault("results", []).append(result)  # what lies in the other buckets
        place = {str(name): n for n, name in enumerate(order or (), 1)}
        ranked = {n: place[a["name"]] for n, a in enumerate(answers) if a["name"] in place}
        return ToolVerdict("rank", question, ranked) if ranked else None
    if "rating" in value or "number" in value:
        asked = (result.get("to_name"), question, *question.split("_"))
        place_of = next((n for n, a in enumerate(answers) if a["name"] in asked), None)
        if place_of is None:
            place_of = next((n for n, a in enumerate(answers) if question.endswith(f"_{a['name']}")), None)
        if place_of is not None or len(answers) == 1:
            stem = question if place_of is None else stem_of(question, answers[place_of]["name"])
            return ToolVerdict("rating", stem, {place_of or 0: value.get("rating", value.get("number"))})
    if (better := _choice(value, answers)) is not None:
        ranks = {"a": (1, 2), "b": (2, 1)}.get(better, (1, 1))
        return ToolVerdict("rank", question, dict(enumerate(ranks)))
    if "text" in value and "note" not in made:
        text = value["text"]
        made["note"] = " ".join(map(str, text)) if isinstance(text, list) else str(text)
    else:
        made.setdefault("results", []).append(result)
    return None


def _choice(value: Plain, answers: list[Plain]) -> str | None:
    """a, b, tie or bad, where one choice of two answers says so."""
    if len(value.get("choices") or ()) != 1 or len(answers) != 2:
        return None
    from storage.interchange.mapping.verdict_words import worded

    verdict = worded(value["choices"][0])
    names = [a["name"].lower() for a in answers]
    said = str(value["choices"][0]).lower()
    better = verdict.better if verdict else "ab"[names.index(said)] if said in names else None
    return better if better in ("a", "b", "tie", "bad") else None


def _order(ranker: Any) -> list[Any] | None:
    """The items in their order.  Buckets sort items; only one that is alone or called rank ranks them."""
    if isinstance(ranker, list):
        return ranker
    filled = (
        {k: v for k, v in ranker.items() if isinstance(v, list) and v} if isinstance(ranker, dict) else {}
    )
    ranked = [v for k, v in filled.items() if len(filled) == 1 or "rank" in str(k).lower()]
    return ranked[0] if len(ranked) == 1 else None
