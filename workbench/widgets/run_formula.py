"""The loss of a run as lines of text: symbols, numbers, words."""

from __future__ import annotations

from typing import TYPE_CHECKING

from textual.content import Content

from workbench.widgets.safe import safe_line, safe_text

if TYPE_CHECKING:
    from workbench.services.formulas.losses import Formula

NO_FORMULA = "This job optimises nothing, so there is no loss to write."
ONE_LINE_CELLS = 130


def formula_content(formula: Formula | None, width: int) -> Content:
    """Symbols and numbers on one line where `width` cells bear it, else below each other.

    The words stand at the right where there is room for them.
    """
    if formula is None:
        return Content.styled(NO_FORMULA, "$foreground-muted")
    at = f" at step {formula.step}" if formula.step is not None else ", before its first numbers"
    lines = [Content.assemble((safe_line(formula.title, 60), "bold $primary"), (at, "$foreground-muted"))]
    widest = max((len(term.symbols) for term in formula.terms), default=0)
    for term in formula.terms:
        symbols = Content.styled(safe_text(term.symbols), "bold")
        numbers = Content.styled(safe_text(term.numbers), "$text-primary")
        words = Content.styled(safe_line(term.meaning, 160), "$foreground-muted")
        if width >= ONE_LINE_CELLS:
            lines.append(Content.assemble(symbols, " " * (widest - symbols.cell_length + 3), numbers))
        else:
            lines += [symbols, Content.assemble("    ", numbers)]
        gap = width - lines[-1].cell_length
        if words.cell_length + 2 <= gap:  # where there is room, at the right edge
            lines[-1] = Content.assemble(lines[-1], " " * (gap - words.cell_length), words)
    return Content("\n").join(lines)
