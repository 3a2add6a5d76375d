"""Log-probabilities of the reference: those of the policy before its first step, computed once and kept."""

from __future__ import annotations

import itertools
from collections.abc import Generator, Iterator
from dataclasses import dataclass, field
from functools import partial

import torch
from safetensors.torch import load_file, save_file
from torch import Tensor

from engine.files import writing_file
from engine.offline_learning.examples import TrainingExample, micro_batches
from engine.offline_learning.loop import TrainState
from engine.protocol.events import Event, Progress
from engine.protocol.rundir import RunDir
from engine.training.guards import retry_on_out_of_memory
from engine.training.policy import Policy
from engine.training.ranks import current


@dataclass(frozen=True)
class Reference:
    """log π_ref of the responses of examples, so that no second model is held."""

    sums: dict[str, Tensor] = field(default_factory=dict)  # by prompt, [K]

    def measure(self, state: TrainState, parts: list[list[TrainingExample]], run: RunDir) -> Iterator[Event]:
        """Of every example of all parts, or from `reference.safetensors`.

        parts: held-out examples first, each as the loop will cut it, so that nothing but learning moves
        a held-out margin from 0.  No checkpoint is loaded yet.
        """
        path = run.path / "reference.safetensors"
        total = sum(map(len, parts))
        if path.exists():
            self.sums.update(load_file(path))
            return

        ranks = current()
        shares = [ranks.share(part) for part in parts]

        def attempt(size: int) -> Generator[Event, None, None]:
            parts = itertools.chain.from_iterable(micro_batches(share, size) for share in shares)
            idle = partial(state.policy.idle, learning=False)
            for group in ranks.in_step(parts, idle, state.policy.trunk.module):
                with torch.no_grad():
                    sums_N = response_logprobs(state.policy, group).cpu()
                counts = [example.count for example in group]
                for example, sums_K in zip(group, sums_N.split(counts), strict=True):
                    self.sums[example.prompt_id] = sums_K.clone()
                yield Progress(stage="reading the reference", done=len(self.sums), total=total)

        yield from retry_on_out_of_memory(state.microbatch, attempt)
        self.sums.update(ranks.merged(self.sums))
        with writing_file(path) as temporary:
            save_file(self.sums, temporary)

    def of(self, examples: list[TrainingExample], device: torch.device) -> Tensor:
        """log π_ref of every response of the examples, in order, [N]."""
        return torch.cat([self.sums[example.prompt_id] for example in examples]).to(device)


def response_logprobs(policy: Policy, examples: list[TrainingExample]) -> Tensor:
    """log π(y|x) of every response of the examples, in order: summed over its tokens, [N]."""
    return policy.forward([row for example in examples for row in example.rows]).logprobs.sum(dim=1)
