"""Policy against policy, by a reward model's scores or by people's judgements."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from storage.records import PromptComparison, SideBySide, WinRateRow
from storage.sql import block
from storage.store import Store


def win_rates(store: Store) -> list[WinRateRow]:
    """Every two policies that somebody or some model has compared."""
    return store.records(WinRateRow, block("comparisons", "win_rates"))


def by_model(store: Store, a: str, b: str, reward_model: str) -> list[PromptComparison]:
    """For each prompt that both policies have answered: every response of `a` against every one of `b`, by
    score.
    """
    return store.records(
        PromptComparison, block("comparisons", "by_model"), {"a": a, "b": b, "reward_model": reward_model}
    )


def by_people(
    store: Store, a: str, b: str, *, criterion: str = "overall", kinds: Sequence[str] = ("human", "import")
) -> list[PromptComparison]:
    """For each prompt: the pairs of a response of `a` and one of `b` that annotators of these kinds have
    judged.
    """
    return store.records(
        PromptComparison,
        block("comparisons", "by_people"),
        {"a": a, "b": b, "criterion": criterion, "kinds": list(kinds)},
    )


def side_by_side(
    store: Store, a: str, b: str, reward_model: str | None = None, *, limit: int = 100, offset: int = 0
) -> list[SideBySide]:
    """The first response of `a` beside the first of `b`, the second beside the second, …, prompt by
    prompt.
    """
    values = {"a": a, "b": b, "reward_model": reward_model, "limit": limit, "offset": offset}
    return store.records(SideBySide, block("comparisons", "side_by_side"), values)


def answered(store: Store, policy: str, reward_model: str | None = None) -> tuple[int, int]:
    """How many prompts the policy has answered, and how many of its responses the reward model has scored."""
    values = {"policy": policy, "reward_model": reward_model}
    ((prompts, scored),) = store.rows(block("comparisons", "answered"), values)
    return prompts, scored


def common_prompts(
    store: Store, a: str, b: str, *, limit: int = 100, offset: int = 0
) -> list[tuple[str, str]]:
    """(prompt id, text) of the prompts that both policies have answered, oldest first."""
    values = {"a": a, "b": b, "limit": limit, "offset": offset}
    return [(prompt, text) for prompt, text in store.rows(block("comparisons", "common_prompts"), values)]


def policy_verdicts(
    store: Store, judges: Sequence[str], *, by_model: bool, criterion: str = "overall"
) -> list[tuple[str, str, str, float, float, float]]:
    """(policy a, policy b, prompt, won by a, weight, log₂ of the ratio of lengths), every pair once.

    `judges` are kinds of annotators, or names of reward models with `by_model`.
    """
    values = {"judges": list(judges), "by_model": by_model, "criterion": criterion}
    return [
        (a, b, p, float(w), float(v), float(d))
        for a, b, p, w, v, d in store.rows(block("comparisons", "policy_verdicts"), values)
    ]


@dataclass(frozen=True, slots=True)
class LostPrompt:
    """A prompt on which policy a lost against policy b."""

    prompt_id: str
    text: str
    source: str | None
    share: float
    """Of the pairs of responses that a won, a tie counting one half; below one half."""
    pairs: int
    margin: float | None
    """Mean score of a less that of b; None where people judge."""
    characters_a: float
    characters_b: float
    cut_a: float | None
    cut_b: float | None
    """Share of the responses that ended by their budget; None where nobody knows."""


def lost(store: Store, a: str, b: str, reward_model: str | None = None, *, limit: int) -> list[LostPrompt]:
    """The prompts on which `a` lost against `b`, by a reward model, or by people (imports included) without
    one; the worst first.
    """
    values = {"a": a, "b": b, "reward_model": reward_model, "limit": limit}
    return store.records(LostPrompt, block("comparisons", "lost"), values)
