"""Commands about annotators: who is how able, who agrees, and on which prompts they do not."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Annotated, Any

import typer

from engine.wording import counted
from workbench.cli.data import JsonOption
from workbench.cli.output import cell, print_json, print_table
from workbench.cli.session import session

if TYPE_CHECKING:
    from storage.measures.label_records import AnnotatorQuality
    from workbench.services.labels.labels import Couple, Reliability

CriterionOption = Annotated[str, typer.Option(help="Criterion of the judgements.")]


def register(app: typer.Typer) -> None:
    """Adds `annotators`, `agreement`, `disagreements` and `leaderboard`."""
    app.command("annotators")(annotators)
    app.command("agreement")(agreement)
    app.command("disagreements")(disagreements)
    app.command("leaderboard")(leaderboard)


def annotators(criterion: CriterionOption = "overall", as_json: JsonOption = False) -> None:
    """How able every annotator is, and what they lean to; shares with 95 % intervals."""
    from workbench.services.labels.text import interval, percent

    labels = session.reading().labels
    fit, people = labels.refresh(labels.known(criterion)), labels.annotators(criterion)
    if as_json:
        print_json({"fit": fit, "annotators": people})
        return
    if fit is None:
        session.narrator.say(
            f"Nobody has judged by “{criterion}” yet; F3 ranks, workbench import reads a file."
        )
        return
    names = (
        "annotator",
        "kind",
        "judged",
        "names the better",
        "first shown",
        "longer",
        "repeats agree",
        "ties",
        "seconds",
    )
    rows = [
        (
            row.annotator,
            row.annotator_kind + ("" if row.drives else " *"),
            row.judgements,
            interval(row.accuracy, row.accuracy_low, row.accuracy_high),
            _first(row),
            interval(row.longer, row.longer_low, row.longer_high),
            _repeats(row),
            percent(row.ties),
            "" if row.median_seconds is None else f"{row.median_seconds:.0f}",
        )
        for row in people
    ]
    print_table(names, rows)
    _explain(people)


def _explain(people: Sequence[AnnotatorQuality]) -> None:
    session.narrator.say(
        "names the better: of two responses that differ as usual.  first shown, longer: of two that are "
        "equally good, 50% leans to neither; longer is beyond what all annotators think of length."
    )
    if any(row.drives is False for row in people):
        session.narrator.say("* measured against the consensus of people, which it does not make.")


def _first(row: AnnotatorQuality) -> str:
    """The bias of position, where the order of the screen is known."""
    from workbench.services.labels.text import interval

    return interval(row.first, row.first_low, row.first_high) if row.shown else "not known"


def _repeats(row: AnnotatorQuality) -> str:
    from workbench.services.labels.text import interval

    if not row.repeats:
        return "none"
    return f"{interval(row.self_agreement, row.self_agreement_low, row.self_agreement_high)} of {row.repeats}"


def agreement(
    criterion: CriterionOption = "overall",
    weekly: Annotated[bool, typer.Option("--weekly", help="Krippendorff's α week by week.")] = False,
    as_json: JsonOption = False,
) -> None:
    """Krippendorff's α of all annotators; agreement, Cohen's κ and Kendall's τ of every two."""
    labels = session.reading().labels
    reliability = labels.reliability(labels.known(criterion))
    couples = labels.agreement(criterion)
    if as_json:
        print_json({"reliability": reliability, "couples": couples})
        return
    if not couples:
        session.narrator.say(f"No pair of responses has been judged by two annotators by “{criterion}”.")
        return
    _print_reliability(reliability if weekly else reliability[:1])
    print()
    print_table(
        ("annotator", "and", "prompts", "pairs", "agreement", "Cohen's κ", "Kendall's τ"),
        [_couple(row) for row in couples],
    )


def _print_reliability(rows: Sequence[Reliability]) -> None:
    from workbench.services.labels.text import figure

    print_table(
        ("week", "prompts", "pairs", "Krippendorff's α"),
        [
            (row.week.isoformat() if row.week else "all", row.prompts, row.pairs, figure(row.alpha))
            for row in rows
        ],
    )


def _couple(row: Couple) -> tuple[Any, ...]:
    from workbench.services.labels.text import figure

    return (
        row.annotator_a,
        row.annotator_b,
        row.prompts,
        row.pairs,
        figure(row.agreement),
        figure(row.kappa),
        figure(row.tau),
    )


def disagreements(
    criterion: CriterionOption = "overall",
    limit: Annotated[int, typer.Option(min=1, help="Show this many prompts.")] = 20,
    as_json: JsonOption = False,
) -> None:
    """The prompts that annotators disagree on most; the workbench shows them side by side (ctrl+p)."""
    labels = session.reading().labels
    labels.refresh(labels.known(criterion))
    rows, (count, waiting) = (
        labels.disagreements(criterion, limit=limit),
        labels.count_disagreements(criterion),
    )
    if as_json:
        print_json(rows)
        return
    if not count:
        session.narrator.say(f"No two annotators contradict each other by “{criterion}”.")
        return
    print_table(
        ("prompt_id", "annotators", "contradicted", "unsettled", "adjudicated", "prompt"),
        [
            (
                row.prompt_id,
                row.annotators,
                f"{row.contradicted:g} of {row.compared}",
                row.unsettled,
                "yes" if row.adjudicated else "no",
                cell(row.text, 40),
            )
            for row in rows
        ],
    )
    session.narrator.say(f"{counted(count, 'prompt')} with contradictions, {waiting:,} not adjudicated.")


def leaderboard(
    judge: Annotated[
        str, typer.Option(help="Who decides: people, human, import, ai, rule, or a reward model.")
    ] = "people",
    criterion: CriterionOption = "overall",
    raw: Annotated[bool, typer.Option("--raw", help="Do not control for the length of responses.")] = False,
    matrix: Annotated[bool, typer.Option("--matrix", help="Also how often each policy beat each.")] = False,
    as_json: JsonOption = False,
) -> None:
    """Policies by Bradley–Terry strength at equal length, with intervals over prompts."""
    from workbench.services.labels.leaderboard import chances_text, evidence, notes

    board = session.reading().leaderboards.board(judge, criterion, control=not raw)
    if as_json:
        print_json(board)
        return
    for note in notes(board):
        session.narrator.say(note)
    if not board.standings:
        return
    rows = [
        (row.place, row.policy, chances_text(row), f"{row.strength:+.2f}", evidence(row))
        for row in board.standings
    ]
    print_table(("place", "policy", "beats the average", "log-odds", "rests on"), rows)
    if matrix:
        print()
        names = [row.policy for row in board.standings]
        met = [[(a, b, board.meeting(a, b)) for b in names] for a in names]
        print_table(
            ("beats", *names),
            [
                (row[0][0], *("" if m is None else f"{100 * m.rate:.0f}% of {m.prompts}" for *_, m in row))
                for row in met
            ],
        )
