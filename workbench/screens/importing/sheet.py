"""Parts of the import's sheet: a line a column, the first rows of the file, the rows as they would stand."""

from __future__ import annotations

import re
from collections.abc import Sequence
from typing import Any

from rich.text import Text
from textual.content import Content
from textual.widgets import DataTable

from workbench.services.import_draft import ColumnLine
from workbench.widgets.safe import safe_content, safe_line

NAME_CELLS = 17
CELL_CHARACTERS = 24  # of a value in the sheet
STANDING_CHARACTERS = 300  # of a text in the rows as they would stand
LETTERS = "ABCDEFGHIJKLMNOPQRSTUVWXYZ"


def draw_column(line: ColumnLine, width: int) -> Content:
    """Name and what it becomes; loudest for what looks like a verdict or a prompt and is not read."""
    name_cells = max(8, min(NAME_CELLS, width // 2))
    depth = len(line.path.steps) - 1
    own = line.name.rpartition(".")[2] if depth else line.name
    name = Content(" " * min(depth, 4) + (safe_line(own, 80) or " "))
    name = name.truncate(name_cells - 1, ellipsis=True, pad=True)
    if line.warning:
        mark, style = "! ", "bold $warning"
    elif line.roles and line.roles != ("keep",):
        mark, style = "  ", "bold $secondary"
    else:
        mark, style = "  ", "$foreground-muted"
    became = re.sub(r"^metadata of the (\w+)", r"kept (\1)", safe_line(line.became, 200)) + (
        " ·" if line.said else ""
    )
    return Content.assemble(name, (mark, "bold $warning"), (became, style))


class Sheet(DataTable[Text]):
    """The first rows of the file as they are, a column for each line of the mapping."""

    def put(self, lines: Sequence[ColumnLine]) -> None:
        """Replace everything."""
        self.clear(columns=True)
        for line in lines:
            self.add_column(Text(safe_line(line.name, 40) or " "), key=None)
        rows = max((len(line.values) for line in lines), default=0)
        for row in range(rows):
            self.add_row(*(_cell(line.values[row] if row < len(line.values) else "") for line in lines))

    def go_to(self, column: int) -> None:
        """Bring a column into view, marked by the cursor."""
        if column < len(self.columns):
            self.move_cursor(row=self.cursor_row, column=column, animate=False)


def _cell(value: str) -> Text:
    text = safe_line(value, CELL_CHARACTERS + 1)
    return Text(text if len(text) <= CELL_CHARACTERS else text[:CELL_CHARACTERS] + "…")


def standing_content(examples: Sequence[dict[str, Any]]) -> Content:
    """Some rows as they would stand in the store: prompt, responses, who judged what."""
    if not examples:
        return Content.styled("No row would come in yet.", "$foreground-muted")
    parts: list[Content | str | tuple[str, str]] = []
    for number, example in enumerate(examples, 1):
        parts += [("\n\n" if number > 1 else "") + f"{number}  ", _text(example["prompt"]).stylize("bold")]
        for place, answer in enumerate(example["responses"]):
            who = safe_line(answer["policy"], 24)
            parts += [(f"\n {LETTERS[place % 26]}  {who}  ", "$secondary"), _text(answer["text"])]
        for judged in example["judgements"]:
            parts.append((f"\n    {_verdict(judged)}", "$foreground-muted"))
    return Content.assemble(*parts)


def _text(text: str) -> Content:
    shown = text if len(text) <= STANDING_CHARACTERS else text[:STANDING_CHARACTERS] + "…"
    return safe_content(" ⏎ ".join(shown.strip().splitlines()))


def _verdict(judged: dict[str, Any]) -> str:
    said = []
    for item in judged["items"]:
        letter = LETTERS[item["response"] % 26]
        rank, rating = item["rank"], item["rating"]
        place = f" place {rank:g}" if rank is not None else ""
        said.append(f"{letter}{place}" + (f" rated {rating:g}" if rating is not None else ""))
    strength = f", strength {judged['strength']:g}" if judged["strength"] is not None else ""
    about = f"{safe_line(judged['annotator'], 24)}, {safe_line(judged['criterion'], 24)}"
    return f"{about}: {' · '.join(said)}{strength}"


def losses_content(
    refused: str | None, left_out: dict[str, int], changed: dict[str, int], warnings: Sequence[str]
) -> Content:
    """What a person should look at: why it cannot come in, what would be lost, what was taken for granted."""
    lines: list[tuple[str, str]] = []
    if refused:
        lines.append((refused, "bold $error"))
    lines += [(f"{number:,} left out: {reason}", "$warning") for reason, number in left_out.items()]
    lines += [(f"{what}: {number:,}", "$warning") for what, number in changed.items()]
    lines += [(warning, "$warning") for warning in warnings]
    if not lines:
        return Content.styled("Nothing of the rows that were looked at is lost.", "$foreground-muted")
    parts = [(("\n" if n else "") + safe_line(text, 400), style) for n, (text, style) in enumerate(lines)]
    return Content.assemble(*parts)
