"""Judges as rewards: samples of a prompt compared in pairs, or each given a number, by whoever a file names.

A sample's score is the mean probability that it wins against the others of its prompt, both orders of each
pair, or where the judge puts it between the worst and the best number; from 0 to 1 either way.  A question
without an answer is counted and left out; more of them than `failed_share` of a step's end the run.
`N` responses.
"""

from __future__ import annotations

import json
import time
from collections import defaultdict
from collections.abc import Generator, Mapping, Sequence
from dataclasses import dataclass
from itertools import combinations
from pathlib import Path

import torch
from torch import Tensor

from engine.endpoints.bill import Bill
from engine.endpoints.cache import FILE, AnswerCache
from engine.errors import WorkbenchError
from engine.judging.endpoint import EndpointJudge
from engine.judging.function_process import TimedJudge, function_judge
from engine.judging.model import ModelJudge
from engine.judging.question import (
    Judge,
    JudgeAnswer,
    PairQuestion,
    Question,
    ScoreQuestion,
    Unanswered,
)
from engine.models.device import resolve_device
from engine.models.policy import load_policy
from engine.policy_learning.rewards.parts import Conversation
from engine.policy_learning.rewards.writing_judge import WritingJudge
from engine.protocol.events import Event, Message, Progress
from engine.protocol.kept_judge import kept_judge
from engine.protocol.reward_judge import RewardJudge
from engine.protocol.rewards import Component
from engine.protocol.rundir import RunDir
from engine.text import Tokeniser
from engine.training.ranks import current
from engine.wording import counted


@dataclass(frozen=True)
class JudgedSamples:
    """What a judge says of N responses."""

    scores: Tensor  # [N], 0 to 1
    told: dict[str, Tensor]  # by metric what is told beside them, [N]


BEAT = 60.0  # seconds between two signs of life to the processes that wait for one that asks
Pair = tuple[int, int]


@dataclass(frozen=True)
class JudgedPairs:
    """What a judge says of pairs of responses, both orders together."""

    wins: dict[Pair, float | None]  # P(first ≻ second), ½ of like texts; None without an answer
    asked: frozenset[Pair]  # without like texts, which tie unasked
    apart: frozenset[Pair]  # whose orders were answered differently

    def told(self, name: str, count: int) -> dict[str, Tensor]:
        """By metric the share of each response's pairs without an answer, and with orders that disagree; [N]
        each.
        """
        asked, failed, apart = torch.zeros(3, count, dtype=torch.float64)
        for pair in self.asked:
            asked[list(pair)] += 1
            failed[list(pair)] += float(self.wins[pair] is None)
            apart[list(pair)] += float(pair in self.apart)
        return {
            f"{name}/failed": (failed / asked.clamp_min(1)).float(),
            f"{name}/disagree": (apart / (asked - failed).clamp_min(1)).float(),
        }


