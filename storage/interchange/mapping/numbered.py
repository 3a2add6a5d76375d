"""Responses in numbered columns: `response_1 … response_4`, or `rank_1 … rank_3` that hold texts."""

from __future__ import annotations

import re

from storage.interchange.mapping.language import Path, Statement
from storage.interchange.mapping.names import named, plain
from storage.interchange.mapping.profile import Column
from storage.interchange.mapping.search import Search

NUMBERED = re.compile(r"(.*?)_?(\d{1,3}|[a-h])")
RANKED = ("rank", "ranked", "place", "top")


def numbered(search: Search) -> bool:
    """Three or more side by side are a list, with what is numbered alike; `rank_1` holds the best one."""
    if search.kind not in ("auto", "ranked_lists"):
        return False
    groups: dict[str, dict[str, Column]] = {}
    for column in search.free("text", "messages", "transcript"):
        match = NUMBERED.fullmatch(plain(column.name))
        if match and match[1] and not column.path.listed and _are_answers(match[1]):
            groups.setdefault(match[1], {})[match[2]] = column
    stem = max(groups, key=lambda name: len(groups[name]), default="")
    found = groups.get(stem, {})
    if len(found) < 3 or (stem in RANKED and not all(end.isdigit() for end in found)):
        return False
    for end, column in found.items():
        search.statements.append(Statement("responses", column.path))
        if stem in RANKED:
            search.statements.append(Statement("ranks", Path(constant=end)))
    if stem in RANKED:
        best = min(found, key=int)
        search.warnings.append(f'"{found[best].name}" is taken for the best response, and so on')
        search.confidence = min(search.confidence, 0.8)
    _aligned(search, found)
    return True


def _are_answers(stem: str) -> bool:
    return stem in RANKED or named("responses", stem + "s") + named("response", stem) > 0


def _aligned(search: Search, found: dict[str, Column]) -> None:
    """Policies, ranks and ratings that are numbered as the responses are."""
    for role, name, kinds in (
        ("policies", "policy", ("text",)),
        ("ranks", "rank", ("number",)),
        ("ratings", "rating", ("number",)),
    ):
        aligned = {}
        for column in search.free(*kinds):
            match = NUMBERED.fullmatch(plain(column.name))
            if match and named(name, match[1]) > 0:
                aligned[match[2]] = column
        if all(end in aligned for end in found) and not search.has(role):
            search.statements += [Statement(role, aligned[end].path) for end in found]
