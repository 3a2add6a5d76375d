"""A mapping put to work on whole columns: plain rows become a table, the others are left for the row path.

A row is plain where prompt and answers are texts that stand as they are.  Names, numbers and verdicts are
read by the functions of `mapping`, a column at a time; a row that makes one of them doubt is left over, so
that both ways give the same rows of the store, which a test holds them to.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from storage.interchange.columns.batches import Batch
from storage.interchange.columns.judging import Verdicts, columns_of_one, strict_numbers
from storage.interchange.columns.plain import plain_answers, plain_prompts
from storage.interchange.mapping.cells import as_json, name_of
from storage.interchange.mapping.language import Statement
from storage.interchange.mapping.taking import UNJUDGED, Taker

ABOUT = ("id", "reference", "source", "split", "subset", "keep", "ignore", "prompt")
SAID = ("annotator", "criterion", "strength", "note", "seconds")
ROLES = {
    "prompts": {*ABOUT},
    "responses": {*ABOUT, "response", "policy"},
    "ranked": {*ABOUT, *SAID, "response", "policy", "rank", "rating", "label", "group", "criterion."},
    "pairs": {
        *ABOUT,
        *SAID,
        "policy",
        *(side + what for side in ("chosen", "rejected") for what in ("", "_policy", "_rating")),
    },
    "annotated_pairs": {
        *ABOUT,
        *SAID,
        "policy",
        *(what + side for side in "ab" for what in ("response_", "policy_", "rating_", "won_")),
        *("won_tie", "winner", "winner.", "winner_by."),
    },
}
SIDES = {
    "prompts": (),
    "responses": ("response",),
    "ranked": ("response",),
    "pairs": ("chosen", "rejected"),
    "annotated_pairs": ("response_a", "response_b"),
}
POLICIES = {"chosen": "chosen_policy", "rejected": "rejected_policy"} | {
    f"response_{side}": f"policy_{side}" for side in "ab"
}
RATINGS = {"chosen": "chosen_rating", "rejected": "rejected_rating"} | {
    f"response_{side}": f"rating_{side}" for side in "ab"
}


class ColumnTaker:
    """Takes batches as `taker` takes rows."""

    def __init__(self, taker: Taker, source: str) -> None:
        self.taker = taker
        self.mapping = taker.mapping
        self.layout = taker.layout or ""
        self.sides = SIDES[self.layout]
        self._source = source
        self._used = self.mapping.columns() - {s.path.column for s in self.mapping.all("keep")}
        self._used -= taker.unread.columns
        self._judged: list[bool] = []  # the rows of this batch
        self._verdicts = Verdicts(taker) if self.layout == "annotated_pairs" else None

    @staticmethod
    def can(taker: Taker) -> bool:
        """Whether the mapping fills only roles of one value each, read as they stand."""
        roles = ROLES.get(taker.layout or "")
        if roles is None or not taker.mapping.has("prompt"):
            return False
        for statement in taker.mapping.statements:
            stem, dot, _ = statement.role.partition(".")
            if stem + dot not in roles or statement.path.listed or statement.form not in (None, "text"):
                return False
        return taker.layout != "annotated_pairs" or Verdicts.can(taker)

    def take(self, batch: Batch) -> tuple[Any, list[int]]:
        """An Arrow table with the columns of `stage_wide` but ids, and the places of all other rows."""
        import pyarrow as pa
        import pyarrow.compute as pc

        odd: set[int] = set(batch.broken)
        columns: dict[str, Any] = {"place": pa.array(range(len(batch)), pa.int64())}
        prompts, plain = plain_prompts(batch.texts(self._statement("prompt")))
        columns["prompt"] = prompts
        policies = self._policies(batch)
        for letter, side in zip("ab", self.sides, strict=False):
            texts, well = plain_answers(batch.texts(self._statement(side)))
            plain = pc.and_(plain, well)
            columns[f"text_{letter}"] = texts
            columns[f"policy_{letter}"] = policies[side]
        if len(self.sides) == 2:
            alike = pc.equal(columns["text_a"], columns["text_b"])
            alike = pc.and_(alike, pc.equal(columns["policy_a"], columns["policy_b"]))
            plain = pc.and_(plain, pc.fill_null(pc.invert(alike), False))
        judged = self._judgements(batch, columns, odd)
        if judged is not None and self.taker.unjudged:  # what such rows say of judging is kept with them
            odd |= {place for place, said in enumerate(self._judged) if not said}
        self._about(batch, columns, judged)
        if odd:
            plain = pc.and_(plain, pa.array([n not in odd for n in range(len(batch))]))
        if judged is not None and self.taker.judges and self.layout == "annotated_pairs":
            silent = pc.and_(plain, pa.array([not said for said in judged]))
            if number := pc.sum(silent).as_py():
                self.taker.dropped[UNJUDGED] += number
        table = pa.table(columns)
        if pc.all(plain).as_py():
            return table, []
        return table.filter(plain), pc.indices_nonzero(pc.invert(plain)).to_pylist()

    # --- who wrote it, and what is said of it ------------------------------------------------------------

    def _policies(self, batch: Batch) -> dict[str, Any]:
        import pyarrow as pa

        default = self.taker.defaults.policy
        whole = self._names(batch, "policy")
        policies = {}
        for side in self.sides:
            own = self._names(batch, POLICIES.get(side, ""))
            if own is None and whole is None:
                policies[side] = pa.repeat(pa.scalar(default, pa.string()), len(batch))
                continue
            many = zip(own or [None] * len(batch), whole or [None] * len(batch), strict=True)
            policies[side] = pa.array([a or b or default for a, b in many], pa.string())
        return policies

    def _judgements(self, batch: Batch, columns: dict[str, Any], odd: set[int]) -> list[bool] | None:
        """Adds what is said of the answers.  Which rows hold a judgement of both; None for all of them."""
        import pyarrow as pa

        if not self.sides or self.layout == "responses":
            return [False] * len(batch)
        if self.layout == "ranked":
            columns["said"], judged = columns_of_one(self.mapping, batch, odd)
            self._judged = judged
            columns["group"] = pa.array(
                [name or "" for name in self._names(batch, "group") or [""] * len(batch)], pa.string()
            )
            self._said(batch, columns, odd, judged)
            return [False] * len(batch)
        for letter, side in zip("ab", self.sides, strict=True):
            if (values := self._values(batch, RATINGS[side])) is not None:
                columns[f"rating_{letter}"] = pa.array(strict_numbers(values, odd), pa.float64())
        both: list[bool] | None = None
        if self._verdicts is not None:
            both = self._judged = self._verdicts.take(batch, columns, odd)
        else:
            columns["rank_a"] = pa.repeat(pa.scalar(1, pa.int32()), len(batch))
            columns["rank_b"] = pa.repeat(pa.scalar(2, pa.int32()), len(batch))
        self._said(batch, columns, odd, both)
        return both

    def _said(self, batch: Batch, columns: dict[str, Any], odd: set[int], judged: list[bool] | None) -> None:
        """Who judged, by which criterion, how much better; nothing where nothing is judged."""
        import pyarrow as pa

        defaults = self.taker.defaults
        verdicts = self._verdicts
        fixed_criterion = verdicts.criterion if verdicts else None
        fixed_annotator = verdicts.annotator if verdicts else None
        for name, default, fixed in (
            ("annotator", defaults.annotator, fixed_annotator),
            ("criterion", defaults.criterion, fixed_criterion),
        ):
            values = None if fixed else self._names(batch, name)
            filled: list[Any] = [v or default for v in values] if values else [fixed or default] * len(batch)
            if judged is not None and name == "annotator":
                filled = [v if is_so else None for v, is_so in zip(filled, judged, strict=True)]
            columns[name] = pa.array(filled, pa.string())
        if (values := self._values(batch, "strength")) is not None:
            given = strict_numbers(values, odd)
            if "strength" in columns:  # the verdict's own counts where the column says nothing
                given = [
                    own if own is not None else of_verdict
                    for own, of_verdict in zip(given, columns["strength"].to_pylist(), strict=True)
                ]
            columns["strength"] = pa.array(given, pa.float64())
        if (values := self._values(batch, "seconds")) is not None:
            columns["seconds"] = pa.array(strict_numbers(values, odd), pa.float64())
        if (notes := self._names(batch, "note")) is not None:
            if "note" in columns:
                notes = [
                    f"{bad}; {note}" if bad and note else bad or note
                    for bad, note in zip(columns["note"].to_pylist(), notes, strict=True)
                ]
            columns["note"] = pa.array(notes, pa.string())

    # --- the rest of the row -----------------------------------------------------------------------------

    def _about(self, batch: Batch, columns: dict[str, Any], judged: list[bool] | None) -> None:
        import pyarrow as pa

        for role, column, default in (
            ("id", "external_id", None),
            ("reference", "reference", None),
            ("source", "source", self._source),
            ("split", "split", batch.part.split),
            ("subset", "subset", batch.part.subset),
        ):
            values = self._names(batch, role)
            if values is not None:
                columns[column] = pa.array([v or default for v in values] if default else values, pa.string())
            elif default is not None:
                columns[column] = pa.repeat(pa.scalar(default, pa.string()), len(batch))
        if batch.names() <= self._used:
            return
        rest = [_kept(self.taker.rest_of(row)) for row in batch.rests(self._used)]
        if self.layout in ("ranked", "responses"):
            columns["metadata_a"] = pa.array(rest, pa.string())
            return
        on_judgement = judged if judged is not None else [True] * len(batch)
        both = list(zip(rest, on_judgement, strict=True))
        columns["metadata"] = pa.array([text if so else None for text, so in both], pa.string())
        columns["prompt_metadata"] = pa.array([None if so else text for text, so in both], pa.string())

    # --- values ------------------------------------------------------------------------------------------

    def _statement(self, role: str) -> Statement:
        statement = self.mapping.get(role)
        assert statement is not None  # the layout needs it
        return statement

    def _values(self, batch: Batch, role: str) -> list[Any] | None:
        statement = self.mapping.get(role)
        return batch.values(statement) if statement else None

    def _names(self, batch: Batch, role: str) -> list[str | None] | None:
        values = self._values(batch, role)
        return None if values is None else names_of(values)


def names_of(values: Sequence[Any]) -> list[str | None]:
    """`name_of` each; a text that repeats is read once."""
    known: dict[str, str | None] = {}
    names: list[str | None] = []
    for value in values:
        if value is None:
            names.append(None)
        elif isinstance(value, str):
            if value not in known:
                known[value] = name_of(value)
            names.append(known[value])
        else:
            names.append(name_of(value))
    return names


def _kept(rest: dict[str, Any]) -> str | None:
    """What no role reads, as JSON text."""
    return as_json(rest) if rest else None
