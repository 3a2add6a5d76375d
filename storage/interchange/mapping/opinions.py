"""Verdicts on two responses in plain lists: `preferences: ["a", "b", "tie"]`, one a person."""

from __future__ import annotations

from typing import Any

from storage.interchange import remedies
from storage.interchange.mapping.language import Each, Path
from storage.interchange.mapping.names import score, tokens
from storage.interchange.mapping.profile import Column
from storage.interchange.mapping.search import Search
from storage.interchange.mapping.verdicts import find_coding

OF_PEOPLE = frozenset(
    ("annotator", "annotators", "rater", "raters", "judge", "judges", "worker", "workers", "people", "human")
)
MANY = OF_PEOPLE | frozenset(
    ("preferences", "votes", "labels", "judgments", "judgements", "verdicts", "annotations", "opinions")
)


def find_opinions(search: Search, ends: tuple[str, str]) -> None:
    """Each element is a verdict of a person of its own, whose names can stand in a list beside.

    A list of two sides can also say that both are ticked, so it has to be called as many verdicts are, or to
    say something that ticks cannot.
    """
    for column in search.free("texts", "numbers"):
        rows = [row for row in column.present if isinstance(row, list)]
        people = _people_beside(search, column)
        if column.path.listed or score("winner", column) < 0.5 or not _of_many(column, rows, people):
            continue
        coding = find_coding([value for row in rows for value in row], column.name, ends)
        if coding is None:
            continue
        path = Path((*column.path.steps, Each()))
        search.give("winner", Column(path, column.values), sure=0.9)
        search.codings[str(path)] = coding
        search.warnings += [coding.warning] if coding.warning else []
        if people is not None:
            search.give("annotator", Column(Path((*people.path.steps, Each())), people.values))
        else:
            search.warnings.append(
                f'"{column.path}" is taken for verdicts of several annotators, in one order; where a list is'
                f" one verdict: {remedies.column('winner', column.path)}"
            )
        return


def _of_many(column: Column, rows: list[list[Any]], people: Column | None) -> bool:
    """Whether a list's elements are verdicts of several people, and not sides that one person ticked."""
    if not rows or all(len(row) < 2 for row in rows):
        return False
    if people is not None:
        return True
    called = bool(tokens(column.name) & MANY)
    if column.kind == "numbers" and all(len(row) == 2 for row in rows):
        return bool(tokens(column.name) & OF_PEOPLE)  # two numbers can be one of each side
    return called or any(len(row) > 2 or len(set(map(str, row))) < len(row) for row in rows)


def _people_beside(search: Search, column: Column) -> Column | None:
    """A list of names, in each row as long as the list of verdicts."""
    for other in search.free("texts", "numbers"):
        if other is column or other.path.listed or score("annotator", other) == 0:
            continue
        pairs = [(a, b) for a, b in zip(column.values, other.values, strict=True) if isinstance(a, list)]
        if all(isinstance(b, list) and len(a) == len(b) for a, b in pairs):
            return other
    return None
