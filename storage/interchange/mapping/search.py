"""The columns of a sample while roles are given out."""

from __future__ import annotations

from dataclasses import dataclass, field

from storage.interchange.mapping.language import Each, Path, Statement
from storage.interchange.mapping.profile import Column
from storage.interchange.mapping.verdicts import Coding


@dataclass
class Search:
    """The columns that are still free while roles are given out."""

    columns: list[Column]
    statements: list[Statement]
    kind: str = "auto"
    confidence: float = 1.0
    warnings: list[str] = field(default_factory=list)
    codings: dict[str, Coding] = field(default_factory=dict)

    @property
    def taken(self) -> set[str]:
        """Paths that have a role by now, and lists whose elements have one."""
        elements = {str(Path(s.path.steps[:-1])) for s in self.statements if s.path.steps[-1:] == (Each(),)}
        return elements | {str(s.path) for s in self.statements}

    def has(self, *roles: str) -> bool:
        """Whether all of these roles have been found."""
        return all(any(s.role == role for s in self.statements) for role in roles)

    def path(self, role: str) -> Path | None:
        """Where a role has been found; None while it has not."""
        return next((s.path for s in self.statements if s.role == role), None)

    def column(self, role: str) -> Column | None:
        """The column of a role; None while it has none."""
        path = self.path(role)
        return next((c for c in self.columns if c.path == path), None)

    def free(self, *kinds: str) -> list[Column]:
        """Columns without a role, of these kinds or of any."""
        taken = self.taken
        return [c for c in self.columns if str(c.path) not in taken and (not kinds or c.kind in kinds)]

    def give(self, role: str, column: Column, form: str | None = None, sure: float = 1.0) -> None:
        """Give a column a role that is not taken; `sure`, 0 … 1, bounds how sure the whole plan is."""
        if not self.has(role) or role.partition(".")[0] in ("winner", "winner_by", "annotator"):
            self.statements.append(Statement(role, column.path, None, form))
            self.confidence = min(self.confidence, sure)
