"""Answers among the columns: better and worse, two or more side by side, lists, one a row."""

from __future__ import annotations

import re
from collections.abc import Iterable

from storage.interchange import remedies
from storage.interchange.mapping.by_model import by_model
from storage.interchange.mapping.cells import is_step_label
from storage.interchange.mapping.conversations import end_with_assistant
from storage.interchange.mapping.names import named, plain, score, tokens
from storage.interchange.mapping.numbered import numbered
from storage.interchange.mapping.profile import Column
from storage.interchange.mapping.search import Search
from storage.interchange.mapping.sides import SIDES, asked_apart, turned_name

BETTER = (
    ("chosen", "rejected"),
    ("winner", "loser"),
    ("win", "lose"),
    ("better", "worse"),
    ("preferred", "dispreferred"),
    ("preferred", "rejected"),
    ("preferred", "nonpreferred"),
    ("positive", "negative"),
    ("good", "bad"),
    ("accepted", "rejected"),
    ("accepted", "refused"),
    ("pos", "neg"),
    ("best", "worst"),
    ("winning", "losing"),
    ("desirable", "undesirable"),
    ("selected", "rejected"),
    ("safe", "unsafe"),
    ("human_preferred", "human_rejected"),
    ("preferred", "non_preferred"),
    ("yw", "yl"),
    ("w", "l"),
    ("chosen", "reject"),
    ("yes", "no"),
    ("high", "low"),
    ("liked", "disliked"),
    ("j", "k"),
)
THIRDS = (("1", "3"), ("a", "c"), ("0", "2"), ("x", "z"), ("first", "third"), ("one", "three"))
ABOUT_A_ROW = ("extra_info", "extra", "metadata", "meta", "additional_metadata", "reward_model")
CONTENT = ("text", "messages", "transcript", "texts", "objects", "chats")
NO_ANSWER = re.compile(
    r"(^|_)((id|ids|hash|uuid|url|name|type|date|time|lang|language|at|utc)(_|$)|(model|policy|title|source)$)"
)
WORSE = re.compile(
    r"^(?:(?:rejected|dispreferred|non_preferred|worse|losing|negative|bad)_(\w+)|(\w+)_(?:rejected|dispreferred))$"
)
WHOLE = ("response", "responses", "messages", "answer", "output", "completion", "conversation")
STEP_LABEL = re.compile(r"^(labels?|(step_)?ratings?|step_labels|step_scores|scores?|correct|is_correct)$")
TEXT_OF_ITEM = re.compile(
    r"^(text|response|answer|completion|output|content|generated_text|summary|message|reply|value|messages|generation|body|model_output)$",
    re.I,
)


def find_answers(search: Search) -> None:
    """Gives out chosen and rejected, response_a and response_b, responses, or response."""
    if any(search.has(r) for r in ("chosen", "response_a", "responses", "response", "steps")):
        _complete(search)
        return
    for find in (_steps, _better, _side_by_side, numbered, by_model, _list, _single):
        if find(search):
            return


def by_plain_name(columns: Iterable[Column]) -> dict[str, Column]:
    """Of columns with one name that which is no number, then the outermost, then the one written plainly."""
    found: dict[str, Column] = {}
    for column in columns:
        found.setdefault(plain(column.name), column)
        found[plain(column.name)] = min(found[plain(column.name)], column, key=_farther)
    return found


def _farther(column: Column) -> tuple[bool, int, bool]:
    return column.kind == "number", len(column.path.steps), column.name != plain(column.name)


def _complete(search: Search) -> None:
    """The other side of what the user has named."""
    if search.has("chosen") != search.has("rejected"):
        _better(search)
    elif search.has("response_a") != search.has("response_b"):
        _side_by_side(search)


def _steps(search: Search) -> bool:
    """A list of texts beside a list of truths of the same length: a solution step by step."""
    if search.kind not in ("auto", "steps"):
        return False
    labels = [c for c in search.free("truths", "numbers", "texts") if STEP_LABEL.search(plain(c.name))]
    for column in search.free("texts"):
        whole = str(next((s for s in column.path.steps if isinstance(s, str)), ""))
        stepped = "steps" in tokens(whole)
        if not stepped and (plain(column.name) != "completions" or column.path.listed):
            continue
        if column.path.listed and not TEXT_OF_ITEM.match(column.name) and column.name != "step":
            continue
        for label in labels:
            truths = label.kind == "truths" or stepped or _marks_steps(label)
            if truths and label is not column and _alike_long(column, label):
                search.give("steps", column)
                search.give("step_labels", label)
                if label.kind != "truths" and not stepped:
                    search.warnings.append(
                        f'"{column.path}" is read as the steps of one response; where they are rivals:'
                        f" {remedies.column('responses', column.path)} and"
                        f" {remedies.column('ratings', label.path)}"
                    )
                return True
        if stepped and not _answers_beside(search, column):
            search.give("steps", column, sure=0.8)
            return True
    return False


