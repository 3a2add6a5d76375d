"""Answers that repeat their prompt, as transcripts or word for word."""

from __future__ import annotations

from storage.interchange.clean import clean_text
from storage.interchange.mapping.language import Statement
from storage.interchange.mapping.profile import Column
from storage.interchange.mapping.search import Search
from storage.interchange.mapping.transcripts import transcript_of


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
