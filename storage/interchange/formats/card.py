"""The data card of a folder: what it holds, where it comes from, how it is read."""

from __future__ import annotations

import json
import re
from typing import TYPE_CHECKING

from storage.interchange.clean import clean_text
from storage.interchange.formats.columns import Columns
from storage.interchange.formats.format import Format
from storage.sql import block

if TYPE_CHECKING:
    from storage.interchange.formats.leaving import Leaving

HELD = {
    "text": "text",
    "number": "a number",
    "truth": "true or false",
    "messages": "messages with role and content",
    "texts": "a list of texts",
    "truths": "a list of true or false",
    "json": "JSON text",
}


def split_name(split: str | None) -> str:
    """A split as `datasets` allows it: letters, digits and _; `train` where none is said."""
    name = re.sub(r"\W+", "_", split or "", flags=re.ASCII).strip("_")
    return name[:60] or "train"


def card(chosen: Format, leaving: Leaving, name: str, columns: Columns, counts: dict[str, int]) -> str:
    """README.md, with the front matter that `datasets.load_dataset` reads."""
    title = clean_text(name)
    lines = ["---", f"pretty_name: {json.dumps(title, ensure_ascii=False)}", "configs:"]
    lines += ["- config_name: default", "  data_files:"]
    for split in counts:
        lines += [f"  - split: {split}", f"    path: data/{split}-*.parquet"]
    lines += [
        "---",
        "",
        f"# {title}",
        "",
        f"{chosen.about}. The layout is documented at <{chosen.source}>.",
        "",
    ]
    lines += ["| split | rows |", "| --- | --- |", *(f"| {s} | {n} |" for s, n in counts.items()), ""]
    lines += ["| column | holds |", "| --- | --- |"]
    lines += [f"| {_cell(column)} | {HELD[kind]} |" for column, kind in columns.items()]
    lines += ["", *_origins(leaving)]
    if leaving.anonymous:
        lines += ["Annotators are numbered; ids, sources and notes are left out.", ""]
    if leaving.left_out:
        lines += ["Not in it, because the layout has no place for it:", ""]
        lines += [f"- {reason}: {n}" for reason, n in leaving.left_out.most_common() if n] + [""]
    return "\n".join(lines)


def _origins(leaving: Leaving) -> list[str]:
    """The data sets that were imported, with their licences."""
    rows = leaving.store.rows(block("exports", "licences"))
    if not rows:
        return []
    lines = ["The store holds imports from these; their licences go on with what is taken from them:", ""]
    for name, licence, origin in rows:
        where = origin or ("a file" if leaving.anonymous else name)
        lines.append(f"- {_cell(where)}: {_cell(licence or 'licence not known')}")
    return [*lines, ""]


def _cell(text: str) -> str:
    """One line, no markup that a table or a page would run."""
    return re.sub(r"([|<>`\[\]\\])", r"\\\1", " ".join(clean_text(text).split()))
