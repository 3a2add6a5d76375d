"""How an import, and what it would be, are told on the command line."""

from __future__ import annotations

import sys
from dataclasses import asdict, replace
from pathlib import Path

from engine.errors import UsageError
from engine.wording import counted
from storage.import_records import ImportReport
from workbench.cli.output import cell, print_json, print_table
from workbench.services.import_draft import left_out_lines, read_as
from workbench.services.importing import ImportRequest, Outlook, read_mapping

SHOWN_REASONS = 8
SHOWN_TEXT = 200  # characters of a prompt or a response


def line(value: object) -> str:
    """One line of clean text, as long as it is."""
    return cell(value, None)


def asked_for(
    mapping: Path | None,
    columns: list[str],
    kind: str,
    preset: str | None,
    policy: str | None,
    annotator: str | None,
    criterion: str,
    source: str | None,
    encoding: str | None,
) -> ImportRequest:
    """Flags over what the TOML file says."""
    asked = read_mapping(mapping) if mapping else ImportRequest()
    for pair in columns:
        role, equals, path = pair.partition("=")
        if not equals or not role or not path:
            raise UsageError(f"--column takes ROLE=COLUMN, not “{pair}”.")
    roles = {role.partition("=")[0] for role in columns}
    statements = [text for text in asked.mapping if text.partition("=")[0] not in roles]
    given = {
        "kind": kind if kind != "auto" else None,
        "preset": preset,
        "policy": policy,
        "annotator": annotator,
        "criterion": criterion if criterion != "overall" else None,
        "source": source,
        "encoding": encoding,
    }
    return replace(
        asked, mapping=(*statements, *columns), **{key: value for key, value in given.items() if value}
    )


def print_report(report: ImportReport) -> None:
    """What came in, what became of each column, which rows were left out and why."""
    print(line(report.sentence))
    print(line(read_as(report)))
    for left in left_out_lines(report, SHOWN_REASONS):
        print(line(left))
    for warning in report.warnings:
        print(f"note: {line(warning)}", file=sys.stderr)


def print_outlook(plan: Outlook, as_json: bool) -> None:
    """The mapping, the columns, three rows and the losses."""
    if as_json:
        print_json(asdict(plan))
        return
    what = (
        f"the preset {plan.preset}"
        if plan.preset
        else f"{plan.layout or 'nothing known'}, sure to {plan.confidence:.0%}"
    )
    print(f"{line(plan.name)}: {what}")
    print_table(("column", "becomes"), [(line(a), line(b)) for a, b in plan.columns])
    print("\n" + "\n".join(f"  {line(text)}" for text in plan.statements))
    for number, example in enumerate(plan.examples, 1):
        print(f"\n{number}  {_short(example['prompt'])}")
        for place, answer in enumerate(example["responses"]):
            ranks = [
                f"{j['criterion']} {_said(i)}"
                for j in example["judgements"]
                for i in j["items"]
                if i["response"] == place
            ]
            print(
                f"   → {_short(answer['text'])}  "
                f" [{line(answer['policy'])}{'; ' + line(', '.join(ranks)) if ranks else ''}]"
            )
    print(
        f"\nOf {counted(plan.rows, 'row')} read: {counted(plan.prompts, 'prompt')},"
        f" {counted(plan.responses, 'response')}, {counted(plan.judgements, 'judgement')}."
    )
    for reason, number in plan.losses.left_out.items():
        print(f"left out {number:,}: {line(reason)}")
    for what, number in plan.losses.dropped.items():
        print(f"{line(what)}: {number:,}")
    for warning in plan.losses.warnings:
        print(f"note: {line(warning)}")
    print("Nothing was imported.")


def _said(item: dict[str, float | None]) -> str:
    rank, rating = item["rank"], item["rating"]
    return f"rank {rank:g}" if rank is not None else f"{rating:g}" if rating is not None else "–"


def _short(text: str) -> str:
    shown = line(" ⏎ ".join(text.split("\n")))
    return shown if len(shown) <= SHOWN_TEXT else shown[: SHOWN_TEXT - 1] + "…"
