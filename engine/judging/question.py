"""Pairs of responses as questions, and what the two orders of a pair say together.  Torch-free."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal, Protocol

from engine.chat_template import Chat
from engine.protocol.events import Message
from engine.protocol.rubric import Rubric

MOST_LABELS = 9
"""Numbers up to which each is one token, as models mostly write them."""
SHOWN = 500
"""Characters of an answer that are kept."""


@dataclass(frozen=True)
class PairQuestion:
    """Two responses to a prompt and a criterion; `turned` where the second response is shown first."""

    prompt_id: str
    messages: Chat
    criterion: str
    ids: tuple[str, str]
    texts: tuple[str, str]
    turned: bool = False
    reasons: bool = False  # before the verdict

    @property
    def key(self) -> str:
        """Which judgement its answer belongs to."""
        return "\x1f".join((self.prompt_id, *self.ids, self.criterion))

    @property
    def shown(self) -> tuple[str, str]:
        """The texts in the order in which they are shown."""
        first, second = self.texts
        return (second, first) if self.turned else (first, second)

    @property
    def first_id(self) -> str:
        """Id of the response that is shown first."""
        return self.ids[1] if self.turned else self.ids[0]

    def asked(self, rubric: Rubric) -> str:
        """The whole question in words."""
        return rubric.question(self.criterion, self.messages, *self.shown, reasons=self.reasons)

    def labels(self, rubric: Rubric) -> tuple[str, ...]:
        """What may be answered."""
        return rubric.verdicts

    def answered(self, probabilities: Sequence[float]) -> JudgeAnswer:
        """The answer of a distribution over the labels."""
        return of_probabilities(*probabilities)


@dataclass(frozen=True)
class ScoreQuestion:
    """Which number from 1 to `scale` a response is worth by a criterion."""

    messages: Chat
    criterion: str
    text: str
    scale: int
    reasons: bool = False  # before the number

    def asked(self, rubric: Rubric) -> str:
        """The whole question in words."""
        return rubric.score_question(
            self.criterion, self.messages, self.text, self.scale, reasons=self.reasons
        )

    def labels(self, rubric: Rubric) -> tuple[str, ...]:
        """What may be answered with one token; nothing where some number is several."""
        return tuple(str(n + 1) for n in range(self.scale)) if self.scale <= MOST_LABELS else ()

    def answered(self, probabilities: Sequence[float]) -> JudgeAnswer:
        """The mean of a distribution over the numbers (Liu et al., G-Eval, arXiv 2303.16634, eq. 1)."""
        mass = sum(probabilities)
        mean = sum(n * p for n, p in enumerate(probabilities, start=1)) / mass if mass > 0 else math.nan
        return of_number(mean, self.scale, mass=min(mass, 1.0))


Question = PairQuestion | ScoreQuestion


@dataclass(frozen=True)
class JudgeAnswer:
    """What a judge says of two responses in one order."""

    said: Literal[1, 0, -1]
    """1 the first is better, -1 the second, 0 a tie."""
    share: float | None = None
    """Probability that the first is better, a tie one half; None of a judge that gives words only.  Of a
    single response where it stands between the worst (0) and the best (1)."""
    mass: float | None = None
    """Share of its distribution that lay on a verdict at all."""
    text: str | None = None
    tokens_in: int | None = None
    tokens_out: int | None = None
    cost: float | None = None
    seconds: float | None = None
    cached: bool = False


@dataclass(frozen=True)
class Unanswered:
    """Why a question has no answer: the kind of fault (“too long”), and a sentence."""

    kind: str
    why: str


Answered = tuple[int, JudgeAnswer | Unanswered] | Message | None
"""The place of a question and its answer; a word for the person; None while nothing comes."""


class Judge(Protocol):
    """Whoever answers questions."""

    def answers(self, questions: Sequence[Any]) -> Iterator[Answered]:
        """Every question's answer with its place, in any order; None now and then while none comes."""
        ...


def of_probabilities(first: float, second: float, tie: float = 0.0) -> JudgeAnswer:
    """The answer of a distribution over verdicts, which need not add up to 1: the rest is no verdict."""
    mass = first + second + tie
    share = 0.5 if mass <= 0 else 0.5 + (first - second) / mass / 2
    if tie >= max(first, second) or first == second:
        said: Literal[1, 0, -1] = 0
    else:
        said = 1 if first > second else -1
    return JudgeAnswer(said, share, min(mass, 1.0))


def of_number(number: float, scale: int, mass: float | None = None) -> JudgeAnswer:
    """The answer that a single response is worth a number from 1 to `scale`."""
    return JudgeAnswer(0, (number - 1) / (scale - 1), mass)


def of_difference(difference: float) -> JudgeAnswer:
    """The answer of two scores, first less second, by Bradley and Terry: σ(difference)."""
    share = 1 / (1 + math.exp(-difference)) if difference >= 0 else 1 - 1 / (1 + math.exp(difference))
    return JudgeAnswer(1 if difference > 0 else -1 if difference < 0 else 0, share)


def settle(
    straight: JudgeAnswer, turned: JudgeAnswer, disagreement: Literal["tie", "mean"]
) -> Literal[1, 0, -1]:
    """What both orders say of a pair: 1 the first of its ids is better, -1 the second, 0 a tie.

    Orders that disagree mean a tie (Zheng et al., arXiv 2306.05685, section 3.4), or what their mean
    probability says, where there are probabilities.
    """
    one, other = straight.said, -turned.said
    if one == other:
        return one
    mean = mean_share(straight, turned)
    if disagreement == "tie" or mean is None or mean == 0.5:
        return 0
    return 1 if mean > 0.5 else -1


def mean_share(straight: JudgeAnswer, turned: JudgeAnswer) -> float | None:
    """Probability that the first of the ids is better, over both orders."""
    if straight.share is None or turned.share is None:
        return None
    return (straight.share + 1 - turned.share) / 2


def row_of(question: PairQuestion, answer: JudgeAnswer, annotator: str, verdict: int) -> Mapping[str, object]:
    """A row of the table of judgements (`engine.tables.JUDGEMENTS`)."""
    return {
        "key": question.key,
        "annotator": annotator,
        "prompt_id": question.prompt_id,
        "criterion": question.criterion,
        "response_a": question.ids[0],
        "response_b": question.ids[1],
        "verdict": verdict,
        "first_id": question.first_id,
        "said": answer.said,
        "share": answer.share,
        "mass": answer.mass,
        "answer": None if answer.text is None else _kept(answer.text),
        "tokens_in": answer.tokens_in,
        "tokens_out": answer.tokens_out,
        "cost": answer.cost,
        "seconds": answer.seconds,
        "cached": answer.cached,
    }


def _kept(text: str) -> str:
    """The beginning of what was written, on one line; what does not print is dropped."""
    return "".join(c for c in " ".join(text[: 4 * SHOWN].split()) if c.isprintable())[:SHOWN]
