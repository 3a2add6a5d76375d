"""Odds-ratio preference optimisation (Hong et al., arXiv 2403.07691): imitation and preference at once.

The loop is `loop.learn`, the examples are those of `pairs`; the loss is −log π(w)/|w| plus `beta` (the
paper's λ) times −log σ of the log odds ratio.  It needs no reference and no imitation before it.

Departure from the authors' program: the prompt's tokens are not imitated, as the paper's eq. 6 has it.
"""

from __future__ import annotations

from collections.abc import Iterator

from torch import Tensor

from engine.objectives.reference_free import log_odds, odds_ratio
from engine.offline_learning.loop import learn
from engine.offline_learning.pairs import JudgedPrompt, PairMethod
from engine.protocol.configs import ORPOConfig
from engine.protocol.events import Event
from engine.protocol.rundir import RunDir


def run(config: ORPOConfig, directory: RunDir) -> Iterator[Event]:
    """The job; raises as `learn` does."""
    return learn(ORPO(config), config, directory)


class ORPO(PairMethod):
    """ORPO's loss."""

    area = "orpo"

    def __init__(self, config: ORPOConfig) -> None:
        super().__init__(config)
        self.config = config

    def prompt_loss(self, judged: JudgedPrompt) -> tuple[Tensor, Tensor]:
        mean_K = judged.mean
        loss_M = odds_ratio(mean_K[judged.winner], mean_K[judged.loser])
        return judged.winner_nll() + self.config.beta * judged.over_pairs(loss_M), log_odds(mean_K)
