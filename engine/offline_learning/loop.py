"""The loop that SFT and DPO share: a policy learns from responses that lie in the store.

1. read: one lesson a prompt, all its responses in one packed row; split by prompt
2. evaluate before the first step and after each epoch, on prompts never trained on
3. step: losses of a few prompts, divided by the weight of the whole step whatever the micro-batches are
4. save the policy, adapters merged, as plain transformers loads it
"""

from __future__ import annotations

import math
from collections import defaultdict
from collections.abc import Generator, Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Protocol

import torch
from torch import Tensor

from engine.errors import NonFiniteError
from engine.left_out import cut_words
from engine.models.catalogue import resolving
from engine.models.lora import left_out
from engine.models.packing import pack
from engine.offline_learning.examples import Lesson, Lessons
from engine.protocol.configs import StoredResponsesConfig
from engine.protocol.events import Artifact, Event, Finished, Message, Metrics, Progress
from engine.protocol.rundir import RunDir
from engine.text import Tokeniser
from engine.training.checkpoint import load_checkpoint, save_checkpoint, save_failed_batch, seeded
from engine.training.guards import Portion, halving, pausing
from engine.training.optimiser import MasterAdam, warmup_then_linear
from engine.training.policy import Policy, load_trainable_policy, save_trained

ADAM_EPS = 1e-8


@dataclass(frozen=True)
class Taken:
    """What a method makes of some lessons."""

    loss: Tensor  # scalar: summed, not yet divided by the weight
    sums: Mapping[str, tuple[float, float]]  # figures to report: sum and count


class Method(Protocol):
    """What SFT and DPO do differently."""

    def read(self, run: RunDir, tokeniser: Tokeniser) -> Lessons:
        """The lessons of the run's tables.  Raises UsageError when there is nothing to learn from."""
        ...

    def prepare(self, pupil: Pupil, lessons: Lessons, run: RunDir) -> Iterator[Event]:
        """What has to be known of the policy before it learns; no checkpoint is loaded yet."""
        ...

    def weight(self, lesson: Lesson) -> float:
        """What the lesson counts in the mean loss of a step."""
        ...

    def take(self, policy: Policy, lessons: list[Lesson]) -> Taken:
        """Losses of some lessons, from one forward pass."""
        ...

    def figures(self, loss: float, means: Mapping[str, float]) -> dict[str, float]:
        """What is reported of a mean loss and the means of the sums, names without their area."""
        ...


@dataclass
class Pupil:
    """The policy in training, and where the training is."""

    policy: Policy
    optimiser: MasterAdam
    portion: Portion
    step: int = 0
    report: dict[str, float] = field(default_factory=dict)  # the last held-out metrics


