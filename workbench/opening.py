"""Open the application in this terminal, or say in one sentence why not."""

from __future__ import annotations

import sys


def open_application(db: str | None) -> int:
    """Run the application on the store at `db` (by default the one of the settings); the exit code."""
    try:
        if not (sys.stdin.isatty() and sys.stdout.isatty()):
            print("The workbench needs a terminal; its commands do not: workbench --help.", file=sys.stderr)
            return 2
        from workbench.settings import load_settings
        from workbench.start import run_app

        return run_app(load_settings(db=db))
    except KeyboardInterrupt:
        return 130
    except Exception as error:  # the place where an application that cannot start tells the user
        from workbench.cli.wording import sentence

        print(sentence(error), file=sys.stderr)
        return int(getattr(error, "exit_code", 1))
