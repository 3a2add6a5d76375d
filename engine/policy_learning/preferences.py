"""Samples compared in pairs by a general preference, which need not come from any score.

The preference is a function `(prompt, first, second)` that says how likely the first is the better one, from
0 to 1: a pairwise model, a judge.  Every pair is asked in both orders, and what depends on the order alone
cancels, so the preference is antisymmetric whatever the function does.
"""

from __future__ import annotations

import math
from collections.abc import Callable

import torch
from torch import Tensor

from engine.errors import UsageError
from engine.objectives.preference import antisymmetric
from engine.policy_learning.functions import import_function, line_of
from engine.policy_learning.pairwise import PairwiseModel
from engine.policy_learning.rollout import Rollout
from engine.text import Tokeniser


def compared(
    rollout: Rollout, preference: str, tokeniser: Tokeniser, pairwise: PairwiseModel | None
) -> Tensor:
    """P(row ≻ column) of the samples of a prompt, ½ between prompts, [N, N].

    By the preference model, or without one by the function `preference`.  Raises UsageError, naming
    the function, when it fails or gives no probability.
    """
    groups, said_N_N = rollout.groups, torch.full((len(rollout.texts),) * 2, 0.5, dtype=torch.float64)
    if pairwise is not None:
        for index, prompt in enumerate(rollout.prompts):
            own_K = torch.nonzero(groups == index)[:, 0]
            texts = [prompt.conversation(rollout.texts[n], []) for n in own_K.tolist()]
            said_N_N[own_K[:, None], own_K] = pairwise.wins(texts)
        return said_N_N.float()
    function = import_function(preference)
    for index, prompt in enumerate(rollout.prompts):
        text = tokeniser.render(prompt.messages, "plain")
        members = torch.nonzero(groups == index)[:, 0].tolist()
        for i in members:
            for j in members:
                if rollout.texts[i] != rollout.texts[j]:
                    said_N_N[i, j] = _asked(function, preference, text, rollout.texts[i], rollout.texts[j])
    return antisymmetric(said_N_N).float()


def _asked(function: Callable[..., float], name: str, prompt: str, first: str, second: str) -> float:
    try:
        said = float(function(prompt, first, second))
    except (Exception, SystemExit) as error:  # the person's own code may raise anything
        said_why = f"{type(error).__name__}: {line_of(error)}"
        raise UsageError(f"The preference {name} failed ({said_why}).") from error
    if not (math.isfinite(said) and 0 <= said <= 1):
        raise UsageError(f"The preference {name} gave {said}; it must give a probability, from 0 to 1.")
    return said
