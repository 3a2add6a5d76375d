"""Train a reward model on rankings.

1. read: rankings become one element a prompt with all its responses; split by prompt
2. evaluate before the first step and through each epoch, on prompts never trained on
3. step: score all responses of a few prompts, each prompt encoded once; the loss is that of its judgements
4. save: plain Hugging Face layout, adapters merged; the split; the scores of every response

`reward_data` reads, `objectives.ranking` and `reward_objective` hold the losses, `reward_plan` orders,
`reward_learner` takes the steps, `reward_report` measures and saves, `reward_auto` compares ways of tuning,
and `frozen` fits a head alone.

Departures from InstructGPT (arXiv 2203.02155): several annotators of one prompt share its forward pass and
its average; scores are centred by a small penalty instead of by a shift of the bias.
"""

from __future__ import annotations

from collections.abc import Generator, Iterator
from functools import partial
from pathlib import Path

import msgspec

from engine.left_out import cut_words
from engine.models.catalogue import resolving
from engine.protocol.configs import RewardConfig
from engine.protocol.configs.reward import WITH_TIES
from engine.protocol.events import Event, Message, Metrics, Progress
from engine.protocol.rundir import RunDir
from engine.reward_learning.auto import compare
from engine.reward_learning.fine_tuning.annotators import about_annotators
from engine.reward_learning.fine_tuning.learner import RewardLearner, train_step
from engine.reward_learning.fine_tuning.objective import check
from engine.reward_learning.fine_tuning.plan import TrainingPlan, TrainingSet, learner_of, read_training_set
from engine.reward_learning.frozen.fit import run_frozen
from engine.reward_learning.report import Figures, evaluate, save
from engine.text import Tokeniser
from engine.training.checkpoint import load_checkpoint, save_checkpoint
from engine.training.guards import pausing
from engine.training.policy import told_of_weights
from engine.wording import counted


def run(config: RewardConfig, directory: RunDir) -> Iterator[Event]:
    """The job.  Raises UsageError without a preference to learn, NonFiniteError when the loss breaks."""
    check(config)
    folder = yield from resolving(directory.model("policy").folder)
    if config.tuning == "auto":
        tuning = yield from compare(config, directory, folder)
        config = msgspec.structs.replace(config, tuning=tuning)
    if config.tuning == "frozen":
        yield from run_frozen(config, directory, folder)
    else:
        if config.pairwise:
            text = (
                f"No pairwise preference model is fitted: {config.tuning} cross-validated best, and it reads "
            )
            yield Message(level="warning", text=text + "a frozen trunk; set tuning to frozen for one.")
        yield from fine_tune(config, directory, folder)


def fine_tune(config: RewardConfig, run: RunDir, folder: Path) -> Iterator[Event]:
    """Train every weight, or adapters, of the model in `folder`."""
    yield Progress(stage="loading model", done=0, total=1)
    tokeniser = Tokeniser.from_folder(folder)
    training_set = read_training_set(config, run, tokeniser)
    data = training_set.data
    learner = learner_of(folder, tokeniser, config, training_set)
    yield Progress(stage="loading model", done=1, total=1)
    yield from _messages(training_set, learner, config, tokeniser)

    plan = TrainingPlan(data.train, config)
    step, figures = 0, Figures()
    if (checkpoint := run.latest_checkpoint()) is not None:
        state = load_checkpoint(checkpoint, optimisers=learner.optimisers)
        step, figures = state["step"], Figures(state["figures"])
    else:
        figures = yield from _evaluation(learner, training_set, plan, step)
    while step < plan.total:
        metrics = yield from train_step(learner, plan.batch(step), plan.rate(step), config, run, step + 1)
        step += 1
        yield Metrics(step=step, values=metrics)
        yield Progress(stage="training", done=step, total=plan.total, unit="steps")
        if plan.evaluates_after(step):
            figures = yield from _evaluation(learner, training_set, plan, step)
        keep = partial(_keep, learner, run, step, figures)
        if step < plan.total and (yield from pausing(run, keep)):
            return
        if config.checkpoint_every and (step == plan.total or step % config.checkpoint_every == 0):
            keep()  # the last one too: what a death while saving would lose is resumed from here
    yield from save(learner, folder, data, config, run, step, figures)


def _keep(learner: RewardLearner, run: RunDir, step: int, figures: Figures) -> None:
    state = {"step": step, "figures": figures}
    save_checkpoint(run, step, optimisers=learner.optimisers, state=state)


def _evaluation(
    learner: RewardLearner, training_set: TrainingSet, plan: TrainingPlan, step: int
) -> Generator[Event, None, Figures]:
    """Held-out figures, told and returned; through the first epoch also as a learning curve over pairs."""
    figures = yield from evaluate(learner, training_set.data.heldout, training_set.data.criteria)
    if not figures:
        return figures
    yield Metrics(step=step, values=figures)
    if step <= plan.steps_an_epoch:
        curve = {f"curve/{name}": figures[f"heldout/{name}"] for name in ("accuracy", "log_loss")}
        yield Metrics(step=plan.pairs_after(step), values=curve)
    return figures


def _messages(
    training_set: TrainingSet, learner: RewardLearner, config: RewardConfig, tokeniser: Tokeniser
) -> Iterator[Event]:
    """What the person should know before the training starts."""
    data = training_set.data
    pairs = sum(element.pairs for element in data.train)
    tied, ties = data.ties, "that teach nothing"
    if config.objective in WITH_TIES:
        tied, ties = sum(element.ties for element in data.train), "that are learned too"
    if config.annotators == "majority":
        ties = "left out: a majority is a strict verdict"
    yield Message(
        level="info",
        text=f"Learning {counted(pairs, 'pair')} of {counted(len(data.train), 'prompt')}; held out: "
        f"{counted(len(data.heldout), 'prompt')}; {counted(tied, 'tied pair')} {ties}.",
    )
    if len(data.criteria) > 1:
        yield Message(level="info", text=f"One score each for {', '.join(data.criteria)}.")
    yield from about_annotators(training_set.annotators, config.weights)
    yield from told_of_weights(learner.trunk.module)
    yield from data.left_out.messages()
    if data.was_cut:
        yield Message(level="warning", text=cut_words(data.was_cut, tokeniser.at_most(config.limit)))
    if not data.heldout:
        yield Message(level="warning", text="No prompt is held out, so nothing says how well it generalises.")
    if why_not := learner.trunk.why_not_packed:
        yield Message(level="info", text=f"Responses are encoded one by one: {why_not}.")
