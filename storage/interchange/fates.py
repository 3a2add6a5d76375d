"""What became of each column of a file, loudest for what looks like a verdict or a part of the prompt."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass

from storage.interchange import remedies
from storage.interchange.mapping.answers import TEXTS
from storage.interchange.mapping.cells import truth_of
from storage.interchange.mapping.comparing import NAMES as COMPARED
from storage.interchange.mapping.example import Example
from storage.interchange.mapping.infer_judgements import ANNOTATOR
from storage.interchange.mapping.language import Mapping
from storage.interchange.mapping.names import CRITERIA, TOOL_WORDS, named, plain, tokens
from storage.interchange.mapping.profile import Column
from storage.interchange.mapping.verdict_words import worded

PROMPT_PARTS = {
    "system",
    "system_prompt",
    "input",
    "context",
    "history",
    "instruction",
    "question",
    "passage",
    "document",
    "tools",
    "persona",
    "scenario",
    "background",
    "examples",
    "demonstrations",
    "few_shot",
    "premise",
}
NO_VERDICT = {
    "margin",
    "confidence",
    "seconds",
    "time",
    "at",
    "id",
    "index",
    "turn",
    "turns",
    "length",
    "count",
    "num",
    "tokens",
    "language",
    "lang",
    "date",
    "year",
    "category",
    "domain",
    "type",
    "topic",
}
SEVERAL_VERDICTS = {
    *("annotation", "annotations", "ranking", "rankings", "ratings", "preference", "preferences"),
    *(
        "comparison",
        "comparisons",
        "pairs",
        "votes",
        "judgments",
        "judgements",
        "verdicts",
        "labels",
        "winners",
    ),
}
NOTHING: frozenset[str] = frozenset()
_SCORES = dict.fromkeys(
    ("object", "objects"), frozenset({"score", "scores", "rating", "reward", "rewards", "rank"})
)
WHOLE = ("comparisons", "ranks_by_annotator", "ratings_by_annotator")  # read with all that is inside
EXCHANGED = {"flipped", "swapped", "reversed", "switched", "inverted"}
ANSWERS = ("chosen", "rejected", "response_a", "response_b")
OTHER_ANSWER = re.compile(r"(second|third|middle|other|original)(_(best|response|answer|output))?")
MEASURED = re.compile(r"-?\d+([.,]\d+)*\s*([-–—:.(/]|points?\b|stars?\b|$)", re.I)  # `5 - Excellent`, `1,234`
SPOKEN_ROLES = ("prompt", "response", "responses", "chosen", "rejected")


@dataclass(frozen=True)
class Fate:
    """`became`: its roles, or where it is kept; `warning`: why a person should look at it."""

    column: str
    became: str
    warning: str | None = None


def fates_of(
    mapping: Mapping, columns: Sequence[Column], layout: str | None, examples: Sequence[Example]
) -> list[Fate]:
    """One entry a column of the file, in its order."""
    roles: dict[str, list[str]] = {}
    for statement in mapping.statements:
        if statement.path.column:
            said = statement.role
            if said not in roles.setdefault(statement.path.column, []):
                roles[statement.path.column].append(said)
    owner = _kept_with(layout, examples)
    inner = {c.path.column for c in columns if len(c.path.steps) > 1}
    read = [c for c in columns if c.path in {s.path for s in mapping.statements if s.role in ANSWERS}]
    fates = []
    for column in columns:
        if len(column.path.steps) > 1:
            continue
        name = column.path.column
        mine = roles.get(name, [])
        warning: str | None = None
        if mine and mine != ["keep"]:
            became = "left out, as said" if mine == ["ignore"] else ", ".join(r for r in mine if r != "keep")
            if (
                name in inner
                and mine != ["ignore"]
                and _kept_by_element(name, mapping, layout)
                and column.kind == "objects"
            ):
                became += (
                    "; the rest of it is kept as metadata of the"
                    f" {'responses' if layout == 'ranked_lists' else 'judgements'}"
                )
                if layout == "ranked_lists" and not any(e.judgements for e in examples):
                    warning = _unread_verdict(name, columns)
            elif name in inner and "keep" not in mine and _unread(name, mapping, columns):
                became += f"; the rest of it is kept as metadata of the {owner}"
            fates.append(Fate(name, became, warning))
        elif column.kind == "empty":
            fates.append(Fate(name, "empty"))
        elif column.kind == "bytes":
            fates.append(Fate(name, "left out: it holds bytes"))
        else:
            warning = _warning(column, mapping, layout, read) or _twin(column, mapping)
            fates.append(Fate(name, f"metadata of the {owner}", warning))
    return fates


def _twin(column: Column, mapping: Mapping) -> str | None:
    """`Prompt` beside `prompt`: which of the two is meant, nobody knows."""
    for other in mapping.columns():
        if other != column.name and plain(other) == plain(column.name):
            role = next(s.role for s in mapping.statements if s.path.column == other)
            return (
                f'"{column.name}" and "{other}" differ in their writing alone, and "{other}" is taken for'
                f" {role}; to take the other: {remedies.column(role, column.path)}"
            )
    return None


def _unread_verdict(name: str, columns: Sequence[Column]) -> str | None:
    """What looks like a verdict on each element of a list, where nothing else says which is better."""
    judging = {*SEVERAL_VERDICTS, "feedback", "score", "scores", "rating", "rank", "reviews"}
    for column in columns:
        inner = column.path.listed and column.path.column == name and len(column.path.steps) > 2
        if inner and tokens(column.name) & judging:
            return f'"{column.path}" looks like a verdict and is only metadata of the responses'
    return None


def _kept_by_element(name: str, mapping: Mapping, layout: str | None) -> bool:
    """Whether the rest of a list's elements is kept with each: with responses, or with people's verdicts."""
    if layout == "annotated_pairs":
        return True
    responses = mapping.get("responses")
    return layout == "ranked_lists" and responses is not None and responses.path.column == name


def _unread(name: str, mapping: Mapping, columns: Sequence[Column]) -> list[str]:
    read = {str(s.path) for s in mapping.statements}
    if any(s.role in WHOLE and str(s.path) == name for s in mapping.statements):
        return []
    leaves = [c for c in columns if c.path.column == name and len(c.path.steps) == 2]
    return [
        c.name
        for c in leaves
        if str(c.path) not in read
        and not any(p.startswith(f"{c.path}.") or p.startswith(f"{c.path}[") for p in read)
        and c.present
    ]


def _kept_with(layout: str | None, examples: Sequence[Example]) -> str:
    if layout in ("ranked", "responses", "steps"):
        return "response"
    return "judgement" if any(e.judgements for e in examples) else "prompt"


def _warning(column: Column, mapping: Mapping, layout: str | None, read: Sequence[Column]) -> str | None:
    name = plain(column.name)
    if (
        name in PROMPT_PARTS
        and column.spoken
        and not column.is_id
        and not mapping.has({"system_prompt": "system"}.get(name, name))
    ):
        role = "system" if name.startswith("system") else "input"
        return (
            f'"{column.name}" looks like a part of the prompt and is only metadata; to use it:'
            f" {remedies.column(role, column.path)}"
        )
    if column.kind in ("truth", "number") and tokens(column.name) & EXCHANGED and column.distinct > 1:
        return f'"{column.name}" may say that the two sides are exchanged, and is only metadata'
    if layout in ("prompts", "ranked_lists") and _like_comparisons(column):
        return (
            f'"{column.name}" looks like comparisons and is only metadata; to use it:'
            f" {remedies.column('comparisons', column.path)}"
        )
    if layout in ("pairs", "annotated_pairs") and _another_answer(column, read):
        return f'"{column.name}" holds other texts than the responses that are read, and is only metadata'
    if layout in ("prompts", "responses", "ranked", "ranked_lists") and _like_answers(column, layout):
        role = "responses" if column.kind in ("texts", "objects", "chats", "object") else "response"
        return (
            f'"{column.name}" holds texts and is only metadata; if they are responses:'
            f" {remedies.column(role, column.path)}"
        )
    compared = layout == "annotated_pairs" and not any(
        mapping.has(role) or mapping.under(role) for role in ("winner", "winner_by", "won_a", "rating_a")
    )
    if _like_measures(column, name):
        return f'"{column.name}" looks like ratings written in a way that is not read, and is only metadata'
    if _like_verdict(column, name) or (compared and _few_values(column)):
        if column.kind in ("object", "objects", "texts", "other"):
            return f'"{column.name}" looks like a verdict that no role reads, and is only metadata'
        return (
            f'"{column.name}" looks like a verdict and is only metadata; to use it:'
            f" {remedies.column(_verdict_role(column, name, layout), column.path)}"
        )
    return None


def _another_answer(column: Column, read: Sequence[Column]) -> bool:
    """A column that is called as a response is and says something else than those that are read."""
    if named("response", plain(column.name)) < 0.8 and not OTHER_ANSWER.fullmatch(plain(column.name)):
        return False
    whole = " ".join({str(value) for other in read for value in other.present})
    return column.kind == "text" and not column.is_id and any(t.strip() not in whole for t in column.texts)


def _few_values(column: Column) -> bool:
    """Of two responses nothing is said but, perhaps, by this column."""
    if named("winner", plain(column.name)) >= 0.75:
        return column.kind == "text"
    known = any(
        named(role, plain(column.name)) == 1
        for role in ("source", "split", "subset", "policy", "id", "annotator")
    )
    short = column.kind in ("text", "number", "truth") and not column.is_id and column.length <= 40
    return short and not known and 1 < column.distinct <= 12 and tokens(column.name).isdisjoint(NO_VERDICT)


def _like_comparisons(column: Column) -> bool:
    """A list of pairs or of objects, by its name and by its first value."""
    first = next((v for v in column.present if isinstance(v, list) and v), None)
    return (
        first is not None
        and bool(tokens(column.name) & COMPARED)
        and isinstance(first[0], list | dict)
        and len(first[0]) >= 2
    )


def _like_answers(column: Column, layout: str | None) -> bool:
    """Texts of many words, or lists and objects with some, of which prompts alone have no use.

    Beside responses that are read it has to be called as other responses are.
    """
    if column.texts and all(text in TOOL_WORDS for text in column.texts):
        return False
    name = plain(column.name)
    called = max(named(role, name) for role in ("response", "responses"))
    if column.kind == "objects" and _hold_texts(column):
        return True
    if layout != "prompts":
        return called >= 0.7 and column.kind in ("text", "texts", "objects", "chats", "messages")
    if called >= 0.85 and column.kind != "number":
        return True
    if column.kind == "texts":  # a list of sentences, and none of labels
        texts = [text for value in column.present if isinstance(value, list) for text in value]
        return bool(texts) and sum(" " in str(text).strip() for text in texts) > 0.8 * len(texts)
    if any(named(role, name) == 1 for role in ("reference", "source", "split", "subset", "note", "id")):
        return False
    if column.kind in ("text", "transcript"):
        return not column.is_id and column.spaced > 0.8 and column.length >= 12 and column.distinct > 1
    return column.kind in ("chats", "messages")


def _hold_texts(column: Column) -> bool:
    """Whether each object of a list has a text of several words where responses have theirs."""
    elements = [e for value in column.present if isinstance(value, list) for e in value]
    return bool(elements) and all(
        isinstance(e, dict) and any(isinstance(e.get(k), str) and " " in e[k].strip() for k in TEXTS)
        for e in elements
    )


def _like_measures(column: Column, name: str) -> bool:
    """`5 - Excellent` or `1,234` where a rating or a criterion is."""
    texts = [text.strip() for text in column.texts]
    if column.kind != "text" or not texts or not all(MEASURED.match(text) for text in texts):
        return False
    words = tokens(name) - NO_VERDICT
    return named("rating", name) > 0 or any(CRITERIA.match(word) for word in words)


def _like_verdict(column: Column, name: str) -> bool:
    if column.kind in ("number", "numbers", "truth", "truths") and not column.is_id:
        if tokens(column.name) & NO_VERDICT:
            return False
        points = max(
            named("winner", name) if named("winner", name) >= 0.75 else 0,
            named("rank", name),
            named("rating", name),
        )
        return points > 0 or (bool(CRITERIA.match(name)) and column.kind in ("number", "numbers"))
    if column.kind == "text" and column.distinct <= 12 and len(column.present) > 1:
        read = [worded(v) is not None or truth_of(v) is not None for v in column.present]
        return sum(read) > len(read) / 2 and (named("winner", name) >= 0.5 or bool(ANNOTATOR.match(name)))
    if column.kind == "other" and max(named("rank", name), named("rating", name)) > 0:
        return True  # numbers deeper than anything reads
    if column.kind in ("objects", "object", "texts", "other", "numbers"):
        return bool(tokens(column.name) & (SEVERAL_VERDICTS | _SCORES.get(column.kind, NOTHING)))
    return False


def _verdict_role(column: Column, name: str, layout: str | None) -> str:
    many = layout == "ranked_lists"
    if layout == "annotated_pairs":
        return "winner"
    if named("rank", name) > 0:
        return "ranks" if many else "rank"
    return "ratings" if many else f"criterion.{column.name}" if CRITERIA.match(name) else "rating"
