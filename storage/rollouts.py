"""What policy learning leaves in the store: responses of each step, token traces, scores over distance."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from storage.sql import block
from storage.store import Store


@dataclass(frozen=True, slots=True)
class StoredRollout:
    """One sampled response of a step."""

    run_id: str
    step: int
    prompt_id: str
    sample_index: int
    prompt: str | None
    """What a person reads of the prompt; None where it was not asked for or is gone."""
    text: str
    score: float | None
    reward: float | None
    kl: float | None
    """Summed over the response, in nats."""
    tokens: int | None
    stopped: bool | None
    components: Mapping[str, float]
    """Score of each component of the reward; empty where the reward has one."""


@dataclass(frozen=True, slots=True)
class TokenTrace:
    """What the loss saw of one response token; log-probabilities in nats."""

    position: int
    token_id: int | None
    token: str
    logprob: float | None
    ref_logprob: float | None
    kl: float | None
    reward: float | None
    value: float | None
    advantage: float | None
    return_: float | None
    ratio: float | None


@dataclass(frozen=True, slots=True)
class OptimisationPoint:
    """Scores of a policy at a distance from the reference policy; `step` is n of best-of-n."""

    run_id: str
    kind: str
    method: str
    """`policy learning` or `best of n`."""
    step: int
    kl: float
    """Nats a response."""
    sqrt_kl: float
    proxy: float | None
    gold: float | None


@dataclass(frozen=True, slots=True)
class GoldPoint:
    """A proxy by best of n or a policy that learns from it; scores in standard deviations within a prompt."""

    method: str  # best of n, or policy learning
    variant: str  # plain: the proxy's head alone; else how an ensemble of heads is taken
    labels: int  # that the proxy learned; 0: the gold model itself
    replicate: int
    n: int | None  # of best of n
    step: int | None  # of the policy
    kl: float | None
    sqrt_kl: float | None
    proxy: float | None
    gold: float | None
    length: float | None  # tokens
    wins: float | None  # how often the judge prefers it to the first policy


def of_step(store: Store, run_id: str, step: int, *, limit: int | None = None) -> list[StoredRollout]:
    """The responses of one step, by prompt and sample."""
    return _rollouts(store, "of_step", run_id, step, limit=limit)


def earlier(store: Store, run_id: str, step: int, *, first: bool = False) -> list[StoredRollout]:
    """Responses to the prompts of `step` at the last step before it that had each prompt, or the first."""
    return _rollouts(store, "earlier", run_id, step, first=first)


def trace_steps(store: Store, run_id: str) -> list[int]:
    """The steps whose token traces are there, ascending."""
    return [step for (step,) in store.rows(block("rollouts", "trace_steps"), {"run_id": run_id})]


def traced_responses(store: Store, run_id: str, step: int) -> list[tuple[str, int]]:
    """(prompt_id, sample_index) of the traced responses of a step."""
    where = {"run_id": run_id, "step": step}
    return [(prompt, sample) for prompt, sample in store.rows(block("rollouts", "traced_responses"), where)]


def trace(store: Store, run_id: str, step: int, prompt_id: str, sample_index: int) -> list[TokenTrace]:
    """The tokens of one response, in order; empty when the step has no traces."""
    where = {"run_id": run_id, "step": step, "prompt_id": prompt_id, "sample_index": sample_index}
    return store.records(TokenTrace, block("rollouts", "trace"), where)


def overoptimisation(store: Store, run_id: str) -> list[OptimisationPoint]:
    """Proxy and gold along one run, by step."""
    return store.records(OptimisationPoint, block("rollouts", "overoptimisation"), {"run_id": run_id})


def best_of_n_runs(store: Store, reward_model: str, policy: str | None) -> list[str]:
    """Finished best-of-n runs against that reward model, newest first; from that policy unless None."""
    where = {"reward_model": reward_model, "policy": policy}
    return [run_id for (run_id,) in store.rows(block("rollouts", "best_of_n_runs"), where)]


def gold_curves(store: Store, run_id: str) -> list[GoldPoint]:
    """Proxies of a gold model by method, variant, labels, replicate, and n or step."""
    return store.records(GoldPoint, block("rollouts", "gold_curves"), {"run_id": run_id})


def _rollouts(store: Store, name: str, run_id: str, step: int, **more: Any) -> list[StoredRollout]:
    rows = store.rows(block("rollouts", name), {"run_id": run_id, "step": step, **more})
    return [StoredRollout(*[*row[:11], _components(row[11])]) for row in rows]


def _components(text: str | None) -> Mapping[str, float]:
    values = json.loads(text) if text else {}
    if not isinstance(values, dict):
        return {}
    return {str(name): float(value) for name, value in values.items() if isinstance(value, int | float)}
