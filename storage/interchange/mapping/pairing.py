"""Answers among the columns: better and worse, two or more side by side, lists, one a row."""

from __future__ import annotations

import re
from collections.abc import Iterable
from typing import TYPE_CHECKING

from storage.interchange.clean import clean_text
from storage.interchange.mapping.cells import number_of
from storage.interchange.mapping.language import Statement
from storage.interchange.mapping.names import named, plain, score, tokens
from storage.interchange.mapping.profile import Column
from storage.interchange.mapping.transcripts import transcript_of
from storage.interchange.mapping.verdicts import worded

if TYPE_CHECKING:
    from storage.interchange.mapping.infer import Search

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
)
SIDES = (
    ("a", "b"),
    ("1", "2"),
    ("0", "1"),
    ("left", "right"),
    ("first", "second"),
    ("one", "two"),
    ("x", "y"),
)
CONTENT = ("text", "messages", "transcript", "texts", "objects", "chats")
NO_ANSWER = re.compile(
    r"(^|_)(id|ids|hash|uuid|url|model|policy|name|type|date|time|lang|language|title|source|at|utc)(_|$)"
)
TEXT_OF_ITEM = re.compile(
    r"^(text|response|answer|completion|output|content|generated_text|summary|message|reply|value|messages|generation|body|model_output)$",
    re.I,
)


def find_answers(search: Search) -> None:
    """Gives out chosen and rejected, response_a and response_b, responses, or response."""
    if any(search.has(r) for r in ("chosen", "response_a", "responses", "response", "steps")):
        _complete(search)
        return
    for find in (_steps, _better, _side_by_side, _numbered, _list, _single):
        if find(search):
            return


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
    lists = [
        c
        for c in search.free("texts")
        if not c.path.listed
        and plain(c.name) in ("completions", "steps", "solution_steps", "reasoning_steps")
    ]
    labels = [
        c
        for c in search.free("truths", "numbers")
        if plain(c.name) in ("labels", "step_labels", "ratings", "step_ratings", "rating")
    ]
    for column in lists:
        for label in labels:
            truths = label.kind == "truths" or plain(column.name) != "completions"
            if truths and all(
                isinstance(a, list) and isinstance(b, list) and len(a) == len(b)
                for a, b in zip(column.present, label.present, strict=False)
            ):
                search.give("steps", column)
                search.give("step_labels", label)
                return True
    return False


def _better(search: Search) -> bool:
    if search.kind not in ("auto", "pairs"):
        return False
    spoken = {
        plain(c.name): c
        for c in search.free(*CONTENT, "number")
        if (not c.path.listed or search.kind == "pairs")
        and (c.kind != "number" or plain(c.name) in ("chosen", "rejected"))
    }
    if search.has("chosen"):
        spoken.setdefault("chosen", search.column("chosen"))  # type: ignore[arg-type]
    if search.has("rejected"):
        spoken.setdefault("rejected", search.column("rejected"))  # type: ignore[arg-type]
    for good, bad in BETTER:
        for name, column in spoken.items():
            words = name.split("_")
            if good not in words and name != good and not name.startswith(good):
                continue
            other = spoken.get("_".join(bad if w == good else w for w in words)) or spoken.get(
                name.replace(good, bad, 1)
            )
            if other is None or other is column or NO_ANSWER.search(name.replace(good, "")):
                continue
            if (
                good in ("w", "l", "yes", "high", "win", "good", "best", "pos", "safe")
                and column.kind == "text"
                and not (column.words or other.words)
            ):
                continue
            search.give("chosen", column, sure=1.0 if good == "chosen" else 0.9)
            search.give("rejected", other)
            return True
    return False


def _side_by_side(search: Search) -> bool:
    """Two columns whose names differ in a or b, 1 or 2, left or right."""
    if search.kind not in ("auto", "annotated_pairs"):
        return False
    spoken = {
        plain(c.name): c
        for c in search.free("text", "messages", "transcript", "texts", "object", "number")
        if not c.path.listed and (c.kind != "number" or named("response", _stem(c)) > 0)
    }
    found: list[tuple[float, Column, Column]] = []
    for name, column in spoken.items():
        for left, right in SIDES:
            other = spoken.get(_turned(name, left, right) or "")
            if other is None or NO_ANSWER.search(re.sub(rf"(^|_){left}$", "", name)):
                continue
            points = _answer_points(column, other)
            if points > 0:
                found.append((points, column, other))
    if not found:
        return False
    best = max(found, key=lambda item: item[0])
    third = [
        c
        for c in spoken.values()
        if plain(c.name) == _turned(plain(best[1].name), "1", "3")
        or plain(c.name) == _turned(plain(best[1].name), "a", "c")
    ]
    if third:
        return False  # more than two side by side are a list
    search.give("response_a", best[1], sure=min(1.0, best[0]))
    search.give("response_b", best[2])
    return True


def _stem(column: Column) -> str:
    """`response` of `response_a` and `response1`."""
    return re.sub(r"(_[a-z]|_?\d)$", "", plain(column.name))


