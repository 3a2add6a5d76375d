"""Direct preference optimisation on the pairs that rankings imply (Rafailov et al., arXiv 2305.18290).

The loop is `stored_learning.study`; here is what makes it DPO:

- a lesson is a prompt with all its judged responses in one packed row: K forwards, C(K, 2) pairs, and the
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
from engine.offline_learning.examples import Lesson, LessonReader, Lessons, by_prompt, implied_pairs
from engine.offline_learning.loop import Pupil, Taken, groups, study
from engine.protocol.configs import DPOConfig
from engine.protocol.events import Event, Progress
from engine.protocol.rundir import RunDir
from engine.text import Tokeniser
from engine.training.guards import halving
from engine.training.policy import Policy


def run(config: DPOConfig, run: RunDir) -> Iterator[Event]:
    """The job; raises as `study` does."""
    return study(DPO(config), config, run)


@dataclass(frozen=True)
class DPO:
    """DPO's lessons and loss."""

    config: DPOConfig
    reference: dict[str, Tensor] = field(default_factory=dict)  # log π_ref of the responses by prompt, [K]

    def read(self, run: RunDir, tokeniser: Tokeniser) -> Lessons:
        reader = LessonReader(tokeniser, self.config)
        found = []
        for prompt_id, records in by_prompt(run.table("rankings")):
            lesson = reader.lesson(prompt_id, records, implied_pairs(records))
            if lesson is not None and len(lesson.winner):
                found.append(lesson)
        return reader.split(found, "preferences")

    def prepare(self, pupil: Pupil, lessons: Lessons, run: RunDir) -> Iterator[Event]:
        """Reference log-probabilities; the policy has not learned anything yet, so it is the reference."""
        path = run.path / "reference.safetensors"
        total = len(lessons.train) + len(lessons.heldout)
        if path.exists():
            self.reference.update(load_file(path))
            return

        def attempt(size: int) -> Generator[Event, None, None]:
            # as `evaluate` cuts them, so that nothing but learning moves a held-out margin from 0
            for group in itertools.chain(groups(lessons.heldout, size), groups(lessons.train, size)):
                with torch.no_grad():
                    sums_N = response_logprobs(pupil.policy, group).cpu()
                counts = [lesson.count for lesson in group]
                for lesson, sums_K in zip(group, sums_N.split(counts), strict=True):
                    self.reference[lesson.prompt_id] = sums_K.clone()
                yield Progress(stage="reading the reference", done=len(self.reference), total=total)

        yield from halving(pupil.portion, attempt)
        with writing_file(path) as temporary:
            save_file(self.reference, temporary)

    def weight(self, lesson: Lesson) -> float:
        return 1.0

    def take(self, policy: Policy, lessons: list[Lesson]) -> Taken:
        """The mean loss over each prompt's pairs, summed over the prompts."""
        config = self.config
        found_N = response_logprobs(policy, lessons)
        reference_N = torch.cat([self.reference[lesson.prompt_id] for lesson in lessons]).to(found_N.device)
        ratios = (found_N - reference_N).split([lesson.count for lesson in lessons])
        loss = found_N.new_zeros(())
        chosen, rejected = [], []
        for lesson, ratio_K in zip(lessons, ratios, strict=True):
            winner_M, loser_M = ratio_K[lesson.winner], ratio_K[lesson.loser]
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
        return Taken(loss, sums)

    def figures(self, loss: float, means: Mapping[str, float]) -> dict[str, float]:
        return dict(means)


def response_logprobs(policy: Policy, lessons: list[Lesson]) -> Tensor:
    """log π(y|x) of every response of the lessons, in order: summed over its tokens, [N]."""
    return policy.look([row for lesson in lessons for row in lesson.rows]).logprobs.sum(dim=1)
