"""Responses that are told apart by who wrote them: an object with a key a model, or a column a model."""

from __future__ import annotations

import re

from storage.interchange.mapping.language import Path, Statement
from storage.interchange.mapping.names import named, plain
from storage.interchange.mapping.profile import Column
from storage.interchange.mapping.search import Search

OF_MODEL = re.compile(r"^(.+)_(responses?|answers?|outputs?|completions?|reply|generation)$")
NOBODY = re.compile(
    r"^(reference|gold|ground_truth|correct|expected|ideal|final|num|no|model|user|best|target)$"
)


def by_model(search: Search) -> bool:
    """Two are the sides of a verdict, more are a list; numbers under the same keys are their ratings."""
    if search.kind not in ("auto", "ranked_lists", "annotated_pairs"):
        return False
    responses = _in_object(search) or _in_columns(search)
    if len(responses) < 2:
        return False
    ratings = _numbers_of(search, set(responses))
    criteria = _criteria_of(search, set(responses))
    two = len(responses) == 2
    for side, (model, column) in zip("ab" if two else [""] * len(responses), responses.items(), strict=True):
        _say(search, f"response_{side}" if two else "responses", column.path)
        _say(search, f"policy_{side}" if two else "policies", Path(constant=model))
        if model in ratings:
            _say(search, f"rating_{side}" if two else "ratings", ratings[model].path)
        for name, inner in criteria.get(model, {}).items():
            _say(search, f"criterion_{side}.{name}" if two else f"criterion.{name}", inner.path)
    search.confidence = min(search.confidence, 0.8)
    return True


def _say(search: Search, role: str, path: Path) -> None:
    search.statements.append(Statement(role, path))


def _in_object(search: Search) -> dict[str, Column]:
    """`{"gpt-4": text, "llama": text}` in a column that is called as responses are."""
    for column in search.free("object"):
        name = plain(column.name)
        if column.path.listed or max(named("responses", name), named("response", name)) < 0.85:
            continue
        inner = [c for c in search.columns if c.path.steps[:-1] == column.path.steps]
        if len(inner) > 1 and all(c.spoken for c in inner):
            return {c.name: c for c in inner}
    return {}


def _in_columns(search: Search) -> dict[str, Column]:
    """`gpt4_response` and `llama_response`: the same word behind the names of models."""
    groups: dict[str, dict[str, Column]] = {}
    for column in search.free("text", "messages", "transcript"):
        match = OF_MODEL.match(plain(column.name))
        if match and not NOBODY.match(match[1]) and len(column.path.steps) == 1 and not column.is_id:
            groups.setdefault(match[2], {})[match[1]] = column
    return max(groups.values(), key=len, default={})


def _numbers_of(search: Search, models: set[str]) -> dict[str, Column]:
    """Numbers by model: `ratings.gpt-4`, or `gpt4_score`."""
    for column in search.free("object"):
        inner = {c.name: c for c in search.columns if c.path.steps[:-1] == column.path.steps}
        if named("rating", plain(column.name)) > 0 and models <= set(inner):
            return {m: inner[m] for m in models if inner[m].kind == "number"}
    columns = {}
    for column in search.free("number"):
        stem = re.sub(r"_(score|rating|reward|points)$", "", plain(column.name))
        if stem in models and stem != plain(column.name):
            columns[stem] = column
    return columns if set(columns) == models else {}


def _criteria_of(search: Search, models: set[str]) -> dict[str, dict[str, Column]]:
    """Numbers by model and criterion: `scores.gpt-4.truth`, each criterion of every model."""
    for column in search.free("object"):
        numbers, outer = search.free("number"), column.path.steps
        by_name = {
            model: {c.name: c for c in numbers if c.path.steps[:-1] == (*outer, model)} for model in models
        }
        shared = set.intersection(*(set(inner) for inner in by_name.values()))
        if named("rating", plain(column.name)) > 0 and shared:
            return {m: {n: c for n, c in inner.items() if n in shared} for m, inner in by_name.items()}
    return {}