@dataclass
class JudgePart:
    """A judge as a component of the reward, or as what compares samples."""

    component: Component
    judge: Judge | None  # None where another process asks for this one too
    said: RewardJudge

    @property
    def name(self) -> str:
        """The judge's own."""
        return self.component.source

    @property
    def metric(self) -> str:
        """Where its metrics begin."""
        return self.name.replace(":", "/")

    def judged(self, conversations: Sequence[Conversation]) -> Generator[Event, None, JudgedSamples]:
        """Ask about all of them.

        Raises WorkbenchError where too many questions stay without an answer, EndpointError where an endpoint
        cannot be asked.
        """
        if self.said.config.asks == "score":
            return (yield from self._scored(conversations))
        groups: dict[str, list[int]] = defaultdict(list)
        for n, conversation in enumerate(conversations):
            groups[json.dumps(conversation.messages)].append(n)
        return (yield from self._paired(conversations, list(groups.values())))

    def _scored(self, conversations: Sequence[Conversation]) -> Generator[Event, None, JudgedSamples]:
        config = self.said.config
        questions = [
            ScoreQuestion(one.messages, config.criterion, one.text, config.scale, config.reasons)
            for one in conversations
        ]
        answers = yield from self._answers(questions)
        given = [answers[question] for question in questions]
        known = [share for share in given if share is not None]
        neutral = sum(known) / len(known) if known else 0.5
        scores = torch.tensor([neutral if share is None else share for share in given])
        failed = torch.tensor([float(share is None) for share in given])
        return JudgedSamples(scores, {f"{self.metric}/failed": failed})

    def _paired(
        self, conversations: Sequence[Conversation], groups: Sequence[Sequence[int]]
    ) -> Generator[Event, None, JudgedSamples]:
        opponents, count = self.said.config.opponents, len(conversations)
        pairs = [pair for group in groups for pair in pairs_within(group, opponents)]
        judged = yield from self.compared(conversations, pairs)
        won, met = torch.zeros(2, count, dtype=torch.float64)
        for (i, j), win in judged.wins.items():
            if win is not None:
                won[i] += win
                won[j] += 1 - win
                met[[i, j]] += 1
        scores = torch.where(met > 0, won / met.clamp_min(1), 0.5)
        return JudgedSamples(scores.float(), judged.told(self.metric, count))

    def compared(
        self, conversations: Sequence[Conversation], pairs: Sequence[Pair]
    ) -> Generator[Event, None, JudgedPairs]:
        """How likely the first of each pair is the better one.  Raises as `judged`."""
        alike = {(i, j) for i, j in pairs if conversations[i].text == conversations[j].text}
        straight = {pair: self._pair(conversations, *pair) for pair in pairs if pair not in alike}
        turned = {pair: _turned(question) for pair, question in straight.items()}
        answers = yield from self._answers([*straight.values(), *turned.values()])
        wins: dict[Pair, float | None] = {}
        apart: set[Pair] = set()
        for pair in pairs:
            if pair in alike:
                wins[pair] = 0.5
                continue
            one, other = answers[straight[pair]], answers[turned[pair]]
            wins[pair] = None if one is None or other is None else (one + 1 - other) / 2
            if one is not None and other is not None and (one - 0.5) * (0.5 - other) < 0:
                apart.add(pair)
        return JudgedPairs(wins, frozenset(straight), frozenset(apart))

    def _pair(self, conversations: Sequence[Conversation], i: int, j: int) -> PairQuestion:
        config = self.said.config
        texts = (conversations[i].text, conversations[j].text)
        messages = conversations[i].messages
        return PairQuestion("", messages, config.criterion, ("", ""), texts, reasons=config.reasons)

    def _answers(self, wanted: Sequence[Question]) -> Generator[Event, None, _Answers]:
        """The share of each question, each asked once, by one of the processes of the run.

        Raises where too many have none.
        """
        questions = list({_key(question): question for question in wanted}.values())
        ranks, alone = current(), self.said.config.by == "endpoint"
        mine = ranks.share(range(len(questions)))
        if alone:
            mine = list(range(len(questions))) if ranks.main else []
        if self.judge is None:
            while not ranks.agreed(False):  # the first asks, and says now and then that it lives
                yield Progress(stage=f"asking {self.name}", done=0, total=len(questions), unit="questions")
            given: list[tuple[int, float | None, str]] = []
        else:
            given = yield from self._asked(self.judge, questions, mine, beats=alone and ranks.world > 1)
        gathered = ranks.gather(given, list[tuple[int, float | None, str]])
        every = [one for part in gathered for one in part]
        failed = [why for _, share, why in every if share is None]
        self._check(len(failed), len(questions), failed[-1:])
        return _Answers({_key(questions[place]): share for place, share, _ in every})

    def _asked(
        self, judge: Judge, questions: Sequence[Question], mine: Sequence[int], *, beats: bool
    ) -> Generator[Event, None, list[tuple[int, float | None, str]]]:
        """The place of each question that this process asks, its share, or why there is none."""
        given: list[tuple[int, float | None, str]] = []
        beat, failed = time.monotonic(), 0
        for said in judge.answers([questions[place] for place in mine]):
            if beats and time.monotonic() - beat > BEAT:
                current().agreed(False)
                beat = time.monotonic()
            if isinstance(said, Message):
                yield said
                continue
            if said is not None:
                place, answer = said
                why = f"{answer.kind}, {answer.why}" if isinstance(answer, Unanswered) else ""
                given.append((mine[place], _share(answer), why))
                failed += bool(why)
                self._check(failed, len(questions), [why])
            yield Progress(stage=f"asking {self.name}", done=len(given), total=len(mine), unit="questions")
        if beats:
            current().agreed(True)
        return given

    def _check(self, failed: int, total: int, last: Sequence[str]) -> None:
        """Raises WorkbenchError where more than its share of the questions have no answer."""
        if failed > self.said.config.failed_share * total:
            raise WorkbenchError(
                f"{self.name} gave no answer to {failed} of {counted(total, 'question')}, more than its "
                f"failed_share of {self.said.config.failed_share:g}; the last one: {''.join(last)}"
            )

    def close(self) -> None:
        """Ask nothing more."""
        if isinstance(self.judge, EndpointJudge | TimedJudge):
            self.judge.close()


