"""Direct preference optimisation on the pairs that rankings imply (Rafailov et al., arXiv 2305.18290).

The loop is `loop.learn`; here is what makes it DPO:

- an example is a prompt with all its judged responses in one packed row: K forwards, C(K, 2) pairs, and the
  loss of a prompt is the mean over its pairs, as in reward training
- the reference's log-probabilities are those of the policy before its first step: computed once, kept in
  `reference.safetensors`, so that no second model is held
- sigmoid loss, with label smoothing if asked (conservative DPO), or IPO (arXiv 2310.12036)

Reported: accuracy and margin of the implicit reward β·(log π − log π_ref), in training and on held-out
prompts.
"""

from __future__ import annotations

import itertools
from collections.abc import Generator, Iterator, Mapping
from dataclasses import dataclass, field

import torch
from safetensors.torch import load_file, save_file
from torch import Tensor

from engine.files import writing_file
from engine.objectives.direct import direct_preference
from engine.objectives.preference import accuracy
from engine.offline_learning.examples import (
    ExampleReader,
    TrainingExample,
    TrainingExamples,
    by_prompt,
    implied_pairs,
)
from engine.offline_learning.loop import LossTerms, TrainState, groups, learn
from engine.protocol.configs import DPOConfig
from engine.protocol.events import Event, Progress
from engine.protocol.rundir import RunDir
from engine.text import Tokeniser
from engine.training.guards import retry_on_out_of_memory
from engine.training.policy import Policy


def run(config: DPOConfig, directory: RunDir) -> Iterator[Event]:
    """The job; raises as `learn` does."""
    return learn(DPO(config), config, directory)


@dataclass(frozen=True)
class DPO:
    """DPO's examples and loss."""

    config: DPOConfig
    reference: dict[str, Tensor] = field(default_factory=dict)  # log π_ref of the responses by prompt, [K]

    def read(self, run: RunDir, tokeniser: Tokeniser) -> TrainingExamples:
        reader = ExampleReader(tokeniser, self.config)
        found = []
        for prompt_id, records in by_prompt(run.table("rankings")):
            example = reader.example(prompt_id, records, implied_pairs(records))
            if example is not None and len(example.winner):
                found.append(example)
        return reader.split(found, "preferences")

    def prepare(self, state: TrainState, examples: TrainingExamples, run: RunDir) -> Iterator[Event]:
        """Reference log-probabilities; the policy has not learned anything yet, so it is the reference."""
        path = run.path / "reference.safetensors"
        total = len(examples.train) + len(examples.heldout)
        if path.exists():
            self.reference.update(load_file(path))
            return

        def attempt(size: int) -> Generator[Event, None, None]:
            # as `evaluate` cuts them, so that nothing but learning moves a held-out margin from 0
            for group in itertools.chain(groups(examples.heldout, size), groups(examples.train, size)):
                with torch.no_grad():
                    sums_N = response_logprobs(state.policy, group).cpu()
                counts = [example.count for example in group]
                for example, sums_K in zip(group, sums_N.split(counts), strict=True):
                    self.reference[example.prompt_id] = sums_K.clone()
                yield Progress(stage="reading the reference", done=len(self.reference), total=total)

        yield from retry_on_out_of_memory(state.microbatch, attempt)
        with writing_file(path) as temporary:
            save_file(self.reference, temporary)

    def weight(self, example: TrainingExample) -> float:
        return 1.0

    def loss_terms(self, policy: Policy, examples: list[TrainingExample]) -> LossTerms:
        """The mean loss over each prompt's pairs, summed over the prompts."""
        config = self.config
        found_N = response_logprobs(policy, examples)
        reference_N = torch.cat([self.reference[example.prompt_id] for example in examples]).to(
            found_N.device
        )
        ratios = (found_N - reference_N).split([example.count for example in examples])
        loss = found_N.new_zeros(())
        chosen, rejected = [], []
        for example, ratio_K in zip(examples, ratios, strict=True):
            winner_M, loser_M = ratio_K[example.winner], ratio_K[example.loser]
            loss = (
                loss
                + direct_preference(
                    winner_M,
                    loser_M,
                    beta=config.beta,
                    loss=config.loss,
                    label_smoothing=config.label_smoothing,
                ).mean()
            )
            chosen.append(config.beta * winner_M.detach().cpu())
            rejected.append(config.beta * loser_M.detach().cpu())
        chosen_M, rejected_M = torch.cat(chosen), torch.cat(rejected)
        pairs = len(chosen_M)
        sums = {
            "accuracy": (accuracy(chosen_M - rejected_M) * pairs, pairs),
            "margin": (float((chosen_M - rejected_M).sum()), pairs),
            "dpo/chosen_reward": (float(chosen_M.sum()), pairs),
            "dpo/rejected_reward": (float(rejected_M.sum()), pairs),
        }
        return LossTerms(loss, sums)

    def figures(self, loss: float, means: Mapping[str, float]) -> dict[str, float]:
        return dict(means)


def response_logprobs(policy: Policy, examples: list[TrainingExample]) -> Tensor:
    """log π(y|x) of every response of the examples, in order: summed over its tokens, [N]."""
    return policy.forward([row for example in examples for row in example.rows]).logprobs.sum(dim=1)
