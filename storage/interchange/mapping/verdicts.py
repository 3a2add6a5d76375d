"""What a column says about two responses: which is better, by how much, or neither.

A `Coding` reads one column. It is found from all values of a sample together, because one value alone does
not tell: 1 is the first of 1 and 2, and the second of 0 and 1. Where the values leave it open, `warning`
says what was taken and how to turn it.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field

from storage.interchange.mapping.cells import missing, number_of

MOST_UNREAD = 0.2  # share of values of another kind in a column of verdicts
MEANINGS = ("a", "b", "tie", "bad", "skip")  # bad: a tie, both are bad; skip: no verdict

WORDS: dict[str, str] = {
    **dict.fromkeys(
        [
            "a",
            "first",
            "left",
            "model_a",
            "model a",
            "response_a",
            "response a",
            "answer_a",
            "output_a",
            "assistant_a",
            "assistant a",
            "option a",
            "option_a",
            "a wins",
            "a is better",
            "a_better",
            "a_win",
            "response_1",
            "response 1",
            "model_1",
            "output_1",
            "answer_1",
            "answer 1",
            "model 1",
            "answer1",
            "response1",
            "output1",
            "model1",
            "leftvote",
            "completion_a",
            "completion_1",
            "assistant 1",
            "conversation_a",
            "text_1",
            "summary_1",
            "a_wins",
            "choice_a",
            "prefer_a",
            "first_better",
            "option 1",
            "option_1",
            "win_a",
            "one",
        ],
        "a",
    ),
    **dict.fromkeys(
        [
            "b",
            "second",
            "right",
            "model_b",
            "model b",
            "response_b",
            "response b",
            "answer_b",
            "output_b",
            "assistant_b",
            "assistant b",
            "option b",
            "option_b",
            "b wins",
            "b is better",
            "b_better",
            "b_win",
            "response_2",
            "response 2",
            "model_2",
            "output_2",
            "answer_2",
            "answer 2",
            "model 2",
            "answer2",
            "response2",
            "output2",
            "model2",
            "rightvote",
            "completion_b",
            "completion_2",
            "assistant 2",
            "conversation_b",
            "text_2",
            "summary_2",
            "b_wins",
            "choice_b",
            "prefer_b",
            "second_better",
            "option 2",
            "option_2",
            "win_b",
            "two",
        ],
        "b",
    ),
    **dict.fromkeys(
        [
            "tie",
            "tied",
            "equal",
            "same",
            "both",
            "draw",
            "c",
            "tievote",
            "a=b",
            "neutral",
            "both good",
            "both_good",
            "equally good",
            "no preference",
            "no_preference",
            "similar",
            "about the same",
            "tie (bothgood)",
            "equivalent",
            "none is better",
            "both are good",
            "even",
        ],
        "tie",
    ),
    **dict.fromkeys(
        [
            "tie (bothbad)",
            "bothbad",
            "both bad",
            "both_bad",
            "both are bad",
            "neither",
            "bothbad_vote",
            "tie_both_bad",
            "both-bad",
            "none",
            "both are incorrect",
            "neither is good",
            "both incorrect",
        ],
        "bad",
    ),
    **dict.fromkeys(
        [
            "skip",
            "skipped",
            "unsure",
            "invalid",
            "cannot tell",
            "can't tell",
            "not sure",
            "error",
            "flagged",
            "discard",
            "undecided",
            "abstain",
        ],
        "skip",
    ),
}
_ARROWS = re.compile(
    r"^\[{0,2}\s*(?:model |response |assistant |output )?([ab12])\s*([<>=≈]+)\s*(?:model |response |assistant"
    r" |output )?([ab12])\s*\]{0,2}$",
    re.I,
)
_SAID = re.compile(
    r"^(?:response|model|answer|assistant|option|output|completion|summary)?[\s_-]*([ab12])[\s_-]+(?:is|was)?[\s_-]*"
    r"(extremely|significantly|clearly|definitely|much|strongly|moderately|slightly|somewhat|marginally|a[\s_-]bit|a[\s_-]little|negligibly|far)?"
    r"[\s_-]*(?:better|preferred|wins|win|more helpful|superior)(?:[\s_-].*)?$",
    re.I,
)
_ADVERB_FIRST = re.compile(
    r"^(extremely|significantly|clearly|definitely|much|strongly|moderately|slightly|somewhat|marginally)[\s_-]*"
    r"(?:prefer|better)?[\s_:-]*(?:response|model|answer|assistant|option)?[\s_-]*([ab12])$",
    re.I,
)
_EQUAL = re.compile(r"\b(equal|equally|tie|tied|same|draw|indistinguishable)\b|^both\b|^neither\b")
_STRENGTH = {
    "negligibly": 1.0, "slightly": 1.0, "somewhat": 1.0, "marginally": 1.0, "a bit": 1.0, "a little": 1.0,
    "moderately": 2.0, "": 2.0, "clearly": 2.0, "definitely": 2.0,
    "much": 3.0, "strongly": 3.0, "significantly": 3.0, "extremely": 3.0, "far": 3.0,
}  # fmt: skip
SIDES = {"a": "a", "1": "a", "b": "b", "2": "b"}
MEANING_OF_INDEX = re.compile(
    r"winner|choice|chosen|better|best|index|_id$|^id$|safer|preferred|selected|pick|position", re.I
)
MEANING_OF_PROBABILITY = re.compile(r"prob|^p_|_p$|win_?rate|likelihood|confidence|score|soft", re.I)
MEANING_OF_DIFFERENCE = re.compile(r"margin|diff|delta|gap", re.I)


@dataclass(frozen=True, slots=True)
class Verdict:
    """`better` is a, b, tie, bad or skip; `strength` is how much, in the file's own unit, never negative."""

    better: str
    strength: float | None = None


