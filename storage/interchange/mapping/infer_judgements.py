"""Which columns judge, where no preset fits: verdicts on two, ranks and ratings of several, of one."""

from __future__ import annotations

import re

from storage.interchange import remedies
from storage.interchange.mapping import sides
from storage.interchange.mapping.cells import number_of, truth_of
from storage.interchange.mapping.comparing import find_comparisons, find_people_s_objects
from storage.interchange.mapping.conversations import end_with_assistant
from storage.interchange.mapping.infer_order import (
    CHOSEN_WORDS,
    find_order_or_best,
    flags,
    places,
    warn_of_order,
)
from storage.interchange.mapping.language import Path, Step
from storage.interchange.mapping.names import CRITERIA, named, plain, score, tokens
from storage.interchange.mapping.opinions import find_opinions
from storage.interchange.mapping.profile import Column
from storage.interchange.mapping.search import Search
from storage.interchange.mapping.verdicts import find_coding

ANNOTATOR = re.compile(r"^(annotator|judge|rater|labell?er|coder)[ _-]?\w+$", re.IGNORECASE)


def find_judgements(search: Search) -> None:
    """Find verdicts, ranks, ratings or labels of the responses found before, and who gave them."""
    if not search.has("response_a", "response_b"):
        find_people_s_objects(search)
        find_comparisons(search)
    if search.has("response_a", "response_b"):
        _find_verdicts(search)
    elif search.has("responses"):
        _find_list_judgements(search)
    elif search.has("response") or (search.has("prompt") and _answered(search)):
        _find_single_judgements(search)
    elif search.has("chosen", "rejected"):
        _find_ratings_of_sides(search)
        for column in search.free("number"):
            if tokens(column.name) & {"margin", "strength"}:
                search.give("strength", column)
                _tell_of_negative(search, column)
        if (tied := sides.tie_column(search)) is not None:
            search.give("won_tie", tied)


MARKS = frozenset({"id", "ids", "at", "time", "timestamp", "date", "created", "updated"})
RATED = frozenset({"score", "rating", "reward", "rm", "avg", "mean"})


def _find_ratings_of_sides(search: Search) -> None:
    """`score_chosen` beside `score_rejected`; `score` in the object that `chosen` is."""
    better, worse = (tokens(str(search.path(role).column)) for role in ("chosen", "rejected"))  # type: ignore[union-attr]
    for side, own, others in (("chosen", better, worse), ("rejected", worse, better)):
        for column in search.free("number", "numbers"):
            if column.kind == "numbers" and not _as_many(column, search.column(side)):
                continue
            said = frozenset[str]().union(*(tokens(s) for s in column.path.steps if isinstance(s, str)))
            if said & {side, *(own - others)} and tokens(column.name) & RATED and not column.path.listed:
                search.give(f"{side}_rating", column)


def _as_many(column: Column, answers: Column | None) -> bool:
    """Whether each list of a column is as long as the list of answers beside it."""
    return answers is not None and all(
        isinstance(b, list) and len(a) == len(b)
        for a, b in zip(column.values, answers.values, strict=True)
        if isinstance(a, list)
    )


def _tell_of_negative(search: Search, column: Column) -> None:
    """A margin below 0 may say that the rejected response is the better one."""
    below = sum((number_of(v) or 0) < 0 for v in column.present)
    if below:
        search.warnings.append(
            f'"{column.path}" is below 0 in {below} of the first {len(column.values)} rows, which may say'
            " that rejected is the better one there; chosen counts as better all the same"
        )


def _answered(search: Search) -> bool:
    prompt = search.column("prompt")
    if prompt is None or prompt.kind not in ("messages", "transcript"):
        return False
    return end_with_assistant(prompt.present[:20])


def _find_verdicts(search: Search) -> None:
    one_hot = sides.one_hot(search)
    for role, column in (one_hot := one_hot or _two_shares(search)).items():
        search.give(role, column)
    ends = sides.ends(search)
    mirrored = sides.mirrored(search)
    for column in _people_in(search, ends):
        stem = "winner" if CRITERIA.match(column.name) else "winner_by"
        search.give(f"{stem}.{column.name}", column, sure=0.8)
    _find_by_criterion(search, ends)
    if not one_hot and not _judged_already(search):
        find_opinions(search, ends)
    spoken = search.free("text", "number", "truth", "texts")
    for column in sorted(spoken, key=lambda c: -score("winner", c)):
        if (str(column.path) in mirrored and not ANNOTATOR.match(column.name)) or _is_mark(column):
            continue
        points = score("winner", column)
        if (
            ANNOTATOR.match(column.name)
            and not column.path.listed
            and find_coding(column.present, column.name, ends)
        ):
            search.give(f"winner_by.{column.name}", column)
        elif (
            points >= 0.5
            and not (one_hot or _judged_already(search) or column.path.listed)
            and (find_coding(column.present, column.name, ends) or sides.names_a_side(search, column))
        ):
            search.give("winner", column, sure=0.4 + 0.6 * points)
    if not one_hot and not any(s.role.partition(".")[0] == "winner" for s in search.statements):
        _find_several_verdicts(search, ends)
    if not one_hot and _judged_already(search) and (tied := sides.tie_column(search)) is not None:
        search.give("won_tie", tied)
    sides.two_sided_numbers(search)
    for column in search.free("number", "text"):
        if (
            tokens(column.name) & {"strength", "margin"}
            and not column.path.listed
            and column.kind == "number"
        ):
            search.give("strength", column)


