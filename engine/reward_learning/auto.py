"""Which way of tuning suits the data: cross-validation over the training prompts, within a time budget.

A head on a frozen trunk is fitted on every fold, which takes seconds once the features are there.  Adapters
and full fine-tuning take the same folds in turn while their time, told by their first step, is within the
budget.  What is known is kept in `auto.json` of the run directory: a stopped run goes on where it was.
"""

from __future__ import annotations

import json
import time
from collections.abc import Generator, Iterator, Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Literal

import msgspec
import numpy as np
import torch
from torch import Tensor

from engine.files import write_atomic
from engine.frozen.fit import fit, fold_of
from engine.frozen.settings import fit_settings
from engine.frozen.store import FeatureStore
from engine.protocol.configs import RewardConfig
from engine.protocol.events import Event, Message, Metrics, Progress
from engine.protocol.rundir import RunDir
from engine.reward_learning.fine_tuning.data import Element, RankingData
from engine.reward_learning.fine_tuning.learner import train_step
from engine.reward_learning.fine_tuning.plan import (
    TrainingPlan,
    TrainingSet,
    learner_of,
    read_training_set,
    training_set_of,
)
from engine.reward_learning.frozen.data import JudgedFeatures, judged_of
from engine.reward_learning.frozen.features import PARTS, response_features
from engine.reward_learning.frozen.fit import text_lengths
from engine.reward_learning.report import measured
from engine.text import Tokeniser
from engine.wording import counted

Tuning = Literal["frozen", "lora", "full"]
FINE_TUNINGS: tuple[Tuning, ...] = ("lora", "full")
KEPT = "auto.json"


@dataclass(frozen=True)
class Outcome:
    """One way of tuning on one fold."""

    tuning: Tuning
    fold: int
    pairs: int
    accuracy: float
    log_loss: float
    seconds: float


def compare(config: RewardConfig, run: RunDir, folder: Path) -> Generator[Event, None, Tuning]:
    """Cross-validate, show the table, and return the way of tuning with the least log-loss."""
    tokeniser = Tokeniser.from_folder(folder)
    training_set = read_training_set(config, run, tokeniser)
    folds = folds_of(training_set.data.train, config)
    known = _read(run)
    yield from _frozen(config, run, folder, tokeniser, training_set, folds, known)
    yield from _fine_tuned(config, run, folder, tokeniser, training_set, folds, known)
    tuning = best(known)
    yield from _table(known, tuning)
    return tuning


def folds_of(elements: list[Element], config: RewardConfig) -> list[set[str]]:
    """Prompts of each fold, dealt out evenly in a seeded order."""
    count = min(config.folds, len(elements))
    fold_P = fold_of(np.arange(len(elements)), max(2, count), config.seed)
    folds = [
        {e.prompt_id for e, mine in zip(elements, fold_P, strict=True) if mine == f} for f in range(count)
    ]
    return [fold for fold in folds if fold]


def best(known: list[Outcome]) -> Tuning:
    """The tuning of least log-loss; each is held against frozen on the folds that it took."""
    frozen = {outcome.fold: outcome for outcome in known if outcome.tuning == "frozen"}
    gains: dict[Tuning, float] = {"frozen": 0.0}
    for tuning in FINE_TUNINGS:
        mine = [outcome for outcome in known if outcome.tuning == tuning]
        if mine:
            same = [frozen[outcome.fold] for outcome in mine]
            gains[tuning] = _mean(mine, "log_loss") - _mean(same, "log_loss")
    return min(gains, key=lambda tuning: gains[tuning])


def _mean(outcomes: list[Outcome], name: str) -> float:
    """Mean over pairs."""
    pairs = sum(outcome.pairs for outcome in outcomes)
    return sum(getattr(outcome, name) * outcome.pairs for outcome in outcomes) / max(1, pairs)


def _frozen(
    config: RewardConfig,
    run: RunDir,
    folder: Path,
    tokeniser: Tokeniser,
    training_set: TrainingSet,
    folds: list[set[str]],
    known: list[Outcome],
) -> Iterator[Event]:
    if {outcome.fold for outcome in known if outcome.tuning == "frozen"} == set(range(len(folds))):
        return
    started = time.monotonic()
    judged = judged_of(training_set)
    store: FeatureStore = yield from response_features(config, run, folder, tokeniser)
    features_N_F = store.rows(judged.response_ids)
    shared = (time.monotonic() - started) / len(folds)
    for number, out in enumerate(folds):
        started = time.monotonic()
        inside = {element.prompt_id for element in training_set.data.train} - out
        fitted = fit(
            features_N_F,
            judged.within(inside),
            layers=store.info.layers,
            parts=PARTS,
            settings=fit_settings(config),
            length_N=text_lengths(run, judged.response_ids),
        )
        column = {name: c for c, name in enumerate(fitted.head.criteria)}
        scores_N_C = fitted.head.scores(features_N_F)[
            :, [column.get(c, 0) for c in training_set.data.criteria]
        ]
        elements = [element for element in training_set.data.train if element.prompt_id in out]
        scores = _by_prompt(elements, judged, scores_N_C)
        seconds = shared + time.monotonic() - started
        _keep(run, known, _outcome("frozen", number, elements, scores, training_set.data.criteria, seconds))
        yield Progress(stage="cross-validating frozen", done=number + 1, total=len(folds), unit="folds")