def pairs_within(members: Sequence[int], opponents: int) -> list[Pair]:
    """Pairs of the members in which each meets all others, or where those are more, `opponents` of them: its
    next ones and its last ones in a ring.

    >>> pairs_within([0, 1, 2], 8)
    [(0, 1), (0, 2), (1, 2)]
    >>> pairs_within([0, 1, 2, 3], 2)
    [(0, 1), (1, 2), (2, 3), (3, 0)]
    """
    if len(members) <= opponents + 1:
        return list(combinations(members, 2))
    count, steps = len(members), range(1, opponents // 2 + 1)
    return [(members[n], members[(n + step) % count]) for step in steps for n in range(count)]


@dataclass
class _Answers:
    """Shares of what was asked, None without an answer."""

    shares: dict[str, float | None]

    def __getitem__(self, question: Question) -> float | None:
        return self.shares.get(_key(question))


def _key(question: Question) -> str:
    return repr(question)


def _turned(pair: PairQuestion) -> PairQuestion:
    return PairQuestion(
        pair.prompt_id, pair.messages, pair.criterion, pair.ids, pair.texts, True, pair.reasons
    )


def _share(answer: JudgeAnswer | Unanswered) -> float | None:
    """From 0 to 1; of a judge that gives words only by what it says."""
    if isinstance(answer, Unanswered):
        return None
    return (answer.said + 1) / 2 if answer.share is None else answer.share


def open_judge(
    component: Component, run: RunDir, folders: Mapping[str, Path], dtype: str, device: str
) -> JudgePart:
    """The judge of the run's own copy of its file, loaded or connected.  Raises UsageError."""
    said = kept_judge(run, component)
    role = component.role
    return JudgePart(component, _judge(said, role, run, folders.get(role), dtype, device), said)


def _judge(
    said: RewardJudge, role: str, run: RunDir, folder: Path | None, dtype: str, device: str
) -> Judge | None:
    config, rubric = said.config, said.rubric
    if config.by == "endpoint" and not current().main:
        return None  # the first process asks for all: its pace, its budget, its cache
    if config.by == "function":
        return function_judge(config.function, config.function_seconds)
    if config.by == "endpoint":
        cache, bill = AnswerCache(run.path.parent / FILE), Bill(run.path / f"{role}.costs")
        return EndpointJudge(config, rubric, cache, bill.total(), lasting=True, on_cost=bill.add)
    if folder is None:
        raise WorkbenchError(f"The run in {run.path} names no folder of the judge's model; start it anew.")
    model = load_policy(folder, dtype, resolve_device(device)).requires_grad_(False)
    tokeniser = Tokeniser.from_folder(folder)
    labels = ScoreQuestion([], "", "", config.scale).labels(rubric) if config.asks == "score" else ()
    if config.reasons or (config.asks == "score" and not labels):
        return WritingJudge(model, tokeniser, rubric, config.answer_tokens)
    return ModelJudge(model, tokeniser, rubric, config.batch_tokens, labels)
