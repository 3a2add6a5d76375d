"""Which column is what, where no preset fits: by what the columns hold, and by their names second.

A proposal says how sure it is: 1 where names and contents say the same, less where only one of them does.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field

from storage.interchange.mapping import sides
from storage.interchange.mapping.forms import find_forms
from storage.interchange.mapping.infer_judgements import find_judgements, is_judged
from storage.interchange.mapping.language import REVERSED, Mapping, Statement
from storage.interchange.mapping.names import SINGLE, plain, score, tokens
from storage.interchange.mapping.pairing import find_answers
from storage.interchange.mapping.profile import Column, Row, profile
from storage.interchange.mapping.search import Search
from storage.interchange.mapping.taking import layout_of
from storage.interchange.mapping.verdicts import Coding, find_coding, given

SYSTEM = ("system", "system_prompt", "system_message", "sys_prompt", "system_instruction")
JUDGES = frozenset(
    ("annotator", "rater", "judge", "labeler", "labeller", "coder", "evaluator", "assessor", "respondent")
)
SURE = 0.5  # below it the importer asks


@dataclass
class Proposal:
    """A mapping, the codings of its verdicts by path, how sure it is, and what a person has to know."""

    mapping: Mapping
    codings: dict[str, Coding] = field(default_factory=dict)
    confidence: float = 0.0
    warnings: list[str] = field(default_factory=list)


def infer(rows: Sequence[Row], said: Sequence[Statement] = (), kind: str = "auto") -> Proposal:
    """The likeliest mapping of a sample; `said` is what the user has said, and stands."""
    columns = profile(rows)
    search = Search(columns, list(said), kind)
    ignored = {s.path.column for s in said if s.role in ("ignore", "keep")}
    search.columns = [c for c in columns if c.path.column not in ignored and c.kind not in ("empty", "bytes")]
    if kind != "prompts":
        find_answers(search)
    _find_prompt(search)
    if kind != "prompts":
        _find_context(search)
        _find_policies(search)
        find_judgements(search)
    _find_about(search)
    _tell_of_order(search)
    mapping = Mapping(tuple(search.statements))
    asked = search.column("prompt")
    if asked is not None and asked.is_id and not _asks(asked):
        search.warnings.append(f'"{asked.name}" is taken for the prompt and looks like ids')
    for statement in said:
        if statement.coding and statement.coding != REVERSED:
            search.codings[str(statement.path)] = given(statement.coding)
    _read_codings(search, mapping)
    layout = layout_of(mapping)
    if layout is None:
        search.confidence = 0.0
    elif layout in ("annotated_pairs", "ranked_lists") and not is_judged(search):
        search.warnings.append("nothing is taken for a verdict: the responses come in without judgements")
    elif layout in ("prompts", "responses") and (who := _judge_named(search)) is not None:
        search.warnings.append(f'"{who.path}" says who judged, and nothing is taken for what was judged')
    return Proposal(mapping, search.codings, search.confidence, search.warnings)


def _judge_named(search: Search) -> Column | None:
    """`rater_id` without a verdict; a user's id may be of whoever asked."""
    people = [c for c in search.free("text", "number") if score("annotator", c) > 0 and not c.path.listed]
    return next((c for c in people if tokens(c.name) & JUDGES), None)


def _tell_of_order(search: Search) -> None:
    """`ranked_responses`: the name says that they stand in an order, and no column says which."""
    listed = search.column("responses")
    judged = any(search.has(role) for role in ("ranks", "ratings", "best", "order"))
    if listed is not None and not judged and tokens(listed.name) & {"ranked", "sorted", "ordered"}:
        search.warnings.append(
            f'"{listed.name}" is called as if its order were a ranking, and the order is not read: nothing'
            " says whether the best one is the first"
        )


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
        if plain(column.name) in SYSTEM:
            continue
        if points < 1 and column.kind == "text" and _is_label(column):
            points -= 0.4
        if column.kind in ("messages", "transcript"):
            points = max(points, 0.75) if not search.has("response") else points
        elif column.kind == "texts" and column.name.lower() not in (
            "prompt",
            "prompts",
            "question",
            "turns",
            "messages",
            "history",
            "conversation",
            "conversations",
        ):
            continue
        if points > 0:
            ranked.append((points - 0.05 * len(column.path.steps), column))
    if not ranked and not conversational and search.kind in ("auto", "prompts", "responses", "ranked"):
        # A response stays one, though nothing that could be its prompt stands beside it.
        ranked = [
            (0.3, c)
            for c in search.free("text")
            if c.spaced > 0.8 and not c.path.listed and score("response", c) < 1
        ]
        if len(ranked) > 1:
            ranked = []
    if not ranked:
        return
    points, best = max(ranked, key=lambda item: item[0])
    if conversational and (points < 0.9 or best.is_id):
        return
    search.give("prompt", best, sure=min(1.0, 0.2 + points))