def _marks_steps(label: Column) -> bool:
    """TRL's `labels` as numbers: right and wrong, or PRM800K's −1, 0 and 1."""
    rows = [row for row in label.present if isinstance(row, list)]
    return plain(label.name) == "labels" and all(v in (-1, 0, 1) for row in rows for v in row)


def _alike_long(column: Column, label: Column) -> bool:
    """Lists of the same length in every row, the second one of labels."""
    rows = [
        (a, b) for a, b in zip(column.values, label.values, strict=True) if a is not None or b is not None
    ]
    same = all(isinstance(a, list) and isinstance(b, list) and len(a) == len(b) for a, b in rows)
    return same and all(is_step_label(v) for _, b in rows for v in b)


def _answers_beside(search: Search, column: Column) -> bool:
    """Whether other columns hold answers, so that the steps are not the only one."""
    return any(
        score(role, other) >= 0.85
        for other in search.free("text", "messages", "texts", "objects")
        for role in ("response", "responses")
        if other is not column and not other.path.listed
    ) or any(plain(c.name) in ("chosen", "rejected") for c in search.columns)


def _better(search: Search) -> bool:
    if search.kind not in ("auto", "pairs"):
        return False
    spoken = by_plain_name(
        c
        for c in search.free(*CONTENT, "object", "number")
        if (not c.path.listed or search.kind == "pairs")
        and (c.kind != "number" or plain(c.name) in ("chosen", "rejected"))
        and (c.kind != "object" or _spoken_in(search, c) is not c)
    )
    if search.has("chosen"):
        spoken.setdefault("chosen", search.column("chosen"))  # type: ignore[arg-type]
    if search.has("rejected"):
        spoken.setdefault("rejected", search.column("rejected"))  # type: ignore[arg-type]
    for good, bad in BETTER:
        for name, column in spoken.items():
            words = name.split("_")
            if good not in words and name != good and not name.startswith(good):
                continue
            turned = "_".join(bad if w == good else w for w in words)
            other = spoken.get(turned if turned != name and turned in spoken else name.replace(good, bad, 1))
            if other is None or other is column or NO_ANSWER.search(name.replace(good, "")):
                continue
            if (
                good in ("w", "l", "yes", "high", "win", "good", "best", "pos", "safe", "j")
                and column.kind == "text"
                and not (column.spaced or other.spaced)
            ):
                continue
            search.give("chosen", _spoken_in(search, column), sure=1.0 if good == "chosen" else 0.9)
            search.give("rejected", _spoken_in(search, other))
            if good == "j":
                search.warnings.append(
                    f'"{column.name}" is taken for the better one, as in pairs of Stack Exchange; where it is'
                    f" not: {remedies.column('chosen', other.path)} and"
                    f" {remedies.column('rejected', column.path)}"
                )
            return True
    return _worse_beside(search)


def _worse_beside(search: Search) -> bool:
    """`output` beside `rejected_output`; ms-swift's `messages` that end with the better answer."""
    worse = [
        (c, match[1] or match[2])
        for c in search.free("text", "messages", "transcript", "texts")
        if (match := WORSE.match(plain(c.name))) and not c.path.listed
    ]
    if len(worse) != 1:
        return False
    [(column, stem)] = worse
    for better in search.free(*CONTENT):
        alike = plain(better.name) == stem and named("response", stem) > 0
        whole = score("prompt", better) == 1 and better.kind in ("messages", "transcript")
        if better.path.listed or better is column or not (alike or (whole and stem in WHOLE)):
            continue
        if alike or end_with_assistant(better.present[:20]):
            search.give("chosen", better, sure=0.9)
            search.give("rejected", column)
            return True
    return False


def _spoken_in(search: Search, column: Column) -> Column:
    """The text of a response that is an object with its text, its model and the like; else the column."""
    if column.kind != "object":
        return column
    inner = [
        c
        for c in search.columns
        if c.path.steps[:-1] == column.path.steps and TEXT_OF_ITEM.match(c.name) and c.spoken
    ]
    return min(inner, key=lambda c: _item_order(c.name), default=column)