def _by_prompt(elements: list[Element], judged: JudgedFeatures, scores_N_C: np.ndarray) -> dict[str, Tensor]:
    row = {response: n for n, response in enumerate(judged.response_ids)}
    return {
        element.prompt_id: torch.from_numpy(scores_N_C[[row[r] for r in element.response_ids]])
        for element in elements
    }


def _fine_tuned(
    config: RewardConfig,
    run: RunDir,
    folder: Path,
    tokeniser: Tokeniser,
    training_set: TrainingSet,
    folds: list[set[str]],
    known: list[Outcome],
) -> Iterator[Event]:
    """Adapters and full fine-tuning on the same folds in turn, while there is time."""
    budget = 60 * config.budget_minutes - sum(outcome.seconds for outcome in known)
    out_of_time: set[Tuning] = set()
    for number, out in enumerate(folds):
        for tuning in FINE_TUNINGS:
            done = [outcome for outcome in known if outcome.tuning == tuning]
            if tuning in out_of_time or number in {outcome.fold for outcome in done}:
                continue
            if done and _mean(done, "seconds") > budget:
                out_of_time.add(tuning)
                continue
            outcome, spent = yield from _fold(
                tuning, config, run, folder, tokeniser, training_set, number, out, budget
            )
            budget -= spent
            if outcome is None:
                out_of_time.add(tuning)
            else:
                _keep(run, known, outcome)


def _fold(
    tuning: Tuning,
    config: RewardConfig,
    run: RunDir,
    folder: Path,
    tokeniser: Tokeniser,
    training_set: TrainingSet,
    number: int,
    out: set[str],
    budget: float,
) -> Generator[Event, None, tuple[Outcome | None, float]]:
    """Train without the prompts `out` and measure on them; no outcome when it would take too long.

    Returns the outcome and the seconds spent.
    """
    started, data = time.monotonic(), training_set.data
    config = msgspec.structs.replace(config, tuning=tuning)
    inside = [element for element in data.train if element.prompt_id not in out]
    elements = [element for element in data.train if element.prompt_id in out]
    fold = training_set_of(RankingData(inside, elements, data.criteria), config)
    learner = learner_of(folder, tokeniser, config, fold)
    plan = TrainingPlan(fold.data.train, config)
    tokens = config.epochs * sum(element.tokens for element in inside) + sum(e.tokens for e in elements) / 3
    for step in range(plan.total):
        batch, before = plan.batch(step), time.monotonic()
        yield from train_step(learner, batch, plan.rate(step), config, run, step + 1)
        if step == 0:
            rate = (time.monotonic() - before) / sum(element.tokens for element in batch)
            if rate * tokens > budget:
                yield Message(
                    level="info",
                    text=f"A fold of {tuning} would take {rate * tokens / 60:.1f} minutes, and "
                    f"{max(0.0, budget) / 60:.1f} of budget_minutes are left: not tried any further.",
                )
                return None, time.monotonic() - started
        stage = f"cross-validating {tuning}, part {number + 1}"
        yield Progress(stage=stage, done=step + 1, total=plan.total, unit="steps")
    scores = {element.prompt_id: s.mean(dim=0) for element, s in learner.scored(elements)}
    seconds = time.monotonic() - started
    return _outcome(tuning, number, elements, scores, data.criteria, seconds), seconds


def _outcome(
    tuning: Tuning,
    fold: int,
    elements: list[Element],
    scores: Mapping[str, Tensor],
    criteria: tuple[str, ...],
    seconds: float,
) -> Outcome:
    figures = measured(elements, scores, criteria)
    return Outcome(
        tuning=tuning,
        fold=fold,
        pairs=int(figures["heldout/pairs"]),
        accuracy=figures["heldout/accuracy"],
        log_loss=figures["heldout/log_loss"],
        seconds=round(seconds, 2),
    )


def _table(known: list[Outcome], chosen: str) -> Iterator[Event]:
    """The comparison as lines and metrics."""
    tunings: tuple[Tuning, ...] = ("frozen", *FINE_TUNINGS)
    for tuning in tunings:
        mine = [outcome for outcome in known if outcome.tuning == tuning]
        if not mine:
            yield Message(level="info", text=f"{tuning}: not tried.")
            continue
        accuracy, loss = _mean(mine, "accuracy"), _mean(mine, "log_loss")
        seconds = sum(outcome.seconds for outcome in mine)
        mark = " ← chosen" if tuning == chosen else ""
        yield Message(
            level="info",
            text=f"{tuning}: {counted(len(mine), 'fold')}, accuracy {accuracy:.3f}, log-loss {loss:.3f}, "
            f"{seconds:.0f} s{mark}",
        )
        values = {"accuracy": accuracy, "log_loss": loss, "seconds": seconds, "folds": float(len(mine))}
        yield Metrics(step=0, values={f"auto/{tuning}/{name}": value for name, value in values.items()})


def _read(run: RunDir) -> list[Outcome]:
    path = run.path / KEPT
    return [Outcome(**one) for one in json.loads(path.read_text())] if path.exists() else []


def _keep(run: RunDir, known: list[Outcome], outcome: Outcome) -> None:
    known.append(outcome)
    write_atomic(run.path / KEPT, json.dumps([asdict(one) for one in known]).encode())
