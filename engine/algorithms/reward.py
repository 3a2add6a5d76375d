"""Train a reward model on rankings.

1. read: rankings become one element a prompt with all its responses; split by prompt
2. evaluate before the first step and after each epoch, on prompts never trained on
3. step: score all responses of a few prompts, each prompt encoded once; Bradley–Terry over a prompt's pairs
4. save: plain Hugging Face layout, adapters merged, with mean and spread of its scores

Departures from InstructGPT (arXiv 2203.02155): several annotators of one prompt share its forward pass and
its average; scores are centred by a small penalty instead of by a shift of the bias.
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import torch
from torch import Tensor, nn
from transformers import PreTrainedModel

from engine.algorithms.checkpoint import load_checkpoint, save_checkpoint, save_failed_batch, seeded
from engine.algorithms.optimiser import MasterAdam, warmup_then_linear
from engine.algorithms.parts import Trunk, device_of, head_scores, make_trainable
from engine.algorithms.reward_data import Element, RankingData, read_rankings
from engine.errors import NonFiniteError
from engine.models.catalogue import resolving
from engine.models.packing import last_states, pack
from engine.models.parts import output_head
from engine.models.reward import init_reward_model, save_reward_model
from engine.objectives.preference import accuracy, correlation, kendall_tau, log_loss
from engine.objectives.ranking import bradley_terry
from engine.protocol.configs import RewardConfig
from engine.protocol.events import Artifact, Event, Finished, Message, Metrics, Progress
from engine.protocol.rundir import RunDir
from engine.text import Tokeniser

MICROBATCH_TOKENS = 2048  # padded tokens in one forward and backward
EVALUATION_TOKENS = 4096


@dataclass
class Report:
    """The last held-out metrics."""

    values: dict[str, float]


@dataclass
class Learner:
    """The model in training."""

    model: PreTrainedModel
    trunk: Trunk
    head: nn.Linear
    optimiser: MasterAdam

    def scores(self, elements: list[Element]) -> list[Tensor]:
        """Scores of all responses of each element, [K] float32, from one forward pass."""
        rows = [row for element in elements for row in element.rows]
        last_N_D = last_states(self.trunk.states(rows, "at"))
        return list(head_scores(self.head, last_N_D).split([len(element.lengths) for element in elements]))


def run(config: RewardConfig, run: RunDir) -> Iterator[Event]:
    """The job.  Raises UsageError without a preference to learn, NonFiniteError when the loss breaks."""
    folder = yield from resolving(run.model("policy").folder)
    yield Progress(stage="loading model", done=0, total=1)
    tokeniser = Tokeniser.from_folder(folder)
    data = read_rankings(
        run.table("rankings"),
        tokeniser,
        max_tokens=config.max_tokens,
        holdout=config.holdout,
        seed=config.seed,
    )
    learner = make_learner(folder, tokeniser, config)
    yield Progress(stage="loading model", done=1, total=1)
    yield from _words(data, learner.trunk.why_not_packed)

    steps_an_epoch = math.ceil(len(data.train) / config.batch_prompts)
    total = config.epochs * steps_an_epoch
    optimisers = {"model": learner.optimiser}
    step, report = 0, Report({})
    if (checkpoint := run.latest_checkpoint()) is not None:
        state = load_checkpoint(checkpoint, optimisers=optimisers, generators={})
        step, report = state["step"], Report(state["report"])
    else:
        yield from evaluate(learner, data.heldout, step, report)
    while step < total:
        epoch, place = divmod(step, steps_an_epoch)
        order = torch.randperm(len(data.train), generator=seeded("order", config.seed, epoch)).tolist()
        chosen = order[place * config.batch_prompts : (place + 1) * config.batch_prompts]
        rate = warmup_then_linear(step, total, min(config.warmup_steps, total // 2), config.learning_rate)
        metrics = train_step(learner, [data.train[i] for i in chosen], rate, config, run, step + 1)
        step += 1
        yield Metrics(step=step, values=metrics)
        yield Progress(stage="training", done=step, total=total, unit="steps")
        if step % steps_an_epoch == 0:
            yield from evaluate(learner, data.heldout, step, report)
        if config.checkpoint_every and step % config.checkpoint_every == 0 and step < total:
            state = {"step": step, "report": report.values}
            save_checkpoint(run, step, optimisers=optimisers, generators={}, state=state)
    yield from save(learner, folder, data, config, run, step, report)


def _words(data: RankingData, why_not: str | None) -> Iterator[Event]:
    """What the person should know before the training starts."""
    pairs = sum(element.pairs.winner.numel() for element in data.train)
    yield Message(
        level="info",
        text=f"Learning {pairs} pairs of {len(data.train)} prompts; {len(data.heldout)} prompts are held out "
        f"and {data.ties} tied pairs teach nothing.",
    )
    if data.was_cut:
        yield Message(level="warning", text=f"{data.was_cut} responses are over max_tokens and were cut.")
    if not data.heldout:
        yield Message(level="warning", text="No prompt is held out, so nothing says how well it generalises.")
    if why_not:
        yield Message(level="info", text=f"Responses are encoded one by one: {why_not}.")


def make_learner(folder: Path, tokeniser: Tokeniser, config: RewardConfig) -> Learner:
    """A new reward model on the weights of the policy in `folder`, ready to be trained."""
    model = init_reward_model(folder, dtype=config.dtype, device=config.device, seed=config.seed)
    make_trainable(model, lora_rank=config.lora_rank if config.tuning == "lora" else None, seed=config.seed)
    head = output_head(model)
    head.float()
    trunk = Trunk.of(model, tokeniser.pad_id, device_of(config.device))
    return Learner(model=model, trunk=trunk, head=head, optimiser=MasterAdam(model, eps=1e-8))


def micro_batches(elements: list[Element], budget: int) -> Iterator[list[Element]]:
    """Cut elements, longest first, into groups of at most `budget` padded tokens (never less than one)."""

    def size(element: Element) -> int:
        return max(row.length for row in element.rows)

    group: list[Element] = []
    for element in sorted(elements, key=size, reverse=True):
        rows = sum(len(other.rows) for other in [*group, element])
        if group and rows * size(group[0]) > budget:
            yield group
            group = []
        group.append(element)
    if group:
        yield group


def train_step(
    learner: Learner, elements: list[Element], rate: float, config: RewardConfig, run: RunDir, step: int
) -> dict[str, float]:
    """One optimiser step on the mean over prompts of the mean loss over their pairs."""
    total, margins = 0.0, []
    for group in micro_batches(elements, MICROBATCH_TOKENS):
        losses = []
        for element, scores_K in zip(group, learner.scores(group), strict=True):
            pairs = element.pairs
            loss = bradley_terry(
                scores_K,
                pairs.to(scores_K.device),
                margin=config.margin,
                label_smoothing=config.label_smoothing,
                centring=config.centring,
            )
            losses.append(loss)
            detached_K = scores_K.detach().cpu()
            margins.append(detached_K[pairs.winner] - detached_K[pairs.loser])
        loss = torch.stack(losses).sum() / len(elements)
        total += float(loss.detach())
        if math.isfinite(total):
            loss.backward()
            learner.optimiser.collect()
    norm = learner.optimiser.clip(config.max_grad_norm) if math.isfinite(total) else math.nan
    if not math.isfinite(norm):
        raise NonFiniteError(_broken(run, step, elements, total))
    learner.optimiser.step(rate)
    return {
        "train/loss": total,
        "train/accuracy": accuracy(torch.cat(margins)),
        "train/learning_rate": rate,
        "train/grad_norm": norm,
    }


def _broken(run: RunDir, step: int, elements: list[Element], loss: float) -> str:
    """Keep the batch; the sentence for the person."""
    rows = [row for element in elements for row in element.rows]
    batch = pack(rows, pad_id=0)
    details = {"loss": str(loss), "prompt_ids": [element.prompt_id for element in elements]}
    tensors = {"input_ids": batch.input_ids, "position_ids": batch.position_ids, "tokens": batch.tokens}
    folder = save_failed_batch(run, step, tensors, details)
    return (
        f"The loss or its gradient is not finite at step {step} (loss {loss}); the batch is in {folder}. "
        "Lower learning_rate, or use dtype float32."
    )


@torch.no_grad()
def _scored(learner: Learner, elements: list[Element]) -> Iterator[tuple[Element, Tensor]]:
    for group in micro_batches(elements, EVALUATION_TOKENS):
        for element, scores_K in zip(group, learner.scores(group), strict=True):
            yield element, scores_K.cpu()


def evaluate(learner: Learner, elements: list[Element], step: int, report: Report) -> Iterator[Event]:
    """Held-out metrics as an event, kept in `report`."""
    margins, longer, scores, lengths, taus = [], [], [], [], []
    if not elements:
        return
    for done, (element, scores_K) in enumerate(_scored(learner, elements), start=1):
        length_K = torch.tensor(element.lengths, dtype=torch.float32)
        winner, loser = element.pairs.winner, element.pairs.loser
        margins.append(scores_K[winner] - scores_K[loser])
        longer.append(length_K[winner] - length_K[loser])
        # Scores of different prompts are not comparable (only differences were learned): compare within one.
        scores.append(scores_K - scores_K.mean())
        lengths.append(length_K - length_K.mean())
        taus += [kendall_tau(scores_K[indices], ranks) for indices, ranks in element.rankings]
        yield Progress(stage="evaluating", done=done, total=len(elements), unit="prompts")
    finite = [tau for tau in taus if math.isfinite(tau)]
    margin_M = torch.cat(margins)
    report.values = {
        "heldout/accuracy": accuracy(margin_M),
        "heldout/accuracy_longer": accuracy(torch.cat(longer)),
        "heldout/log_loss": log_loss(margin_M),
        "heldout/pairs": float(len(margin_M)),
        "heldout/kendall_tau": sum(finite) / len(finite) if finite else math.nan,
        "heldout/score_length_correlation": correlation(torch.cat(scores), torch.cat(lengths)),
    }
    yield Metrics(step=step, values=report.values)


def save(
    learner: Learner,
    folder: Path,
    data: RankingData,
    config: RewardConfig,
    run: RunDir,
    step: int,
    report: Report,
) -> Iterator[Event]:
    """Write the model as plain transformers loads it, with mean and spread of its training scores."""
    yield Progress(stage="saving", done=0, total=1)
    scores = torch.cat([scores_K for _, scores_K in _scored(learner, data.train)]).double()
    mean, std = float(scores.mean()), float(scores.std(unbiased=False))
    learner.optimiser.to_full_precision(learner.model)
    learner.model.config.score_mean, learner.model.config.score_std = mean, std
    destination = run.path / "model"
    save_reward_model(learner.model, folder, destination, dtype="float32")
    yield Progress(stage="saving", done=1, total=1)
    numbers = {
        name.replace("heldout/", "heldout_"): value
        for name, value in report.values.items()
        if math.isfinite(value)
    }
    yield Artifact(
        kind="reward_model",
        name=config.name,
        path=run.relative(destination),
        step=step,
        details={"score_mean": mean, "score_std": std, "base": run.model("policy").name, **numbers},
    )
    pairs = sum(element.pairs.winner.numel() for element in data.train)
    yield Finished(summary={"steps": step, "prompts": len(data.train), "pairs": pairs, **numbers})
