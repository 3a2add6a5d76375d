"""Train a reward model on a frozen trunk: a head on features that are computed once.

1. features: judged responses, and as many of the label queue as are asked for, through the trunk once, in
   parts that a stopped run finds again
2. split by prompt as fine-tuning does; cross-validate the strength of the ridge on training prompts
3. fit the head and an ensemble over prompts; measure on prompts never trained on, with a learning curve
4. save: the trunk as a plain base model, its head beside it; the scores of the responses with features

Fitting itself is in `engine.frozen`, without torch.
"""

from __future__ import annotations

import dataclasses
import json
import math
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
from transformers import AutoModel

from engine.errors import ModelFilesError
from engine.frozen.fit import FittedHead, fit
from engine.frozen.settings import fit_settings
from engine.frozen.store import FeatureStore
from engine.left_out import cut_words
from engine.models.policy import load_weights
from engine.models.saving import save_model
from engine.protocol.configs import RewardConfig
from engine.protocol.events import Event, Finished, Message, Metrics, Progress
from engine.protocol.rundir import RunDir
from engine.reward_learning.fine_tuning.annotators import about_annotators
from engine.reward_learning.fine_tuning.plan import read_training_set
from engine.reward_learning.frozen.data import JudgedFeatures, judged_of
from engine.reward_learning.frozen.features import PARTS, cut_responses, response_features
from engine.reward_learning.frozen.preference import run_preference
from engine.reward_learning.frozen.report import heldout_metrics, learning_curve, unseen_prompts
from engine.reward_learning.outputs import reward_artifact
from engine.scoring.head import RewardHead
from engine.tables import SCORES, read_rows, score_rows, write_output, write_splits
from engine.text import SCORE_LIMIT, SCORE_TOKENS, Tokeniser
from engine.training.heldout import heldout_details
from engine.wording import counted

TEXTS = ("response_id", "text")


def run_frozen(config: RewardConfig, run: RunDir, folder: Path) -> Iterator[Event]:
    """The job, with the base model in `folder`.  Raises UsageError without a preference to learn."""
    tokeniser = Tokeniser.from_folder(folder)
    training_set = read_training_set(config, run, tokeniser)
    judged = judged_of(training_set)
    yield from _messages(config, judged)
    yield from about_annotators(training_set.annotators, config.weights)
    store = yield from response_features(config, run, folder, tokeniser)
    cut = cut_responses(run, tokeniser, store.info.max_tokens)
    if cut:
        yield Message(level="warning", text=cut_words(len(cut), store.info.max_tokens))
    yield write_splits(run, train=judged.data.train_prompts, heldout=judged.data.heldout_prompts)
    yield Progress(stage="fitting", done=0, total=1)
    features_N_F = store.rows(judged.response_ids)
    settings = fit_settings(config)
    length_N = text_lengths(run, judged.response_ids)
    fitted = fit(
        features_N_F,
        judged.training(),
        layers=store.info.layers,
        parts=PARTS,
        settings=settings,
        length_N=length_N,
    )
    yield Progress(stage="fitting", done=1, total=1)
    yield from _cross_validation(fitted)
    scores_N_C = fitted.head.scores(features_N_F)
    heldout = heldout_metrics(judged, scores_N_C)
    if heldout:
        yield Metrics(step=1, values=heldout)
    yield from unseen_prompts(run, judged, features_N_F, settings, length_N)
    bare = dataclasses.replace(settings, members=0)
    yield from learning_curve(judged, features_N_F, bare, store.info.layers, PARTS, length_N)
    yield from _save(config, run, folder, fitted.head, judged, scores_N_C, heldout)
    yield from _scores(run, store, fitted.head, cut)
    if config.pairwise:
        yield from run_preference(run, store, judged, features_N_F, bare, length_N)
    yield Finished(summary=_summary(judged, fitted, heldout))


def text_lengths(run: RunDir, response_ids: list[str]) -> np.ndarray:
    """Characters of every response, [N]."""
    lengths = {row["response_id"]: len(row["text"]) for row in read_rows(run.table("rankings"), TEXTS)}
    return np.array([lengths[response] for response in response_ids], dtype=np.float64)


def _messages(config: RewardConfig, judged: JudgedFeatures) -> Iterator[Event]:
    """What the person should know before the work starts."""
    data, pairs = judged.data, sum(element.pairs for element in judged.data.train)
    yield Message(
        level="info",
        text=f"Learning {counted(pairs, 'pair')} of {counted(len(data.train), 'prompt')}; held out: "
        f"{counted(len(data.heldout), 'prompt')}.",
    )
    # Judged prompts that cannot be encoded are among all that `response_features` tells of.
    if judged.dropped:
        text = f"No preference on {', '.join(judged.dropped)} is among them, so that is not learned."
        yield Message(level="warning", text=text)
    if not data.heldout:
        yield Message(
            level="warning", text="No prompt is held out; cross-validation alone says how good it is."
        )
    if config.objective not in ("bradley_terry", "davidson"):
        kind = "Davidson" if config.objective == "rao_kupper" else "Bradley–Terry"
        yield Message(
            level="warning",
            text=f"On a frozen trunk the objective is {kind}; {config.objective} is for full and lora.",
        )


