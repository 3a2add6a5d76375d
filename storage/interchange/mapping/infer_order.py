"""Which of a list's responses is the best, or their whole order, where no preset fits."""

from __future__ import annotations

import re

from storage.interchange import remedies
from storage.interchange.mapping.cells import number_of, truth_of
from storage.interchange.mapping.orders import chosen_place, order_of, reads_both_ways
from storage.interchange.mapping.profile import Column
from storage.interchange.mapping.search import Search


def warn_of_order(search: Search, column: Column) -> None:
    rows = [[number_of(v) for v in row] for row in column.present if isinstance(row, list)]
    if reads_both_ways(rows) and re.search("order|ranking", column.name, re.I):
        search.warnings.append(
            f'"{column.name}" leaves open what it lists: taken as the rank of each response; where it lists'
            f" the responses' places from the best one's on: {remedies.column('order', column.path)}"
        )


BEST = re.compile(
    r"^(?!is_|has_|num_|second_)(.*_)?(best|better|chosen|preferred|selected|choice|winner)"
    r"(_?(response|answer|output|completion|candidate|choice|model))?(_?(index|idx|id))?$",
    re.I,
)


def find_order_or_best(search: Search, longest: int) -> None:
    """The whole order in a text, or the best one by its place, letter or name."""
    columns = [str(s.path) for s in search.statements if s.role == "responses"]
    length = max(longest, len(columns))
    policies = [s.path.constant for s in search.statements if s.role == "policies"]
    for column in search.free("text"):
        orders = column.texts and all(order_of(v, length) for v in column.texts)
        if orders and not column.path.listed and not search.has("ranks"):
            search.give("ranks", column, sure=0.9)
    for column in search.free("number", "text"):
        if column.path.listed or not BEST.match(column.name):
            continue
        listed = search.column("policies")
        names = [name for row in listed.present for name in row] if listed else policies
        if column.kind == "number" or all(
            v in names or chosen_place(v, length, columns, ()) is not None for v in column.texts
        ):
            search.give("best", column, sure=0.8)


CHOSEN_WORDS = frozenset(("chosen", "preferred", "selected", "best", "winner", "favorite", "favourite"))


def flags(column: Column) -> bool:
    """Whether lists say of each element true or false, or 1 or 0."""
    return all(truth_of(v) is not None for row in column.present if isinstance(row, list) for v in row)


def places(column: Column) -> bool:
    """Whether a list's numbers are the places of its elements, and not merely their order in the list."""
    if column.name.lower() not in ("position", "place", "order", "standing"):
        return False
    rows = [[number_of(v) for v in row] for row in column.present if isinstance(row, list)]
    orders = [sorted(row, key=lambda n: n or 0.0) for row in rows]
    permuted = all(
        order in ([float(n) for n in range(len(row))], [float(n + 1) for n in range(len(row))])
        for row, order in zip(rows, orders, strict=True)
    )
    return bool(rows) and permuted and any(row != order for row, order in zip(rows, orders, strict=True))
