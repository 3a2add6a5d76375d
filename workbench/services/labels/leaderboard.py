"""Policies against each other: strengths with intervals, and who beats whom."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from engine.errors import UsageError
from engine.protocol.suggest import did_you_mean
from engine.wording import counted
from storage import artifacts
from storage.measures import comparisons
from storage.store import Store
from workbench.services.statistics import wilson_interval

if TYPE_CHECKING:
    import numpy as np
    import pyarrow

    from engine.labels.leaderboard import Games, Strengths

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
        from engine.labels.leaderboard import strengths

        names, games = _games(self._verdicts(judge, criterion))
        if not names:
            return Leaderboard(judge, criterion, (), (), 0, 0, None, 0)
        fitted = strengths(games, len(names), control=control)
        return Leaderboard(
            judge,
            criterion,
            _standings(names, games, fitted),
            _meetings(names, games),
            len(games.a),
            int(games.prompt.max()) + 1,
            fitted.length,
            fitted.resamples,
        )

    def _verdicts(self, judge: str, criterion: str) -> pyarrow.Table:
        if judge == "people" or judge in KINDS:
            kinds = PEOPLE if judge == "people" else (judge,)
            return comparisons.policy_verdicts(self.store, kinds, by_model=False, criterion=criterion)
        if judge not in self.judges():
            raise UsageError(f"There is no judge “{judge}”. {did_you_mean(judge, self.judges())}")
        return comparisons.policy_verdicts(self.store, (judge,), by_model=True)


def _games(verdicts: pyarrow.Table) -> tuple[list[str], Games]:
    """The policies in the order of their names, and the verdicts with numbers for policies and prompts."""
    import pyarrow

    from engine.labels.leaderboard import Games

    sides = pyarrow.chunked_array([*verdicts["policy_a"].chunks, *verdicts["policy_b"].chunks], "string")
    names, policy = _numbered(sides)
    _, prompt = _numbered(verdicts["prompt_id"])
    said = (verdicts[name].to_numpy() for name in ("won", "weight", "doublings"))
    return names, Games(policy[: len(prompt)], policy[len(prompt) :], prompt, *said)


def _numbered(column: pyarrow.ChunkedArray) -> tuple[list[str], np.ndarray]:
    """The different values, sorted, and for each row the place of its own among them."""
    import numpy as np

    encoded = column.combine_chunks().dictionary_encode()
    values = encoded.dictionary.to_pylist()
    order = sorted(range(len(values)), key=values.__getitem__)
    place = np.empty(len(values), np.int64)
    place[order] = np.arange(len(values))
    return [values[number] for number in order], place[encoded.indices.to_numpy()]


def _standings(names: Sequence[str], games: Games, fitted: Strengths) -> tuple[Standing, ...]:
    import numpy as np

    from engine.labels.leaderboard import islands

    policies = len(names)
    island = islands(games, policies)
    pairs = np.bincount(games.a, minlength=policies) + np.bincount(games.b, minlength=policies)
    answered = np.unique(np.append(games.prompt * policies + games.a, games.prompt * policies + games.b))
    prompts = np.bincount(answered % policies, minlength=policies)
    order = sorted(range(policies), key=lambda n: (-fitted.value[n], names[n]))
    return tuple(
        Standing(
            1 + int((fitted.low > fitted.high[n]).sum()),
            names[n],
            float(fitted.value[n]),
            float(fitted.low[n]),
            float(fitted.high[n]),
            int(pairs[n]),
            int(prompts[n]),
            bool(island[n] != island[order[0]]),
        )
        for n in order
    )


def _meetings(names: Sequence[str], games: Games) -> tuple[Meeting, ...]:
    import numpy as np

    policies, prompts = len(names), int(games.prompt.max()) + 1
    first, second = np.minimum(games.a, games.b), np.maximum(games.a, games.b)
    won = np.where(games.a == first, games.won, 1.0 - games.won)
    cells, cell, pairs = np.unique(
        (first * policies + second) * prompts + games.prompt, return_inverse=True, return_counts=True
    )  # one for each two policies and prompt
    share = np.bincount(cell, won) / pairs
    met, number, answered = np.unique(cells // prompts, return_inverse=True, return_counts=True)
    found = []
    for code, n, of_both, total in zip(
        met.tolist(), answered.tolist(), np.bincount(number, pairs), np.bincount(number, share), strict=True
    ):
        a, b = (names[place] for place in divmod(code, policies))
        low, high = wilson_interval(float(total), n)
        rate = float(total) / n
        found.append(Meeting(a, b, int(of_both), n, rate, low, high))
        found.append(Meeting(b, a, int(of_both), n, 1 - rate, 1 - high, 1 - low))
    return tuple(sorted(found, key=lambda each: (each.a, each.b)))


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
