"""Two policies on the same prompts: side by side, and who wins by a reward model or by people."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

from storage import artifacts, policies, prompts, responses
from storage.measures import comparisons
from storage.records import AgreementRow, ResponseRow, WinRateRow
from storage.store import Store
from workbench.services.statistics import mean_and_error, wilson_interval

PEOPLE = "people"
MOST_CLUSTERED = 500
"""Prompts that are sorted into clusters, those that were lost worst first."""
Outcome = Literal["win", "tie", "loss"]


@dataclass(frozen=True)
class WinRate:
    """How often policy `a` beats policy `b` on the prompts that both have answered."""

    a: str
    b: str
    judge: str
    """Name of the reward model, or 'people'."""
    wins: int
    ties: int
    losses: int
    """Pairs of one response of each policy to the same prompt."""
    prompts: int
    rate: float | None
    """Mean over prompts of the share of pairs won, a tie counting one half; None without prompts."""
    low: float | None
    high: float | None
    """95 % Wilson interval of `rate`, each prompt one trial."""


@dataclass(frozen=True)
class Side:
    """One response of one of two policies."""

    response_id: str
    text: str
    score: float | None
    tokens: int | None


@dataclass(frozen=True, slots=True)
class PromptOutcome:
    """Who won on one prompt."""

    prompt_id: str
    share: float | None
    """Share of the pairs of responses that `a` won, ties one half; None where nobody has compared them."""

    @property
    def outcome(self) -> Outcome | None:
        """Of `a`: whether `share` is above, at or below one half."""
        return None if self.share is None else _outcome(self.share)


@dataclass(frozen=True)
class ComparedItem:
    """The responses of two policies to one prompt."""

    prompt_id: str
    text: str
    a: tuple[Side, ...]
    b: tuple[Side, ...]
    score_a: float | None
    score_b: float | None
    """Mean score of the responses; None where one has no score."""
    share: float | None
    """Share of the pairs of responses that `a` won, ties one half; None where nobody has compared them."""
    outcome: Outcome | None
    """Of `a`: whether `share` is above, at or below one half."""


@dataclass(frozen=True)
class PolicyScore:
    """What a reward model thinks of a policy's responses to some prompts."""

    policy: str
    reward_model: str
    responses: int
    prompts: int
    mean: float
    standard_error: float
    """Of the mean over prompts; the samples of a prompt are averaged first, for they are not independent."""
    mean_tokens: float | None
    by_prompt: dict[str, float]
    """Mean score of each prompt's responses."""


class Comparing:
    """Comparisons on one store."""

    def __init__(self, store: Store) -> None:
        self.store = store

    def win_rate(
        self, a: str, b: str, reward_model: str | None = None, *, criterion: str = "overall"
    ) -> WinRate:
        """Policy `a` against `b`, by the scores of `reward_model`, or by people (imports included) without
        one.

        Raises `NotFoundError` for a policy or reward model that is not registered.
        """
        self._known(a, b, reward_model)
        total = comparisons.total(self.store, a, b, reward_model, criterion=criterion)
        return summarise(a, b, reward_model or PEOPLE, total)

    def items(
        self,
        a: str,
        b: str,
        reward_model: str | None = None,
        limit: int = 100,
        offset: int = 0,
        *,
        criterion: str = "overall",
    ) -> list[ComparedItem]:
        """The prompts that both policies have answered, oldest first, with all responses and who won
        there.
        """
        found = self.outcomes(a, b, reward_model, criterion=criterion)
        return self.items_of(a, b, found[offset : offset + limit], reward_model)

    def outcomes(
        self, a: str, b: str, reward_model: str | None = None, *, criterion: str = "overall"
    ) -> list[PromptOutcome]:
        """Who won on each prompt that both policies have answered, oldest first; `items_of` reads them.

        Raises `NotFoundError` for a policy or reward model that is not registered.
        """
        self._known(a, b, reward_model)
        found = comparisons.outcomes(self.store, a, b, reward_model, criterion=criterion)
        return [PromptOutcome(prompt_id, share) for prompt_id, share in found]

    def items_of(
        self, a: str, b: str, found: Sequence[PromptOutcome], reward_model: str | None = None
    ) -> list[ComparedItem]:
        """Some of the prompts that `outcomes` has found, in this order, with all responses of both."""
        here = [each.prompt_id for each in found]
        texts, answers = prompts.texts(self.store, here), responses.of_prompts(self.store, here)
        return [
            _item(each, texts[each.prompt_id], a, b, answers[each.prompt_id], reward_model)
            for each in found
            if each.prompt_id in texts
        ]

    def lost(self, a: str, b: str, reward_model: str | None = None) -> LostPrompts:
        """The prompts on which policy `a` lost against `b`, the worst first, with what changed there, and
        which kinds of prompts it lost.

        Raises `NotFoundError` for a policy or reward model that is not registered.
        """
        from workbench.services.clusters import clusters

        self._known(a, b, reward_model)
        rows = comparisons.shares(self.store, a, b, reward_model, limit=MOST_CLUSTERED)
        lost = [row for row in rows if row.share < 0.5]
        others = [row.text for row in prompts.listed(self.store, limit=MOST_CLUSTERED)] if lost else []
        kinds = [
            LostKind.of([rows[place] for place in cluster.members], cluster.words)
            for cluster in clusters([row.text for row in rows] if lost else [], others)
        ]
        kinds = sorted((kind for kind in kinds if kind.lost), key=lambda kind: (-kind.low, kind.words))
        return LostPrompts(lost, kinds, len(rows))

    def why_nothing(self, a: str, b: str, reward_model: str | None = None) -> str:
        """A sentence on why no prompt compares the two, and what to do."""
        for policy in (a, b):
            prompts, scored = comparisons.answered(self.store, policy, reward_model)
            if not prompts:
                return f"{policy} has no responses yet: workbench generate --policy {policy}"
            if reward_model is not None and not scored:
                return (
                    f"{reward_model} has scored no response of {policy}: "
                    f"workbench score --reward-model {reward_model}"
                )
        if not comparisons.common_prompts(self.store, a, b, limit=1):
            return f"No prompt has responses of both {a} and {b}."
        return f"No prompt where {reward_model or 'somebody'} judged responses of both {a} and {b}."

    def win_rates(self) -> list[WinRateRow]:
        """Every two policies that somebody or some model has compared."""
        return comparisons.win_rates(self.store)

    def agreement(self) -> list[AgreementRow]:
        """How far each two annotators agree."""
        from storage import judgements

        return judgements.agreement(self.store)

    def policy_score(self, policy: str, reward_model: str, prompt_ids: Sequence[str]) -> PolicyScore:
        """Mean score and length of a policy's responses to these prompts; prompts without scores are left
        out.
        """
        self._known(policy, policy, reward_model)
        by_prompt: dict[str, float] = {}
        scores: list[float] = []
        tokens: list[int] = []
        for prompt_id, answers in responses.of_prompts(self.store, list(prompt_ids)).items():
            rows = [row for row in answers if row.policy == policy and reward_model in row.scores]
            if rows:
                here = [row.scores[reward_model] for row in rows]
                by_prompt[prompt_id] = sum(here) / len(here)
                scores += here
                tokens += [row.tokens for row in rows if row.tokens is not None]
        mean, error = mean_and_error(list(by_prompt.values()))
        mean_tokens = sum(tokens) / len(tokens) if tokens else None
        return PolicyScore(
            policy, reward_model, len(scores), len(by_prompt), mean, error, mean_tokens, by_prompt
        )

    def paired_difference(self, after: PolicyScore, before: PolicyScore) -> tuple[float, float]:
        """Mean over the prompts that both have of (after − before), and its standard error."""
        shared = after.by_prompt.keys() & before.by_prompt.keys()
        return mean_and_error([after.by_prompt[p] - before.by_prompt[p] for p in sorted(shared)])

    def _known(self, a: str, b: str, reward_model: str | None) -> None:
        policies.by_name(self.store, a)
        policies.by_name(self.store, b)
        if reward_model is not None:
            artifacts.reward_model(self.store, reward_model)


