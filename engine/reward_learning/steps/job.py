"""Train a process reward model: a score at the end of each step, from judged steps.

1. read: responses with the labels of their steps, split by prompt
2. features of the frozen trunk where each judged step ends, each response read once
3. a ridge logistic head on them, its strength cross-validated over prompts   (engine.frozen.step_fit)
4. save: trunk and head as every reward model on a frozen trunk; scores of responses and of their steps

Lightman et al., "Let's verify step by step" (arXiv 2305.20050), classify each step at its last token, too;
the departure is that the trunk stays as it is.
"""

from __future__ import annotations

import math
from collections.abc import Generator, Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from transformers import AutoConfig

from engine.frozen.comparisons import stacked
from engine.frozen.fit import FitSettings
from engine.frozen.measure import measure
from engine.frozen.step_fit import FittedSteps, fit_steps
from engine.left_out import cut_words
from engine.models.catalogue import resolving
from engine.models.features import default_layers
from engine.models.step_scores import features_at_steps
from engine.objectives.steps import Aggregate
from engine.protocol.configs import ProcessRewardConfig
from engine.protocol.events import Artifact, Event, Finished, Message, Metrics, Output, Progress
from engine.protocol.rundir import RunDir
from engine.reward_learning.frozen.features import PARTS, load_trunk
from engine.reward_learning.frozen.fit import save_frozen
from engine.reward_learning.steps.data import JudgedSteps, StepData, as_table, read_steps
from engine.tables import SCORES, STEP_SCORES, score_rows, write_output, write_splits
from engine.text import Tokeniser
from engine.training.heldout import heldout_details
from engine.wording import counted

WHOLE: Aggregate = "min"
"""How a response is scored as a whole in the store."""


def run(config: ProcessRewardConfig, directory: RunDir) -> Iterator[Event]:
    """The job.  Raises UsageError without steps to learn from."""
    folder = yield from resolving(directory.model("policy").folder)
    tokeniser = Tokeniser.from_folder(folder)
    data = read_steps(config, directory, tokeniser)
    yield from _messages(config, data, tokeniser)
    yield write_splits(
        directory,
        train=sorted({one.prompt_id for one in data.train}),
        heldout=sorted({one.prompt_id for one in data.heldout}),
    )
    layers, features = yield from _features(config, folder, tokeniser, data.all)
    yield Progress(stage="fitting", done=0, total=1)
    fitted = _fit(config, data, features, layers)
    yield Progress(stage="fitting", done=1, total=1)
    yield from _cross_validation(fitted)
    scores = [fitted.head.scores(features_S_F)[:, 0] for features_S_F in features]
    heldout = measured(data.heldout, scores[len(data.train) :])
    if heldout:
        yield Metrics(step=1, values=heldout)
    limit = tokeniser.at_most(config.limit)
    yield from _save(config, directory, folder, fitted, scores[: len(data.train)], limit, heldout)
    yield from _scores(directory, data, scores, config)
    report = fitted.report
    summary: dict[str, float | int | str | None] = {
        "responses": len(data.train),
        "steps": sum(len(one.good) for one in data.train),
        "strength": report.strength,
    }
    if math.isfinite(report.calibrated.accuracy):
        summary |= {"cv_accuracy": report.calibrated.accuracy, "cv_log_loss": report.calibrated.log_loss}
    yield Finished(summary=summary | heldout_details(heldout))


def _messages(config: ProcessRewardConfig, data: StepData, tokeniser: Tokeniser) -> Iterator[Event]:
    steps = sum(len(one.good) for one in data.train)
    bad = sum(share < 0.5 for one in data.train for share in one.good)
    yield Message(
        level="info",
        text=f"Learning {counted(steps, 'step')} of {counted(len(data.train), 'response')}, {bad:,} of "
        f"them bad; held out: {counted(len(data.heldout), 'response')}.",
    )
    yield from data.left_out.messages()
    if data.cut:
        yield Message(level="warning", text=cut_words(data.cut, tokeniser.at_most(config.limit)))
    if not data.heldout:
        yield Message(
            level="warning", text="No prompt is held out; cross-validation alone says how good it is."
        )


def _features(
    config: ProcessRewardConfig, folder: Path, tokeniser: Tokeniser, judged: Sequence[JudgedSteps]
) -> Generator[Event, None, tuple[tuple[int, ...], list[np.ndarray]]]:
    """The layers that are read, and the features of the steps of every response."""
    yield Progress(stage="loading model", done=0, total=1)
    trunk = load_trunk(folder, config, tokeniser)
    yield Progress(stage="loading model", done=1, total=1)
    text: Any = AutoConfig.from_pretrained(folder, local_files_only=True).get_text_config()
    layers = default_layers(text.num_hidden_layers)
    features: list[np.ndarray] = [np.zeros(0)] * len(judged)
    texts = [one.text for one in judged]
    for done, (place, features_S_F) in enumerate(features_at_steps(trunk, texts, layers, PARTS), 1):
        features[place] = features_S_F.numpy()
        yield Progress(stage="features", done=done, total=len(judged), unit="responses")
    return layers, features


