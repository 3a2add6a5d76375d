"""Policy against policy, by a reward model's scores or by people's judgements."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from storage.records import SideBySide, WinRateRow
from storage.sql import block
from storage.store import Store

if TYPE_CHECKING:
    import pyarrow

PEOPLE = ("human", "import")
"""Kinds of annotators that people are."""


@dataclass(frozen=True, slots=True)
class ComparedTotal:
    """Pairs of one response of each of two policies to a prompt, over all prompts."""

    prompts: int
    wins: int
    ties: int
    losses: int
    shares: float
    """Sum over prompts of the share of pairs that the first policy won, a tie one half."""


def win_rates(store: Store) -> list[WinRateRow]:
    """Every two policies that somebody or some model has compared."""
    return store.records(WinRateRow, block("comparisons", "win_rates"))


def total(
    store: Store, a: str, b: str, reward_model: str | None, *, criterion: str = "overall"
) -> ComparedTotal:
    """Every response of `a` against every one of `b` to the same prompt: by the scores of a reward model, or
    without one as people have judged them.
    """
    inner, values = _asked(a, b, reward_model, criterion)
    sql = block("comparisons", "total").replace("{compared}", inner)
    return store.records(ComparedTotal, sql, values)[0]


def outcomes(
    store: Store, a: str, b: str, reward_model: str | None, *, criterion: str = "overall"
) -> list[tuple[str, float | None]]:
    """(prompt id, share of the pairs that `a` won) of the prompts that both have answered, oldest first."""
    inner, values = _asked(a, b, reward_model, criterion)
    found = store.rows(block("comparisons", "outcomes").replace("{compared}", inner), values)
    return [(prompt, share) for prompt, share in found]


def _asked(a: str, b: str, reward_model: str | None, criterion: str) -> tuple[str, dict[str, Any]]:
    """The query that compares two policies prompt by prompt, and its parameters."""
    values: dict[str, Any] = {"a": a, "b": b}
    if reward_model is not None:
        return block("comparisons", "by_model"), values | {"reward_model": reward_model}
    return block("comparisons", "by_people"), values | {"criterion": criterion, "kinds": list(PEOPLE)}


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
) -> pyarrow.Table:
    """`policy_a, policy_b, prompt_id, won` by a, `weight, doublings` (log₂ of the ratio of lengths); every
    pair once.

    `judges` are kinds of annotators, or names of reward models with `by_model`.
    """
    values: dict[str, Any] = {"judges": list(judges)}
    if not by_model:
        values["criterion"] = criterion
    return store.table(
        block("comparisons", "verdicts_of_models" if by_model else "verdicts_of_people"), values
    )


@dataclass(frozen=True, slots=True)
class PromptShare:
    """A prompt on which policy a is compared with policy b."""

    prompt_id: str
    text: str
    source: str | None
    share: float
    """Of the pairs of responses that a won, a tie counting one half."""
    pairs: int
    margin: float | None
    """Mean score of a less that of b; None where people judge."""
    characters_a: float
    characters_b: float
    cut_a: float | None
    cut_b: float | None
    """Share of the responses that ended by their budget; None where nobody knows."""


def shares(store: Store, a: str, b: str, reward_model: str | None = None, *, limit: int) -> list[PromptShare]:
    """The prompts on which `a` is compared with `b`, by a reward model, or by people (imports included)
    without one; those that `a` lost worst first.
    """
    values = {"a": a, "b": b, "reward_model": reward_model, "limit": limit}
    return store.records(PromptShare, block("comparisons", "shares"), values)
