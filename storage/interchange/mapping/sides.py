"""Columns that stand once for each of two sides: which side they are of, outcomes, numbers, policies."""

from __future__ import annotations

import re
from collections.abc import Iterable
from typing import Any

from storage.interchange.mapping.cells import outcome_of, same_name
from storage.interchange.mapping.language import Path
from storage.interchange.mapping.names import CRITERIA, plain, score, tokens
from storage.interchange.mapping.profile import Column
from storage.interchange.mapping.search import Search
from storage.interchange.mapping.verdict_words import worded

ASKED = frozenset(("prompt", "question", "instruction", "query"))
TIES = frozenset(("tie", "ties", "tied", "draw", "equal"))
TIED = re.compile(r"^(is_?)?(a_?)?(tie|tied|draw|equal|both_equal|equally_good)(_vote)?$")
SIDES = (
    ("a", "b"),
    ("1", "2"),
    ("0", "1"),
    ("left", "right"),
    ("first", "second"),
    ("one", "two"),
    ("x", "y"),
)


def turned_name(name: str, left: str, right: str) -> str | None:
    """`response_a` → `response_b`, `answer1` → `answer2`; None where `left` is no part of the name."""
    turned, count = re.subn(rf"(?<![a-z0-9]){left}(?![a-z0-9])", right, name.replace("_", " "), count=1)
    if count:
        return turned.replace(" ", "_")
    if left.isdigit() and (inner := re.search(rf"(?<=[a-z_]){left}(?=_|$)", name)):  # answer1, answer1_body
        return name[: inner.start()] + right + name[inner.end() :]
    if (
        len(left) == 1
        and left.isalpha()
        and re.search(rf"(response|answer|output|completion|text|reply|summary|model){left}$", name)
    ):
        return name[:-1] + right
    return None


def asked_apart(search: Search, left: str, right: str) -> bool:
    """`prompt_1` beside `prompt_2`, which differ: two questions of one row, and not two sides of one."""
    spoken = {plain(c.name): c for c in search.free("text", "messages", "transcript") if not c.path.listed}
    for name, column in spoken.items():
        other = spoken.get(turned_name(name, left, right) or "")
        if other is not None and tokens(name) & ASKED and column.values != other.values:
            return True
    return False


def one_hot(search: Search) -> dict[str, Column]:
    """`winner_model_a`, `winner_model_b`, `winner_tie`: one column an outcome: truths or shares."""
    free = {_whole_name(c): c for c in search.free("number", "truth", "text") if not c.path.listed}
    for name, column in free.items():
        for left, right in SIDES:
            other = free.get(turned_name(name, left, right) or "")
            if other is None or not tokens(name) & {
                "winner",
                "preference",
                "preferences",
                "win",
                "wins",
                "won",
                "preferred",
                "votes",
                "prefer",
                "better",
                "prob",
                "p",
                "choice",
                "selected",
            }:
                continue
            if not _shares(column.present) or not _shares(other.present):
                continue
            columns = {"won_a": column, "won_b": other}
            ties = [c for n, c in free.items() if tokens(n) & TIES and _shares(c.present)]
            return columns | ({"won_tie": ties[0]} if ties else {})
    return {}


def _whole_name(column: Column) -> str:
    """`preference_a` of `preference.a`."""
    return plain("_".join(str(step) for step in column.path.steps))


def _shares(values: Iterable[object]) -> bool:
    numbers = [outcome_of(v) for v in values]
    return all(n is not None and n >= 0 for n in numbers)


def tie_column(search: Search) -> Column | None:
    """`is_tie`, `both_equal`: a truth in each row that stands above another column's verdict."""
    for column in search.free("truth", "number", "text"):
        if column.path.listed or not TIED.match(plain(column.name)):
            continue
        if column.present and all(outcome_of(v) in (0.0, 1.0) for v in column.present):
            return column
    return None


def mirrored(search: Search) -> set[str]:
    """Numbers that stand once for each side, as score_a and score_b: none of them is a verdict."""
    free = {_whole_name(c): c for c in search.free("number", "truth") if not c.path.listed}
    pairs = [(c, free.get(turned_name(name, *side) or "")) for name, c in free.items() for side in SIDES]
    return {str(c.path) for a, b in pairs if b is not None for c in (a, b)}


