"""What an import would do: `propose` reads a sample, `Plan.with_statement` changes what a column is."""

from __future__ import annotations

import difflib
from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field, replace
from functools import cached_property
from itertools import islice
from pathlib import Path as FilePath
from typing import Any

from storage.errors import ImportFileError
from storage.interchange.containers.opening import open_source
from storage.interchange.containers.parts import Part, Source, refuse_many, wrong
from storage.interchange.fates import Fate, fates_of
from storage.interchange.mapping.cells import RowError
from storage.interchange.mapping.defaults import Defaults
from storage.interchange.mapping.example import Example
from storage.interchange.mapping.infer import SURE, infer
from storage.interchange.mapping.language import REVERSED, Mapping, Path, Statement, expanded, parse_statement
from storage.interchange.mapping.profile import Column, Row, profile
from storage.interchange.mapping.roles import NAMED
from storage.interchange.mapping.taking import LAYOUTS, LISTS, Taker, layout_of
from storage.interchange.mapping.unjudged import unread
from storage.interchange.mapping.verdicts import Coding, find_coding, given
from storage.interchange.presets.catalogue import BY_NAME
from storage.interchange.presets.fitting import fitting
from storage.interchange.presets.preset import Preset
from storage.interchange.presets.unfold import MANY, ONE

SAMPLE = 300  # rows of the first file
SAMPLE_BYTES = 16 * 2**20  # of a file that are enough
SAMPLE_FEWEST = 5
SAMPLE_OTHERS = 20  # of each of the next files
OTHERS = 10
REPEATED = ("keep", "ignore")  # roles of as many columns as one likes
Found = tuple[Part, int, dict[str, Any] | RowError]


@dataclass(frozen=True)
class Plan:
    """A file, what its columns are taken for, and what would come of it."""

    source: Source
    sample: tuple[Row, ...]  # as the mapping reads them
    sample_errors: tuple[tuple[int, str], ...]  # rows of the sample that no reader could read
    mapping: Mapping
    codings: dict[str, Coding]
    confidence: float  # 1 sure … 0 nothing known
    preset: Preset | None = None
    warnings: tuple[str, ...] = ()
    defaults: Defaults = field(default_factory=Defaults)
    source_name: str | None = None  # the user's word for where the prompts come from
    kind: str = "auto"
    raw: tuple[Found, ...] = ()  # the sample as the file has it
    said: tuple[Statement, ...] = ()  # what the user has said
    preset_named: bool = False  # by the user, who knows what data set it is
    confirmed: bool = False  # the user has seen the mapping and takes it as it stands

    @property
    def layout(self) -> str | None:
        """One of LAYOUTS; None where roles are missing."""
        return layout_of(self.mapping)

    @property
    def name(self) -> str:
        """What the prompts are said to come from."""
        return self.source_name or self.source.name

    @property
    def licence(self) -> str | None:
        """What the file says itself, or what is known of the data set that it is."""
        return self.source.licence or (self._data_set.licence if self._data_set else None)

    @property
    def origin(self) -> str | None:
        """Where the data set comes from, as far as that is known."""
        return self.source.origin or (self._data_set.source if self._data_set else None)

    @property
    def _data_set(self) -> Preset | None:
        """The preset where it stands for its own data set, and not for a layout that others have too."""
        known = self.preset is not None and (self.preset_named or not self.preset.shared)
        return self.preset if known else None

    @property
    def sure(self) -> bool:
        """Whether the file may be imported without a person who looks at the mapping."""
        return self.confidence >= SURE and self.layout is not None

    def taker(self) -> Taker:
        """What reads rows by this mapping; a new one, that has counted nothing."""
        return Taker(self.mapping, self.codings, self.defaults)

    @cached_property
    def columns(self) -> list[Column]:
        """The columns of the sample, with what their values are."""
        return profile(self.sample)

    @cached_property
    def preview(self) -> tuple[list[Example], Counter[str], Counter[str]]:
        """The sample as it would come in, reasons for rows left out, and what is changed or not kept."""
        taker, examples, left_out = self.taker(), [], Counter(reason for _, reason in self.sample_errors)
        for row in self.sample:
            try:
                examples.append(taker.take(row))
            except RowError as error:
                left_out[str(error)] += 1
        return examples, left_out, taker.dropped

    @cached_property
    def fates(self) -> list[Fate]:
        """What becomes of each column."""
        return fates_of(self.mapping, self.columns, self.layout, self.preview[0])

    def with_statement(self, statement: Statement) -> Plan:
        """The same plan where the user has said one thing more, in the place of what it contradicts."""
        repeats = statement.role in REPEATED or statement.role.partition(".")[0] in NAMED
        if statement.role in LISTS and not statement.path.listed:  # several columns of one text each
            column = next((c for c in self.columns if c.path == statement.path), None)
            repeats = column is not None and column.kind in ("text", "number", "messages", "transcript")
        return self._again(
            (
                *(s for s in self.said if s.path != statement.path and (repeats or s.role != statement.role)),
                statement,
            )
        )

    def with_role(self, role: str, path: str) -> Plan:
        """The same plan where `role` is the column `path`, as a mapping writes it.  Raises MappingError."""
        return self.with_statement(parse_statement(f"{role}={path}"))

    def without_word_on(self, path: Path) -> Plan:
        """The same plan without what the user has said of a column."""
        return self._again(tuple(s for s in self.said if s.path != path))

    def turned(self, path: Path) -> Plan:
        """The same plan where the verdicts of a column mean the other side."""
        statement = next((s for s in self.mapping.statements if s.path == path and _is_verdict(s)), None)
        if statement is None:
            return self
        coding = None if statement.coding == REVERSED else REVERSED
        if statement.coding and coding:  # a coding in words, turned word by word
            turn = {"a": "b", "b": "a"}
            coding = {value: turn.get(better, better) for value, better in statement.coding.items()}
        return self.with_statement(replace(statement, coding=coding))

    def _again(self, said: tuple[Statement, ...]) -> Plan:
        return _proposed(replace(self, said=said, confirmed=False), self.preset, self.raw)

    def rows(self) -> Iterator[Found]:
        """All rows of the files, in the form that the mapping reads."""
        return unfolded(self.source.rows(), self.preset)