def _is_mark(column: Column) -> bool:
    """`annotation_id`, `preference_time`: what belongs to a verdict and is none."""
    return bool(tokens(column.name) & MARKS) and not tokens(column.name) & (WINNING | CHOSEN_WORDS)


def _two_shares(search: Search) -> dict[str, Column]:
    """`[0.8, 0.2]`: what speaks for the first and for the second, in one list."""
    for column in search.free("numbers", "truths"):
        if column.path.listed or score("winner", column) < 0.5 or CRITERIA.match(column.name):
            continue
        rows = [[number_of(v) for v in row] for row in column.present if isinstance(row, list)]
        if not all(len(row) == 2 and all(n is not None and 0 <= n <= 1 for n in row) for row in rows):
            continue
        return {
            role: Column(Path((*column.path.steps, place)), [row[place] for row in rows])
            for role, place in (("won_a", 0), ("won_b", 1))
        }
    return {}


def _judged_already(search: Search) -> bool:
    return any(s.role.partition(".")[0] == "winner" for s in search.statements)


def _find_several_verdicts(search: Search, ends: tuple[str, str]) -> None:
    """Verdicts in a list, one an annotator; else a column of words that only verdicts have."""
    for column in search.free():
        if not column.path.listed:
            continue
        values = [v for row in column.present if isinstance(row, list) for v in row]
        if score("winner", column) >= 0.5 and find_coding(values, column.name, ends):
            search.give("winner", column, sure=0.8)
            people = [
                c
                for c in search.free()
                if c.path.list_prefix == column.path.list_prefix and score("annotator", c) > 0
            ]
            if people:
                search.give("annotator", people[0])
    if search.has("winner") or any(s.role.startswith("winner_by.") for s in search.statements):
        return
    _find_worded(search, ends)


def _find_by_criterion(search: Search, ends: tuple[str, str]) -> None:
    """`helpful_winner` beside `honest_winner`: a verdict a criterion; overall is the verdict itself."""
    by_criterion = {}
    for column in search.free("text", "number", "truth"):
        criterion = "_".join(t for t in plain(column.name).split("_") if t not in WINNING)
        judges = tokens(column.name) & WINNING and CRITERIA.match(criterion) and not column.path.listed
        if judges and find_coding(column.present, column.name, ends):
            by_criterion[criterion] = column
    if len(by_criterion) > 1:
        for criterion, column in by_criterion.items():
            search.give("winner" if criterion == "overall" else f"winner.{criterion}", column, sure=0.9)


def _people_in(search: Search, ends: tuple[str, str]) -> list[Column]:
    """An object of which every key is a person and every value a verdict."""
    for column in search.free("object"):
        inner = [c for c in search.columns if c.path.steps[:-1] == column.path.steps]
        if len(inner) > 1 and all(
            (coding := find_coding(c.present, c.name, ends)) is not None and coding.kind == "words"
            for c in inner
        ):
            return inner
    return []


def _find_worded(search: Search, ends: tuple[str, str]) -> None:
    """Columns of words that only verdicts have: one is the verdict, several a criterion or a person each."""
    worded_columns = []
    for column in search.free("text"):
        coding = find_coding(column.present, column.name, ends)
        if coding is not None and coding.kind == "words" and column.distinct <= 12 and not column.path.listed:
            worded_columns.append(column)
    for column in worded_columns:
        if len(worded_columns) == 1:
            search.give("winner", column, sure=0.8)
        elif CRITERIA.match(column.name):
            search.give(f"winner.{column.name}", column, sure=0.8)
        else:
            search.give(f"winner_by.{column.name}", column, sure=0.8)


