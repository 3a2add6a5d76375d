"""What a head on a frozen trunk is fitted to: the judgements of `reward_data` as comparisons of responses."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace

import numpy as np

from engine.errors import UsageError
from engine.frozen.comparisons import Comparisons, stacked
from engine.reward_learning.fine_tuning.data import Element, Judgement, RankingData
from engine.reward_learning.fine_tuning.plan import TrainingSet


@dataclass(frozen=True)
class JudgedFeatures:
    """Judged responses in a fixed order (rows of the features), and what was said of them."""

    data: RankingData  # of the criteria that can be learned
    response_ids: list[str]
    prompt_ids: list[str]  # of each response
    comparisons: dict[str, Comparisons]  # by criterion, of all prompts; votes weigh what their annotator does
    prompts: list[str]  # the prompt of each number in the comparisons
    dropped: tuple[str, ...]  # criteria without a strict preference on a training prompt

    @property
    def train_prompts(self) -> set[str]:
        """Ids of the prompts that the head is fitted on."""
        return set(self.data.train_prompts)

    @property
    def heldout_prompts(self) -> set[str]:
        """Ids of the prompts that the head does not see."""
        return set(self.data.heldout_prompts)

    def within(self, prompts: set[str]) -> dict[str, Comparisons]:
        """Comparisons on some prompts, by criterion; criteria without any are left out."""
        inside = np.array([prompt in prompts for prompt in self.prompts], dtype=bool)
        inside_of = {name: c.chosen(inside[c.prompt]) for name, c in self.comparisons.items()}
        return {name: c for name, c in inside_of.items() if len(c)}

    def training(self) -> dict[str, Comparisons]:
        """What is learned from."""
        return self.within(self.train_prompts)

    def in_training(self) -> np.ndarray:
        """Which responses belong to training prompts, [N] bool."""
        train = self.train_prompts
        return np.array([prompt in train for prompt in self.prompt_ids], dtype=bool)


def judged_of(training_set: TrainingSet) -> JudgedFeatures:
    """Judgements as comparisons, prompts and responses in the order of their ids.

    The order decides which members an ensemble draws; the live head has the same.  Raises UsageError when
    no response of a training prompt beats another.
    """
    criteria = training_set.data.criteria
    taught = {j.criterion for e in training_set.data.train for j in e.judgements if j.pairs.winner.numel()}
    columns = [c for c in range(len(criteria)) if c in taught]
    if not columns:
        raise UsageError(
            "There is no preference to learn from: on the training prompts no response is ranked above "
            "another; judge some more prompts, or choose another way of tuning."
        )
    data = _only(training_set.data, columns)
    elements = [*data.train, *data.heldout, *data.unused]
    weights = {name: person.weight for name, person in training_set.annotators.items()}
    return JudgedFeatures(
        data=data,
        response_ids=[response for element in elements for response in sorted(element.response_ids)],
        prompt_ids=[element.prompt_id for element in elements for _ in element.response_ids],
        comparisons={name: _comparisons(elements, c, weights) for c, name in enumerate(data.criteria)},
        prompts=[element.prompt_id for element in elements],
        dropped=tuple(name for c, name in enumerate(criteria) if c not in taught),
    )


def _only(data: RankingData, criteria: Sequence[int]) -> RankingData:
    """The judgements of some criteria, which are numbered anew."""
    number = {c: place for place, c in enumerate(criteria)}

    def of(element: Element) -> Element:
        judgements = [
            replace(judgement, criterion=number[judgement.criterion])
            for judgement in element.judgements
            if judgement.criterion in number
        ]
        return replace(element, judgements=tuple(judgements))

    return RankingData(
        train=[of(element) for element in data.train],
        heldout=[of(element) for element in data.heldout],
        criteria=tuple(data.criteria[c] for c in criteria),
        unused=tuple(of(element) for element in data.unused),
    )


def _comparisons(elements: Sequence[Element], criterion: int, weights: Mapping[str, float]) -> Comparisons:
    """Pairs of responses, numbered through all elements, with the votes on one criterion."""
    votes: dict[tuple[int, int, int], list[float]] = defaultdict(lambda: [0.0, 0.0, 0.0])
    start = 0
    for prompt, element in enumerate(elements):
        row = {response: start + n for n, response in enumerate(sorted(element.response_ids))}
        at = [row[response] for response in element.response_ids]
        for judgement in element.judgements:
            if judgement.criterion == criterion:
                for one, other, place in _verdicts(judgement, at):
                    weight = weights.get(judgement.annotator, 1.0)
                    votes[prompt, one, other][place] += weight
        start += len(element.response_ids)
    return stacked([(prompt, one, other, *said) for (prompt, one, other), said in sorted(votes.items())])


def _verdicts(judgement: Judgement, at: Sequence[int]) -> Iterator[tuple[int, int, int]]:
    """Rows of two responses, the smaller first, and 0 the first wins, 1 the second wins, 2 a tie.

    at: the row of each response of the element.
    """
    pairs, ties = judgement.pairs, judgement.ties
    for winner, loser in zip(pairs.winner.tolist(), pairs.loser.tolist(), strict=True):
        yield min(at[winner], at[loser]), max(at[winner], at[loser]), int(at[winner] > at[loser])
    for first, second in zip(ties.first.tolist(), ties.second.tolist(), strict=True):
        yield min(at[first], at[second]), max(at[first], at[second]), 2