def two_sided_numbers(search: Search) -> None:
    """`score_a` and `score_b`: a rating of each; several such pairs are criteria."""
    _two_in_a_list(search)
    free = {_whole_name(c): c for c in search.free("number") if not c.path.listed}
    for name, column in free.items():
        for left, right in SIDES:
            other = free.get(turned_name(name, left, right) or "")
            if other is None or not (
                re.search(r"score|rating|reward|upvotes|votes|karma|likes|(^|_)ups(_|$)", name)
                or CRITERIA.match(name)
            ):
                continue
            stem = re.sub(rf"(^|_)({left})(_|$)", "_", name).strip("_") or name
            if search.has("rating_a") or not re.search(
                r"score|rating|reward|votes|karma|likes|(^|_)ups(_|$)", stem
            ):
                search.give(f"criterion_a.{stem}", column)
                search.give(f"criterion_b.{stem}", other)
            else:
                search.give("rating_a", column)
                search.give("rating_b", other)
            break


def _two_in_a_list(search: Search) -> None:
    """`score: [8, 5]` beside two responses: a rating of each."""
    for column in search.free("numbers"):
        rows = [row for row in column.present if isinstance(row, list)]
        two = rows and all(len(row) == 2 for row in rows) and not column.path.listed
        if two and score("rating", column) > 0 and not search.has("rating_a"):
            for place, role in enumerate(("rating_a", "rating_b")):
                path = Path((*column.path.steps, place))
                search.give(role, Column(path, [row[place] for row in rows]), sure=0.9)


def ends(search: Search) -> tuple[str, str]:
    """How the two responses' columns end: a and b, 1 and 2, 0 and 1."""
    a, b = search.path("response_a"), search.path("response_b")
    if a is None or b is None:
        return ("a", "b")
    for left, right in SIDES:
        names = [plain(next((s for s in reversed(p.steps) if isinstance(s, str)), "")) for p in (a, b)]
        if turned_name(names[0], left, right) == names[1]:
            return (left, right)
    return ("a", "b")


def side_policy(search: Search, role: str, side: str) -> None:
    """The column that names one side's policy: `model_a` beside `response_a`."""
    path = search.path(side)
    if path is None:
        return
    word = {
        "policy_a": ends(search)[0],
        "policy_b": ends(search)[1],
        "chosen_policy": "chosen",
        "rejected_policy": "rejected",
    }[role]
    for column in search.free("text"):
        name = plain(column.name)
        base = re.sub(rf"(^|_)?{word}(_|$)", "_", name).strip("_") if word in name else ""
        alternatives = {"policy_a": ("a", "1", "left"), "policy_b": ("b", "2", "right")}.get(role, ())
        for other in alternatives:
            if not base and re.search(rf"(^|_){other}$|[a-z]{other}$", name):
                base = re.sub(rf"_?{other}$", "", name)
        if (
            base
            and re.search(r"(^|_)(model|policy|generator|llm|engine)(_name|_id)?$|^model", base)
            and not column.path.listed
        ):
            search.give(role, column)
            return


def names_a_side(search: Search, column: Column) -> bool:
    """Whether a column holds, row by row, one side's policy or the very response, or a verdict in words."""
    return any(_names_one(search, column, what) for what in ("policy", "response"))


def _names_one(search: Search, column: Column, what: str) -> bool:
    paths = [search.path(f"{what}_{side}") for side in "ab"]
    columns = [search.column(f"{what}_{side}") for side in "ab"]
    if column.kind not in ("text", "transcript"):
        return False
    own = [path.steps[-1] for path in paths if path is not None and path.steps] if what == "response" else []
    values: list[list[Any]] = []
    for path, named in zip(paths, columns, strict=True):
        if named is not None:
            values.append(named.values)
        elif path is not None and path.constant is not None:
            values.append([path.constant] * len(column.values))
        else:
            return False
    read = named_side = 0
    for value, a, b in zip(column.values, *values, strict=True):
        if isinstance(value, str) and value:
            read += 1
            hit = any(same_name(value, side) for side in (a, b, *own))
            named_side += hit or worded(value) is not None
    return read > 0 and named_side == read
