"""Which column is what, where no preset fits: by what the columns hold, and by their names second.

A proposal says how sure it is: 1 where names and contents say the same, less where only one of them does.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass, field

from storage.interchange.mapping import pairing
from storage.interchange.mapping.cells import truth_of
from storage.interchange.mapping.language import Mapping, Path, Statement
from storage.interchange.mapping.names import SINGLE, plain, score, tokens
from storage.interchange.mapping.profile import Column, Row, profile
from storage.interchange.mapping.taking import layout_of
from storage.interchange.mapping.verdicts import Coding, find_coding, given

SURE = 0.5  # below it the importer asks
ANNOTATOR = re.compile(r"^(annotator|judge|rater|labell?er|coder)[ _-]?\w+$", re.IGNORECASE)
CRITERIA = re.compile(
    r"^(overall|helpful|correct|coheren|complex|verbos|honest|truthful|harmless|safety|safe|quality|fluen|relevan|accura|instruction|"
    r"factual|concise|engag|creativ|clarity|depth|style|consisten|groundedness|informativ|grammar|toxic|usefulness|coverage|faithful)",
    re.IGNORECASE,
)


@dataclass
class Proposal:
    """A mapping, the codings of its verdicts by path, how sure it is, and what a person has to know."""

    mapping: Mapping
    codings: dict[str, Coding] = field(default_factory=dict)
    confidence: float = 0.0
    warnings: list[str] = field(default_factory=list)


@dataclass
class Search:
    """The columns that are still free while roles are given out."""

    columns: list[Column]
    statements: list[Statement]
    kind: str = "auto"
    confidence: float = 1.0
    warnings: list[str] = field(default_factory=list)
    codings: dict[str, Coding] = field(default_factory=dict)

    @property
    def taken(self) -> set[str]:
        return {str(s.path) for s in self.statements}

    def has(self, *roles: str) -> bool:
        return all(any(s.role == role for s in self.statements) for role in roles)

    def path(self, role: str) -> Path | None:
        return next((s.path for s in self.statements if s.role == role), None)

    def column(self, role: str) -> Column | None:
        path = self.path(role)
        return next((c for c in self.columns if c.path == path), None)

    def free(self, *kinds: str) -> list[Column]:
        taken = self.taken
        return [c for c in self.columns if str(c.path) not in taken and (not kinds or c.kind in kinds)]

    def give(self, role: str, column: Column, form: str | None = None, sure: float = 1.0) -> None:
        if not self.has(role) or role.partition(".")[0] in ("winner", "winner_by", "annotator"):
            self.statements.append(Statement(role, column.path, None, form))
            self.confidence = min(self.confidence, sure)


def infer(rows: Sequence[Row], said: Sequence[Statement] = (), kind: str = "auto") -> Proposal:
    """The likeliest mapping of a sample; `said` is what the user has said, and stands."""
    columns = profile(rows)
    search = Search(columns, list(said), kind)
    ignored = {s.path.column for s in said if s.role in ("ignore", "keep")}
    search.columns = [c for c in columns if c.path.column not in ignored and c.kind not in ("empty", "bytes")]
    if kind != "prompts":
        pairing.find_answers(search)
    _find_prompt(search)
    if kind != "prompts":
        _find_context(search)
        _find_policies(search)
        _find_judgements(search)
    _find_about(search)
    mapping = Mapping(tuple(search.statements))
    asked = search.column("prompt")
    if asked is not None and asked.is_id and not _asks(asked):
        search.warnings.append(f'"{asked.name}" is taken for the prompt and looks like ids')
    for statement in said:
        if statement.coding:
            search.codings[str(statement.path)] = given(statement.coding)
    _read_codings(search, mapping)
    if layout_of(mapping) is None:
        search.confidence = 0.0
    return Proposal(mapping, search.codings, search.confidence, search.warnings)


def _find_prompt(search: Search) -> None:
    """The column whose name and texts are most like a prompt's; ids and labels are none."""
    if search.has("prompt"):
        return
    whole = [search.column(r) for r in ("chosen", "rejected", "response_a", "response_b")]
    conversational = any(c is not None and _carries_prompt(c) for c in whole)
    ranked: list[tuple[float, Column]] = []
    for column in search.free("text", "messages", "transcript", "texts", "number"):
        if column.kind == "number" and not (column.texts and score("prompt", column) == 1):
            continue
        if column.path.listed or (column.kind == "text" and (column.is_id and not _asks(column))):
            continue
        points = score("prompt", column)
        if column.kind in ("messages", "transcript"):
            points = max(points, 0.75) if not search.has("response") else points
        elif column.kind == "texts" and column.name.lower() not in (
            "prompt",
            "prompts",
            "question",
            "turns",
            "messages",
            "history",
        ):
            continue
        if points > 0:
            ranked.append((points - 0.05 * len(column.path.steps), column))
    if not ranked and not conversational and search.kind in ("auto", "prompts", "responses", "ranked"):
        ranked = [(0.3, c) for c in search.free("text") if c.words > 0.8 and not c.path.listed]
        if len(ranked) > 1:
            ranked = []
    if not ranked:
        return
    points, best = max(ranked, key=lambda item: item[0])
    if conversational and points < 0.9:
        return
    search.give("prompt", best, sure=min(1.0, 0.2 + points))


