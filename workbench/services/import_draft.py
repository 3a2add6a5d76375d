"""A file on its way in, as the screen shows it: what each column is taken for, rows, counts, the report.

A person changes what a column is until it is right; nothing is stored before.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Any

from engine.wording import counted
from workbench.services.importing import ImportRequest

if TYPE_CHECKING:
    from storage.import_records import ImportReport
    from storage.interchange.mapping.example import Example, Judged
    from storage.interchange.mapping.language import Path
    from storage.interchange.planning import Plan

__all__ = [
    "ColumnLine",
    "ImportCounts",
    "ImportOptions",
    "Plan",
    "column_lines",
    "confirmed",
    "count_rows",
    "in_keys",
    "kinds",
    "left_out_lines",
    "read_as",
    "refusal",
    "roles",
    "with_role",
]
SHOWN_ROWS = 20
SHOWN_COLUMNS = 120
SHOWN_CHARACTERS = 400  # of a value in the sheet
TELL_EVERY = 500  # rows


SHAPES = {
    "prompts": "prompts alone",
    "responses": "one response a row",
    "ranked": "one response a row, with its rank, rating or label",
    "ranked_lists": "several responses to a prompt in one row",
    "pairs": "a better and a worse response",
    "annotated_pairs": "two responses, and which is better",
    "steps": "a solution, step by step",
}
MOST_BAD = 0.5  # share of rows left out above which a file is refused


@dataclass(frozen=True)
class ImportOptions:
    """What a person says of a file beside its columns."""

    request: ImportRequest = field(default_factory=ImportRequest)
    strict: bool = False
    most_bad: float = MOST_BAD


@dataclass(frozen=True)
class ColumnLine:
    """One column, or one place inside it, and what is taken from there."""

    path: Path
    holds: str
    roles: tuple[str, ...]
    became: str
    warning: str | None
    said: bool  # by the person
    values: tuple[str, ...]

    @property
    def name(self) -> str:
        """The path as a person writes it in a mapping."""
        return str(self.path)


@dataclass(frozen=True)
class ImportCounts:
    """What would come in of the rows that have been read so far."""

    rows: int
    prompts: int
    responses: int
    judgements: int
    left_out: dict[str, int]
    share: float  # of the file that has been read, 0 … 1

    @property
    def sentence(self) -> str:
        """As a line of the screen."""
        what = f"{counted(self.prompts, 'prompt')}, {counted(self.responses, 'response')}"
        what += f", {counted(self.judgements, 'judgement')}"
        if bad := sum(self.left_out.values()):
            what += f"; {counted(bad, 'row')} left out"
        rows = counted(self.rows, "row")
        return f"{rows}: {what}" if self.share >= 1 else f"{rows} so far ({self.share:.0%}): {what}"


def column_lines(plan: Plan) -> list[ColumnLine]:
    """The columns of the sample in the file's order, what stands inside them behind them."""
    roles: dict[str, list[str]] = {}
    for statement in plan.mapping.statements:
        turned = " (turned)" if statement.coding and "*" in statement.coding else ""
        roles.setdefault(str(statement.path), []).append(statement.role + turned)
    fates = {fate.column: fate for fate in plan.fates}
    said = {str(statement.path) for statement in plan.said}
    lines = []
    for column in plan.columns[:SHOWN_COLUMNS]:
        path = str(column.path)
        mine = tuple(roles.get(path, ()))
        fate = fates.get(column.path.column) if len(column.path.steps) == 1 else None
        read = [role for role in mine if role not in ("keep", "ignore")]
        became = ", ".join(read) or (fate.became if fate else ", ".join(mine))
        values = tuple(_text_of(value) for value in column.values[:SHOWN_ROWS])
        warning = fate.warning if fate else None
        lines.append(ColumnLine(column.path, column.kind, mine, became, warning, path in said, values))
    return lines


def _text_of(value: Any) -> str:
    from storage.interchange.mapping.cells import as_json

    if value is None:
        return ""
    return (value if isinstance(value, str) else as_json(value))[:SHOWN_CHARACTERS]


def with_role(plan: Plan, role: str, path: Path) -> Plan:
    """The plan where a column has a role; a role that is named by the file takes the column's name.

    Raises ImportFileError where there is no such role.
    """
    from storage.interchange.mapping.language import Statement
    from storage.interchange.mapping.roles import NAMED, ROLES, check_role

    stem, _, placeholder = role.partition(".")
    if placeholder.isupper() or (role in NAMED and role not in ROLES):
        name = next((step for step in reversed(path.steps) if isinstance(step, str)), "")
        role = f"{stem}.{name}"
    check_role(role)
    return plan.with_statement(Statement(role, path))


