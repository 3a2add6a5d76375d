"""The loop of offline learning: a policy learns from responses that lie in the store.

1. read: one example a prompt, all its responses in one packed row; split by prompt
2. evaluate before the first step and after each epoch, on prompts never trained on
3. step: losses of a few prompts, divided by the weight of the whole step whatever the micro-batches are
4. save the policy, adapters merged, as plain transformers loads it
"""

from __future__ import annotations

import math
from collections import defaultdict
from collections.abc import Generator, Iterator, Mapping
from dataclasses import asdict, dataclass, field, replace
from functools import partial
from pathlib import Path
from typing import Protocol

import torch
from torch import Tensor, nn

from engine.left_out import cut_words
from engine.models.catalogue import resolving
from engine.models.lora import left_out
from engine.offline_learning.examples import TrainingExample, TrainingExamples, micro_batches
from engine.protocol.configs import StoredResponsesConfig
from engine.protocol.events import Artifact, Event, Finished, Message, Metrics, Progress
from engine.protocol.rundir import RunDir
from engine.text import Tokeniser
from engine.training.broken import broken_step
from engine.training.checkpoint import load_checkpoint, save_checkpoint, seeded
from engine.training.guards import MicroBatchSize, pausing, retry_on_out_of_memory
from engine.training.heldout import heldout_details
from engine.training.optimiser import MasterAdam, warmup_then_linear
from engine.training.policy import Policy, load_trainable_policy, save_trained, told_of_weights
from engine.training.ranks import Ranks, current
from engine.wording import counted

ADAM_EPS = 1e-8


@dataclass(frozen=True)
class LossTerms:
    """What a method makes of some examples."""

    loss: Tensor  # scalar: summed, not yet divided by the weight
    sums: Mapping[str, tuple[float, float]]  # figures to report: sum and count


class Method(Protocol):
    """What SFT, DPO and the others do differently."""

    def read(self, run: RunDir, tokeniser: Tokeniser) -> TrainingExamples:
        """The examples of the run's tables.  Raises UsageError when there is nothing to learn from."""
        ...

    def prepare(self, state: TrainState, examples: TrainingExamples, run: RunDir) -> Iterator[Event]:
        """What has to be known of the policy before it learns; no checkpoint is loaded yet."""
        ...

    def weight(self, example: TrainingExample) -> float:
        """What the example counts in the mean loss of a step."""
        ...

    def measure_step(self, policy: Policy, examples: list[TrainingExample], size: int) -> None:
        """What the losses of a step, or of an evaluation, have in common, from all its examples.

        size: examples that go through the model at once; how they are cut is no matter to the loss.
        """
        ...

    def loss_terms(self, policy: Policy, examples: list[TrainingExample]) -> LossTerms:
        """Losses of some examples, from one forward pass."""
        ...

    def figures(self, loss: float, means: Mapping[str, float]) -> dict[str, float]:
        """What is reported of a mean loss and the means of the sums, names without their area."""
        ...


@dataclass
class TrainState:
    """The policy in training, and where the training is."""

    policy: Policy
    optimiser: MasterAdam
    microbatch: MicroBatchSize
    step: int = 0
    report: dict[str, float] = field(default_factory=dict)  # the last held-out metrics


