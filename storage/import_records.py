"""What an import did."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

from storage.wording import counted


@dataclass(frozen=True, slots=True)
class Count:
    """Rows of one table: what an import has added, and what the store had before."""

    added: int = 0
    already_there: int = 0


@dataclass(frozen=True, slots=True)
class ColumnFate:
    """What became of a column of an imported file; `warning` where a person should look at it."""

    column: str
    became: str
    warning: str | None = None


@dataclass(frozen=True, slots=True)
class LeftOut:
    """Rows left out for one reason, with the places of the first ones."""

    reason: str
    rows: int
    places: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class ImportReport:
    """What an import did.  `skipped` says how many rows were left out, by reason."""

    path: Path
    shape: str  # prompts, responses, ranked, ranked_lists, pairs, annotated_pairs, steps
    rows: int
    prompts: Count
    responses: Count
    judgements: Count
    skipped: Mapping[str, int] = field(default_factory=dict)
    name: str = ""
    preset: str | None = None
    confidence: float = 1.0
    columns: tuple[ColumnFate, ...] = ()
    left_out: tuple[LeftOut, ...] = ()
    notes: tuple[str, ...] = ()
    mapping: str = ""

    @property
    def warnings(self) -> tuple[str, ...]:
        """What a person should look at: columns that nothing reads, and what was taken for granted."""
        return (*(c.warning for c in self.columns if c.warning), *self.notes)

    @property
    def sentence(self) -> str:
        """The report as a person reads it."""
        parts = [
            f"{counted(count.added, noun)} added"
            + (f" ({count.already_there:,} already there)" if count.already_there else "")
            for noun, count in (
                ("prompt", self.prompts),
                ("response", self.responses),
                ("judgement", self.judgements),
            )
            if count.added or count.already_there
        ]
        parts += [f"{counted(number, 'row')} skipped: {reason}" for reason, number in self.skipped.items()]
        return (
            f"{self.name or self.path.name}: {counted(self.rows, 'row')}; "
            + ("; ".join(parts) or "nothing added")
            + "."
        )

    def __str__(self) -> str:
        return self.sentence