@dataclass(frozen=True)
class LostKind:
    """Compared prompts that are about the same, some of them lost."""

    prompt_ids: tuple[str, ...]
    words: tuple[str, ...]
    """That tell them from others."""
    lost: int
    low: float
    high: float
    """Wilson's interval of the share that is lost."""
    share: float
    """Of pairs won, the mean over its prompts."""
    margin: float | None
    """Mean score of the first policy less that of the second; None where people judge."""

    @classmethod
    def of(cls, rows: Sequence[comparisons.PromptShare], words: tuple[str, ...]) -> LostKind:
        """The kind of these prompts."""
        lost = sum(row.share < 0.5 for row in rows)
        margins = [row.margin for row in rows if row.margin is not None]
        return cls(
            tuple(row.prompt_id for row in rows),
            words,
            lost,
            *wilson_interval(lost, len(rows)),
            sum(row.share for row in rows) / len(rows),
            sum(margins) / len(margins) if margins else None,
        )


@dataclass(frozen=True)
class LostPrompts:
    """Where a policy lost against another."""

    prompts: list[comparisons.PromptShare]
    kinds: list[LostKind]
    """Those of which it surely lost most first."""
    compared: int
    """Prompts on which the two are compared, up to MOST_CLUSTERED."""


def summarise(a: str, b: str, judge: str, total: comparisons.ComparedTotal) -> WinRate:
    """Comparisons over all prompts as one win rate with its interval."""
    low, high = wilson_interval(total.shares, total.prompts)
    some = total.prompts > 0
    return WinRate(
        a=a,
        b=b,
        judge=judge,
        wins=total.wins,
        ties=total.ties,
        losses=total.losses,
        prompts=total.prompts,
        rate=total.shares / total.prompts if some else None,
        low=low if some else None,
        high=high if some else None,
    )


def _outcome(share: float) -> Outcome:
    if share == 0.5:
        return "tie"
    return "win" if share > 0.5 else "loss"


def _mean_score(sides: tuple[Side, ...]) -> float | None:
    scores = [side.score for side in sides if side.score is not None]
    return sum(scores) / len(scores) if scores and len(scores) == len(sides) else None


def _item(
    found: PromptOutcome, text: str, a: str, b: str, rows: Sequence[ResponseRow], reward_model: str | None
) -> ComparedItem:
    sides: dict[str, list[Side]] = {a: [], b: []}
    for row in rows:
        if row.policy in sides:
            score = row.scores.get(reward_model) if reward_model is not None else None
            sides[row.policy].append(Side(row.response_id, row.text, score, row.tokens))
    left, right = tuple(sides[a]), tuple(sides[b])
    return ComparedItem(
        found.prompt_id, text, left, right, _mean_score(left), _mean_score(right), found.share, found.outcome
    )