def _side_by_side(search: Search) -> bool:
    """Two columns whose names differ in a or b, 1 or 2, left or right."""
    if search.kind not in ("auto", "annotated_pairs"):
        return False
    spoken = by_plain_name(
        c
        for c in search.free("text", "messages", "transcript", "texts", "object", "number")
        if not c.path.listed and (c.kind != "number" or named("response", _stem(c)) > 0)
    )
    rated: list[tuple[float, Column, Column]] = []
    names: dict[str, str] = {}
    for name, column in spoken.items():
        for left, right in SIDES:
            other = spoken.get(turned_name(name, left, right) or "")
            if other is None or NO_ANSWER.search(re.sub(rf"(^|_){left}$", "", name)):
                continue
            if asked_apart(search, left, right):
                continue
            inner = _spoken_in(search, column), _spoken_in(search, other)
            points = _answer_points(name, *inner)
            if points > 0:
                rated.append((points, *inner))
                names.setdefault(str(inner[0].path), name)
    if not rated:
        return False
    best = max(rated, key=lambda item: item[0])
    if best[0] < 0.6 and any(score("response", c) > 0.5 for c in search.free("text", "messages")):
        return False
    name = names[str(best[1].path)]
    if any(turned_name(name, first, third) in spoken for first, third in THIRDS):
        return False  # more than two side by side are a list
    search.give("response_a", best[1], sure=min(1.0, best[0]))
    search.give("response_b", best[2])
    return True


def _stem(column: Column) -> str:
    """`response` of `response_a` and `response1`."""
    return re.sub(r"(_[a-z]|_?\d)$", "", plain(column.name))


def _answer_points(name: str, a: Column, b: Column) -> float:
    """How much two columns side by side are like answers; `name` is the first one's, or its object's."""
    said = re.search(
        r"response|answer|completion|output|reply|generation|summary|human_ref|conversation|candidate|text|assistant|bot|option|message|solution|caption|translation|continuation",
        name,
    )
    if re.search(
        r"score|rating|rank|preference|label|instruction|prompt|question|feedback|reasoning|critique|rationale|explanation",
        name,
    ):
        return 0.0
    if "comment" in name:  # answers to a post, where nothing is called a response
        return 0.55 if a.kind == "text" and max(a.spaced, b.spaced) > 0.5 else 0.0
    if a.kind == "object":
        return 0.0
    if said:
        return 1.0
    if name in ("a", "1", "left", "first") and a.kind == b.kind == "text" and not (a.is_id or b.is_id):
        return 0.6
    long = min(a.length, b.length) > 15 and min(a.spaced, b.spaced) > 0.5
    return 0.7 if long or a.kind in ("messages", "transcript") else 0.0


def _list(search: Search) -> bool:
    if search.kind not in ("auto", "ranked_lists"):
        return False
    rated: list[tuple[float, Column]] = []
    for column in search.free("texts", "objects", "chats", "messages"):
        points = score("responses", column)
        if points == 0 and column.kind == "texts" and _judged_beside(search, column):
            points = 0.8 * score("response", column)  # `response`, a list of as many as there are ratings
        if column.path.listed or points == 0 or (column.kind == "messages" and points < 1):
            continue
        if column.kind in ("texts", "chats"):
            rated.append((points, column))
        else:
            inner = [
                c
                for c in search.columns
                if c.path.list_prefix == column.path.steps and len(c.path.steps) == len(column.path.steps) + 2
            ]
            texts = [c for c in inner if TEXT_OF_ITEM.match(c.name)]
            if texts:
                rated.append((points, min(texts, key=lambda c: _item_order(c.name))))
    if not rated:
        return False
    points, column = max(rated, key=lambda item: item[0])
    search.give("responses", column, sure=points)
    if plain(column.name) == "output" and not column.path.listed and all(len(v) == 2 for v in column.present):
        search.warnings.append(
            f'"{column.name}" holds two answers and nothing says which is better; where it is the first, say'
            f" chosen={column.path}[0] and rejected={column.path}[1] in a mapping"
        )
    return True


def _judged_beside(search: Search, column: Column) -> bool:
    """Whether a list of numbers, one a text of this list, is called as ratings or ranks are."""
    return any(
        max(score("rating", other), score("rank", other)) > 0
        and not other.path.listed
        and all(
            len(texts) == len(numbers)
            for texts, numbers in zip(column.values, other.values, strict=True)
            if isinstance(texts, list) and isinstance(numbers, list)
        )
        for other in search.free("numbers")
    )


def _item_order(name: str) -> int:
    order = ("response", "completion", "answer", "output", "generated_text", "text", "summary", "content")
    return order.index(name.lower()) if name.lower() in order else len(order)


def _single(search: Search) -> bool:
    if search.kind not in ("auto", "responses", "ranked"):
        return False
    rated = [
        (score("response", c), c)
        for c in search.free("text", "messages", "transcript", "number")
        if not c.path.listed
        and len(c.path.steps) <= 2
        and not (len(c.path.steps) == 2 and plain(c.path.column) in ABOUT_A_ROW)
    ]
    rated = [(points, c) for points, c in rated if points > (0.5 if c.kind != "number" else 0.99)]
    if not rated:
        return False
    points, column = max(rated, key=lambda item: (item[0], -len(item[1].path.steps)))
    others = [
        c
        for c in search.free("text", "messages", "transcript", "texts")
        if c is not column and not c.path.listed and score("prompt", c) > 0
    ]
    if not others and not search.has("prompt"):
        return False
    search.give("response", column, sure=points)
    return True