def propose(
    named: FilePath | str | Sequence[FilePath | str],
    *,
    kind: str = "auto",
    columns: Iterable[Statement] = (),
    preset: str | None = None,
    policy: str | None = None,
    annotator: str | None = None,
    criterion: str = "overall",
    source: str | None = None,
    encoding: str | None = None,
) -> Plan:
    """A plan by a sample of the rows; it may be unsure (`Plan.sure`), and `require_sure` says what to ask.

    Raises ImportFileError where there is nothing to read, or a preset or a kind that nobody knows.
    """
    if kind not in ("auto", *LAYOUTS):
        raise ImportFileError(f'There is no shape "{kind}"; there are {", ".join(LAYOUTS)}.')
    if preset is not None and preset not in BY_NAME:
        near = difflib.get_close_matches(preset, BY_NAME, n=1)
        raise ImportFileError(
            f"There is no preset “{preset}”"
            + (f"; did you mean “{near[0]}”?" if near else f"; there are {', '.join(BY_NAME)}.")
        )
    opened = open_source(named, encoding)
    raw = list(_sample(opened))
    errors = tuple((number, str(row)) for _, number, row in raw if isinstance(row, RowError))
    rows = [row for _, _, row in raw if not isinstance(row, RowError)]
    if not rows:
        if errors:
            number, reason = errors[0]
            raise wrong(opened.name, f"{opened.word} {number}: {reason}")
        raise wrong(opened.name, "there are no rows in it")
    refuse_many(opened.name, len({name for row in rows for name in row}))
    prefix = f"{annotator} " if annotator else ""
    plan = Plan(
        opened,
        tuple(rows),
        errors,
        Mapping(),
        {},
        0.0,
        None,
        (),
        Defaults(policy or "imported", annotator or "imported", prefix, criterion),
        source,
        kind,
        tuple(raw),
        tuple(columns),
    )
    plan = replace(plan, preset_named=preset is not None)
    chosen = BY_NAME[preset] if preset else fitting(rows) if kind == "auto" else None
    return _proposed(plan, chosen, tuple(raw))


def _sample(source: Source) -> Iterator[Found]:
    """The first rows of the first files: fewer where rows are large, so that the answer comes soon."""
    for place, part in enumerate(source.parts[: OTHERS + 1]):
        rows = part.read()
        first = islice(rows, SAMPLE_OTHERS if place else SAMPLE)
        for taken, (number, row) in enumerate(first, 1):
            refuse_many(part.path, 0 if isinstance(row, RowError) else len(row))
            yield part, number, row
            if taken >= SAMPLE_FEWEST and part.position() > SAMPLE_BYTES:
                break
        close = getattr(rows, "close", None)
        if close:
            close()