def _find_list_judgements(search: Search) -> None:
    responses = search.path("responses")
    assert responses is not None
    listed = search.column("responses")
    lengths = [len(v) for v in (listed.values if listed else []) if isinstance(v, list)]
    _find_people_s_lists(search, responses.list_prefix, lengths)
    for column in search.free():
        same_list = column.path.listed and column.path.list_prefix == responses.list_prefix
        if column.kind not in ("numbers", "truths") or not (same_list or not column.path.listed):
            continue
        if not same_list and listed is not None and not _mostly_as_long(column, listed):
            continue
        if same_list and tokens(column.name) & CHOSEN_WORDS and flags(column):
            search.give("best", column, sure=0.9)
        elif score("rank", column) > 0 or (same_list and places(column)):
            search.give("ranks", column)
            if not same_list:
                warn_of_order(search, column)
        elif score("rating", column) > 0 and not search.has("ratings"):
            search.give("ratings", column)
        elif CRITERIA.match(column.name) or (
            same_list and re.fullmatch(r"ratings?|scores?", column.name, re.I)
        ):
            search.give(f"criterion.{column.name}", column, sure=0.9)
        elif len(column.path.steps) > len(responses.list_prefix) + 2 and same_list:
            inner = [s for s in column.path.steps if isinstance(s, str)]
            search.give(f"criterion.{inner[-1]}", column, sure=0.9)
        elif (
            len(column.path.steps) == 2
            and named("rating", plain(str(column.path.column))) > 0
            and not search.has("ratings_by_annotator")
        ):
            search.give(f"criterion.{column.name}", column, sure=0.9)
    _tell_of_keys(search)
    find_order_or_best(search, max(lengths, default=0))


def _tell_of_keys(search: Search) -> None:
    """`ratings: {"ada": […], "bob": […]}`: keys that are no usual criteria can be people."""
    odd: dict[str, list[str]] = {}
    for statement in search.statements:
        path = statement.path
        if statement.role.startswith("criterion.") and len(path.steps) == 2 and not path.listed:
            odd.setdefault(path.column, []).append(str(path.steps[1]))
    for column, keys in odd.items():
        if not any(CRITERIA.match(key) for key in keys):
            search.warnings.append(
                f'{", ".join(keys[:4])} in "{column}" are taken for criteria; where they are annotators:'
                f" {remedies.column('ratings_by_annotator', Path((column,)))}"
            )


def _mostly_as_long(column: Column, listed: Column) -> bool:
    """A number for each response in most rows; the others are left out, each with its reason."""
    lists = [
        (len(a), len(b))
        for a, b in zip(column.values, listed.values, strict=True)
        if isinstance(a, list) and isinstance(b, list)
    ]
    longer = sum(size > count for size, count in lists)
    return longer <= len(lists) / 2


def _find_people_s_lists(search: Search, prefix: tuple[Step, ...], lengths: list[int]) -> None:
    """`rankings[].ranks`: people in a list, each with a number for every response."""
    for column in search.free():
        if not column.path.listed or column.path.list_prefix == prefix or not lengths:
            continue
        elements = [each for row in column.present if isinstance(row, list) for each in row]
        whole = all(
            isinstance(v, list) and len(v) in lengths and all(number_of(n) is not None for n in v)
            for v in elements
        )
        role = "ranks" if score("rank", column) > 0 else "ratings" if score("rating", column) > 0 else ""
        if not elements or not whole or not role or search.has(role):
            continue
        search.give(role, column, sure=0.9)
        people = [c for c in search.free() if c.path.list_prefix == column.path.list_prefix]
        named_ones = [c for c in people if score("annotator", c) > 0]
        if named_ones:
            search.give("annotator", named_ones[0])


def _find_single_judgements(search: Search) -> None:
    if search.has("response"):
        _find_ratings_of_people(search)
    for column in search.free("number", "truth", "text"):
        if column.path.listed:
            continue
        if column.kind == "number" and score("rank", column) > 0:
            search.give("rank", column)
        elif (
            column.kind != "number"
            and column.kind != "truth"
            and not all(truth_of(v) is not None for v in column.present)
        ):
            continue
        elif (
            score("label", column) > 0
            and column.present
            and all(truth_of(v) is not None for v in column.present)
        ):
            search.give("label", column)
        elif column.kind == "number" and score("rating", column) > 0 and not search.has("rating"):
            search.give("rating", column)
        elif column.kind == "number" and CRITERIA.match(column.name):
            search.give(f"criterion.{column.name}", column)


def _find_ratings_of_people(search: Search) -> None:
    """Lists of numbers beside one response: each rating is of a person of its own."""
    found = []
    for column in search.free("numbers"):
        rated = column.name.lower() in ("rating", "ratings", "score", "scores") and not search.has("rating")
        if (rated or CRITERIA.match(column.name)) and not column.path.listed:
            search.give("rating" if rated else f"criterion.{column.name}", column, sure=0.8)
            found.append(f'"{column.path}"')
    if found:
        search.warnings.append(
            f"ratings of one response stand in a list ({', '.join(found)}); the first of each is taken for"
            " one annotator's, the second for another's, and so on"
        )


WINNING = frozenset(
    {"winner", "preference", "preferred", "pref", "choice", "better", "verdict", "vote", "best", "selected"}
)
JUDGING = (
    *("rank", "rating", "label", "criterion", "chosen", "winner", "winner_by", "ranks", "ratings", "best"),
    *("won_a", "rating_a", "criterion_a", "order", "comparisons", "ranks_by_annotator"),
    "ratings_by_annotator",
)


def is_judged(search: Search) -> bool:
    """Whether anything that was found judges."""
    return any(s.role.partition(".")[0] in JUDGING for s in search.statements)