def _cross_validation(fitted: FittedHead) -> Iterator[Event]:
    for criterion, report in fitted.reports.items():
        if math.isnan(report.calibrated.log_loss):
            yield Message(
                level="warning",
                text=f"Too few prompts to cross-validate {criterion}; the strength is a guess.",
            )
            continue
        yield Message(
            level="info",
            text=f"{criterion}: cross-validated over {counted(report.prompts, 'prompt')} in {report.folds} "
            f"folds, {counted(report.calibrated.pairs, 'pair')}: accuracy {report.calibrated.accuracy:.3f}, "
            f"log-loss {report.calibrated.log_loss:.3f}.\n{report.table()}",
        )
        prefix = "cv/" if criterion == fitted.head.criteria[0] else f"cv/{criterion}/"
        for number, (strength, measured) in enumerate(zip(report.strengths, report.measures, strict=True)):
            values = {"strength": strength, "accuracy": measured.accuracy, "log_loss": measured.log_loss}
            yield Metrics(step=number, values={prefix + name: value for name, value in values.items()})


def save_frozen(
    folder: Path,
    destination: Path,
    head: RewardHead,
    score_mean: float = 0.0,
    score_std: float = 1.0,
    max_tokens: int = SCORE_TOKENS,
) -> None:
    """Save the trunk of the model in `folder` as a plain base model, with its tokeniser and the head.

    max_tokens: the longest prompt + response that the head was fitted to, and that it is to score.
    Weights keep the number format of their file.  Raises ModelFilesError when the folder lacks some.
    """
    model_config = json.loads((folder / "config.json").read_text(encoding="utf-8"))
    name = model_config.get("dtype") or model_config.get("torch_dtype")
    dtype = name if name in ("bfloat16", "float16") else "float32"
    model, missing = load_weights(AutoModel, folder, dtype)
    if missing:
        raise ModelFilesError(f"{folder} lacks weights ({sorted(missing)[0]}); copy or save it again.")
    model.config.pad_token_id = Tokeniser.from_folder(folder).pad_id
    model.config.score_mean, model.config.score_std = score_mean, score_std
    setattr(model.config, SCORE_LIMIT, max_tokens)
    save_model(model, folder, destination)
    head.save(destination)


def _save(
    config: RewardConfig,
    run: RunDir,
    folder: Path,
    head: RewardHead,
    judged: JudgedFeatures,
    scores_N_C: np.ndarray,
    heldout: dict[str, float],
) -> Iterator[Event]:
    yield Progress(stage="saving", done=0, total=1)
    trained = scores_N_C[judged.in_training(), 0].astype(np.float64)
    mean, std = float(trained.mean()), float(trained.std())
    destination = run.path / "model"
    limit = Tokeniser.from_folder(folder).at_most(config.limit)
    save_frozen(folder, destination, head, mean, std, limit)
    yield Progress(stage="saving", done=1, total=1)
    yield reward_artifact(
        config, run, step=1, score_mean=mean, score_std=std, max_tokens=limit, criteria=head.criteria,
        figures=heldout_details(heldout),
    )  # fmt: skip


def _scores(run: RunDir, store: FeatureStore, head: RewardHead, cut: set[str]) -> Iterator[Event]:
    """Scores of every response with features, each criterion for itself."""
    rows: list[dict[str, Any]] = []
    for ids, features_n_F in store.batches(store.ids):
        some = [(response, response in cut) for response in ids]
        scores_n_C, spread_n_C = head.scores(features_n_F), head.spread(features_n_F)
        rows += score_rows(some, scores_n_C, spread_n_C, head.criteria, f"torch-{store.info.dtype}")
    yield write_output(run, run.output_path("scores", 1), "scores", SCORES, rows)


def _summary(
    judged: JudgedFeatures, fitted: FittedHead, heldout: dict[str, float]
) -> dict[str, float | int | str | None]:
    report = fitted.reports[fitted.head.criteria[0]]
    summary: dict[str, float | int | str | None] = {
        "prompts": len(judged.data.train),
        "pairs": sum(element.pairs for element in judged.data.train),
        "strength": report.strength,
    }
    if math.isfinite(report.calibrated.accuracy):
        summary |= {"cv_accuracy": report.calibrated.accuracy, "cv_log_loss": report.calibrated.log_loss}
    return summary | heldout_details(heldout)
