"""Simple preference optimisation (Meng et al., arXiv 2405.14734): no reference, rewards a token.

The loop is `loop.learn`, the examples are those of `pairs`; the implicit reward of a response is β times the
mean log-probability of its tokens, and the winner's shall be γ above the loser's.
"""

from __future__ import annotations

from collections.abc import Iterator

from torch import Tensor

from engine.objectives.reference_free import simple_preference
from engine.offline_learning.loop import learn
from engine.offline_learning.pairs import JudgedPrompt, PairMethod
from engine.protocol.configs import SimPOConfig
from engine.protocol.events import Event
from engine.protocol.rundir import RunDir


def run(config: SimPOConfig, directory: RunDir) -> Iterator[Event]:
    """The job; raises as `learn` does."""
    return learn(SimPO(config), config, directory)


class SimPO(PairMethod):
    """SimPO's loss."""

    area = "simpo"

    def __init__(self, config: SimPOConfig) -> None:
        super().__init__(config)
        self.config = config

    def prompt_loss(self, judged: JudgedPrompt) -> tuple[Tensor, Tensor]:
        mean_K, config = judged.mean, self.config
        loss_M = simple_preference(
            mean_K[judged.winner], mean_K[judged.loser], beta=config.beta, gamma=config.gamma
        )
        return judged.over_pairs(loss_M), config.beta * mean_K
