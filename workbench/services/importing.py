"""Importing in two steps, for the command line and the screen: what a file would become, then its import."""

from __future__ import annotations

import tomllib
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

from storage.errors import ImportFileError
from storage.import_records import ImportReport
from storage.store import Store

if TYPE_CHECKING:
    from storage.interchange.mapping.example import Example
    from storage.interchange.planning import Plan

SHOWN_EXAMPLES = 3
OPTIONS = ("preset", "kind", "policy", "annotator", "source", "criterion", "encoding")


@dataclass(frozen=True)
class ImportRequest:
    """What a person says of a file before it is read; `mapping` holds statements `ROLE=PATH`."""

    mapping: tuple[str, ...] = ()
    kind: str = "auto"
    preset: str | None = None
    policy: str | None = None
    annotator: str | None = None
    criterion: str = "overall"
    source: str | None = None
    encoding: str | None = None


@dataclass(frozen=True)
class Losses:
    """What of a file would not come in, and what a person should look at."""

    left_out: dict[str, int]  # rows of the sample, by reason
    dropped: dict[str, int]  # what of the sample is changed or not kept, by what it is
    warnings: tuple[str, ...]


@dataclass(frozen=True)
class Outlook:
    """A plan as it is shown: counts are of the sample."""

    name: str
    preset: str | None
    confidence: float
    layout: str | None
    statements: tuple[str, ...]
    columns: tuple[tuple[str, str], ...]  # column, what becomes of it
    rows: int
    prompts: int
    responses: int
    judgements: int
    losses: Losses
    examples: tuple[dict[str, Any], ...] = field(default=())


class Importing:
    """Imports into one store."""

    def __init__(self, store: Store) -> None:
        self.store = store

    def propose(self, paths: Path | str | Sequence[Path | str], asked: ImportRequest | None = None) -> Plan:
        """What the columns are taken for, by a sample; `Plan.with_role(role, path)` changes it.

        Raises `ImportFileError` where there is nothing to read.
        """
        from storage.interchange.mapping.language import parse_statement
        from storage.interchange.planning import propose

        request = asked or ImportRequest()
        return propose(
            paths,
            kind=request.kind,
            columns=[parse_statement(text) for text in request.mapping],
            preset=request.preset,
            policy=request.policy,
            annotator=request.annotator,
            criterion=request.criterion,
            source=request.source,
            encoding=request.encoding,
        )

    def run(
        self,
        plan: Plan,
        *,
        strict: bool = False,
        most_bad: float | None = None,
        on_progress: Callable[[int, float], None] | None = None,
    ) -> ImportReport:
        """Import; whole or not at all, and twice adds nothing.  `on_progress` hears rows and share, 0 … 1."""
        from storage.interchange.importing import MOST_BAD, run

        share = MOST_BAD if most_bad is None else most_bad
        return run(self.store, plan, strict=strict, most_bad=share, on_progress=on_progress)


def outlook(plan: Plan) -> Outlook:
    """Mapping, what becomes of each column, counts and losses of the sample, three rows as they would stand.

    Changes nothing.
    """
    examples, left_out, dropped = plan.preview
    answers = {(repr(e.chat), a.policy, a.text) for e in examples for a in e.answers}
    warnings = [f.warning for f in plan.fates if f.warning]
    notes = [note for part in plan.source.parts for note in part.notes]
    return Outlook(
        plan.source.name,
        plan.preset.name if plan.preset else None,
        plan.confidence,
        plan.layout,
        tuple(str(s) for s in plan.mapping.statements),
        tuple((f.column, f.became) for f in plan.fates),
        len(plan.sample) + len(plan.sample_errors),
        len({repr(e.chat) for e in examples}),
        len(answers),
        sum(len(e.judgements) for e in examples),
        Losses(
            dict(left_out),
            dict(dropped),
            tuple(dict.fromkeys([*warnings, *plan.warnings, *plan.source.notes, *notes])),
        ),
        tuple(_shown(e) for e in examples[:SHOWN_EXAMPLES]),
    )


def _shown(example: Example) -> dict[str, Any]:
    from storage.prompts import shown_text

    return {
        "prompt": shown_text(example.chat),
        "responses": [{"policy": a.policy, "text": a.text} for a in example.answers],
        "judgements": [
            {
                "annotator": j.annotator,
                "criterion": j.criterion,
                "kind": j.kind,
                "items": [
                    {"response": place, "rank": rank, "rating": rating} for place, rank, rating in j.items
                ],
                "strength": j.strength,
            }
            for j in example.judgements
        ],
    }


def read_mapping(path: Path) -> ImportRequest:
    """A mapping kept in a TOML file: `[mapping]` with a path, or a list of paths, a role; options beside it.

    Raises ImportFileError with what is wrong in it.
    """
    try:
        table = tomllib.loads(path.read_text(encoding="utf-8"))
    except OSError as error:
        raise ImportFileError(f"The mapping {path} cannot be read: {error.strerror}.") from None
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
        raise ImportFileError(f"The mapping {path.name} is not TOML: {error}.") from None
    roles = table.pop("mapping", {})
    unknown = [key for key in table if key not in OPTIONS]
    if unknown or not isinstance(roles, dict):
        raise ImportFileError(
            f"The mapping {path.name} has {unknown[0] if unknown else 'a mapping that is not a table'}; "
            f"it takes [mapping] and {', '.join(OPTIONS)}."
        )
    return ImportRequest(mapping=tuple(_lines(roles)), **{key: str(value) for key, value in table.items()})


def _lines(roles: dict[str, Any], prefix: str = "") -> Iterable[str]:
    for role, paths in roles.items():
        if isinstance(paths, dict):
            yield from _lines(paths, f"{prefix}{role}.")
            continue
        for path in paths if isinstance(paths, list) else [paths]:
            yield f"{prefix}{role}={path}"


def is_readable(name: str) -> bool:
    """Whether a file may be imported, by its ending."""
    from storage.interchange import endings

    return endings.is_readable(name)


def presets() -> list[tuple[str, str, str]]:
    """(name, what it is, where it is documented) of every known layout."""
    from storage.interchange.presets.catalogue import PRESETS

    return [(preset.name, preset.about, preset.source) for preset in PRESETS]