def _fit(
    config: ProcessRewardConfig, data: StepData, features: Sequence[np.ndarray], layers: tuple[int, ...]
) -> FittedSteps:
    share_M, prompt_M = as_table(data.train)
    return fit_steps(
        np.concatenate(features[: len(data.train)]),
        share_M,
        prompt_M,
        layers=layers,
        parts=PARTS,
        separator=config.cut_at,
        settings=FitSettings(folds=config.folds, seed=config.seed),
    )


def _cross_validation(fitted: FittedSteps) -> Iterator[Event]:
    report = fitted.report
    if math.isnan(report.calibrated.log_loss):
        yield Message(level="warning", text="Too few prompts to cross-validate; the strength is a guess.")
        return
    yield Message(
        level="info",
        text=f"Cross-validated over {counted(report.prompts, 'prompt')} in {report.folds} folds, "
        f"{counted(report.calibrated.pairs, 'step')}: accuracy {report.calibrated.accuracy:.3f}, log-loss "
        f"{report.calibrated.log_loss:.3f}.\n{report.table()}",
    )
    for number, (strength, at_strength) in enumerate(zip(report.strengths, report.measures, strict=True)):
        values = {"strength": strength, "accuracy": at_strength.accuracy, "log_loss": at_strength.log_loss}
        yield Metrics(step=number, values={f"cv/{name}": value for name, value in values.items()})


def measured(judged: Sequence[JudgedSteps], scores: Sequence[np.ndarray]) -> dict[str, float]:
    """Metrics `heldout/*`: accuracy and log-loss a step, what guessing the more frequent label would have
    (majority), and how often the first wrong step is found, or that there is none (first_wrong)."""
    if not judged:
        return {}
    share_M, prompt_M = as_table(judged)
    decided = np.array(share_M > 0.5, dtype=float)
    clear = (share_M != 0.5).astype(float)
    rows = [
        (prompt, n, len(share_M), good * mass, (1 - good) * mass, 0.0)
        for n, (prompt, good, mass) in enumerate(
            zip(prompt_M.tolist(), decided.tolist(), clear.tolist(), strict=True)
        )
    ]
    measure_of_steps = measure(np.concatenate(list(scores)).astype(np.float64), stacked(rows))
    right = []
    for one, score_S in zip(judged, scores, strict=True):
        said = next((n for n, score in enumerate(score_S.tolist()) if score < 0), None)
        right.append(said == one.first_wrong)
    good = float(decided[clear > 0].mean()) if clear.any() else float("nan")
    return {
        "heldout/accuracy": measure_of_steps.accuracy,
        "heldout/log_loss": measure_of_steps.log_loss,
        "heldout/majority": max(good, 1 - good),
        "heldout/first_wrong": float(np.mean(right)),
        "heldout/steps": float(measure_of_steps.pairs),
    }


def _save(
    config: ProcessRewardConfig,
    run: RunDir,
    folder: Path,
    fitted: FittedSteps,
    scores: Sequence[np.ndarray],
    limit: int,
    heldout: dict[str, float],
) -> Iterator[Event]:
    yield Progress(stage="saving", done=0, total=1)
    last = np.array([score_S[-1] for score_S in scores], dtype=np.float64)
    mean, std = float(last.mean()), float(last.std())
    save_frozen(folder, run.path / "model", fitted.head, mean, std, limit)
    yield Progress(stage="saving", done=1, total=1)
    yield Artifact(
        kind="reward_model",
        name=config.name,
        path=run.relative(run.path / "model"),
        step=1,
        details={
            "score_mean": mean,
            "score_std": std,
            "base": run.model("policy").name,
            "tuning": "frozen",
            "max_tokens": limit,
            "criteria": fitted.head.criteria,
            "steps": config.cut_at,
            **heldout_details(heldout),
        },
    )


def _scores(
    run: RunDir, data: StepData, scores: Sequence[np.ndarray], config: ProcessRewardConfig
) -> Iterator[Output]:
    """The score of every judged response, its worst step's, and those of its steps."""
    some = [(one.response_id, one.text.tokens.was_cut) for one in data.all]
    whole_n_1 = np.array([[score_S.min()] for score_S in scores])
    rows = score_rows(some, whole_n_1, None, ("steps",), f"torch-{config.dtype}")
    yield write_output(run, run.output_path("scores", 1), "scores", SCORES, rows)
    steps = [
        {"response_id": one.response_id, "step": n, "ends_at": end, "score": float(score)}
        for one, score_S in zip(data.all, scores, strict=True)
        for n, (end, score) in enumerate(zip(one.text.ends, score_S, strict=True))
    ]
    yield write_output(run, run.output_path("step_scores", 1), "step_scores", STEP_SCORES, steps)