A, B, TIE, BAD, SKIP = (Verdict(meaning) for meaning in MEANINGS)
_PLAIN = {"a": A, "b": B, "tie": TIE, "bad": BAD, "skip": SKIP}


@dataclass(frozen=True)
class Coding:
    """How one column is read.  `kind`: words, index, likert, signed, probability, truth, given."""

    kind: str
    table: Mapping[str, Verdict] = field(default_factory=dict)
    middle: float = 0.0
    a_below: bool = True  # values below the middle say a
    warning: str | None = None  # what was taken where the values leave it open

    def read(self, value: object) -> Verdict | None:
        """The verdict, SKIP for a missing value, None for a value that the coding does not know."""
        found = self.table.get(_key(value))
        if found is not None:
            return found
        if missing(value):
            return SKIP
        if self.kind in ("likert", "signed", "probability"):
            number = number_of(value)
            if number is None:
                return worded(value)
            if self.kind == "probability" and not 0 <= number <= 1:
                return None
            return self._against_middle(number)
        return worded(value) if self.kind == "words" else None

    def _against_middle(self, number: float) -> Verdict:
        distance = abs(number - self.middle)
        if self.kind == "probability":
            distance = round(2 * distance, 12)
        if number == self.middle:
            return Verdict("tie", 0.0)
        return Verdict("a" if (number < self.middle) == self.a_below else "b", distance)

    @property
    def statement(self) -> dict[str, str] | None:
        """The coding as a mapping writes it, where it is a table."""
        return (
            {k: v.better for k, v in self.table.items()} if self.kind in ("index", "truth", "given") else None
        )


def given(table: Mapping[str, str]) -> Coding:
    """A coding that the user, or a preset, has written."""
    return Coding("given", {_key(k): _PLAIN[v] for k, v in table.items()})


def worded(value: object, names: Mapping[str, str] | None = None) -> Verdict | None:
    """A verdict in words; `names` are the candidates' own words, as their policies' names."""
    if isinstance(value, list) and len(value) == 1:
        value = value[0]
    if not isinstance(value, str):
        return None
    word = " ".join(value.strip().strip("[]\"'.").lower().split())
    if names and word in names:
        return _PLAIN[names[word]]
    if word in WORDS or word.replace("-", " ") in WORDS:
        return _PLAIN[WORDS.get(word) or WORDS[word.replace("-", " ")]]
    if _EQUAL.search(word) and len(word) < 60:
        return Verdict("bad" if re.search(r"\bbad\b|\bpoor|\bwrong", word) else "tie")
    if arrow := _ARROWS.match(word):
        return _arrow(*arrow.groups())
    if (said := _SAID.match(word)) or (said := _ADVERB_FIRST.match(word)):
        side, adverb = said.groups() if said.re is _SAID else said.groups()[::-1]
        adverb = re.sub(r"[\s_-]", " ", adverb or "")
        return Verdict(SIDES[side], _STRENGTH[adverb])
    return None


def _arrow(left: str, sign: str, right: str) -> Verdict | None:
    sides = SIDES[left], SIDES[right]
    if sides[0] == sides[1]:
        return None
    if set(sign) <= set("=≈"):
        return Verdict("tie", 0.0)
    strength = float(sign.count(">") or sign.count("<"))
    if "=" in sign or "≈" in sign:
        return Verdict("tie", 0.0)
    return Verdict(sides[0] if ">" in sign else sides[1], strength)


def find_coding(
    values: Iterable[object], column: str = "", ends: Sequence[str] = ("a", "b")
) -> Coding | None:
    """The coding that reads every value of a sample, or None.

    `column` is the column's name, `ends` how the two responses' columns end (a and b, 1 and 2, 0 and 1):
    0 and 1 mean something else beside response_0 and response_1 than beside response_1 and response_2.
    """
    present = [v for v in values if not missing(v)]
    if not present:
        return None
    if all(isinstance(v, bool) for v in present):
        return _truth(column)
    numbers = [number_of(v) if not isinstance(v, bool) else None for v in present]
    if any(n is None for n in numbers):
        read = [worded(v) for v in present]
        unread = sum(v is None for v in read)
        return Coding("words") if unread <= MOST_UNREAD * len(read) and unread < len(read) else None
    return _numbers(sorted({n for n in numbers if n is not None}), column, tuple(ends), len(present))


