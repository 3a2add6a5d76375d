"""Supervised fine-tuning: the policy imitates good responses.

The loop is `loop.learn`; here is what makes it SFT:

- examples are the best-ranked responses of each judgement (all of them where several tie), or stored
  responses as they are
- the loss is −log π of the response's tokens, its end of sequence among them and the prompt's not, averaged
  over all response tokens of a step, so a long response counts for its every token
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping
from dataclasses import dataclass

from engine.offline_learning.examples import (
    ExampleReader,
    Record,
    TrainingExample,
    TrainingExamples,
    by_prompt,
    judgements,
)
from engine.offline_learning.loop import LossTerms, TrainState, learn
from engine.protocol.configs import SFTConfig
from engine.protocol.events import Event
from engine.protocol.rundir import RunDir
from engine.text import Tokeniser
from engine.training.policy import Policy


def run(config: SFTConfig, directory: RunDir) -> Iterator[Event]:
    """The job; raises as `learn` does."""
    return learn(SFT(config), config, directory)


@dataclass(frozen=True)
class SFT:
    """SFT's examples and loss."""

    config: SFTConfig

    def read(self, run: RunDir, tokeniser: Tokeniser) -> TrainingExamples:
        """Stored responses, or those alone that a judgement puts first."""
        reader = ExampleReader(tokeniser, self.config)
        best = self.config.learn_from == "best"
        usable = []
        for prompt_id, records in by_prompt(run.table("rankings" if best else "responses")):
            chosen = best_ranked(records) if best else records
            example = reader.example(prompt_id, chosen, ()) if chosen else None
            if example is not None:
                usable.append(example)
        return reader.split(usable, "ranked responses" if best else "stored responses")

    def prepare(self, state: TrainState, examples: TrainingExamples, run: RunDir) -> Iterator[Event]:
        """Nothing: there is no reference."""
        return iter(())

    def weight(self, example: TrainingExample) -> float:
        """Its response tokens: the loss is a mean over tokens."""
        return example.tokens

    def measure_step(self, policy: Policy, examples: list[TrainingExample], size: int) -> None:
        """Nothing: every token's loss stands for itself."""

    def loss_terms(self, policy: Policy, examples: list[TrainingExample]) -> LossTerms:
        """−Σ log π over the response tokens of the examples."""
        rows = [row for example in examples for row in example.rows]
        return LossTerms(-policy.forward(rows).logprobs.sum(), {})

    def figures(self, loss: float, means: Mapping[str, float]) -> dict[str, float]:
        """Perplexity of a response token: e to the mean loss in nats."""
        return {"perplexity": math.exp(min(loss, 700.0))}


def best_ranked(records: list[Record]) -> list[Record]:
    """The responses that a judgement puts first, each once however many judgements do."""
    chosen: dict[str, Record] = {}
    for ranked in judgements(records):
        best = ranked[0]["rank"]
        chosen |= {record["response_id"]: record for record in ranked if record["rank"] == best}
    return list(chosen.values())
