"""From a configuration to what is learned in which order: shared by training and cross-validation."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import torch

from engine.errors import UsageError
from engine.protocol.configs import RewardConfig
from engine.protocol.rundir import RunDir
from engine.reward_learning.fine_tuning.annotators import Annotator, annotators_of
from engine.reward_learning.fine_tuning.data import Element, RankingData, read_rankings
from engine.reward_learning.fine_tuning.learner import RewardLearner, make_learner
from engine.reward_learning.fine_tuning.objective import Terms, standards_of, terms_of
from engine.text import Tokeniser
from engine.training.checkpoint import seeded
from engine.training.optimiser import warmup_then_linear


@dataclass(frozen=True)
class TrainingSet:
    """Judgements as terms of the loss, with what the training prompts say about their annotators."""

    data: RankingData
    annotators: dict[str, Annotator]
    terms: dict[str, Terms]  # by prompt, held-out ones too where they have terms

    @property
    def tie_share(self) -> float:
        """Share of the judged pairs of training prompts that tie."""
        ties = sum(element.ties for element in self.data.train)
        return ties / max(1, ties + sum(element.pairs for element in self.data.train))


def read_training_set(config: RewardConfig, run: RunDir, tokeniser: Tokeniser) -> TrainingSet:
    """Read the rankings.  Raises UsageError when there is nothing to learn from."""
    data = read_rankings(
        run.table("rankings"),
        tokeniser,
        max_tokens=tokeniser.at_most(config.limit),
        holdout=config.holdout,
        seed=config.seed,
        criteria=config.criteria(),
        objective=config.objective,
        majority=config.annotators == "majority",
    )
    return training_set_of(data, config)


def training_set_of(data: RankingData, config: RewardConfig) -> TrainingSet:
    """Terms of the loss; weights and standards come from the training prompts alone."""
    annotators, standards = annotators_of(data.train, config.weights), standards_of(data.train)
    terms = {
        element.prompt_id: terms_of(element, len(data.criteria), annotators, standards)
        for element in [*data.train, *data.heldout]
    }
    if config.objective == "rating":
        terms = {prompt: one for prompt, one in terms.items() if one.rated.numel()}
        teaching = [element for element in data.train if element.prompt_id in terms]
        rest = [element for element in data.train if element.prompt_id not in terms]
        if not teaching:
            raise UsageError("Every annotator gave all responses the same rating; nothing can be learned.")
        data = replace(data, train=teaching, unused=(*data.unused, *rest))
    return TrainingSet(data, annotators, terms)


def learner_of(
    folder: Path, tokeniser: Tokeniser, config: RewardConfig, training_set: TrainingSet
) -> RewardLearner:
    """A new reward model on the weights of the policy in `folder`."""
    return make_learner(
        folder,
        tokeniser,
        config,
        criteria=training_set.data.criteria,
        terms=training_set.terms,
        tie_share=training_set.tie_share,
    )


@dataclass(frozen=True)
class TrainingPlan:
    """Which prompts each step learns from, and how fast.  Steps count from 0."""

    elements: Sequence[Element]
    config: RewardConfig

    @property
    def steps_an_epoch(self) -> int:
        """Updates in one pass over the data; the last of a pass may be smaller."""
        return math.ceil(len(self.elements) / self.config.batch_prompts)

    @property
    def total(self) -> int:
        """Updates of the whole training."""
        return self.config.epochs * self.steps_an_epoch

    def batch(self, step: int) -> list[Element]:
        """The prompts of a step, in a new order each epoch."""
        epoch, place = divmod(step, self.steps_an_epoch)
        generator = seeded("order", self.config.seed, epoch)
        order = torch.randperm(len(self.elements), generator=generator).tolist()
        size = self.config.batch_prompts
        return [self.elements[i] for i in order[place * size : (place + 1) * size]]

    def rate(self, step: int) -> float:
        """Learning rate of a step."""
        warmup = min(self.config.warmup_steps, self.total // 2)
        return warmup_then_linear(step, self.total, warmup, self.config.peak_learning_rate)

    def evaluates_after(self, steps: int) -> bool:
        """Whether so many steps end one of the `evaluations` parts of an epoch."""
        n = self.config.evaluations
        ends = {round(part * self.steps_an_epoch / n) for part in range(1, n + 1)}
        return (steps - 1) % self.steps_an_epoch + 1 in ends

    def pairs_after(self, steps: int) -> int:
        """Preference pairs learned from in so many steps."""
        return sum(element.pairs for step in range(steps) for element in self.batch(step))
