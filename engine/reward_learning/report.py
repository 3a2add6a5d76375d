"""What a reward model in training tells: held-out figures, its files, the scores of every response."""

from __future__ import annotations

import math
from collections import defaultdict
from collections.abc import Generator, Iterator, Mapping
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from engine.models.features import depth
from engine.models.saving import save_model
from engine.models.sharding import is_sharded
from engine.objectives.preference import accuracy, correlation, kendall_tau, log_loss
from engine.protocol.configs import RewardConfig
from engine.protocol.events import Event, Finished, Progress
from engine.protocol.rundir import RunDir
from engine.reward_learning.fine_tuning.data import Element, RankingData
from engine.reward_learning.fine_tuning.learner import RewardLearner
from engine.reward_learning.outputs import reward_artifact
from engine.scoring.head import RewardHead
from engine.tables import SCORES, score_rows, write_output, write_splits
from engine.text import SCORE_LIMIT, Tokeniser
from engine.training.heldout import heldout_details
from engine.training.ranks import current

Figures = dict[str, float]


def evaluate(
    learner: RewardLearner, elements: list[Element], criteria: tuple[str, ...]
) -> Generator[Event, None, Figures]:
    """Held-out figures, returned as a dictionary; empty without held-out prompts."""
    scored: dict[str, Tensor] = {}
    ranks = current()
    for done, (element, scores_E_K_C) in enumerate(learner.scored(ranks.share(elements)), start=1):
        scored[element.prompt_id] = scores_E_K_C
        yield Progress(stage="evaluating", done=done, total=len(elements), unit="prompts")
    scored = ranks.merged(scored)
    means = {prompt: scores_E_K_C.mean(dim=0) for prompt, scores_E_K_C in scored.items()}
    figures = measured(elements, means, criteria)
    losses = [
        learner.objective(scored[element.prompt_id].to(learner.heads.weight.device), terms).mean()
        for element in elements
        if (terms := learner.terms.get(element.prompt_id)) is not None
    ]
    if losses:
        figures["heldout/loss"] = float(torch.stack(losses).mean().detach())
    return figures


def measured(elements: list[Element], scores: Mapping[str, Tensor], criteria: tuple[str, ...]) -> Figures:
    """Figures on the judgements of some prompts, with names `heldout/…`.

    scores: of each prompt, [K, C].  With several criteria there are figures of each,
    `heldout/<criterion>/accuracy`; with several annotators, `heldout/annotator/<name>/accuracy`.  What is
    called `heldout/accuracy` is over the judgements of all.
    """
    margins: dict[tuple[int, str], list[Tensor]] = defaultdict(list)
    longer, level_scores, level_lengths, taus = [], [], [], []
    for element in elements:
        length_K = torch.tensor(element.lengths, dtype=torch.float32)
        scores_K_C = scores[element.prompt_id]
        for judgement in element.judgements:
            scores_K = scores_K_C[:, judgement.criterion]
            winner, loser = judgement.pairs[:2]
            margins[judgement.criterion, judgement.annotator].append(scores_K[winner] - scores_K[loser])
            longer.append(length_K[winner] - length_K[loser])
            taus.append(kendall_tau(scores_K[judgement.indices], judgement.ranks))
        # Scores of different prompts are not comparable (only differences were learned): compare within one.
        level_scores.append(scores_K_C[:, 0] - scores_K_C[:, 0].mean())
        level_lengths.append(length_K - length_K.mean())
    if not margins:
        return {}
    finite = [tau for tau in taus if math.isfinite(tau)]
    everything = torch.cat([margin for parts in margins.values() for margin in parts])
    figures = {
        "heldout/accuracy": accuracy(everything),
        "heldout/accuracy_longer": accuracy(torch.cat(longer)),
        "heldout/log_loss": log_loss(everything),
        "heldout/pairs": float(len(everything)),
        "heldout/kendall_tau": sum(finite) / len(finite) if finite else math.nan,
        "heldout/score_length_correlation": correlation(torch.cat(level_scores), torch.cat(level_lengths)),
    }
    people = sorted({name for _, name in margins})
    for c, criterion in enumerate(criteria if len(criteria) > 1 else ()):
        mine = [margin for (where, _), parts in margins.items() if where == c for margin in parts]
        figures |= _figures(f"heldout/{criterion}", mine)
    for name in people if len(people) > 1 else ():
        mine = [margin for (_, who), parts in margins.items() if who == name for margin in parts]
        figures |= _figures(f"heldout/annotator/{name}", mine)
    return figures