def _turned(name: str, left: str, right: str) -> str | None:
    """`response_a` → `response_b`, `answer1` → `answer2`; None where `left` is no part of the name."""
    turned, count = re.subn(rf"(?<![a-z0-9]){left}(?![a-z0-9])", right, name.replace("_", " "), count=1)
    if count:
        return turned.replace(" ", "_")
    if left.isdigit() and re.search(rf"[a-z_]{left}$", name):
        return name[: -len(left)] + right
    if (
        len(left) == 1
        and left.isalpha()
        and re.search(rf"(response|answer|output|completion|text|reply|summary|model){left}$", name)
    ):
        return name[:-1] + right
    return None


def _answer_points(a: Column, b: Column) -> float:
    name = plain(a.name)
    said = re.search(
        r"response|answer|completion|output|reply|generation|summary|human_ref|conversation|candidate|text|assistant|option|message|solution|caption|translation|continuation",
        name,
    )
    if re.search(
        r"score|rating|rank|preference|label|instruction|prompt|question|feedback|reasoning|critique|rationale|explanation|comment",
        name,
    ):
        return 0.0
    if a.kind == "object":
        return 0.0
    if said:
        return 1.0
    long = min(a.length, b.length) > 15 and min(a.words, b.words) > 0.5
    return 0.7 if long or a.kind in ("messages", "transcript") else 0.0


def _list(search: Search) -> bool:
    if search.kind not in ("auto", "ranked_lists"):
        return False
    found: list[tuple[float, Column]] = []
    for column in search.free("texts", "objects", "chats", "messages"):
        points = score("responses", column)
        if column.path.listed or points == 0 or (column.kind == "messages" and points < 1):
            continue
        if column.kind in ("texts", "chats"):
            found.append((points, column))
        else:
            inner = [
                c
                for c in search.columns
                if c.path.list_prefix == column.path.steps and len(c.path.steps) == len(column.path.steps) + 2
            ]
            texts = [c for c in inner if TEXT_OF_ITEM.match(c.name)]
            if texts:
                found.append((points, min(texts, key=lambda c: _item_order(c.name))))
    if not found:
        return False
    points, column = max(found, key=lambda item: item[0])
    search.give("responses", column, sure=points)
    return True


def _item_order(name: str) -> int:
    order = ("response", "completion", "answer", "output", "generated_text", "text", "summary", "content")
    return order.index(name.lower()) if name.lower() in order else len(order)


def _single(search: Search) -> bool:
    if search.kind not in ("auto", "responses", "ranked"):
        return False
    found = [
        (score("response", c), c)
        for c in search.free("text", "messages", "transcript", "number")
        if not c.path.listed and len(c.path.steps) <= 2
    ]
    found = [(points, c) for points, c in found if points > (0.5 if c.kind != "number" else 0.99)]
    if not found:
        return False
    points, column = max(found, key=lambda item: (item[0], -len(item[1].path.steps)))
    others = [
        c
        for c in search.free("text", "messages", "transcript", "texts")
        if c is not column and not c.path.listed and score("prompt", c) > 0
    ]
    if not others and not search.has("prompt"):
        return False
    search.give("response", column, sure=points)
    return True


def _numbered(search: Search) -> bool:
    """`response_1 … response_4`: three or more side by side are a list, with what is numbered alike."""
    if search.kind not in ("auto", "ranked_lists"):
        return False
    groups: dict[str, dict[str, Column]] = {}
    for column in search.free("text", "messages", "transcript"):
        found = re.fullmatch(r"(.*?)_?(\d{1,3}|[a-h])", plain(column.name))
        if (
            found
            and found[1]
            and not column.path.listed
            and named("responses", found[1] + "s") + named("response", found[1]) > 0
        ):
            groups.setdefault(found[1], {})[found[2]] = column
    best = max(groups.values(), key=len, default={})
    if len(best) < 3:
        return False
    for column in best.values():
        search.statements.append(Statement("responses", column.path))
    for role, name, kinds in (
        ("policies", "policy", ("text",)),
        ("ranks", "rank", ("number",)),
        ("ratings", "rating", ("number",)),
    ):
        aligned = {}
        for column in search.free(*kinds):
            found = re.fullmatch(r"(.*?)_?(\d{1,3}|[a-h])", plain(column.name))
            if found and named(name, found[1]) > 0:
                aligned[found[2]] = column
        if all(end in aligned for end in best):
            search.statements += [Statement(role, aligned[end].path) for end in best]
    return True


def find_forms(search: Search, prompt: Column) -> None:
    """Answers that repeat their prompt, as transcripts or word for word."""
    roles = [r for r in ("chosen", "rejected", "response_a", "response_b", "response") if search.has(r)]
    columns = [search.column(r) for r in roles]
    if prompt.kind == "texts" and columns and all(c is not None and c.kind == "texts" for c in columns):
        _form(search, ["prompt", *roles], "turns")
        return
    for role, column in zip(roles, columns, strict=True):
        if column is None or not column.texts:
            continue
        form = None
        if column.kind == "transcript" and prompt.kind in ("transcript", "text"):
            form = "transcript" if _continues(prompt, column) else None
        elif column.kind == "text" and _repeats(prompt, column):
            form = "after_prompt"
        if form:
            _form(search, [role], form)


