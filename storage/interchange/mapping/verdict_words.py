"""Verdicts on two responses as people and tools write them: words, arrows, sentences."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

MEANINGS = ("a", "b", "tie", "bad", "skip")  # bad: a tie, both are bad; skip: no verdict
_SAYING = {
    "a": """
        a | first | left | model_a | model a | response_a | response a | answer_a | output_a | assistant_a
        | assistant a | option a | option_a | a wins | a is better | a_better | a_win | response_1 |
        response 1 | model_1 | output_1 | answer_1 | answer 1 | model 1 | answer1 | response1 | output1 |
        model1 | leftvote | completion_a | completion_1 | assistant 1 | conversation_a | text_1 |
        summary_1 | a_wins | choice_a | prefer_a | first_better | option 1 | option_1 | win_a | one
    """,
    "b": """
        b | second | right | model_b | model b | response_b | response b | answer_b | output_b |
        assistant_b | assistant b | option b | option_b | b wins | b is better | b_better | b_win |
        response_2 | response 2 | model_2 | output_2 | answer_2 | answer 2 | model 2 | answer2 | response2
        | output2 | model2 | rightvote | completion_b | completion_2 | assistant 2 | conversation_b |
        text_2 | summary_2 | b_wins | choice_b | prefer_b | second_better | option 2 | option_2 | win_b |
        two
    """,
    "tie": """
        tie | tied | equal | same | both | draw | c | tievote | a=b | neutral | both good | both_good |
        equally good | no preference | no_preference | similar | about the same | tie (bothgood) |
        equivalent | none is better | both are good | even
    """,
    "bad": """
        tie (bothbad) | bothbad | both bad | both_bad | both are bad | neither | bothbad_vote |
        tie_both_bad | both-bad | none | both are incorrect | neither is good | both incorrect
    """,
    "skip": """
        skip | skipped | unsure | invalid | cannot tell | can't tell | not sure | error | flagged |
        discard | undecided | abstain
    """,
}
WORDS: dict[str, str] = {
    spelled: meaning
    for meaning, words in _SAYING.items()
    for word in words.split("|")
    for spelled in (" ".join(word.split()), " ".join(word.replace("_", " ").split()))
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
_LONE_ARROW = re.compile(r"^(>{1,3}|<{1,3}|[=≈]{1,2})$")
_POINT = re.compile(r"^-?\d+\s*[-–—:.)=]+\s+(?=\D)")  # of a scale: `1 - A is much better`
_EQUAL = re.compile(
    r"\b(equal|equally|tie|tied|same|draw|indistinguishable)\b|^both\b|^neither\b|\bas good as\b"
)
_STRENGTH = {
    "negligibly": 1.0, "slightly": 1.0, "somewhat": 1.0, "marginally": 1.0, "a bit": 1.0, "a little": 1.0,
    "moderately": 2.0, "": 2.0, "clearly": 2.0, "definitely": 2.0,
    "much": 3.0, "strongly": 3.0, "significantly": 3.0, "extremely": 3.0, "far": 3.0,
}  # fmt: skip
_SIDES = {"a": "a", "1": "a", "b": "b", "2": "b"}


@dataclass(frozen=True, slots=True)
class Verdict:
    """`better` is a, b, tie, bad or skip; `strength` is how much, in the file's own unit, never negative."""

    better: str
    strength: float | None = None


A, B, TIE, BAD, SKIP = (Verdict(meaning) for meaning in MEANINGS)
PLAIN = {"a": A, "b": B, "tie": TIE, "bad": BAD, "skip": SKIP}


def worded(value: object, names: Mapping[str, str] | None = None) -> Verdict | None:
    """A verdict in words; `names` are the candidates' own words, as their policies' names."""
    if isinstance(value, list) and len(value) == 1:
        value = value[0]
    if isinstance(value, list) and len(value) == 2:  # both are ticked
        ticked = {verdict.better for one in value if (verdict := worded(one)) is not None}
        return TIE if ticked == {"a", "b"} else None
    if not isinstance(value, str):
        return None
    word = " ".join(value.strip().strip("[]\"'.!").lower().split())
    if lone := _LONE_ARROW.match(value.strip()):
        return _arrow("a", lone[1], "b")
    word = _POINT.sub("", word)
    if names and word in names:
        return PLAIN[names[word]]
    if (meaning := WORDS.get(word) or WORDS.get(re.sub(r"[_-]", " ", word))) is not None:
        return PLAIN[meaning]
    if _EQUAL.search(word) and len(word) < 60:
        return Verdict("bad" if re.search(r"\bbad\b|\bpoor|\bwrong", word) else "tie")
    if arrow := _ARROWS.match(word):
        return _arrow(*arrow.groups())
    if (said := _SAID.match(word)) or (said := _ADVERB_FIRST.match(word)):
        side, adverb = said.groups() if said.re is _SAID else said.groups()[::-1]
        adverb = re.sub(r"[\s_-]", " ", adverb or "")
        return Verdict(_SIDES[side], _STRENGTH[adverb])
    return None


def _arrow(left: str, sign: str, right: str) -> Verdict | None:
    sides = _SIDES[left], _SIDES[right]
    if sides[0] == sides[1]:
        return None
    if set(sign) <= set("=≈"):
        return Verdict("tie", 0.0)
    strength = float(sign.count(">") or sign.count("<"))
    if "=" in sign or "≈" in sign:
        return Verdict("tie", 0.0)
    return Verdict(sides[0] if ">" in sign else sides[1], strength)


def better_of_outcomes(won: Sequence[float | None], tied: bool) -> Verdict | None:
    """The verdict of one number an outcome: a, b, a tie.  `tied`: the file has a column for ties."""
    sides = [n if n is not None else 0.0 for n in won]
    if not any(sides):
        better = None if tied or all(n is None for n in won) else "tie"
    else:
        top = max(sides)
        better = "tie" if sides.count(top) > 1 else ("a", "b", "tie")[sides.index(top)]
    if better is None:
        return None
    strength = None if set(sides) <= {0.0, 1.0} else round(abs(sides[0] - sides[1]), 12)
    return Verdict(better, strength)
