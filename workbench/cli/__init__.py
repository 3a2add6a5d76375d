"""The command line: every capability headless, through the same services as the screens.

stdout is data, stderr narration.  Exit codes: 0 done, 1 failed, 2 wrong usage, 130 interrupted.  Errors
become one sentence here and nowhere else; `--debug` shows the traceback instead.  Importing this package
loads typer and the job catalog only, so that `--help` answers at once.
"""

from __future__ import annotations

import os
import sys
from typing import Annotated

import typer

from workbench.cli import (
    archives,
    data,
    demo,
    doctor,
    evaluate,
    experiments,
    gc,
    jobs,
    judging,
    labels,
    people,
    project,
    reports,
    sql,
    store,
)
from workbench.cli.session import Session, session

INTERRUPTED = 130
EPILOG = "Every command takes --db PATH (or WORKBENCH_DB) and --debug; without a command the workbench opens."

app = typer.Typer(
    name="workbench",
    help="A terminal workbench for preference experiments.",
    epilog=EPILOG,
    add_completion=False,
    rich_markup_mode=None,
    pretty_exceptions_enable=False,
    no_args_is_help=False,
    context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 110},
)
PARTS = (
    data,
    jobs,
    judging,
    labels,
    project,
    people,
    evaluate,
    experiments,
    reports,
    sql,
    store,
    archives,
    doctor,
    gc,
    demo,
)
for part in PARTS:
    part.register(app)


@app.callback(invoke_without_command=True)
def root(
    context: typer.Context,
    version: Annotated[bool, typer.Option("--version", help="Print the version and exit.")] = False,
) -> None:
    """A terminal workbench for preference experiments: prompts, rankings, reward models, PPO, SQL."""
    if version:
        from importlib.metadata import version as installed

        print(installed("preference-workbench"))
        raise typer.Exit
    if context.invoked_subcommand is None:
        from workbench.opening import open_application

        raise typer.Exit(open_application(session.db))


def run(arguments: list[str]) -> int:
    """Run one command and return its exit code."""
    try:
        session.reset(*_common_options(arguments))
        code = app(session.arguments, prog_name="workbench", standalone_mode=False)
        sys.stdout.flush()
        if code == INTERRUPTED:  # typer turns Ctrl-C into this code
            raise KeyboardInterrupt
        return code if isinstance(code, int) else 0
    except KeyboardInterrupt:
        session.narrator.end()
        print("Interrupted.", file=sys.stderr)
        return INTERRUPTED
    except BrokenPipeError:
        return _reader_has_left()
    except SystemExit as ended:
        if isinstance(ended.__context__, BrokenPipeError):  # typer would call it a failure
            return _reader_has_left()
        raise
    except Exception as error:  # the one place that tells the user
        session.narrator.end()
        return _tell(error, session)
    finally:
        session.close()


def _reader_has_left() -> int:
    """The reader of our stdout has had enough, as `head` does; what is still to be written goes nowhere."""
    os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
    return 0


def _common_options(arguments: list[str]) -> tuple[list[str], str | None, bool]:
    """Take `--db PATH`, `--db=PATH` and `--debug` from wherever they stand before a `--`."""
    rest: list[str] = []
    db: str | None = None
    debug = False
    waiting = iter(arguments)
    for argument in waiting:
        if argument == "--":
            rest += [argument, *waiting]
        elif argument == "--debug":
            debug = True
        elif argument == "--db":
            db = next(waiting, "")
        elif argument.startswith("--db="):
            db = argument.removeprefix("--db=")
        elif argument[:2] == "--" and argument[2:3].isspace():
            rest.append(" " + argument)  # SQL that begins with a comment is no option
        else:
            rest.append(argument)
    return rest, db, debug


def _tell(error: Exception, current: Session) -> int:
    """One sentence on stderr, and the exit code that goes with the error."""
    from workbench.cli.wording import sentence

    if current.debug:
        import traceback

        traceback.print_exception(error)
    else:
        print(sentence(error), file=sys.stderr)
    code = getattr(error, "exit_code", 1)
    return code if isinstance(code, int) else 1
