"""What to ask where it is not clear what the columns of a file are."""

from __future__ import annotations

import difflib
import re

from storage.interchange import remedies
from storage.interchange.containers.parts import wrong
from storage.interchange.mapping.infer import SURE
from storage.interchange.mapping.language import Statement
from storage.interchange.mapping.names import plain, tokens
from storage.interchange.mapping.profile import Column
from storage.interchange.mapping.sides import ASKED
from storage.interchange.mapping.taking import layout_of
from storage.interchange.planning import Plan

NEEDED = (
    "prompt",
    "chosen",
    "rejected",
    "response_a",
    "response_b",
    "response",
    "responses",
    "rank",
    "ranks",
    "rating",
    "ratings",
)


MEASURES = {
    **dict.fromkeys(("rank", "rating"), ("number",)),
    **dict.fromkeys(("ranks", "ratings"), ("number", "numbers", "text")),
}


def require_sure(plan: Plan) -> None:
    """Raises ImportFileError with what to say, where it is not clear what the columns are."""
    if plan.confirmed and plan.layout is not None:
        return
    unusable = _unusable(plan)
    if unusable is not None:
        raise wrong(plan.source.name, unusable)
    if (asked := _several_questions(plan)) is not None:
        raise wrong(
            plan.source.name,
            f"its rows hold several questions each ({', '.join(asked[:4])}); write one row a question, or"
            f" leave the others out, as {remedies.column('ignore', asked[1])}",
        )
    misspelt = _misspelt(plan)
    if misspelt is not None:
        role, column = misspelt
        raise wrong(
            plan.source.name,
            f'there is no column "{role}"; if "{column}" is meant, rename it or import with'
            f" {remedies.column(role, column)}, if not, {remedies.KIND}",
        )
    if plan.layout is not None and plan.confidence >= SURE:
        return
    raise wrong(plan.source.name, _question(plan))


def _unusable(plan: Plan) -> str | None:
    """A column that is called prompt, response or responses and holds something else than texts."""
    if plan.preset is not None or plan.kind != "auto" or plan.said:
        return None
    for role in ("prompt", "response", "responses"):
        column = next((c for c in plan.columns if plain(c.name) == role and len(c.path.steps) == 1), None)
        if column is None or plan.mapping.has(role) or str(column.path) in plan.mapping.columns():
            continue
        if role == "prompt" and plan.layout in ("pairs", "annotated_pairs") and plan.preview[0]:
            continue  # whole conversations, which carry their prompts
        if role != "prompt" and plan.layout not in (None, "prompts"):
            continue
        if column.spoken or column.kind in ("texts", "objects", "chats"):
            continue
        if column.kind == ("numbers" if role == "responses" else "number"):
            many = "lists of numbers" if role == "responses" else "numbers"
            return (
                f'"{column.name}" holds {many}, which are ids or marks more often than texts; if they are'
                f" {role if role == 'responses' else f'{role}s'}, import with"
                f" {remedies.column(role, column.path)}"
            )
        if column.kind == "empty":
            return f'"{column.name}" is empty in all of the first rows'
        return f'"{column.name}" holds {_holds(column)} where text or a list of messages is expected'
    return None


def _several_questions(plan: Plan) -> list[str] | None:
    """`q1_prompt` beside `q2_prompt`, which differ: one of several questions would be read."""
    prompt = plan.mapping.get("prompt")
    if plan.preset is not None or plan.said or prompt is None or len(prompt.path.steps) != 1:
        return None
    name = re.sub(r"\d+", "#", plain(prompt.path.column))
    alike = [c for c in plan.columns if c.spoken and re.sub(r"\d+", "#", plain(c.name)) == name]
    several = "#" in name and tokens(prompt.path.column) & ASKED and len({str(c.values) for c in alike}) > 1
    return [c.name for c in alike] if several else None


def _misspelt(plan: Plan) -> tuple[str, str] | None:
    """A column that nothing reads, nearly called as a role, with which the rows would be something else."""
    if plan.preset is not None or plan.kind != "auto":
        return None
    taken = plan.mapping.columns()
    for column in plan.columns:
        name = plain(column.name)
        if column.path.column in taken or len(column.path.steps) > 1 or column.kind in ("empty", "object"):
            continue
        for role in NEEDED:
            if (
                plan.mapping.has(role)
                or name in NEEDED
                or difflib.SequenceMatcher(None, name, role).ratio() < 0.8
            ):
                continue
            spoken = role in ("prompt", "chosen", "rejected", "response_a", "response_b", "response")
            if (spoken and not column.spoken) or (role in MEASURES and column.kind not in MEASURES[role]):
                continue
            changed = plan.mapping.with_statements([Statement(role, column.path)])
            partner = {"chosen": "rejected", "rejected": "chosen"}.get(role)
            names = {plain(c.name) for c in plan.columns}
            if layout_of(changed) not in (None, plan.layout) or (partner in names and name != role):
                return role, column.name
    return None


def _question(plan: Plan) -> str:
    """What the columns hold, and which statement is missing; only columns that could be meant are named."""
    free = [c for c in plan.columns if len(c.path.steps) == 1]
    spoken = [c for c in free if c.spoken and not c.is_id and c.path.column not in plan.mapping.columns()]
    shown = ", ".join(f'"{c.name[:40]}" ({_holds(c)})' for c in free[:8])
    if plan.mapping.has("prompt") and plan.layout:
        prompt = plan.mapping.get("prompt")
        named = prompt.path if prompt else ""
        return (
            f"it is not clear what its columns are ({shown}); say which is which, as"
            f" {remedies.column('prompt', named)}"
        )
    if not spoken:
        return f"its columns fit no shape: none holds text that could be a prompt ({shown})"
    best = max(spoken, key=lambda c: c.length).path
    return (
        f"its columns fit no shape ({shown}); say which is the prompt and which the responses, for instance"
        f" {remedies.column('prompt', best)}; the roles are prompt, response, responses, chosen, rejected,"
        " response_a, response_b, winner, rank, rating"
    )


def _holds(column: Column) -> str:
    if column.is_id:
        return "ids"
    return {
        "text": "text",
        "number": "numbers",
        "truth": "true or false",
        "empty": "nothing",
        "texts": "lists of texts",
        "truths": "lists of true and false",
        "other": "values of several kinds",
        "numbers": "lists of numbers",
        "object": "objects",
    }.get(column.kind, column.kind)
