"""Which prompts are kept from training: one rule for every way to train a reward model."""

from __future__ import annotations

from collections.abc import Iterable, Mapping

from engine.training.checkpoint import stable_hash


def heldout_prompts(
    prompt_ids: Iterable[str], *, holdout: float, seed: int, said: Mapping[str, str | None] | None = None
) -> set[str]:
    """The prompts held out: as `said` tells ("heldout"), else a share in the order of a seeded hash.

    With two prompts or more and a share above 0, at least one is held out and at least one is not.
    """
    known = set(prompt_ids)
    if said and any(said.values()):
        return {prompt for prompt in known if said.get(prompt) == "heldout"}
    order = sorted(known, key=lambda prompt: (stable_hash("holdout", seed, prompt), prompt))
    count = round(holdout * len(order))
    if holdout > 0 and len(order) > 1:
        count = min(max(count, 1), len(order) - 1)
    return set(order[:count])
