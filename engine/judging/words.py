"""What an endpoint's answer says: by the log-probabilities of its verdict, else by its words.  Torch-free."""

from __future__ import annotations

import math
import re
from collections.abc import Sequence

from engine.endpoints.chat import ChatCompletion, TokenLogprob
from engine.judging.question import JudgeAnswer, Question, ScoreQuestion, of_number, of_probabilities
from engine.protocol.rubric import Rubric

EDGES = " \t\n\r\"'`*_#.,:;!()[]{}<>“”"
ANSWER_IS = (
    r"(?:verdict|answer|choice|winner|better|best|prefer(?:red)?)\W{0,3}"
    r"(?:response\W{1,3})?(?:is\W{1,3})?(?:response\W{1,3})?"
)


def read_answer(
    completion: ChatCompletion, rubric: Rubric, question: Question | None = None
) -> JudgeAnswer | None:
    """The verdict of an answer; None where it has none that can be told from the rest.

    Where the server gives log-probabilities and the answer begins with a verdict, they are those of the
    verdicts at that token; one that is not among the likeliest has none.  question: what was asked, a pair
    without reasons if it is not given.
    """
    if question is None or not question.reasons:
        said = read_tokens(completion.tokens, rubric, question)
        if said is not None:
            return said
    return read_text(completion.text, rubric, question)


def read_text(text: str, rubric: Rubric, question: Question | None = None) -> JudgeAnswer | None:
    """The verdict in the words of an answer; None where they have none."""
    if isinstance(question, ScoreQuestion):
        number = read_number(text, question.scale)
        return None if number is None else of_number(number, question.scale)
    label = read_words(text, rubric.verdicts)
    return None if label is None else JudgeAnswer((1, -1, 0)[label])


def read_tokens(
    tokens: Sequence[TokenLogprob], rubric: Rubric, question: Question | None = None
) -> JudgeAnswer | None:
    """The labels' probabilities at the first token that says something, if that is one of them."""
    labels = rubric.verdicts if question is None else question.labels(rubric)
    first = next((token for token in tokens if token.token.strip(EDGES)), None)
    if first is None or place_of(first.token, labels) is None:
        return None
    likeliest = {top.token: top.logprob for top in first.top_logprobs} | {first.token: first.logprob}
    probability = [0.0] * (len(labels) if isinstance(question, ScoreQuestion) else 3)
    for token, logprob in likeliest.items():
        place = place_of(token, labels)
        if place is not None and not math.isnan(logprob):
            probability[place] += math.exp(min(logprob, 0.0))
    if sum(probability) <= 0:
        return None
    if isinstance(question, ScoreQuestion):
        return question.answered(probability)
    if len(likeliest) == 1:  # nothing but the token itself: no distribution
        return JudgeAnswer((1, -1, 0)[probability.index(max(probability))])
    return of_probabilities(*probability)


def read_number(text: str, scale: int) -> float | None:
    """The number from 1 to `scale` that the text gives; None where it gives none, or one beyond.

    In this order: the text is a number; [[4]]; “score: 4” or “4/5”; its last line is a number.  The last of
    several counts.
    """
    number = r"(\d{1,3}(?:\.\d{1,3})?)"
    found = re.fullmatch(rf"{number}(?:\s*/\s*{scale})?", text.strip(EDGES))
    said = [found[1]] if found else []
    for pattern in (
        rf"\[\[\s*{number}\s*\]\]",
        rf"(?i:score|rating|grade|number)\W{{0,5}}(?:is\W{{1,3}})?{number}\b",
        rf"\b{number}\s*/\s*{scale}\b",
        rf"(?:^|\n)\W*{number}\W*\Z",
    ):
        said = said or re.findall(pattern, text)
    value = float(said[-1]) if said else math.nan
    return value if 1 <= value <= scale else None


def read_words(text: str, labels: Sequence[str]) -> int | None:
    """The place of the label that the text gives as its verdict; None where it gives none, or two.

    In this order: the text is a label; [[A]]; “the answer is A”; its last line is a label.  The last of
    several counts, as in one that thinks first.
    """
    named = "|".join(map(re.escape, labels))
    whole = place_of(text, labels)
    if whole is not None:
        return whole
    for pattern, flags in (
        (rf"\[\[\s*({named})\s*\]\]", re.IGNORECASE),
        (rf"(?i:{ANSWER_IS})({named})\b", 0),
    ):
        labels_said = re.findall(pattern, text, flags)
        if labels_said:
            return place_of(labels_said[-1], labels)
    lines = text.strip().splitlines()
    return place_of(lines[-1].rpartition(" ")[2], labels) if lines and len(lines[-1].split()) <= 2 else None


def place_of(text: str, labels: Sequence[str]) -> int | None:
    """Which label the text is, apart from punctuation and case."""
    word = text.strip(EDGES).lower()
    return next((place for place, label in enumerate(labels) if label.lower() == word), None)
