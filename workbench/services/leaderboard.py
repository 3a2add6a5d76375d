"""Policies against each other: strengths with intervals, and who beats whom."""

from __future__ import annotations

import math
from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass

from engine.errors import UsageError
from engine.protocol.suggest import did_you_mean
from engine.wording import counted
from storage import artifacts, comparisons
from storage.store import Store
from workbench.services.statistics import wilson_interval

KINDS = ("human", "import", "ai", "rule")
PEOPLE = ("human", "import")
FEW_PROMPTS = 10
"""Below it a table says how few prompts there are beside every figure."""


@dataclass(frozen=True)
class Standing:
    """A policy among the others."""

    place: int
    """1 + how many are better beyond doubt: their interval lies wholly above this one's."""
    policy: str
    strength: float
    """Log-odds against the mean of all policies, at equal length where length is controlled for."""
    low: float
    high: float
    pairs: int
    prompts: int
    apart: bool
    """No chain of comparisons leads from it to the first policy of the table."""

    @property
    def chances(self) -> tuple[float, float, float]:
        """Chance to beat the average policy, with its interval."""
        value, low, high = (0.5 * (1 + math.tanh(0.5 * x)) for x in (self.strength, self.low, self.high))
        return value, low, high


@dataclass(frozen=True)
class Meeting:
    """How often policy `a` beat policy `b`, a tie counting one half."""

    a: str
    b: str
    pairs: int
    prompts: int
    rate: float
    """Mean over prompts."""
    low: float
    high: float
    """95 % Wilson interval, each prompt one trial."""


@dataclass(frozen=True)
class Leaderboard:
    """All policies that somebody has compared."""

    judge: str
    criterion: str
    standings: tuple[Standing, ...]
    meetings: tuple[Meeting, ...]
    """Every two that have met, both ways round."""
    pairs: int
    prompts: int
    length: tuple[float, float, float] | None
    """γ: what twice the length adds to the log-odds, with its interval; None without control."""
    resamples: int

    def meeting(self, a: str, b: str) -> Meeting | None:
        """How `a` did against `b`, None where they have not met."""
        return next((each for each in self.meetings if (each.a, each.b) == (a, b)), None)

    @property
    def basis(self) -> str:
        """What it rests on, in words."""
        return f"{counted(self.pairs, 'pair')} of responses to {counted(self.prompts, 'prompt')}"


Row = tuple[str, str, str, float, float, float]


class Leaderboards:
    """Leaderboards of one store."""

    def __init__(self, store: Store) -> None:
        self.store = store

    def judges(self) -> list[str]:
        """Who can judge: people, each kind of annotators, reward models."""
        return ["people", *KINDS, *(model.name for model in artifacts.reward_models(self.store))]

    def board(
        self, judge: str = "people", criterion: str = "overall", *, control: bool = True
    ) -> Leaderboard:
        """The leaderboard by people (imports included), a kind of annotators, or a reward model.

        Raises `UsageError` for a judge that there is not.
        """
        import numpy as np

        from engine.labels.leaderboard import Games, islands, strengths

        rows = self._rows(judge, criterion)
        names = sorted({name for row in rows for name in row[:2]})
        if not rows:
            return Leaderboard(judge, criterion, (), (), 0, 0, None, 0)
        number = {name: place for place, name in enumerate(names)}
        prompt = {name: place for place, name in enumerate(dict.fromkeys(row[2] for row in rows))}
        games = Games(
            np.array([number[row[0]] for row in rows]),
            np.array([number[row[1]] for row in rows]),
            np.array([prompt[row[2]] for row in rows]),
            *(np.array([row[place] for row in rows]) for place in (3, 4, 5)),
        )
        fitted = strengths(games, len(names), control=control)
        return Leaderboard(
            judge,
            criterion,
            _standings(
                names,
                rows,
                fitted.value.tolist(),
                fitted.low.tolist(),
                fitted.high.tolist(),
                islands(games, len(names)).tolist(),
            ),
            _meetings(rows),
            len(rows),
            len(prompt),
            fitted.length,
            fitted.resamples,
        )

    def _rows(self, judge: str, criterion: str) -> list[Row]:
        if judge == "people" or judge in KINDS:
            kinds = PEOPLE if judge == "people" else (judge,)
            return comparisons.policy_verdicts(self.store, kinds, by_model=False, criterion=criterion)
        if judge not in self.judges():
            raise UsageError(f"There is no judge “{judge}”. {did_you_mean(judge, self.judges())}")
        return comparisons.policy_verdicts(self.store, (judge,), by_model=True)


def _standings(
    names: Sequence[str],
    rows: Sequence[Row],
    value: Sequence[float],
    low: Sequence[float],
    high: Sequence[float],
    island: Sequence[int],
) -> tuple[Standing, ...]:
    pairs: dict[str, int] = defaultdict(int)
    prompts: dict[str, set[str]] = defaultdict(set)
    for a, b, prompt, *_ in rows:
        for name in (a, b):
            pairs[name] += 1
            prompts[name].add(prompt)
    order = sorted(range(len(names)), key=lambda n: (-value[n], names[n]))
    return tuple(
        Standing(
            1 + sum(other > high[n] for other in low),
            names[n],
            value[n],
            low[n],
            high[n],
            pairs[names[n]],
            len(prompts[names[n]]),
            island[n] != island[order[0]],
        )
        for n in order
    )


def _meetings(rows: Sequence[Row]) -> tuple[Meeting, ...]:
    won: dict[tuple[str, str], dict[str, list[float]]] = defaultdict(lambda: defaultdict(list))
    for a, b, prompt, share, *_ in rows:
        won[a, b][prompt].append(share)
        won[b, a][prompt].append(1 - share)
    meetings = []
    for (a, b), by_prompt in sorted(won.items()):
        shares = [sum(values) / len(values) for values in by_prompt.values()]
        low, high = wilson_interval(sum(shares), len(shares))
        pairs = sum(map(len, by_prompt.values()))
        meetings.append(Meeting(a, b, pairs, len(shares), sum(shares) / len(shares), low, high))
    return tuple(meetings)


def chances_text(row: Standing) -> str:
    """The chance to beat the average policy with its interval, `63 % (48–76)`."""
    value, low, high = row.chances
    return f"{100 * value:.0f}% ({100 * low:.0f}–{100 * high:.0f})"


def evidence(row: Standing) -> str:
    """What a standing rests on: `1 pair`, `24 pairs on 9 prompts`; and whether it can be compared at all."""
    said = counted(row.pairs, "pair")
    if row.prompts > 1:
        said += f" on {counted(row.prompts, 'prompt')}"
    return f"{said}; never compared with those above" if row.apart else said


def notes(board: Leaderboard) -> list[str]:
    """What the table is and how far it can be trusted, a sentence each."""
    if not board.standings:
        return [f"No responses of two policies have been compared by {board.judge}."]
    said = [f"Judged by {board.judge}: {board.basis}. Chance to beat the average policy, with 95% intervals."]
    if board.prompts < FEW_PROMPTS:
        said.append(
            f"That is little: with {counted(board.prompts, 'prompt')} the intervals tell hardly anything."
        )
    if board.length is not None:
        value, low, high = (math.exp(x) for x in board.length)
        said.append(
            f"At equal length; twice the length multiplies the odds by {value:.2f} ({low:.2f} to {high:.2f})."
        )
    return said
