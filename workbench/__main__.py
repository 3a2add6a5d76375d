"""`workbench`: without a command it opens the application, with one it runs the command and exits.

Opening the application skips the command line's own imports, because its first frame is what a person
waits for.
"""

from __future__ import annotations

import codecs
import io
import os
import sys


def main() -> None:
    """Entry point of the console script; exits with 0 done, 1 failed, 2 wrong usage, 130 interrupted."""
    os.umask(0o077)  # prompts and judgements are private, and so is whatever is made from here on
    _open_closed_streams()
    _spell_out_what_the_terminal_cannot()
    # The live model's small matrices gain nothing from a second BLAS thread, and beside a running job its
    # threads wait for each other many times longer than they compute.
    os.environ.setdefault("OPENBLAS_NUM_THREADS", "1")
    arguments = sys.argv[1:]
    opens, db = _opens_application(arguments)
    if not opens:
        from workbench.cli import run

        sys.exit(run(arguments))
    from workbench.opening import open_application

    sys.exit(open_application(db))


def _open_closed_streams() -> None:
    """Started with stdout or stderr closed, Python has None there; what is said then goes nowhere."""
    for name in ("stdout", "stderr"):
        if getattr(sys, name) is None:
            setattr(sys, name, open(os.devnull, "w", encoding="utf-8"))  # noqa: SIM115


def _spell_out_what_the_terminal_cannot() -> None:
    """Where the locale is not UTF-8, other characters are written as `\\u2026`, which JSON reads back."""
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, io.TextIOWrapper) and stream.encoding.lower().replace("-", "") != "utf8":
            codecs.register_error("spelled", _spelled)
            stream.reconfigure(errors="spelled")


def _spelled(error: UnicodeError) -> tuple[str, int]:
    if not isinstance(error, UnicodeEncodeError):
        raise error
    units = error.object[error.start : error.end].encode("utf-16-be", "surrogatepass")
    return "".join(f"\\u{units[i]:02x}{units[i + 1]:02x}" for i in range(0, len(units), 2)), error.end


def _opens_application(arguments: list[str]) -> tuple[bool, str | None]:
    """Whether nothing but `--db PATH` was given, and that path."""
    match arguments:
        case []:
            return True, None
        case ["--db", path] if not path.startswith("-"):
            return True, path
        case [option] if option.startswith("--db=") and len(option) > len("--db="):
            return True, option.removeprefix("--db=")
    return False, None


if __name__ == "__main__":
    main()
