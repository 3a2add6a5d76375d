"""Queries that answer what researchers ask of a store, one file each in `workbench/queries/`."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cache
from pathlib import Path

FOLDER = Path(__file__).parents[2] / "queries"


@dataclass(frozen=True, slots=True)
class GalleryQuery:
    """A question and the SQL that answers it; the SQL may hold parameters as `$name`."""

    name: str
    question: str
    sql: str


@cache
def gallery() -> tuple[GalleryQuery, ...]:
    """Every query, by name."""
    return tuple(_read(file) for file in sorted(FOLDER.glob("*.sql")))


def page() -> str:
    """The gallery as the documentation shows it."""
    parts = [
        "# Questions\n",
        "Queries that answer them, from the views that the store keeps. F7 offers them with ctrl+g,\n"
        "and so does `workbench sql --question NAME`; a parameter is asked for, or given by\n"
        "`--set NAME=VALUE`.\n",
    ]
    parts += [f"## {q.question}\n\n`{q.name}`\n\n```sql\n{q.sql}\n```\n" for q in gallery()]
    return "\n".join(parts)


def _read(file: Path) -> GalleryQuery:
    first, _, rest = file.read_text(encoding="utf-8").partition("\n")
    return GalleryQuery(file.stem, first.removeprefix("-- ").strip(), rest.strip())