def _is_label(column: Column) -> bool:
    """One word that stands in many rows: `Math` in a column called task."""
    return column.spaced == 0 and len(column.present) > 1 and column.distinct <= len(column.present) / 2


def _asks(column: Column) -> bool:
    """Prompts of one word each, in a column that nothing else could be."""
    return plain(column.name) in ("prompt", "question", "instruction", "query")


def _carries_prompt(column: Column) -> bool:
    if column.kind == "transcript":
        return True
    from storage.interchange.mapping.conversations import messages_in

    chats = [messages_in(v) for v in column.present[:20]]
    return column.kind == "messages" and any(m is not None and len(m) > 1 for m in chats)


def _find_context(search: Search) -> None:
    """System's turn, Alpaca's input, earlier turns, and whether answers repeat their prompt."""
    prompt = search.column("prompt")
    for column in search.free("text", "texts", "messages", "objects"):
        name = column.name.lower()
        if plain(column.name) in SYSTEM and not column.path.listed:
            search.give("system", column)
        elif (
            name in ("input", "context", "inputs", "passage", "document")
            and column.kind == "text"
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
        _find_body(search, prompt)
        find_forms(search, prompt)


def _find_body(search: Search, prompt: Column) -> None:
    """What a title stands above, as in posts: both are the prompt."""
    if plain(prompt.name) not in ("title", "post_title", "subject") or search.has("input"):
        return
    for column in search.free("text"):
        beside = column.path.steps[:-1] == prompt.path.steps[:-1]
        if beside and plain(column.name) in ("body", "post_body", "text", "post", "selftext", "content"):
            search.give("input", column, sure=0.8)
            return


def _find_policies(search: Search) -> None:
    for role, side in (
        ("policy_a", "response_a"),
        ("policy_b", "response_b"),
        ("chosen_policy", "chosen"),
        ("rejected_policy", "rejected"),
    ):
        if search.has(side):
            sides.side_policy(search, role, side)
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
        if search.has(role) or (role in ("annotator", "group", "criterion") and not is_judged(search)):
            continue
        rated = [
            (score(role, c), c) for c in search.free(*kinds) if not c.path.listed and len(c.path.steps) <= 2
        ]
        rated = [item for item in rated if item[0] > 0]
        named_by_roles = any("." in s.role or s.role == "label" for s in search.statements)
        if rated and (role != "criterion" or not named_by_roles):
            search.give(role, max(rated, key=lambda item: item[0])[1])


def _read_codings(search: Search, mapping: Mapping) -> None:
    """The codings of all verdicts; a verdict that cannot be read, or leaves it open, is told."""
    ends = sides.ends(search)
    for statement in mapping.statements:
        if (
            statement.role.partition(".")[0] not in ("winner", "winner_by")
            or str(statement.path) in search.codings
        ):
            continue
        column = next((c for c in search.columns if c.path == statement.path), None)
        if column is None:
            continue
        together = [column]
        if statement.role.startswith("winner_by."):  # people who judge side by side use one scale
            people = {str(one.path) for many in mapping.under("winner_by").values() for one in many}
            together = [c for c in search.columns if str(c.path) in people]
        values = [
            v
            for each in together
            for row in each.present
            for v in (row if isinstance(row, list) and each.path.listed else [row])
        ]
        coding = find_coding(values, column.name, ends)
        if coding is None:
            continue
        if statement.coding == REVERSED:
            coding = coding.reversed()
        search.codings[str(statement.path)] = coding
        if coding.warning:
            search.warnings.append(coding.warning)
