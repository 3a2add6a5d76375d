"""What a person can do about a file: said in flags on the command line, in keys on the screen.

A sentence names its remedy in flags, written by the functions here and by nothing else in this room, so that
`in_keys` can say the same of the screen.
"""

from __future__ import annotations

import re
import shlex
from collections.abc import Callable, Mapping

ENCODING = "say in which encoding it is, mostly --encoding cp1252 or --encoding latin-1"
MOST_BAD = "look at the file, or raise --most-bad"
KIND = "say with --kind what the rows are"

_PLAIN = re.compile(r"[^\s{}'\"$&|<>();,*?\\]+")
_COLUMN = re.compile(r"--column ((?:[^\s'\";,]|'[^']*'|\"[^\"]*\")+)")


def column(role: str, path: object, coding: Mapping[str, str] | None = None) -> str:
    """`--column ROLE=PATH`, quoted for a shell where it has to be."""
    statement = f"{role}={path}"
    if coding is not None:
        statement += "{" + ", ".join(f"{value}:{meaning}" for value, meaning in coding.items()) + "}"
    return f"--column {statement if _PLAIN.fullmatch(statement) else _quoted(statement)}"


def reverse(role: str, path: object) -> str:
    """`--column 'ROLE=PATH{reversed}'`."""
    return f"--column {_quoted(f'{role}={path}{{reversed}}')}"


def _quoted(statement: str) -> str:
    """In single quotes, whatever is in it; shlex.quote leaves a comma bare, where a sentence may go on."""
    return "'" + statement.replace("'", "'\"'\"'") + "'"


def in_keys(sentence: str, key_of: Callable[[str], str], *, turn: str, rows: str, options: str) -> str:
    """The sentence for the screen: `key_of` gives the key of a role, the others are the keys of that name."""

    def pressed(match: re.Match[str]) -> str:
        statement = shlex.split(match[1].rstrip("."))[0] + ("." if match[1].endswith(".") else "")
        role, _, path = statement.partition("=")
        if "{" in path:
            return f"{turn} on “{path.partition('{')[0]}” turns it"
        return f"{key_of(role)} on “{path}”"

    sentence = _COLUMN.sub(pressed, sentence)
    sentence = sentence.replace(ENCODING, f"say in which encoding it is, mostly cp1252 or latin-1: {options}")
    sentence = sentence.replace(MOST_BAD, f"look at the file, or allow more of them: {options}")
    return sentence.replace(KIND, f"say what the rows are: {rows}")