def _form(search: Search, roles: list[str], form: str) -> None:
    for place, statement in enumerate(search.statements):
        if statement.role in roles and statement.form is None:
            search.statements[place] = Statement(statement.role, statement.path, statement.coding, form)


def _continues(prompt: Column, column: Column) -> bool:
    """Whether the transcripts hold the prompt that stands beside them."""
    pairs = [
        (p, t)
        for p, t in zip(prompt.values, column.values, strict=True)
        if isinstance(p, str) and isinstance(t, str)
    ]
    held = 0
    for asked, text in pairs:
        chat = transcript_of(clean_text(asked))
        last = (
            next((t["content"] for t in reversed(chat) if t["role"] == "user"), "") if chat else asked.strip()
        )
        held += bool(last) and last in text
    return bool(pairs) and held >= 0.9 * len(pairs)


def _repeats(prompt: Column, column: Column) -> bool:
    """Word for word at the start, in nearly all rows; short prompts can begin an answer by chance."""
    pairs = [
        (p.rstrip(), t)
        for p, t in zip(prompt.values, column.values, strict=True)
        if isinstance(p, str) and isinstance(t, str) and p.strip()
    ]
    held = [t.startswith(p) for p, t in pairs]
    long = sum(len(p) for p, _ in pairs) / max(len(pairs), 1) >= 12
    return bool(pairs) and long and sum(held) >= 0.9 * len(held)


def one_hot(search: Search) -> dict[str, Column]:
    """`winner_model_a`, `winner_model_b`, `winner_tie`: one column an outcome: truths or shares."""
    free = {plain(c.name): c for c in search.free("number", "truth") if not c.path.listed}
    for name, column in free.items():
        for left, right in SIDES:
            other = free.get(_turned(name, left, right) or "")
            if other is None or not tokens(name) & {
                "winner",
                "win",
                "wins",
                "won",
                "preferred",
                "votes",
                "prefer",
                "better",
                "prob",
                "p",
            }:
                continue
            if not _shares(column.present) or not _shares(other.present):
                continue
            found = {"won_a": column, "won_b": other}
            ties = [
                c
                for n, c in free.items()
                if tokens(n) & {"tie", "ties", "tied", "draw", "equal"} and _shares(c.present)
            ]
            return found | ({"won_tie": ties[0]} if ties else {})
    return {}


def _shares(values: Iterable[object]) -> bool:
    numbers = [number_of(v) for v in values]
    return all(n is not None and n >= 0 for n in numbers)


def mirrored(search: Search) -> set[str]:
    """Numbers that stand once for each side, as score_a and score_b: none of them is a verdict."""
    free = {plain(c.name): c for c in search.free("number", "truth") if not c.path.listed}
    pairs = [(c, free.get(_turned(name, *side) or "")) for name, c in free.items() for side in SIDES]
    return {str(c.path) for a, b in pairs if b is not None for c in (a, b)}


def two_sided_numbers(search: Search) -> None:
    """`score_a` and `score_b`: a rating of each; several such pairs are criteria."""
    free = {plain(c.name): c for c in search.free("number") if not c.path.listed}
    for name, column in free.items():
        for left, right in SIDES:
            other = free.get(_turned(name, left, right) or "")
            if other is None or not re.search(
                r"score|rating|reward|upvotes|votes|karma|quality|helpful|correct|likes", name
            ):
                continue
            stem = re.sub(rf"(^|_)({left})(_|$)", "_", name).strip("_") or name
            if search.has("rating_a") or not re.search(r"score|rating|reward|votes|karma|likes", stem):
                search.give(f"criterion_a.{stem}", column)
                search.give(f"criterion_b.{stem}", other)
            else:
                search.give("rating_a", column)
                search.give("rating_b", other)
            break


def ends(search: Search) -> tuple[str, str]:
    """How the two responses' columns end: a and b, 1 and 2, 0 and 1."""
    a, b = search.path("response_a"), search.path("response_b")
    if a is None or b is None:
        return ("a", "b")
    for left, right in SIDES:
        names = [plain(next((s for s in reversed(p.steps) if isinstance(s, str)), "")) for p in (a, b)]
        if _turned(names[0], left, right) == names[1]:
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
    """Whether a column holds, row by row, the name of one side's policy, or a verdict in words."""
    sides = [search.column(role) for role in ("policy_a", "policy_b")]
    if sides[0] is None or sides[1] is None or column.kind != "text":
        return False
    read = named_side = 0
    for value, a, b in zip(column.values, sides[0].values, sides[1].values, strict=True):
        if isinstance(value, str) and value:
            read += 1
            hit = value in (a, b)
            named_side += hit or worded(value) is not None
    return read > 0 and named_side == read
