"""What the losses of preference pairs share: examples, one forward pass, figures to report.

An example is a prompt with all its judged responses in one packed row: K forwards, C(K, 2) pairs, and the
loss of a prompt is the mean over its pairs, as in reward training.  Reported: accuracy and margin of the
method's implicit reward, in training and on held-out prompts.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass

import torch
from torch import Tensor

from engine.objectives.preference import accuracy
from engine.offline_learning.examples import (
    ExampleReader,
    TrainingExample,
    TrainingExamples,
    by_prompt,
    consensus,
    implied_pairs,
    implied_ties,
)
from engine.offline_learning.loop import LossTerms, TrainState
from engine.offline_learning.reference import response_logprobs
from engine.protocol.configs import PairConfig
from engine.protocol.events import Event
from engine.protocol.rundir import RunDir
from engine.text import Tokeniser
from engine.training.policy import Policy


@dataclass(frozen=True)
class JudgedPrompt:
    """The K judged responses of one prompt, M pairs of them, and ties where they are learned."""

    logprobs: Tensor  # [K] log π, summed over tokens
    tokens: Tensor  # [K] float
    reference: Tensor | None  # [K] log π_ref likewise; None where there is no reference
    winner: Tensor  # [M] int64, into K
    loser: Tensor  # [M]
    weight: Tensor | None  # [M]; None: 1 each
    tied: Tensor  # [·, 2]

    @property
    def mean(self) -> Tensor:
        """Mean log π of a token, [K]."""
        return self.logprobs / self.tokens

    def over_pairs(self, loss_M: Tensor) -> Tensor:
        """Weighted mean over the pairs, a scalar."""
        if self.weight is None:
            return loss_M.mean()
        weight_M = self.weight.to(loss_M)
        return (weight_M * loss_M).sum() / weight_M.sum()

    def winner_nll(self) -> Tensor:
        """Mean over pairs of −log π of the winner a token: imitation of what was preferred; scalar."""
        return self.over_pairs(-self.mean[self.winner])


class PairMethod:
    """A method of the offline loop that learns from pairs; what a subclass adds is `prompt_loss`."""

    area: str  # of its own metrics
    learns_ties = False
    weighs = False  # pairs by the consensus of their judgements

    def __init__(self, config: PairConfig) -> None:
        self.settings = config
        self.weighs = config.weights == "consensus"

    def prompt_loss(self, judged: JudgedPrompt) -> tuple[Tensor, Tensor]:
        """The mean loss over a prompt's pairs (scalar), and the implicit reward of its responses [K]."""
        raise NotImplementedError

    def reference(self, examples: list[TrainingExample], device: torch.device) -> Tensor | None:
        """log π_ref of their responses, [N]; None for a method without a reference."""
        return None

    def read(self, run: RunDir, tokeniser: Tokeniser) -> TrainingExamples:
        """The pairs that rankings imply, with their ties or weights where the method learns from them."""
        reader = ExampleReader(tokeniser, self.settings)
        usable = []
        for prompt_id, records in by_prompt(run.table("rankings")):
            ties = implied_ties(records) if self.learns_ties else []
            weights = consensus(records) if self.weighs else None
            pairs = implied_pairs(records) if weights is None else list(weights)
            example = reader.example(prompt_id, records, pairs, weights=weights, ties=ties)
            if example is not None and (len(example.winner) or len(example.tied)):
                usable.append(example)
        return reader.split(usable, "preferences")

    def prepare(self, state: TrainState, examples: TrainingExamples, run: RunDir) -> Iterator[Event]:
        """Nothing: no reference is needed."""
        return iter(())

    def weight(self, example: TrainingExample) -> float:
        """1: each prompt counts alike, however many pairs its ranking implies."""
        return 1.0

    def measure_step(self, policy: Policy, examples: list[TrainingExample], size: int) -> None:
        """Nothing: the loss of a prompt stands for itself."""

    def loss_terms(self, policy: Policy, examples: list[TrainingExample]) -> LossTerms:
        """The mean loss over each prompt's pairs, summed over the prompts."""
        found_N = response_logprobs(policy, examples)
        reference_N = self.reference(examples, found_N.device)
        counts = [example.count for example in examples]
        references = [None] * len(examples) if reference_N is None else reference_N.split(counts)
        loss = found_N.new_zeros(())
        chosen, rejected = [], []
        for example, logprobs_K, reference_K in zip(examples, found_N.split(counts), references, strict=True):
            tokens_K = logprobs_K.new_tensor([len(y) for row in example.rows for y in row.responses])
            judged = JudgedPrompt(
                logprobs_K, tokens_K, reference_K, example.winner, example.loser, example.pair_weight,
                example.tied,
            )  # fmt: skip
            own, reward_K = self.prompt_loss(judged)
            loss = loss + own
            reward_K = reward_K.detach().cpu()
            chosen.append(reward_K[example.winner])
            rejected.append(reward_K[example.loser])
        return LossTerms(loss, self._sums(torch.cat(chosen), torch.cat(rejected)))

    def _sums(self, chosen_M: Tensor, rejected_M: Tensor) -> dict[str, tuple[float, float]]:
        pairs = len(chosen_M)
        if not pairs:  # ties alone
            return {}
        return {
            "accuracy": (accuracy(chosen_M - rejected_M) * pairs, pairs),
            "margin": (float((chosen_M - rejected_M).sum()), pairs),
            f"{self.area}/chosen_reward": (float(chosen_M.sum()), pairs),
            f"{self.area}/rejected_reward": (float(rejected_M.sum()), pairs),
        }

    def figures(self, loss: float, means: Mapping[str, float]) -> dict[str, float]:
        """The means as they are."""
        return dict(means)
