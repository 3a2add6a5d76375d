"""Named blocks of SQL: `-- name: count` in `queries/prompts.sql` is `block("prompts", "count")`.

`{prompts.count}` in a block stands for that other block.  A file is read when one of its blocks is first
asked for, so opening the store costs nothing here.
"""

from __future__ import annotations

import re
from functools import cache
from pathlib import Path

QUERIES = Path(__file__).parent / "queries"
SHARED = re.compile(r"\{(\w+)\.(\w+)\}")


@cache
def _blocks(file: str) -> dict[str, str]:
    text = (QUERIES / f"{file}.sql").read_text(encoding="utf-8")
    blocks: dict[str, str] = {}
    for part in ("\n" + text).split("\n-- name:")[1:]:
        name, _, body = part.partition("\n")
        blocks[name.strip()] = body.strip()
    return blocks


@cache
def block(file: str, name: str) -> str:
    """The SQL under `-- name: NAME` in `queries/FILE.sql`; KeyError when there is none."""
    return SHARED.sub(lambda match: block(match[1], match[2]), _blocks(file)[name])
