"""Kahneman–Tversky optimisation (Ethayarajh et al., arXiv 2402.01306): responses good or bad for themselves.

The loop is `loop.learn`; here is what makes it KTO:

- a response is desirable where it wins more pairs of its judgements than it loses, undesirable where it loses
  more, and left out where neither; or by its mean rating (`labels` ratings)
- the reference's log-probabilities are those of the policy before its first step (`reference`)
- z₀, the point from which gain and loss are reckoned, is estimated of every step anew from each prompt with
  the responses to another one, without gradient and for the whole step before its first micro-batch

Departure from the paper: which prompt lends its responses is fixed (the next one), not drawn for each batch,
so that the reference reads them once.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterator, Mapping
from dataclasses import replace

import torch
from torch import Tensor

from engine.errors import UsageError
from engine.models.packing import Row
from engine.objectives.unpaired import kahneman_tversky, mismatched_kl
from engine.offline_learning.examples import (
    ExampleReader,
    Record,
    TrainingExample,
    TrainingExamples,
    by_prompt,
    implied_pairs,
    micro_batches,
)
from engine.offline_learning.loop import LossTerms, TrainState, learn
from engine.offline_learning.reference import Reference, response_logprobs
from engine.protocol.configs import KTOConfig
from engine.protocol.events import Event, Message
from engine.protocol.rundir import RunDir
from engine.text import Tokeniser
from engine.training.policy import Policy

BALANCED = (1.0, 1.5)  # λ_D·n_D / λ_U·n_U that the paper advises (eq. 9)


def run(config: KTOConfig, directory: RunDir) -> Iterator[Event]:
    """The job; raises as `learn` does."""
    return learn(KTO(config), config, directory)


class KTO:
    """KTO's examples and loss."""

    def __init__(self, config: KTOConfig) -> None:
        self.config, self.known = config, Reference()
        self.mismatched: dict[str, TrainingExample] = {}  # by prompt: it with the responses to another
        self.kl = torch.zeros(())

    def read(self, run: RunDir, tokeniser: Tokeniser) -> TrainingExamples:
        """Responses with a label each, and for the KL those of other prompts.

        Raises UsageError with fewer than two prompts to learn on.
        """
        reader = ExampleReader(tokeniser, self.config)
        usable = []
        for prompt_id, records in by_prompt(run.table("rankings")):
            labels = self.labels(records)
            labelled = [record for record in records if record["response_id"] in labels]
            example = reader.example(prompt_id, labelled, (), desirable=labels) if labelled else None
            if example is not None:
                usable.append(example)
        examples = reader.split(usable, "desirable or undesirable responses")
        if len(examples.train) < 2:
            raise UsageError(
                "KTO reckons from responses to other prompts, so it needs two prompts to learn on; judge or "
                "import some more."
            )
        self.mismatched |= mismatched(examples)
        return examples

    def labels(self, records: list[Record]) -> dict[str, bool]:
        """Which responses are desirable and which undesirable, by response id."""
        balance: dict[str, float] = defaultdict(float)
        if self.config.labels == "ratings":
            for record in records:
                if record["rating"] is not None:
                    balance[record["response_id"]] += record["rating"] - self.config.threshold
            return {response_id: value >= 0 for response_id, value in balance.items()}
        for winner, loser in implied_pairs(records):
            balance[winner] += 1
            balance[loser] -= 1
        return {response_id: value > 0 for response_id, value in balance.items() if value}

    def prepare(self, state: TrainState, examples: TrainingExamples, run: RunDir) -> Iterator[Event]:
        """Measures the reference on responses to their own prompts and to others; says what each side weighs.

        Raises UsageError where all responses are of one kind.
        """
        parts = [examples.heldout, examples.train]
        others = [[self.mismatched[example.prompt_id] for example in part] for part in parts]
        yield from self.known.measure(state, [*parts, *others], run)
        labels = torch.cat([example.desirable for example in examples.train])
        good, bad = int(labels.sum()), int((~labels).sum())
        if not good or not bad:
            raise UsageError(
                f"KTO needs responses of both kinds, and all {len(labels)} are "
                f"{'desirable' if good else 'undesirable'}; {self._how_to_have_both()}"
            )
        share = self.config.desirable_weight * good / (self.config.undesirable_weight * bad)
        if not BALANCED[0] / 1.5 <= share <= BALANCED[1]:
            yield Message(
                level="info",
                text=f"Desirable responses weigh {share:.2g} times what undesirable ones do; 1 to 1.5 is "
                f"advised: set desirable_weight or undesirable_weight.",
            )

    def _how_to_have_both(self) -> str:
        return "set threshold." if self.config.labels == "ratings" else "judge or import some more."

    def weight(self, example: TrainingExample) -> float:
        """Its labelled responses: each counts alike."""
        return float(example.count)

    def measure_step(self, policy: Policy, examples: list[TrainingExample], size: int) -> None:
        """z₀ of all examples together."""
        ratios = []
        with torch.no_grad():
            for part in micro_batches(examples, size):
                others = [self.mismatched[example.prompt_id] for example in part]
                found_N = response_logprobs(policy, others)
                ratios.append(found_N - self.known.of(others, found_N.device))
        self.kl = mismatched_kl(torch.cat(ratios))

    def loss_terms(self, policy: Policy, examples: list[TrainingExample]) -> LossTerms:
        """The loss of each response, summed."""
        config = self.config
        found_N = response_logprobs(policy, examples)
        ratio_N = found_N - self.known.of(examples, found_N.device)
        good_N = torch.cat([example.desirable for example in examples]).to(found_N.device)
        loss_N = kahneman_tversky(
            ratio_N, good_N, self.kl,
            beta=config.beta,
            desirable_weight=config.desirable_weight,
            undesirable_weight=config.undesirable_weight,
        )  # fmt: skip
        return LossTerms(loss_N.sum(), self._sums(config.beta * ratio_N.detach(), good_N))

    def _sums(self, reward_N: Tensor, good_N: Tensor) -> dict[str, tuple[float, float]]:
        gain_N = torch.where(good_N, 1, -1) * (reward_N - self.config.beta * self.kl)
        right_N = (gain_N > 0).double() + 0.5 * (gain_N == 0).double()
        sums: dict[str, tuple[float, float]] = {
            "accuracy": (float(right_N.sum()), len(right_N)),
            "kto/kl": (float(self.kl) * len(right_N), len(right_N)),
        }
        for name, chosen_N in (("desirable", good_N), ("undesirable", ~good_N)):
            sums[f"kto/{name}_reward"] = (float(reward_N[chosen_N].sum()), int(chosen_N.sum()))
        return sums

    def figures(self, loss: float, means: Mapping[str, float]) -> dict[str, float]:
        """The means, and the margin: mean reward of the desirable responses less that of the undesirable."""
        good, bad = means.get("kto/desirable_reward"), means.get("kto/undesirable_reward")
        margin = {} if good is None or bad is None else {"margin": good - bad}
        return {**means, **margin}


def mismatched(examples: TrainingExamples) -> dict[str, TrainingExample]:
    """Every prompt with the responses to another training prompt, by prompt; cut to the same limit."""
    train = examples.train
    lenders = [*(train[(i + 1) % len(train)] for i in range(len(train)))]
    lenders += [train[i % len(train)] for i in range(len(examples.heldout))]
    exchanged = {}
    for example, lender in zip([*train, *examples.heldout], lenders, strict=True):
        prompt = example.rows[0].prompt
        room = max(1, examples.limit - len(prompt))
        responses = [list(response[:room]) for row in lender.rows for response in row.responses]
        exchanged[example.prompt_id] = replace(
            example, prompt_id=f"{example.prompt_id} mismatched", rows=(Row(prompt, responses),)
        )
    return exchanged
