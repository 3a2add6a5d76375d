"""What a half-written word of SQL may become: columns of the tables named, tables, functions, keywords."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field

KEYWORDS = (
    *(
        "SELECT",
        "DISTINCT",
        "FROM",
        "WHERE",
        "GROUP BY ALL",
        "ORDER BY",
        "HAVING",
        "QUALIFY",
        "LIMIT",
        "OFFSET",
    ),
    *("JOIN", "LEFT JOIN", "ANTI JOIN", "SEMI JOIN", "USING", "UNION ALL", "WITH", "OVER", "PARTITION BY"),
    *(
        "BETWEEN",
        "IS NULL",
        "IS NOT NULL",
        "NULLS LAST",
        "CASE WHEN",
        "THEN",
        "ELSE",
        "DESC",
        "FILTER",
        "DESCRIBE",
    ),
    *("SUMMARIZE", "EXPLAIN"),
)
PLAIN = re.compile(r"[A-Za-z_]\w*", re.ASCII)
WORD = re.compile(r"(?:\b([A-Za-z_]\w*)\.)?([A-Za-z_]\w*)?$", re.ASCII)
SILENT = re.compile(r"'(?:[^']|'')*'|\"(?:[^\"]|\"\")*\"|--[^\n]*(?:\n|$)|/\*.*?\*/", re.DOTALL)
FEWEST = 2  # letters of a word before anything is offered


@dataclass(frozen=True)
class Completer:
    """`tables` maps each table and view to its columns."""

    tables: Mapping[str, Sequence[str]] = field(default_factory=dict)
    functions: Sequence[str] = ()

    def rest_of(self, before: str, whole: str) -> str:
        """What completes the word that ends `before`, the text up to the cursor; empty where nothing does.

        `whole` is the whole text, whose FROM and JOIN tell which columns may be meant.
        """
        code = SILENT.sub(" ", before)
        if "'" in code or '"' in code or before.rpartition("\n")[2].find("--") >= 0:
            return ""  # in a string, a quoted name or a comment
        match = WORD.search(code)
        place, word = (match[1] or "", match[2] or "") if match else ("", "")
        if len(word) < (1 if place else FEWEST):
            return ""
        for group in self._columns_of(place, whole) if place else self._offers(whole):
            rests = [name[len(word) :] for name in group if name.lower().startswith(word.lower())]
            if "" in rests:
                return ""  # it is a whole word already
            if rests:
                rest = min(rests, key=lambda text: (len(text), text))
                return rest.lower() if word.islower() and rest.isupper() else rest
        return ""

    def _offers(self, whole: str) -> Iterable[Iterable[str]]:
        named = [name for name in PLAIN.findall(SILENT.sub(" ", whole)) if name in self.tables]
        yield [column for name in named for column in self._plain(self.tables[name])]
        yield self._plain(self.tables)
        yield KEYWORDS
        yield self.functions
        yield [column for columns in self.tables.values() for column in self._plain(columns)]

    def _columns_of(self, place: str, whole: str) -> Iterable[Iterable[str]]:
        """The columns of the table that `place` names, or is another name of."""
        given = re.compile(rf"\b([A-Za-z_]\w*)\s+(?:AS\s+)?{re.escape(place)}\b", re.IGNORECASE)
        for name in (place, *given.findall(SILENT.sub(" ", whole))):
            if name in self.tables:
                yield self._plain(self.tables[name])
                return

    @staticmethod
    def _plain(names: Iterable[str]) -> list[str]:
        return [name for name in names if PLAIN.fullmatch(name)]
