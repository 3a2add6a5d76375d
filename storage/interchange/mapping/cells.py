"""What a value is: numbers, texts, missing ones, and lists or objects written as text."""

from __future__ import annotations

import ast
import json
import math
import re
from decimal import Decimal
from typing import Any

from storage.interchange.clean import clean_text

MISSING = frozenset({"", "n/a", "na", "nan", "null", "none", "<na>", "-", "?", "#n/a", "unknown", "nil"})
ABSENT = frozenset({"N/A", "n/a", "NaN", "nan", "#N/A", "<NA>"})  # None, ? or - can be an answer
LONGEST_LITERAL = 4 * 2**20  # characters; Python's reader of literals needs much memory


class RowError(Exception):
    """Why a row is left out, in words that many rows share."""


class NothingNewError(RowError):
    """Why a row that can be read is left out: there is nothing in it to keep."""


def kind_of(value: object) -> str:
    """What a value is, in a person's words."""
    if value is None or (isinstance(value, float) and math.isnan(value)):
        return "empty"
    if isinstance(value, bool):
        return str(value).lower()
    if isinstance(value, int | float | Decimal):
        return "a number"
    if isinstance(value, str):
        return "text" if value else "empty"
    return (
        "a list"
        if isinstance(value, list)
        else "an object"
        if isinstance(value, dict)
        else type(value).__name__
    )


def missing(value: object) -> bool:
    """None, NaN, or a cell that stands for neither text nor number."""
    if value is None:
        return True
    if isinstance(value, float):
        return math.isnan(value)
    return isinstance(value, str) and value.strip().lower() in MISSING


def absent(value: object) -> bool:
    """None, NaN, or what tables write in the place of a text that is not there."""
    if isinstance(value, str):
        return value in ABSENT
    return value is None or (isinstance(value, float) and math.isnan(value))


def same_name(one: object, other: object) -> bool:
    """`GPT-4` and `gpt-4 ` are one model."""
    if isinstance(one, str) and isinstance(other, str):
        return one.strip().casefold() == other.strip().casefold()
    return one == other


def number_of(value: object) -> float | None:
    """A finite number, of text too (`4/5` is 4, `1,5` is 1.5, `75 %` is 0.75); None where there is none."""
    if isinstance(value, bool):
        return float(value)
    if isinstance(value, int | float | Decimal):
        number = float(value)
        return number if math.isfinite(number) else None
    if not isinstance(value, str):
        return None
    text = value.strip()
    if match := re.fullmatch(r"(-?\d+(?:\.\d+)?)\s*/\s*\d+", text):
        text = match[1]
    elif re.fullmatch(r"-?\d+,\d{1,2}", text):
        text = text.replace(",", ".")
    elif match := re.fullmatch(r"(-?\d+(?:[.,]\d+)?)\s*%", text):
        return round(float(match[1].replace(",", ".")) / 100, 12)
    try:
        number = float(text)
    except ValueError:
        return None
    return number if math.isfinite(number) else None


def outcome_of(value: object) -> float | None:
    """A share or a truth, of text too, of one outcome; None where it says nothing."""
    number = number_of(value)
    if number is not None or not isinstance(value, str) or value.strip().lower() not in ("true", "false"):
        return number
    return float(value.strip().lower() == "true")


def truth_of(value: object) -> bool | None:
    """true, yes, 1, good … and their contraries; None for anything else."""
    if isinstance(value, bool):
        return value
    if isinstance(value, str):
        word = value.strip().lower()
        if word in {
            "true",
            "yes",
            "y",
            "t",
            "good",
            "desirable",
            "thumbs_up",
            "up",
            "like",
            "correct",
            "right",
            "chosen",
            "preferred",
            "accept",
            "accepted",
            "positive",
            "helpful",
            "+",
            "👍",
            "✓",
        }:
            return True
        if word in {
            "false",
            "no",
            "f",
            "bad",
            "undesirable",
            "thumbs_down",
            "down",
            "dislike",
            "incorrect",
            "reject",
            "rejected",
            "dispreferred",
            "negative",
            "unhelpful",
            "wrong",
            "👎",
            "✗",
        }:
            return False
    number = number_of(value)
    return {1.0: True, 0.0: False, -1.0: False}.get(number) if number is not None else None


def step_label(value: object) -> float | None:
    """A step's rating, 1 for a right one and 0 for a wrong one; None where it says nothing."""
    if isinstance(value, str) and value.strip() in ("-", "−"):
        return 0.0
    number = number_of(value)
    if number is not None:
        return number
    truth = truth_of(value)
    return None if truth is None else float(truth)


def is_step_label(value: object) -> bool:
    """Whether a cell may label a step of a solution: right, wrong, neutral or nothing."""
    return step_label(value) is not None or missing(value) or value in ("neutral", "0")


def name_of(value: object) -> str | None:
    """A name: text, or a number or a list of texts as text; None where it is missing."""
    if isinstance(value, str):
        return None if value in ABSENT or not value.strip() else clean_text(value)
    if missing(value):
        return None
    if isinstance(value, bool):
        return str(value).lower()
    if isinstance(value, float) and value.is_integer():
        return str(int(value))
    if isinstance(value, list) and all(isinstance(v, str | int) for v in value):
        return clean_text(", ".join(map(str, value))) or None
    if isinstance(value, list | dict):
        return as_json(value)
    return clean_text(str(value))


def as_json(value: object) -> str:
    """JSON text, with times and decimals as text; cleaned."""
    return clean_text(json.dumps(value, ensure_ascii=False, default=_plain))


def cleaned(value: Any) -> Any:
    """A value with every text in it cleaned."""
    if isinstance(value, str):
        return clean_text(value)
    if isinstance(value, list):
        return [cleaned(v) for v in value]
    if isinstance(value, dict):
        return {clean_text(str(k)): cleaned(v) for k, v in value.items() if v is not None}
    return value


def _plain(value: object) -> object:
    if isinstance(value, Decimal):
        return float(value)
    if isinstance(value, bytes):
        return f"<{len(value)} bytes>"
    return str(value)


class _TwoValuesError(ValueError):
    """A name stands twice in one object."""


def _one_value_a_name(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    found = dict(pairs)
    if len(found) < len(pairs) and any(found[name] != value for name, value in pairs):
        raise _TwoValuesError
    return found


def parsed(text: str) -> Any:
    """A list or an object that text holds: JSON, or what Python and numpy print; None where it holds none.

    JSON in which a name stands twice with two values stays text, which keeps both.
    """
    stripped = text.strip()
    if not stripped or stripped[0] not in "[{" or stripped[-1] not in "]}":
        return None
    try:
        structure = json.loads(stripped, object_pairs_hook=_one_value_a_name)
    except _TwoValuesError:
        return None
    except (ValueError, RecursionError):
        structure = _literal(stripped)
    return structure if isinstance(structure, list | dict) else None


def _literal(text: str) -> Any:
    """`[{'role': 'user', …}]`; numpy prints lists without commas between their elements."""
    if len(text) > LONGEST_LITERAL or not re.match(r"[\[{]\s*(['\"\[{\]}]|-?\d|None|True|False)", text):
        return None
    for form in (text, re.sub(r"\}\s+\{", "}, {", text), re.sub(r"(?<=['\"])\s*\n\s*(?=['\"])", ", ", text)):
        cleaned = (
            re.sub(r"\barray\((\[.*?\])(?:, dtype=\w+)?\)", r"\1", form, flags=re.DOTALL)
            if "array(" in form
            else form
        )
        try:
            return ast.literal_eval(cleaned)
        except (ValueError, SyntaxError, RecursionError, MemoryError):
            continue
    return None