def _asks(column: Column) -> bool:
    """Prompts of one word each, in a column that nothing else could be."""
    return plain(column.name) in ("prompt", "question", "instruction", "query")


def _carries_prompt(column: Column) -> bool:
    if column.kind == "transcript":
        return True
    from storage.interchange.mapping.conversations import messages_in

    found = [messages_in(v) for v in column.present[:20]]
    return column.kind == "messages" and any(m is not None and len(m) > 1 for m in found)


def _find_context(search: Search) -> None:
    """System's turn, Alpaca's input, earlier turns, and whether answers repeat their prompt."""
    prompt = search.column("prompt")
    for column in search.free("text"):
        name = column.name.lower()
        if (
            name in ("system", "system_prompt", "system_message", "sys_prompt", "system_instruction")
            and not column.path.listed
        ):
            search.give("system", column)
        elif (
            name in ("input", "context", "inputs", "passage", "document")
            and prompt is not None
            and prompt is not column
        ) and (
            tokens(prompt.name) & {"instruction", "question", "query", "prompt", "task"}
            and not column.path.listed
        ):
            search.give("input", column, sure=1.0 if name == "input" else 0.8)
    for column in search.columns:
        if (
            (
                column.name.lower() in ("history", "chat_history", "conversation_history")
                and str(column.path) not in search.taken
                and prompt is not None
            )
            and column.kind in ("messages", "other", "chats")
            and not column.path.listed
        ):
            search.give("turns", column, sure=0.8)
    if prompt is not None:
        pairing.find_forms(search, prompt)


def _find_judgements(search: Search) -> None:
    if search.has("response_a", "response_b"):
        _find_verdicts(search)
    elif search.has("responses"):
        _find_list_judgements(search)
    elif search.has("response") or (search.has("prompt") and _answered(search)):
        _find_single_judgements(search)
    elif search.has("chosen", "rejected"):
        for role, pattern in (("chosen_rating", r"chosen"), ("rejected_rating", r"rejected")):
            for column in search.free("number"):
                if tokens(column.name) & {pattern} and tokens(column.name) & {
                    "score",
                    "rating",
                    "reward",
                    "rm",
                    "avg",
                    "mean",
                }:
                    search.give(role, column)
        for column in search.free("number"):
            if tokens(column.name) & {"margin", "strength"}:
                search.give("strength", column)


def _answered(search: Search) -> bool:
    from storage.interchange.mapping.conversations import chat_of

    prompt = search.column("prompt")
    if prompt is None or prompt.kind not in ("messages", "transcript"):
        return False
    from collections import Counter

    try:
        chats = [chat_of(v, Counter()) for v in prompt.present[:20]]
    except Exception:
        return False
    ends = [c[-1]["role"] == "assistant" for c in chats if c]
    return bool(ends) and sum(ends) > len(ends) / 2


def _find_verdicts(search: Search) -> None:
    one_hot = pairing.one_hot(search)
    for role, column in one_hot.items():
        search.give(role, column)
    ends = pairing.ends(search)
    sides = pairing.mirrored(search)
    for column in search.free("text", "number", "truth", "texts"):
        if str(column.path) in sides:
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
            and not (one_hot or search.has("winner") or column.path.listed)
            and (find_coding(column.present, column.name, ends) or pairing.names_a_side(search, column))
        ):
            search.give("winner", column, sure=0.4 + 0.6 * points)
    if not search.has("winner") and not one_hot:
        _find_several_verdicts(search, ends)
    pairing.two_sided_numbers(search)
    for column in search.free("number", "text"):
        if (
            tokens(column.name) & {"strength", "margin"}
            and not column.path.listed
            and column.kind == "number"
        ):
            search.give("strength", column)


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
    for column in search.free("text"):
        coding = find_coding(column.present, column.name, ends)
        if coding is not None and coding.kind == "words" and column.distinct <= 12:
            search.give("winner", column, sure=0.8)
            return


