"""What an endpoint's answer says: by the log-probabilities of its verdict, else by its words.  Torch-free."""

from __future__ import annotations

import math
import re
from collections.abc import Sequence

from engine.endpoints.chat import ChatCompletion, TokenLogprob
from engine.judging.question import JudgeAnswer, of_probabilities
from engine.protocol.rubric import Rubric

EDGES = " \t\n\r\"'`*_#.,:;!()[]{}<>“”"
ANSWER_IS = (
    r"(?:verdict|answer|choice|winner|better|best|prefer(?:red)?)\W{0,3}"
    r"(?:response\W{1,3})?(?:is\W{1,3})?(?:response\W{1,3})?"
)


def read_answer(completion: ChatCompletion, rubric: Rubric) -> JudgeAnswer | None:
    """The verdict of an answer; None where it has none that can be told from the rest.

    Where the server gives log-probabilities and the answer begins with a verdict, they are those of the
    verdicts at that token; one that is not among the likeliest has none.
    """
    said = read_tokens(completion.tokens, rubric)
    if said is not None:
        return said
    label = read_words(completion.text, rubric.verdicts)
    return None if label is None else JudgeAnswer((1, -1, 0)[label])


def read_tokens(tokens: Sequence[TokenLogprob], rubric: Rubric) -> JudgeAnswer | None:
    """The verdicts' probabilities at the first token that says something, if that is a verdict."""
    labels = rubric.verdicts
    first = next((token for token in tokens if token.token.strip(EDGES)), None)
    if first is None or place_of(first.token, labels) is None:
        return None
    likeliest = {top.token: top.logprob for top in first.top_logprobs} | {first.token: first.logprob}
    probability = [0.0, 0.0, 0.0]
    for token, logprob in likeliest.items():
        place = place_of(token, labels)
        if place is not None and not math.isnan(logprob):
            probability[place] += math.exp(min(logprob, 0.0))
    if sum(probability) <= 0:
        return None
    if len(likeliest) == 1:  # nothing but the token itself: no distribution
        return JudgeAnswer((1, -1, 0)[probability.index(max(probability))])
    return of_probabilities(*probability)


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
