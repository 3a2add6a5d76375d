"""Contrastive preference optimisation (Xu et al., arXiv 2401.08417): no reference, and imitation beside it.

The loop is `loop.learn`, the examples are those of `pairs`; the loss is that of DPO with a uniform reference
plus `nll` times −log π(w)/|w|.

Departure from the paper: imitation is averaged over the tokens of each winner, as in iterative RPO, so that
its weight does not grow with the length of responses; some libraries average over the tokens of a batch.
"""

from __future__ import annotations

from collections.abc import Iterator

from torch import Tensor

from engine.objectives.reference_free import contrastive_preference
from engine.offline_learning.loop import learn
from engine.offline_learning.pairs import JudgedPrompt, PairMethod
from engine.protocol.configs import CPOConfig
from engine.protocol.events import Event
from engine.protocol.rundir import RunDir


def run(config: CPOConfig, directory: RunDir) -> Iterator[Event]:
    """The job; raises as `learn` does."""
    return learn(CPO(config), config, directory)


class CPO(PairMethod):
    """CPO's loss."""

    area = "cpo"

    def __init__(self, config: CPOConfig) -> None:
        super().__init__(config)
        self.config = config

    def prompt_loss(self, judged: JudgedPrompt) -> tuple[Tensor, Tensor]:
        sum_K, config = judged.logprobs, self.config
        loss_M = contrastive_preference(sum_K[judged.winner], sum_K[judged.loser], beta=config.beta)
        return judged.over_pairs(loss_M) + config.nll * judged.winner_nll(), config.beta * sum_K