def roles() -> list[tuple[str, str]]:
    """Every role with what it is; what has a name behind a dot takes the column's."""
    from storage.interchange.mapping.roles import NAMED, ROLES

    named = [sentence.split(": ", 1) for sentence in NAMED.values()]
    return [*ROLES.items(), *((role, about) for role, about in named)]


def kinds() -> list[tuple[str, str]]:
    """(what a person chooses, what it is): every preset, and every shape that rows can have."""
    from storage.interchange.mapping.taking import LAYOUTS
    from workbench.services.importing import presets

    shapes = [(f"rows: {name}", SHAPES[name]) for name in LAYOUTS]
    return [
        ("as proposed", "by its columns and what they hold"),
        *shapes,
        *((n, what) for n, what, _ in presets()),
    ]


def refusal(plan: Plan) -> str | None:
    """Why the plan cannot be run as it stands, told in flags; None where it can."""
    from storage.errors import ImportFileError
    from storage.interchange.asking import require_sure

    try:
        require_sure(plan)
    except ImportFileError as error:
        sentence = str(error).removeprefix(f"{plan.source.name}: ").removesuffix("; nothing was imported.")
        return sentence[:1].upper() + sentence[1:] + "."
    return None


def in_keys(sentence: str, key_of: Callable[[str], str], *, turn: str, rows: str, options: str) -> str:
    """A sentence of the importer with keys in the place of flags: `key_of` a role, and the three others."""
    from storage.interchange import remedies

    return remedies.in_keys(sentence, key_of, turn=turn, rows=rows, options=options)


def confirmed(plan: Plan) -> Plan:
    """The plan as somebody takes it who has seen what its columns are taken for."""
    return replace(plan, confirmed=True)


class _Tally:
    """Prompts, responses and judgements, told apart by what they say, as the store tells them apart."""

    def __init__(self) -> None:
        self.prompts, self.responses, self.verdicts = set[int](), set[int](), set[int]()
        self.joined = Counter[int]()  # responses of a judgement that stands in several rows
        self.ranked = set[int]()  # the joined ones that need two responses

    def add(self, example: Example) -> None:
        from storage.ids import canonical_messages

        prompt = hash(canonical_messages(example.chat))
        self.prompts.add(prompt)
        answers = [hash((prompt, answer.policy, answer.text)) for answer in example.answers]
        self.responses.update(answers)
        for judged in example.judgements:
            self._judged(prompt, answers, judged)

    def _judged(self, prompt: int, answers: list[int], judged: Judged) -> None:
        about = (prompt, judged.annotator, judged.kind, judged.criterion)
        if judged.group is None and len(judged.items) < 2 and judged.kind != "rating":
            return  # a rank says nothing alone
        if judged.group is None:
            items = tuple(
                sorted((answers[n], rank or 0.0, rating or 0.0) for n, rank, rating in judged.items)
            )
            self.verdicts.add(hash((about, items)))
            return
        key = hash((about, judged.group))
        self.joined[key] += 1
        if judged.kind == "ranking":
            self.ranked.add(key)

    @property
    def judgements(self) -> int:
        alone = sum(self.joined[key] < 2 for key in self.ranked)
        return len(self.verdicts) + len(self.joined) - alone


def count_rows(plan: Plan, stopped: Callable[[], bool]) -> Iterator[ImportCounts]:
    """Counts of the whole file as it is read, the last with a share of 1; ends early where `stopped` says so.

    What is in the store already is counted with the rest.  Raises ImportFileError for a file that breaks off.
    """
    from storage.interchange.mapping.cells import RowError

    if plan.layout is None:
        return
    taker, tally, rows, left_out = plan.taker(), _Tally(), 0, Counter[str]()

    def now(share: float) -> ImportCounts:
        counts = len(tally.prompts), len(tally.responses), tally.judgements
        return ImportCounts(rows, *counts, dict(left_out), share)

    for part, _, row in plan.rows():
        rows += 1
        try:
            if isinstance(row, RowError):
                raise row
            tally.add(taker.take(row))
        except RowError as error:
            left_out[str(error)] += 1
        if rows % TELL_EVERY == 0:
            if stopped():
                return
            yield now(min(0.99, plan.source.share(part)))
    yield now(1.0)


def read_as(report: ImportReport) -> str:
    """How the file was read, and what became of each column."""
    how = report.preset or f"{report.shape} (sure to {report.confidence:.0%})"
    return f"read as {how}: " + "; ".join(f"{c.column} → {c.became}" for c in report.columns)


def left_out_lines(report: ImportReport, most: int) -> list[str]:
    """The rows that were left out, a line a reason, with where they stand."""
    return [
        f"left out {left.rows:,}: {left.reason} ({', '.join(left.places) or 'in several rows'})"
        for left in report.left_out[:most]
    ]
