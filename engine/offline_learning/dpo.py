"""Direct preference optimisation on the pairs that rankings imply (Rafailov et al., arXiv 2305.18290).

The loop is `loop.learn`, the examples are those of `pairs`; here is what makes it DPO:

- the implicit reward of a response is β·(log π − log π_ref), summed over its tokens, or (`average` token)
  averaged, which takes away the head start of the longer response (Tülu 3, arXiv 2411.15124, eq. 6)
- the reference's log-probabilities are those of the policy before its first step (`reference`)
- sigmoid loss, conservative or robust against wrong labels, or IPO; held back by length (R-DPO); with
  imitation of the winner beside it (iterative RPO, arXiv 2404.19733, eq. 1: −log π(w)/|w|)
- ties learned by Rao and Kupper's model, θ fixed (Chen et al., arXiv 2409.17431, eq. 10)

Departure: the pairs of a ranking share one forward pass and weigh together as one prompt.
"""

from __future__ import annotations

from collections.abc import Iterator

import torch
from torch import Tensor

from engine.objectives.direct import direct_preference, length_offset
from engine.objectives.ranking import Pairs, Ties, rao_kupper
from engine.offline_learning.examples import TrainingExample, TrainingExamples
from engine.offline_learning.loop import TrainState, learn
from engine.offline_learning.pairs import JudgedPrompt, PairMethod
from engine.offline_learning.reference import Reference
from engine.protocol.configs import DPOConfig
from engine.protocol.events import Event
from engine.protocol.rundir import RunDir


def run(config: DPOConfig, directory: RunDir) -> Iterator[Event]:
    """The job; raises as `learn` does."""
    return learn(DPO(config), config, directory)


class DPO(PairMethod):
    """DPO's loss, and its reference."""

    area = "dpo"

    def __init__(self, config: DPOConfig) -> None:
        super().__init__(config)
        self.config, self.known = config, Reference()
        self.learns_ties = config.ties == "rao_kupper"

    def prepare(self, state: TrainState, examples: TrainingExamples, run: RunDir) -> Iterator[Event]:
        return self.known.measure(state, [examples.heldout, examples.train], run)

    def reference(self, examples: list[TrainingExample], device: torch.device) -> Tensor:
        return self.known.of(examples, device)

    def prompt_loss(self, judged: JudgedPrompt) -> tuple[Tensor, Tensor]:
        config = self.config
        assert judged.reference is not None
        ratio_K = judged.logprobs - judged.reference
        if config.average == "token":
            ratio_K = ratio_K / judged.tokens
        winner_M, loser_M, tokens_K = judged.winner, judged.loser, judged.tokens
        if config.ties == "rao_kupper":
            explained_K = config.beta * ratio_K + config.length_penalty * tokens_K
            pairs = Pairs(winner_M, loser_M, torch.ones_like(winner_M))
            log_theta = ratio_K.new_tensor(config.tie)
            loss = rao_kupper(explained_K, pairs, Ties(*judged.tied.unbind(1)), log_theta)
        else:
            loss_M = direct_preference(
                ratio_K[winner_M],
                ratio_K[loser_M],
                beta=config.beta,
                loss=config.loss,
                label_smoothing=config.label_smoothing,
                offset_M=length_offset(tokens_K[winner_M], tokens_K[loser_M], penalty=config.length_penalty),
            )
            loss = judged.over_pairs(loss_M)
        if config.nll and len(winner_M):
            loss = loss + config.nll * judged.winner_nll()
        return loss, config.beta * ratio_K