def study(method: Method, config: StoredResponsesConfig, run: RunDir) -> Iterator[Event]:
    """The job.  Raises UsageError without anything to learn, NonFiniteError when the loss breaks."""
    folder = yield from resolving(run.model("policy").folder)
    yield Progress(stage="loading model", done=0, total=1)
    lessons = method.read(run, Tokeniser.from_folder(folder))
    pupil = make_pupil(folder, config)
    yield Progress(stage="loading model", done=1, total=1)
    yield from _words(lessons, pupil, config)
    yield from method.prepare(pupil, lessons, run)

    steps_an_epoch = math.ceil(len(lessons.train) / config.batch_prompts)
    total = config.epochs * steps_an_epoch
    optimisers = {"policy": pupil.optimiser}
    if (checkpoint := run.latest_checkpoint()) is not None:
        state = load_checkpoint(checkpoint, optimisers=optimisers)
        pupil.step, pupil.report, pupil.portion = state["step"], state["report"], Portion(**state["portion"])
    else:
        yield from evaluate(method, pupil, lessons.heldout)

    def save() -> None:
        portion = {"size": pupil.portion.size, "what": pupil.portion.what, "told": pupil.portion.told}
        state = {"step": pupil.step, "report": pupil.report, "portion": portion}
        save_checkpoint(run, pupil.step, optimisers=optimisers, state=state)

    while pupil.step < total:
        epoch, place = divmod(pupil.step, steps_an_epoch)
        order = torch.randperm(len(lessons.train), generator=seeded("order", config.seed, epoch)).tolist()
        chosen = order[place * config.batch_prompts : (place + 1) * config.batch_prompts]
        rate = warmup_then_linear(
            pupil.step, total, min(config.warmup_steps, total // 2), config.peak_learning_rate
        )
        yield from train_step(method, pupil, [lessons.train[i] for i in chosen], rate, config, run)
        yield Progress(stage="training", done=pupil.step, total=total, unit="steps")
        if pupil.step % steps_an_epoch == 0:
            yield from evaluate(method, pupil, lessons.heldout)
        if pupil.step < total and (yield from pausing(run, save)):
            return
        if config.checkpoint_every and (pupil.step == total or pupil.step % config.checkpoint_every == 0):
            save()  # the last one too: what a death while saving would lose is resumed from here
    yield from finish(pupil, folder, lessons, config, run)


def make_pupil(folder: Path, config: StoredResponsesConfig) -> Pupil:
    """The policy in `folder`, ready to be trained."""
    policy = load_trainable_policy(
        folder, dtype=config.dtype, device=config.device, seed=config.seed, with_reference=False,
        lora_rank=config.lora_rank if config.tuning == "lora" else None,
    )  # fmt: skip
    return Pupil(policy, MasterAdam(policy.model, eps=ADAM_EPS), Portion(config.microbatch, "prompts"))


def _words(lessons: Lessons, pupil: Pupil, config: StoredResponsesConfig) -> Iterator[Event]:
    """What the person should know before the training starts."""
    responses = sum(lesson.count for lesson in lessons.train)
    pairs = sum(len(lesson.winner) for lesson in lessons.train)
    what = f"{pairs} pairs of {responses} responses" if pairs else f"{responses} responses"
    yield Message(
        level="info",
        text=f"Learning {what} to {len(lessons.train)} prompts; {len(lessons.heldout)} prompts are held out.",
    )
    if lessons.was_cut:
        yield Message(level="warning", text=cut_words(lessons.was_cut, lessons.limit))
    yield from lessons.left_out.words()
    if lessons.truncated:
        how = "are learned without an end of turn" if config.truncated == "keep" else "were left out"
        text = f"{lessons.truncated} responses were cut by their budget of tokens and {how}."
        yield Message(level="info", text=text)
    if (bare := left_out(pupil.policy.model)) is not None and config.tuning == "lora":
        yield Message(level="warning", text=bare)
    if not lessons.heldout:
        yield Message(level="warning", text="No prompt is held out, so nothing says how well it generalises.")
    if pupil.policy.trunk.why_not_packed:
        text = f"Responses are encoded one by one: {pupil.policy.trunk.why_not_packed}."
        yield Message(level="info", text=text)


@dataclass
class Tally:
    """Loss and figures of a step or an evaluation."""

    weight: float
    loss: float = 0.0
    sums: dict[str, list[float]] = field(default_factory=lambda: defaultdict(lambda: [0.0, 0.0]))

    def add(self, taken: Taken) -> None:
        self.loss += float(taken.loss.detach()) / self.weight
        for name, (total, count) in taken.sums.items():
            self.sums[name][0] += total
            self.sums[name][1] += count

    def figures(self, method: Method) -> dict[str, float]:
        means = {name: total / count for name, (total, count) in self.sums.items() if count}
        return {"loss": self.loss, **method.figures(self.loss, means)}


def groups(lessons: list[Lesson], size: int) -> Iterator[list[Lesson]]:
    """Lessons `size` at a time, long ones together, so that little is padded."""
    ordered = sorted(lessons, key=lambda lesson: (-lesson.length, lesson.prompt_id))
    for start in range(0, len(ordered), size):
        yield ordered[start : start + size]


def train_step(
    method: Method,
    pupil: Pupil,
    lessons: list[Lesson],
    rate: float,
    config: StoredResponsesConfig,
    run: RunDir,
) -> Iterator[Event]:
    """One optimiser step on the mean loss of the lessons."""

    def attempt(size: int) -> Generator[Event, None, Tally]:
        pupil.optimiser.forget()  # what an attempt left that ran out of memory
        tally = Tally(sum(map(method.weight, lessons)))
        for group in groups(lessons, size):
            taken = method.take(pupil.policy, group)
            tally.add(taken)
            if not math.isfinite(tally.loss):
                break
            (taken.loss / tally.weight).backward()
            pupil.optimiser.collect()
        return tally
        yield  # an attempt is a generator, and this one has nothing to tell

    tally = yield from halving(pupil.portion, attempt)
    norm = pupil.optimiser.clip(config.max_grad_norm) if math.isfinite(tally.loss) else math.nan
    if not math.isfinite(norm):
        raise NonFiniteError(_broken(run, pupil.step + 1, lessons, tally.loss))
    pupil.optimiser.step(rate)
    pupil.step += 1
    values = {_named("train", name): value for name, value in tally.figures(method).items()}
    values |= {"train/learning_rate": rate, "train/grad_norm": norm}
    yield Metrics(step=pupil.step, values=values)


def _named(area: str, name: str) -> str:
    return name if "/" in name else f"{area}/{name}"


def _broken(run: RunDir, step: int, lessons: list[Lesson], loss: float) -> str:
    """Keep the batch; the sentence for the person."""
    batch = pack([row for lesson in lessons for row in lesson.rows], pad_id=0)
    details = {"loss": str(loss), "prompt_ids": [lesson.prompt_id for lesson in lessons]}
    tensors = {"input_ids": batch.input_ids, "position_ids": batch.position_ids, "tokens": batch.tokens}
    folder = save_failed_batch(run, step, tensors, details)
    return (
        f"The loss or its gradient is not finite at step {step} (loss {loss}); the batch is in {folder}. "
        "Lower learning_rate, or use dtype float32."
    )


def evaluate(method: Method, pupil: Pupil, lessons: list[Lesson]) -> Iterator[Event]:
    """Held-out metrics as an event, kept in the report."""
    if not lessons:
        return

    def attempt(size: int) -> Generator[Event, None, Tally]:
        tally, done = Tally(sum(map(method.weight, lessons))), 0
        for group in groups(lessons, size):
            with torch.no_grad():  # left before the yield: the consumer's gradients are its own
                tally.add(method.take(pupil.policy, group))
            done += len(group)
            yield Progress(stage="evaluating", done=done, total=len(lessons), unit="prompts")
        return tally

    tally = yield from halving(pupil.portion, attempt)
    figures = tally.figures(method)
    pupil.report = {f"heldout/{name}": value for name, value in figures.items() if "/" not in name}
    yield Metrics(step=pupil.step, values=pupil.report)


def finish(
    pupil: Pupil, folder: Path, lessons: Lessons, config: StoredResponsesConfig, run: RunDir
) -> Iterator[Event]:
    """Save the policy and tell how it went."""
    yield Progress(stage="saving", done=0, total=1)
    destination = run.path / "model"
    save_trained(pupil.policy, pupil.optimiser, folder, destination)
    yield Progress(stage="saving", done=1, total=1)
    numbers = {
        name.replace("heldout/", "heldout_"): value
        for name, value in pupil.report.items()
        if math.isfinite(value)
    }
    yield Artifact(
        kind="policy",
        name=config.name,
        path=run.relative(destination),
        step=pupil.step,
        details={"policy": run.model("policy").name, **numbers},
    )
    yield Finished(
        summary={
            "steps": pupil.step,
            "prompts": len(lessons.train),
            "truncated": lessons.truncated,
            **numbers,
        }
    )
