"""Commands about verdicts: judge (by rule; by models in `jobs`), score, compare."""

from __future__ import annotations

import sys
from pathlib import Path
from statistics import fmean
from typing import TYPE_CHECKING, Annotated

import typer

from engine.errors import UsageError
from engine.left_out import cut_words
from engine.wording import counted
from workbench.cli.data import JsonOption
from workbench.cli.output import cell, plain, print_json, print_records, print_table
from workbench.cli.session import session

if TYPE_CHECKING:
    from storage.measures.comparisons import PromptShare
    from workbench.services.comparing import LostKind, LostPrompts
    from workbench.services.scoring import Scoring, ScoringNotes

LISTED = 50  # lost prompts in a table

judge_app = typer.Typer(invoke_without_command=True)


def register(app: typer.Typer) -> None:
    """Adds the group `judge`, `score` and `compare`."""
    judge_app.callback(invoke_without_command=True)(judge)
    app.add_typer(judge_app, name="judge")
    app.command("score")(score)
    app.command("compare")(compare)


def judge(
    context: typer.Context,
    rule: Annotated[
        list[str] | None,
        typer.Option(help="Rule annotator that judges every prompt, e.g. concise; repeatable."),
    ] = None,
    criterion: Annotated[str, typer.Option(help="Criterion the judgements are stored under.")] = "overall",
    list_rules: Annotated[bool, typer.Option("--list", help="List the rules.")] = False,
    order: Annotated[
        str | None,
        typer.Option(
            help="Order in which prompts come from now on.",
            metavar="oldest|random|least_agreed|consensus|reward_model",
        ),
    ] = None,
    waiting: Annotated[
        int, typer.Option("--next", min=0, help="Show this many prompts that wait for you, in that order.")
    ] = 0,
    as_json: JsonOption = False,
) -> None:
    """Judge by rules or models, or choose what people judge next; they judge in the workbench (F3)."""
    if context.invoked_subcommand is not None:
        return
    if order is not None or waiting:
        _queue(order, waiting, as_json)
        if not rule:
            return
    if list_rules:
        from workbench.services.ranking.rules import RULES

        rows = [
            {"rule": f"rule:{name}", "prefers": (r.__doc__ or "").strip().partition("\n")[0]}
            for name, r in RULES.items()
        ]
        if as_json:
            print_json(rows)
        else:
            print_table(("rule", "prefers"), [tuple(row.values()) for row in rows])
        return
    if not rule:
        raise UsageError(
            "Say which rule judges, with --rule NAME; --list shows the rules. A model judges with “judge ai”."
        )
    counts = {name: _apply(name, criterion) for name in rule}
    session.narrator.end()
    if as_json:
        print_json(counts)
    else:
        print_table(("rule", "new judgements"), list(counts.items()))


def _queue(order: str | None, count: int, as_json: bool) -> None:
    """Remember the order; print what waits."""
    workspace = session.reading() if order is None else session.workspace()
    queue = workspace.judging.queue
    if order is not None:
        queue.set_order(order)
    if not count:
        print(f"Prompts come in the order “{queue.order}”.", file=sys.stderr)
        return
    waiting = queue.prompts(workspace.settings.annotator, queue.order, limit=count)
    texts = {prompt: workspace.library.messages(prompt)[-1]["content"] for prompt in waiting}
    rows = [{"prompt_id": prompt, "prompt": texts[prompt]} for prompt in waiting]
    if as_json:
        print_json(rows)
    else:
        print_table(("prompt_id", "prompt"), [tuple(row.values()) for row in rows])


def _apply(rule: str, criterion: str) -> int:
    def progress(done: int, total: int) -> None:
        session.narrator.progress(f"judging by {rule}", done, total, "prompts")

    return session.workspace().judging.apply_rule(rule, criterion=criterion, on_progress=progress)


def score(
    reward_model: Annotated[
        str, typer.Option("--reward-model", "-r", help="Reward model that was exported.")
    ],
    path: Annotated[
        Path | None, typer.Argument(help="File of prompts and responses; without one, every stored response.")
    ] = None,
    precision: Annotated[str, typer.Option(help="int8, fp16 or fp32.", metavar="int8|fp16|fp32")] = "int8",
    policy: Annotated[
        str | None, typer.Option(help="Policy that the responses of the file belong to.")
    ] = None,
    as_json: JsonOption = False,
) -> None:
    """Score responses with an exported reward model; the scores land in the store."""
    scoring = session.workspace().scoring

    def progress(done: int, total: int) -> None:
        session.narrator.progress("scoring", done, total, "responses")

    from workbench.services.scoring import ScoringNotes

    notes = ScoringNotes()
    if path is None:
        count = scoring.score_store(reward_model, progress, precision=precision, notes=notes)
        session.narrator.end()
        _tell_of_scoring(notes, scoring, reward_model, precision)
        if as_json:
            print_json(
                {
                    "reward_model": reward_model,
                    "precision": precision,
                    "scored": count,
                    "cut": notes.cut,
                    "prompts_left_out": len(notes.left_out),
                }
            )
        else:
            print(f"{counted(count, 'response')} scored by {cell(reward_model)}.")
        return
    rows = scoring.score_file(
        path, reward_model, precision=precision, policy=policy, on_progress=progress, notes=notes
    )
    session.narrator.end()
    _tell_of_scoring(notes, scoring, reward_model, precision)
    columns = ("response_id", "score", *(("cut",) if notes.cut else ()), "prompt", "response")
    print_records(rows, columns, as_json=as_json)