def _find_list_judgements(search: Search) -> None:
    responses = search.path("responses")
    assert responses is not None
    listed = search.column("responses")
    lengths = [len(v) for v in (listed.values if listed else []) if isinstance(v, list)]
    for column in search.free():
        same_list = column.path.listed and column.path.list_prefix == responses.list_prefix
        if column.kind not in ("numbers", "truths") or not (same_list or not column.path.listed):
            continue
        sizes = [len(v) for v in column.present if isinstance(v, list)]
        if not same_list and sizes and lengths and max(sizes) > max(lengths):
            continue
        if score("rank", column) > 0:
            search.give("ranks", column)
        elif score("rating", column) > 0 and not search.has("ratings"):
            search.give("ratings", column)
        elif CRITERIA.match(column.name) or (
            same_list and re.fullmatch(r"ratings?|scores?", column.name, re.I)
        ):
            search.give(f"criterion.{column.name}", column, sure=0.9)
        elif len(column.path.steps) > len(responses.list_prefix) + 2 and same_list:
            inner = [s for s in column.path.steps if isinstance(s, str)]
            search.give(f"criterion.{inner[-1]}", column, sure=0.9)
    for column in search.free("number"):
        if re.search(
            r"^(best|chosen|preferred|selected|choice|winner)(_?(index|idx|id|response|answer|choice))?$",
            column.name,
            re.I,
        ):
            search.give("best", column, sure=0.8)


def _find_single_judgements(search: Search) -> None:
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


def _find_policies(search: Search) -> None:
    for role, side in (
        ("policy_a", "response_a"),
        ("policy_b", "response_b"),
        ("chosen_policy", "chosen"),
        ("rejected_policy", "rejected"),
    ):
        if search.has(side):
            pairing.side_policy(search, role, side)
    if search.has("responses"):
        prefix = search.path("responses").list_prefix  # type: ignore[union-attr]
        for column in search.free("texts", "text"):
            same = column.path.listed and column.path.list_prefix == prefix
            if score("policy", column) > 0 and (same or (column.kind == "texts" and not column.path.listed)):
                search.give("policies", column)
    elif search.has("chosen"):
        for column in search.free("texts"):
            if score("policy", column) > 0 and not column.path.listed:
                search.give("policies", column)
    if not any(search.has(r) for r in ("policies", "policy_a", "chosen_policy")):
        named = [c for c in search.free("text") if score("policy", c) > 0 and not c.path.listed]
        if named:
            search.give("policy", max(named, key=lambda c: score("policy", c)))


def _find_about(search: Search) -> None:
    for role in SINGLE:
        kinds = (
            ("text", "number", "texts", "other", "numbers")
            if role in ("id", "annotator", "source", "reference", "group")
            else ("text",)
        )
        if search.has(role) or (role in ("annotator", "group", "criterion") and not _judged(search)):
            continue
        found = [
            (score(role, c), c) for c in search.free(*kinds) if not c.path.listed and len(c.path.steps) <= 2
        ]
        found = [item for item in found if item[0] > 0]
        if found and (role != "criterion" or search.has("rating")):
            search.give(role, max(found, key=lambda item: item[0])[1])


def _judged(search: Search) -> bool:
    return any(
        s.role.split(".")[0]
        in (
            "rank",
            "rating",
            "label",
            "criterion",
            "chosen",
            "winner",
            "ranks",
            "ratings",
            "best",
            "won_a",
            "rating_a",
        )
        for s in search.statements
    )


def _read_codings(search: Search, mapping: Mapping) -> None:
    """The codings of all verdicts; a verdict that cannot be read, or leaves it open, is told."""
    ends = pairing.ends(search)
    for statement in mapping.statements:
        if (
            statement.role.partition(".")[0] not in ("winner", "winner_by")
            or str(statement.path) in search.codings
        ):
            continue
        column = next((c for c in search.columns if c.path == statement.path), None)
        if column is None:
            continue
        values = [
            v
            for row in column.present
            for v in (row if isinstance(row, list) and column.path.listed else [row])
        ]
        coding = find_coding(values, column.name, ends)
        if coding is None:
            continue
        search.codings[str(statement.path)] = coding
        if coding.warning:
            search.warnings.append(coding.warning)