def _figures(prefix: str, margins: list[Tensor]) -> Figures:
    margin_M = torch.cat(margins) if margins else torch.empty(0)
    return {
        f"{prefix}/accuracy": accuracy(margin_M),
        f"{prefix}/log_loss": log_loss(margin_M),
        f"{prefix}/pairs": float(len(margin_M)),
    }


def save(
    learner: RewardLearner, folder: Path, data: RankingData, config: RewardConfig, run: RunDir, step: int,
    figures: Figures,
) -> Iterator[Event]:  # fmt: skip
    """Write the model as plain transformers loads it, then the split and the scores of every response."""
    ranks = current()
    ranks.check_same(learner.optimisers.values())
    divided = is_sharded(learner.trunk.module)
    if not ranks.main and not divided:
        return
    elements = [*data.train, *data.heldout, *data.unused]
    yield Progress(stage="saving", done=0, total=1)
    scored = {element.prompt_id: scores for element, scores in learner.scored(elements)}
    level_E_N_C = torch.cat([scored[element.prompt_id] for element in data.train], dim=1).double()
    mean_N = level_E_N_C.mean(dim=0)[:, 0]
    mean, std = float(mean_N.mean()), float(mean_N.std(unbiased=False))
    shift_E_C = (level_E_N_C.mean(dim=(0, 1)) - level_E_N_C.mean(dim=1)).float()
    learner.model.config.score_mean, learner.model.config.score_std = mean, std
    limit = Tokeniser.from_folder(folder).at_most(config.limit)
    setattr(learner.model.config, SCORE_LIMIT, limit)
    destination = run.path / "model"
    masters = learner.masters()
    save_model(learner.model, folder, destination, "float32", masters=masters, writes=ranks.main)
    if not ranks.main:
        return
    if config.ensemble > 1:
        ensemble_head(learner, data.criteria, shift_E_C).save(destination)
    yield Progress(stage="saving", done=1, total=1)
    numbers = heldout_details(figures)
    yield reward_artifact(
        config, run, step=step, score_mean=mean, score_std=std, max_tokens=limit, criteria=data.criteria,
        figures=numbers,
    )  # fmt: skip
    yield write_splits(run, train=data.train_prompts, heldout=data.heldout_prompts)
    yield _scores(elements, scored, shift_E_C, data.criteria, config, run)
    pairs = sum(element.pairs for element in data.train)
    yield Finished(summary={"steps": step, "prompts": len(data.train), "pairs": pairs, **numbers})


def ensemble_head(learner: RewardLearner, criteria: tuple[str, ...], shift_E_C: Tensor) -> RewardHead:
    """The heads outside torch, their mean the head of the model.

    Comparisons do not tell where a member puts zero, so each is shifted (shift_E_C) to the mean of all over
    the training responses: what is left between members is what they disagree on.
    """
    weight_E_C_D = learner.heads.weight.detach().cpu()
    bias_E_C = shift_E_C.clone()
    if learner.heads.bias is not None:
        bias_E_C += learner.heads.bias.detach().cpu()
    return RewardHead(
        weight=weight_E_C_D.mean(dim=0).numpy(),
        bias=bias_E_C.mean(dim=0).numpy(),
        criteria=criteria,
        layers=(depth(learner.trunk.module),),
        ensemble_weight=weight_E_C_D.numpy(),
        ensemble_bias=bias_E_C.numpy(),
    )


def _scores(
    elements: list[Element],
    scored: Mapping[str, Tensor],
    shift_E_C: Tensor,
    criteria: tuple[str, ...],
    config: RewardConfig,
    run: RunDir,
) -> Event:
    """The scores of every response of the snapshot; the uncertainty is the spread of the ensemble."""
    rows: list[dict[str, Any]] = []
    for element in elements:
        scores_E_K_C = scored[element.prompt_id] + shift_E_C[:, None]
        mean_K_C, spread_K_C = scores_E_K_C.mean(dim=0), scores_E_K_C.std(dim=0, unbiased=False)
        some = [(response, response in element.cut) for response in element.response_ids]
        rows += score_rows(
            some, mean_K_C, spread_K_C if config.ensemble > 1 else None, criteria, f"torch-{config.dtype}"
        )
    return write_output(run, run.output_path("scores", 1), "scores", SCORES, rows)