def _tell_of_scoring(notes: ScoringNotes, scoring: Scoring, reward_model: str, precision: str) -> None:
    """What was cut and left out, on standard error."""
    for message in notes.left_out.messages():
        session.narrator.say(message.text)
    if notes.cut:
        session.narrator.say(cut_words(notes.cut, scoring.scorer(reward_model, precision).max_tokens))


def compare(
    a: Annotated[str, typer.Argument(help="First policy.")],
    b: Annotated[str, typer.Argument(help="Second policy.")],
    reward_model: Annotated[
        str | None,
        typer.Option("--reward-model", "-r", help="Reward model that decides; people without one."),
    ] = None,
    items: Annotated[int, typer.Option(min=0, help="Also show this many prompts side by side.")] = 0,
    lost: Annotated[
        bool, typer.Option("--lost", help="List the prompts on which the first policy lost, the worst first.")
    ] = False,
    as_json: JsonOption = False,
) -> None:
    """How often the first policy beats the second on the prompts that both answered."""
    comparing = session.reading().comparing
    if lost:
        _print_lost(comparing.lost(a, b, reward_model), as_json)
        return
    result = comparing.win_rate(a, b, reward_model)
    shown = comparing.items(a, b, reward_model, limit=items) if items else []
    if not result.prompts:
        session.narrator.say(comparing.why_nothing(a, b, reward_model))
    if as_json:
        print_json({"win_rate": result, "items": shown})
        return
    columns = ("a", "b", "judge", "wins", "ties", "losses", "prompts", "rate", "low", "high")
    print_records([result], columns, as_json=False)
    for item in shown:
        print(f"\n{cell(item.text, None)}")
        rows = [(name, side.score, side.text) for name, sides in ((a, item.a), (b, item.b)) for side in sides]
        print_table(("policy", "score", "response"), rows)


def _print_lost(found: LostPrompts, as_json: bool) -> None:
    """What changed on the prompts that were lost, of which kinds they are, and these prompts."""
    kind_of = {prompt: n for n, kind in enumerate(found.kinds, 1) for prompt in kind.prompt_ids}
    rows = found.prompts
    if as_json:
        print_json([{**plain(row), "cluster": kind_of.get(row.prompt_id)} for row in rows])
        return
    if not rows:
        session.narrator.say("It lost on no prompt that both answered and that was judged.")
        return
    longer = fmean(row.characters_a / max(1.0, row.characters_b) for row in rows)
    session.narrator.say(
        f"Lost on {len(rows)} of {counted(found.compared, 'prompt')}; its responses there are {longer:.2f} "
        "times as long."
    )
    if found.kinds:
        print_table(
            ("cluster", "prompts", "lost", "of them", "won", "margin", "words"),
            [_kind_row(n, kind) for n, kind in enumerate(found.kinds, 1)],
        )
        print()
    columns = ("cluster", "prompt_id", "won", "margin", "characters", "before", "cut", "before", "source")
    print_table((*columns, "prompt"), [_lost_row(kind_of.get(row.prompt_id), row) for row in rows[:LISTED]])
    if len(rows) > LISTED:
        session.narrator.say(f"{len(rows) - LISTED} more that it lost by less are in --json.")


def _lost_row(kind: int | None, row: PromptShare) -> tuple[str, ...]:
    return (
        str(kind or ""),
        row.prompt_id,
        f"{100 * row.share:.0f}% of {row.pairs}",
        "–" if row.margin is None else f"{row.margin:+.2f}",
        f"{row.characters_a:.0f}",
        f"{row.characters_b:.0f}",
        *("–" if cut is None else f"{100 * cut:.0f}%" for cut in (row.cut_a, row.cut_b)),
        row.source or "",
        cell(row.text, 40),
    )


def _kind_row(number: int, kind: LostKind) -> tuple[str, ...]:
    """Of prompts that are alike: how many, how many are lost of them, by how much, and what tells them."""
    return (
        str(number),
        str(len(kind.prompt_ids)),
        str(kind.lost),
        f"{100 * kind.low:.0f}% – {100 * kind.high:.0f}%",
        f"{100 * kind.share:.0f}%",
        "–" if kind.margin is None else f"{kind.margin:+.2f}",
        cell(", ".join(kind.words), None),
    )