def _proposed(plan: Plan, preset: Preset | None, raw: tuple[Found, ...]) -> Plan:
    """The plan with its mapping: the preset's or the sample's, and above both what the user has said."""
    _check_columns(plan)
    if preset is None:
        inferred = infer(plan.sample, plan.said, plan.kind)
        mapping = expanded(inferred.mapping, list(plan.sample))
        sure = (
            1.0 if plan.said and layout_of(mapping) and inferred.confidence >= SURE else inferred.confidence
        )
        made = replace(
            plan,
            mapping=mapping,
            codings=inferred.codings,
            confidence=sure,
            preset=None,
            warnings=tuple(inferred.warnings),
        )
        return _read_only(made)
    sample, errors = plan.sample, plan.sample_errors
    if preset.unfold:
        brought = list(unfolded(iter(raw), preset))
        sample = tuple(row for _, _, row in brought if not isinstance(row, RowError))
        errors = tuple((n, str(row)) for _, n, row in brought if isinstance(row, RowError))
        if not sample:
            raise wrong(
                plan.source.name,
                f"it looks like {preset.name} and no row can be read:"
                f" {errors[0][1] if errors else 'there are none'}",
            )
    mapping = _fitted(preset, sample).with_statements(plan.said)
    told: list[str] = []
    confidence = 1.0
    if not mapping.has("prompt") and layout_of(mapping) is None:
        inferred = infer(sample, mapping.statements, "auto")
        if not mapping.has("responses"):  # the preset says nothing of what answers there are
            told, confidence = inferred.warnings, inferred.confidence
        mapping = inferred.mapping
    mapping = expanded(mapping, list(sample))
    codings = _codings(mapping, sample)
    warnings = tuple(dict.fromkeys([*told, *(c.warning for c in codings.values() if c.warning)]))
    made = replace(
        plan,
        sample=sample,
        sample_errors=errors,
        mapping=mapping,
        codings=codings,
        confidence=confidence,
        preset=preset,
        warnings=warnings,
    )
    return _read_only(made)


def _read_only(plan: Plan) -> Plan:
    """Without statements that say nothing of rows of this layout: their columns are metadata."""
    idle = unread(plan.mapping, plan.layout)
    if not idle:
        return plan
    told = tuple(
        f'"{s.path}" is said to be {s.role}, which {plan.layout} have no use for; it is kept as metadata'
        for s in idle
        if s in plan.said
    )
    kept = Mapping(tuple(s for s in plan.mapping.statements if s not in idle))
    return replace(plan, mapping=kept, warnings=(*plan.warnings, *told))


def _check_columns(plan: Plan) -> None:
    """A column that the user names has to be in the file."""
    names = dict.fromkeys(key for row in plan.sample for key in row)
    for part in plan.source.parts:
        names.update(dict.fromkeys(part.columns))
    for statement in plan.said:
        column = statement.path.column
        if column and column not in names:
            near = difflib.get_close_matches(column.lower(), [str(n) for n in names], n=1, cutoff=0.6)
            hint = f'; did you mean "{near[0]}"?' if near else f"; there are {', '.join(list(names)[:8])}"
            raise wrong(plan.source.name, f'there is no column "{column}"{hint}')


def _fitted(preset: Preset, sample: Sequence[Row]) -> Mapping:
    """The statements of a preset whose columns the file has; data sets differ in what they leave out."""
    names = {key for row in sample for key in row}
    statements = [parse_statement(text) for text in preset.mapping]
    return Mapping(tuple(s for s in statements if not s.path.column or s.path.column in names))


def _codings(mapping: Mapping, sample: Sequence[Row]) -> dict[str, Coding]:
    by_path = {str(c.path): c for c in profile(sample)}
    codings = {}
    for statement in mapping.statements:
        if not _is_verdict(statement):
            continue
        if statement.coding and statement.coding != REVERSED:
            signed = set(statement.coding) >= {"-1", "0", "1"}
            codings[str(statement.path)] = (
                Coding("signed", a_below=statement.coding["-1"] == "a") if signed else given(statement.coding)
            )
            continue
        column = by_path.get(str(statement.path))
        values = [
            v for row in (column.present if column else ()) for v in (row if isinstance(row, list) else [row])
        ]
        coding = find_coding(values, statement.path.column)
        if coding:
            codings[str(statement.path)] = coding.reversed() if statement.coding else coding
    return codings


def _is_verdict(statement: Statement) -> bool:
    return statement.role.partition(".")[0] in ("winner", "winner_by")


def unfolded(rows: Iterator[Found], preset: Preset | None) -> Iterator[Found]:
    """Rows of tools and trees in the form that their preset's mapping reads."""
    name = preset.unfold if preset else None
    if name is None:
        yield from rows
    elif name in ONE:
        for part, number, row in rows:
            if isinstance(row, RowError):
                yield part, number, row
                continue
            try:
                for made in ONE[name](row):
                    yield part, number, made
            except RowError as error:
                yield part, number, error
            except (AttributeError, TypeError, KeyError, IndexError, ValueError):
                yield part, number, RowError(f"it is not in the form of {preset.name}")  # type: ignore[union-attr]
    else:
        yield from _unfolded_together(rows, name)


def _unfolded_together(rows: Iterator[Found], name: str) -> Iterator[Found]:
    last: list[Found] = []
    errors: list[Found] = []

    def plain_rows() -> Iterator[Row]:
        for row in rows:
            if isinstance(row[2], RowError):
                errors.append(row)
            else:
                last[:] = [row]
                yield row[2]

    for made in MANY[name](plain_rows()):
        yield last[0][0], last[0][1], made
        yield from errors
        errors.clear()
    yield from errors
