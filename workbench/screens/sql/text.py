"""Text around SQL: where an error is, what a relation's row says, what a history line says."""

from __future__ import annotations

from typing import TYPE_CHECKING

from rich.text import Text
from textual.content import Content

from engine.wording import counted
from workbench.services.sql.gallery import GalleryQuery
from workbench.widgets.safe import safe_line, safe_text

if TYPE_CHECKING:
    from storage.records import SavedQuery, TableInfo


def error_sentence(place: tuple[int, int] | None, sentence: str) -> Content:
    """The sentence of an error, in front of it line and column (from 0) where they are known."""
    where = "" if place is None else f"Line {place[0] + 1}, column {place[1] + 1}: "
    return Content.assemble((where, "bold $text-error"), (safe_line(safe_text(sentence)), "$text-error"))


def relation_label(relation: TableInfo) -> Text:
    """A table, or in italics a view, in the tree."""
    name = safe_line(relation.name, 60) or " "
    return Text(name, style="italic" if relation.kind == "view" else "", no_wrap=True)


def column_label(name: str, data_type: str) -> Text:
    """A column in the tree, with its type."""
    label = Text(safe_line(name, 60) or " ", no_wrap=True)
    label.append(f" {safe_line(data_type, 24).lower()}", style="dim")
    return label


def searched(query: SavedQuery | GalleryQuery) -> str:
    """What a search for it looks through, in lower case."""
    question = query.question if isinstance(query, GalleryQuery) else ""
    return f"{query.name or ''} {question} {query.sql}".lower()


def history_line(query: SavedQuery | GalleryQuery, width: int = 54) -> Content:
    """A question of the gallery, or a query of the history: its name, its text, what came of it."""
    if isinstance(query, GalleryQuery):
        return Content.styled(safe_line(query.question, width + 12), "$secondary")
    if query.error:
        outcome = ("failed", "$text-error")
    elif query.rows is not None:
        outcome = (counted(query.rows, "row"), "$foreground-muted")
    else:
        outcome = ("", "$foreground-muted")
    name = safe_line(query.name or "", 30)
    return Content.assemble(
        (f"{name}  " if name else "", "bold $primary"),
        Content(safe_line(query.sql)).truncate(max(12, width - len(name)), ellipsis=True, pad=True),
        "  ",
        outcome,
    )