def learn(method: Method, config: StoredResponsesConfig, run: RunDir) -> Iterator[Event]:
    """The job.  Raises UsageError without anything to learn, NonFiniteError when the loss breaks."""
    folder = yield from resolving(run.model("policy").folder)
    yield Progress(stage="loading model", done=0, total=1)
    examples = method.read(run, Tokeniser.from_folder(folder))
    state = make_train_state(folder, config)
    yield Progress(stage="loading model", done=1, total=1)
    yield from _messages(examples, state, config)
    yield from method.prepare(state, examples, run)

    steps_an_epoch = math.ceil(len(examples.train) / config.batch_prompts)
    total = config.epochs * steps_an_epoch
    optimisers = {"policy": state.optimiser}
    if (checkpoint := run.latest_checkpoint()) is not None:
        saved = load_checkpoint(checkpoint, optimisers=optimisers)
        state.step, state.report = saved["step"], saved["report"]
        together = state.microbatch.together  # which may be another number of ranks now
        state.microbatch = replace(MicroBatchSize(**saved["portion"]), together=together)
    else:
        yield from evaluate(method, state, examples.heldout)

    def save() -> None:
        saved = {"step": state.step, "report": state.report, "portion": asdict(state.microbatch)}
        save_checkpoint(run, state.step, optimisers=optimisers, state=saved)

    while state.step < total:
        epoch, place = divmod(state.step, steps_an_epoch)
        order = torch.randperm(len(examples.train), generator=seeded("order", config.seed, epoch)).tolist()
        chosen = order[place * config.batch_prompts : (place + 1) * config.batch_prompts]
        rate = warmup_then_linear(
            state.step, total, min(config.warmup_steps, total // 2), config.peak_learning_rate
        )
        yield from train_step(method, state, [examples.train[i] for i in chosen], rate, config, run)
        yield Progress(stage="training", done=state.step, total=total, unit="steps")
        if state.step % steps_an_epoch == 0:
            yield from evaluate(method, state, examples.heldout)
        if state.step < total and (yield from pausing(run, save)):
            return
        if config.checkpoint_every and (state.step == total or state.step % config.checkpoint_every == 0):
            save()  # the last one too: what a death while saving would lose is resumed from here
    yield from finish(state, folder, examples, config, run)


def make_train_state(folder: Path, config: StoredResponsesConfig) -> TrainState:
    """The policy in `folder`, ready to be trained."""
    policy = load_trainable_policy(
        folder, dtype=config.dtype, device=config.device, seed=config.seed, with_reference=False,
        lora_rank=config.lora_rank if config.tuning == "lora" else None, sharding=config.sharding,
        activations=config.activations, base=config.base,
    )  # fmt: skip
    size = MicroBatchSize(config.microbatch, "prompts", together=policy.divided)
    return TrainState(policy, MasterAdam(policy.model, eps=ADAM_EPS), size)


def _messages(
    examples: TrainingExamples, state: TrainState, config: StoredResponsesConfig
) -> Iterator[Event]:
    """What the person should know before the training starts."""
    responses = sum(example.count for example in examples.train)
    pairs = sum(len(example.winner) for example in examples.train)
    ties = sum(len(example.tied) for example in examples.train)
    good = sum(int(example.desirable.sum()) for example in examples.train)
    what = counted(responses, "response")
    if pairs or ties:
        tied = f" and {counted(ties, 'tie')}" if ties else ""
        what = f"{counted(pairs, 'pair')}{tied} of {what}"
    elif any(len(example.desirable) for example in examples.train):
        what = f"{what}, {good} of them desirable,"
    yield Message(
        level="info",
        text=f"Learning {what} to {counted(len(examples.train), 'prompt')}; "
        f"held out: {counted(len(examples.heldout), 'prompt')}.",
    )
    if examples.was_cut:
        yield Message(level="warning", text=cut_words(examples.was_cut, examples.limit))
    yield from told_of_weights(state.policy.trunk.module)
    yield from examples.left_out.messages()
    if examples.truncated:
        how = "learned without an end of turn" if config.truncated == "keep" else "left out"
        text = f"Cut by their budget of tokens, and {how}: {counted(examples.truncated, 'response')}."
        yield Message(level="info", text=text)
    if (bare := left_out(state.policy.model)) is not None and config.tuning == "lora":
        yield Message(level="warning", text=bare)
    if not examples.heldout:
        yield Message(level="warning", text="No prompt is held out, so nothing says how well it generalises.")
    if state.policy.trunk.why_not_packed:
        text = f"Responses are encoded one by one: {state.policy.trunk.why_not_packed}."
        yield Message(level="info", text=text)


@dataclass
class Tally:
    """Loss and figures of a step or an evaluation."""

    weight: float
    loss: float = 0.0
    sums: dict[str, list[float]] = field(default_factory=lambda: defaultdict(lambda: [0.0, 0.0]))

    def add(self, terms: LossTerms) -> None:
        """Takes the losses of a micro-batch."""
        self.loss += float(terms.loss.detach()) / self.weight
        for name, (total, count) in terms.sums.items():
            self.sums[name][0] += total
            self.sums[name][1] += count

    def add_ranks(self, ranks: Ranks) -> None:
        """What the other ranks have of the same examples."""
        if ranks.world == 1:
            return
        mine = {"": [self.loss, 0.0], **self.sums}
        self.loss = 0.0
        self.sums.clear()
        for theirs in ranks.gather(mine, dict[str, tuple[float | None, float | None]]):
            for name, pair in theirs.items():
                # what is not finite has no JSON and comes as None
                total, count = (math.nan if value is None else value for value in pair)
                if not name:
                    self.loss += total
                    continue
                self.sums[name][0] += total
                self.sums[name][1] += count

    def figures(self, method: Method) -> dict[str, float]:
        """The mean loss, and the method's means of what was summed."""
        means = {name: total / count for name, (total, count) in self.sums.items() if count}
        return {"loss": self.loss, **method.figures(self.loss, means)}


def train_step(
    method: Method,
    state: TrainState,
    examples: list[TrainingExample],
    rate: float,
    config: StoredResponsesConfig,
    run: RunDir,
) -> Iterator[Event]:
    """One optimiser step on the mean loss of the examples, which ranks share."""
    ranks = current()

    def idle() -> None:
        state.policy.idle(learning=True)
        state.optimiser.accumulate()

    def attempt(size: int) -> Generator[Event, None, Tally]:
        state.optimiser.zero_grad()  # what an attempt left that ran out of memory
        tally = Tally(sum(map(method.weight, examples)))
        method.measure_step(state.policy, examples, size)  # each rank all of them: no rank waits in here
        divided = state.policy.divided
        for part in ranks.in_step(micro_batches(ranks.share(examples), size), idle, *_trunk(state)):
            terms = method.loss_terms(state.policy, part)
            tally.add(terms)
            if not math.isfinite(tally.loss) and not divided:  # else the other ranks wait for the rest
                break
            (terms.loss / tally.weight).backward()
            state.optimiser.accumulate()
        return tally
        yield  # an attempt is a generator, and this one has nothing to tell

    tally = yield from retry_on_out_of_memory(state.microbatch, attempt)
    tally.add_ranks(ranks)
    ranks.add_gradients([state.optimiser])
    norm = state.optimiser.clip(config.max_grad_norm) if math.isfinite(tally.loss) else math.nan
    if not math.isfinite(norm):
        raise broken_step(run, state.step + 1, examples, tally.loss)
    state.optimiser.step(rate)
    state.step += 1
    values = {_named("train", name): value for name, value in tally.figures(method).items()}
    values |= {"train/learning_rate": rate, "train/grad_norm": norm}
    yield Metrics(step=state.step, values=values)


def _trunk(state: TrainState) -> tuple[nn.Module]:
    return (state.policy.trunk.module,)


def _named(area: str, name: str) -> str:
    return name if "/" in name else f"{area}/{name}"


def evaluate(method: Method, state: TrainState, examples: list[TrainingExample]) -> Iterator[Event]:
    """Held-out metrics as an event, kept in the report."""
    if not examples:
        return
    ranks = current()

    def attempt(size: int) -> Generator[Event, None, Tally]:
        tally, done = Tally(sum(map(method.weight, examples))), 0
        method.measure_step(state.policy, examples, size)
        idle = partial(state.policy.idle, learning=False)
        for part in ranks.in_step(micro_batches(ranks.share(examples), size), idle, *_trunk(state)):
            with torch.no_grad():  # left before the yield: the consumer's gradients are its own
                tally.add(method.loss_terms(state.policy, part))
            done += len(part)
            yield Progress(stage="evaluating", done=done, total=len(examples), unit="prompts")
        return tally

    tally = yield from retry_on_out_of_memory(state.microbatch, attempt)
    tally.add_ranks(ranks)
    figures = tally.figures(method)
    state.report = {f"heldout/{name}": value for name, value in figures.items() if "/" not in name}
    yield Metrics(step=state.step, values=state.report)


def finish(
    state: TrainState, folder: Path, examples: TrainingExamples, config: StoredResponsesConfig, run: RunDir
) -> Iterator[Event]:
    """Save the policy and tell how it went."""
    current().check_same([state.optimiser])
    yield Progress(stage="saving", done=0, total=1)
    destination = run.path / "model"
    save_trained(state.policy, state.optimiser, folder, destination)
    if not current().main:
        return
    yield Progress(stage="saving", done=1, total=1)
    numbers = heldout_details(state.report)
    yield Artifact(
        kind="policy",
        name=config.name,
        path=run.relative(destination),
        step=state.step,
        details={"policy": run.model("policy").name, **numbers},
    )
    yield Finished(
        summary={
            "steps": state.step,
            "prompts": len(examples.train),
            "truncated": examples.truncated,
            **numbers,
        }
    )