def _truth(column: str) -> Coding:
    return _index(
        {"true": "a", "false": "b"},
        (
            None
            if re.search(r"(^|_)(a|1|first|left)(_|$)", column, re.I)
            else _open(column, "true means the first response is better", {"true": "b", "false": "a"})
        ),
        kind="truth",
    )


def _numbers(found: list[float], column: str, ends: tuple[str, ...], count: int) -> Coding | None:
    values = set(found)
    if values <= {0, 1} and ends == ("0", "1"):
        return _index({"0": "a", "1": "b"})
    if values <= {1, 2} and 2 in values | {2} and (values != {1} or ends == ("1", "2")):
        return _index({"1": "a", "2": "b"})
    if values <= {0, 1, 2} and 2 in values:
        if ends == ("0", "1"):
            return _index(
                {"0": "a", "1": "b", "2": "tie"},
                _open(
                    column, "0 and 1 are the responses' numbers and 2 a tie", {"1": "a", "2": "b", "0": "tie"}
                ),
            )
        return _index(
            {"1": "a", "2": "b", "0": "tie"},
            _open(column, "1 is the first response, 2 the second, 0 a tie", {"0": "a", "1": "b", "2": "tie"}),
        )
    if values <= {1, 2, 3} and 3 in values:
        return _index(
            {"1": "a", "2": "b", "3": "tie"},
            _open(column, "1 is the first response, 2 the second, 3 a tie", {"1": "a", "2": "tie", "3": "b"}),
        )
    if min(values) < 0:
        return _signed(values, column)
    if values <= {0, 0.5, 1}:
        if not MEANING_OF_INDEX.search(column) and MEANING_OF_PROBABILITY.search(column):
            return _probability(column)
        turned = {"0": "b", "1": "a", **({"0.5": "tie"} if 0.5 in values else {})}
        taken = "0 is the first response and 1 the second" + (", 0.5 a tie" if 0.5 in values else "")
        return _index({"0": "a", "1": "b", "0.5": "tie"}, _open(column, taken, turned))
    if max(values) <= 1:
        return _probability(column)
    whole = all(v == int(v) for v in values)
    if min(values) >= 1 and max(values) <= 2:
        return Coding(
            "likert",
            middle=1.5,
            warning=_open(column, "1 is the first response, 2 the second, 1.5 a tie", None),
        )
    low, high = 1 if min(values) >= 1 else 0, max(values)
    if whole and 4 <= high <= 10 and len(values) <= 10 and count >= len(values):
        top = next(t for t in (4, 5, 6, 7, 8, 9, 10) if t >= high)
        middle = (low + top) / 2
        return Coding(
            "likert",
            middle=middle,
            warning=_open(
                column,
                f"{low} … {top} run from the first response to the second, {middle:g} is the middle",
                None,
            ),
        )
    return None


def _signed(values: set[float], column: str) -> Coding:
    a_below = not MEANING_OF_DIFFERENCE.search(column)
    side = "negative" if a_below else "positive"
    turned = (
        {f"{v:g}": "b" if (v < 0) == a_below else "tie" if v == 0 else "a" for v in sorted(values)}
        if len(values) <= 7
        else None
    )
    return Coding(
        "signed",
        a_below=a_below,
        warning=_open(column, f"{side} means the first response is better, 0 a tie", turned),
    )


def _probability(column: str) -> Coding:
    return Coding(
        "probability",
        middle=0.5,
        a_below=False,
        warning=_open(column, "the number is the probability that the first response is better", None),
    )


def _index(table: dict[str, str], warning: str | None = None, kind: str = "index") -> Coding:
    return Coding(kind, {k: _PLAIN[v] for k, v in table.items()}, warning=warning)


def _open(column: str, taken: str, turned: Mapping[str, str] | None) -> str:
    """What was taken, and how to say it is otherwise."""
    sentence = f'"{column}" leaves open which is better: {taken}'
    if turned is None:
        return (
            sentence + "; where it is the other way round, exchange the two: --column response_a=… --column"
            " response_b=…"
        )
    coding = ", ".join(f"{k}:{v}" for k, v in turned.items())
    return sentence + f"; where it is not so: --column 'winner={column}{{{coding}}}'"


def _key(value: object) -> str:
    """A value as a coding's table names it: 1 for 1, 1.0 and "1"."""
    if isinstance(value, bool):
        return str(value).lower()
    number = number_of(value)
    if number is not None:
        return f"{number:g}"
    return value.strip().lower() if isinstance(value, str) else ""
