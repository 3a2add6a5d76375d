"""Several comparisons in one row: `pairs: [[0, 1], …]`, `comparisons: [{"a": 0, "b": 2, "winner": "b"}, …]`.

A side is the place of a response in the row's list, counted from 0, or its text.  Where a row has no list of
responses, they are the texts that it compares.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from storage.interchange import remedies
from storage.interchange.clean import clean_text
from storage.interchange.mapping.cells import RowError, cleaned, missing, name_of, number_of, parsed
from storage.interchange.mapping.language import REVERSED, Statement
from storage.interchange.mapping.names import named, plain, tokens
from storage.interchange.mapping.search import Search
from storage.interchange.mapping.verdict_words import worded

ORDERED = (
    ("chosen", "rejected"),
    ("winner", "loser"),
    ("better", "worse"),
    ("preferred", "dispreferred"),
    ("preferred", "rejected"),
    ("best", "worst"),
)
SIDES = (
    *(("a", "b"), ("left", "right"), ("first", "second"), ("1", "2")),
    *(
        (f"{word}_{a}", f"{word}_{b}")
        for word in ("response", "answer", "candidate")
        for a, b in ("ab", "12")
    ),
)
VERDICT = ("winner", "preference", "preferred", "choice", "verdict", "better", "label")
NAMES = {"pair", "pairs", "comparison", "comparisons", "preference", "preferences", "pairwise"} | {
    *("judgements", "judgments", "verdicts", "votes", "annotations", "duels", "battles")
}
NO_VERDICT = "comparisons without a verdict in a list of them"
UNREADABLE = "a comparison in its list cannot be read"


@dataclass(frozen=True)
class Comparison:
    """`sides` are places or texts; `better` is a, b, tie, bad or skip."""

    sides: tuple[int | str, int | str]
    better: str
    annotator: str | None = None
    strength: float | None = None
    metadata: dict[str, Any] | None = None


def comparisons_of(value: Any, statement: Statement, dropped: Counter[str]) -> list[Comparison]:
    """What a cell compares.  Raises RowError where one of its elements cannot be read."""
    if isinstance(value, str):
        value = parsed(value)
    if missing(value):
        return []
    if not isinstance(value, list):
        raise RowError(f'"{statement.path}" is not a list of comparisons')
    found = []
    for element in value:
        read = _read(element)
        if read is None:
            raise RowError(UNREADABLE)
        if read.better == "skip":
            dropped[NO_VERDICT] += 1
            continue
        better = read.better
        if statement.coding == REVERSED:
            better = {"a": "b", "b": "a"}.get(better, better)
        found.append(Comparison(read.sides, better, read.annotator, read.strength, read.metadata))
    return found


def _read(element: Any) -> Comparison | None:
    """One element; None where it is no comparison."""
    if isinstance(element, list) and len(element) == 2:
        sides = _side(element[0]), _side(element[1])
        return None if sides[0] is None or sides[1] is None else Comparison((sides[0], sides[1]), "a")
    if not isinstance(element, dict):
        return None
    keys = {plain(str(key)): key for key in element}
    for names in (*ORDERED, *SIDES):
        if not (names[0] in keys and names[1] in keys):
            continue
        a, b = (_side(element[keys[name]]) for name in names)
        if a is None or b is None:
            return None
        used = {keys[name] for name in names}
        if names in ORDERED:
            return _with_rest(element, used, (a, b), "a")
        judging = next((keys[name] for name in VERDICT if name in keys), None)
        better = "skip" if judging is None else _better(element[judging], (a, b))
        used |= set() if judging is None else {judging}
        return None if better is None else _with_rest(element, used, (a, b), better)
    return None


def _with_rest(
    element: dict[str, Any], used: set[str], sides: tuple[int | str, int | str], better: str
) -> Comparison:
    """With who judged, how much better, and everything else that the element says."""
    people = [key for key in element if key not in used and named("annotator", plain(str(key))) > 0]
    annotator = name_of(element[people[0]]) if people else None
    strengths = [key for key in element if plain(str(key)) in ("strength", "margin") and key not in used]
    strength = number_of(element[strengths[0]]) if strengths else None
    used = used | set(people[:1]) | (set(strengths[:1]) if strength is not None else set())
    rest = {k: v for k, v in element.items() if k not in used and v not in (None, "", [], {})}
    return Comparison(sides, better, annotator, strength, cleaned(rest) if rest else None)


def _side(value: Any) -> int | str | None:
    if isinstance(value, str):
        return clean_text(value) if value.strip() else None
    if isinstance(value, bool) or not isinstance(value, int | float) or value != int(value):
        return None
    return int(value)


def _better(value: Any, sides: tuple[int | str, int | str]) -> str | None:
    """a, b, tie …; None where nothing says which side is meant."""
    if missing(value):
        return "skip"
    side = _side(value)
    if side in sides:
        return "ab"[sides.index(side)]
    verdict = worded(value)
    return verdict.better if verdict else None


def texts_compared(comparisons: Sequence[Comparison]) -> list[str]:
    """The responses of a row that has no list of them, each once, in the order in which they are named."""
    texts = [side for each in comparisons for side in each.sides]
    if not all(isinstance(text, str) for text in texts):
        raise RowError("its comparisons name responses by their places, and there is no list of responses")
    return list(dict.fromkeys(map(str, texts)))


def places_of(comparison: Comparison, texts: Sequence[str], places: Sequence[int]) -> tuple[int, int]:
    """Where both sides stand among the responses that are kept, which stand in their list at `places`."""
    found = []
    for side in comparison.sides:
        if isinstance(side, int) and side in places:
            found.append(places.index(side))
        elif isinstance(side, str) and side in texts:
            found.append(texts.index(side))
        else:
            raise RowError("a comparison names a response that is not in the list")
    if found[0] == found[1]:
        raise RowError("a comparison names one response twice")
    return found[0], found[1]


# --- which columns hold some -----------------------------------------------------------------------------


def find_comparisons(search: Search) -> None:
    """The role `comparisons`, where nothing else judges; what leaves its meaning open is told."""
    judged = ("ranks", "ratings", "best", "order", "comparisons", "ranks_by_annotator", "chosen", "response")
    if search.kind not in ("auto", "ranked_lists") or any(search.has(role) for role in judged):
        return
    listed = search.column("responses")
    for column in search.free("objects", "other", "numbers"):
        if column.path.listed or not tokens(column.name) & NAMES or not column.present:
            continue
        rows = [(v, listed.values[n] if listed else None) for n, v in enumerate(column.values)]
        found = [_known(value, responses) for value, responses in rows if value not in (None, [], "")]
        known = [row for row in found if row is not None]
        said = [one for row in known for one in row]
        if not said or len(known) <= len(found) / 2:
            continue
        role = remedies.column("comparisons", column.path)
        other = remedies.reverse("comparisons", column.path)
        if (left_open := _left_open(said)) is not None:
            search.warnings.append(
                f'"{column.name}" {left_open}, so it is only metadata; to use it: {role}'
                + (f", or where the second one is better: {other}" if left_open is DIRECTION else "")
            )
            return
        if any(isinstance(element, list) for _, element in said):
            search.warnings.append(
                f'of each pair in "{column.name}" the first is taken for the better one; where it is the'
                f" second: {other}"
            )
        search.give("comparisons", column, sure=0.8)
        return


DIRECTION = "pairs responses and does not say which one is better"


def _left_open(said: Sequence[tuple[Comparison, Any]]) -> str | None:
    """What a person has to say of comparisons that can be read in two ways."""
    sides = [side for each, _ in said for side in each.sides if isinstance(side, int)]
    if sides and 0 not in sides:
        return "names responses by places that are counted from 0 or from 1"
    if any(_open_winner(each, element) for each, element in said):
        return "has a winner that is the place of a response or one of the two sides"
    pairs = [each.sides for each, element in said if isinstance(element, list)]
    if pairs and not any(isinstance(a, int) and isinstance(b, int) and a > b for a, b in pairs):
        return DIRECTION
    return None


def _known(value: Any, responses: Any) -> list[tuple[Comparison, Any]] | None:
    """The comparisons of a cell with the elements that say them; None where one fits no response."""
    if isinstance(value, str):
        value = parsed(value)
    if not isinstance(value, list):
        return None
    found = []
    for element in value:
        each = _read(element)
        if each is None or not all(_fits(side, responses) for side in each.sides):
            return None
        found.append((each, element))
    return found


def _fits(side: int | str, responses: Any) -> bool:
    if isinstance(responses, str):
        responses = parsed(responses)
    if not isinstance(responses, list):
        return isinstance(side, str)
    if isinstance(side, int):
        return 0 <= side < len(responses)
    return side in [clean_text(r) for r in responses if isinstance(r, str)]


def _open_winner(each: Comparison, element: Any) -> bool:
    """`{"a": 1, "b": 0, "winner": 0}`: the response 0 or the side 0."""
    if not isinstance(element, dict) or not all(isinstance(side, int) for side in each.sides):
        return False
    keys = {plain(str(key)): value for key, value in element.items()}
    if not any(set(names) <= set(keys) for names in SIDES):
        return False
    place = _side(next((keys[name] for name in VERDICT if name in keys), None))
    return isinstance(place, int) and place in (0, 1) and each.sides[place] != place


def find_people_s_objects(search: Search) -> None:
    """`rankings: {"ada": [2, 1, 3], "bob": […]}`: by annotator, a rank of each response."""
    listed = search.column("responses")
    if listed is None or search.kind not in ("auto", "ranked_lists"):
        return
    for column in search.free("object"):
        rows = list(zip(column.values, listed.values, strict=True))
        lists = [
            (each, len(responses))
            for value, responses in rows
            if isinstance(value, dict) and isinstance(responses, list)
            for each in value.values()
        ]
        if not lists or not all(_numbers(each) and len(each) == length for each, length in lists):
            continue
        ranked = named("rank", plain(column.name)) > 0
        if ranked or tokens(column.name) >= {"ratings", "by", "annotator"}:
            search.give("ranks_by_annotator" if ranked else "ratings_by_annotator", column, sure=0.8)
            if ranked:
                search.warnings.append(
                    f'"{column.name}" is taken for the rank of each response, 1 the best, by annotator'
                )
            return


def _numbers(value: Any) -> bool:
    return isinstance(value, list) and all(v is None or number_of(v) is not None for v in value)
