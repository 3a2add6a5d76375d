"""The pairwise preference model of a reward run: fitted beside the head, measured on the same splits."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np

from engine.frozen.fit import FitSettings, prepare, scaling_of
from engine.frozen.measure import measure, strict_majority
from engine.frozen.preference import (
    FittedPreference,
    cycles,
    fit_preference,
    judged_cycles,
    preference_settings,
    skew_spaces,
)
from engine.frozen.splits import SPLITS, unseen
from engine.frozen.store import FeatureStore
from engine.protocol.events import Event, Message, Metrics, Progress
from engine.protocol.rundir import RunDir
from engine.reward_learning.frozen.data import JudgedFeatures
from engine.reward_learning.frozen.features import PARTS


def run_preference(
    run: RunDir,
    store: FeatureStore,
    judged: JudgedFeatures,
    features_N_F: np.ndarray,
    settings: FitSettings,
    length_N: np.ndarray,
) -> Iterator[Event]:
    """Fit it to the training pairs and save it beside the head.

    Metrics `pairwise/*`, of the first criterion, have the names of the head's: heldout_accuracy and
    heldout_log_loss on the held-out prompts, unseen_* as means over many splits by prompt, share and
    strength chosen inside each; intransitive is the share of triples of held-out responses (of all, where
    none is held out) that run in a circle, intransitive_judged the same of what people said.
    """
    stage = "pairwise preference"
    yield Progress(stage=stage, done=0, total=SPLITS + 1)
    fitted = fit_preference(
        features_N_F, judged.training(), layers=store.info.layers, parts=PARTS, settings=settings,
        length_N=length_N,
    )  # fmt: skip
    fitted.head.save(run.path / "model")
    yield Progress(stage=stage, done=1, total=SPLITS + 1)
    values = _heldout(judged, features_N_F, fitted) | _transitivity(judged, features_N_F, fitted)
    criterion = next(iter(judged.comparisons))
    everything = judged.within(judged.train_prompts | judged.heldout_prompts)[criterion]
    scaling, mine = scaling_of(features_N_F, settings), preference_settings(settings)
    prepared = prepare(features_N_F, everything, scaling, mine, criterion, length_N)
    measures = []
    for split in unseen(prepared, mine, skew_spaces(prepared.subspace, prepared.learned)):
        measures.append(measure(split.margins, prepared.strict.chosen(split.held)))
        yield Progress(stage=stage, done=split.number + 2, total=SPLITS + 1)
    if with_pairs := [one for one in measures if one.pairs]:
        values["unseen_accuracy"] = float(np.mean([one.accuracy for one in with_pairs]))
        values["unseen_log_loss"] = float(np.mean([one.log_loss for one in with_pairs]))
    yield Metrics(step=1, values={f"pairwise/{name}": value for name, value in values.items()})
    yield Message(level="info", text=_sentence(values))


def _heldout(judged: JudgedFeatures, features_N_F: np.ndarray, fitted: FittedPreference) -> dict[str, float]:
    held = judged.within(judged.heldout_prompts).get(fitted.head.criteria[0])
    if held is None:
        return {}
    measured = measure(
        fitted.head.margins(features_N_F[held.left], features_N_F[held.right]), strict_majority(held)
    )
    if not measured.pairs:
        return {}
    return {
        "heldout_accuracy": measured.accuracy, "heldout_log_loss": measured.log_loss,
        "heldout_pairs": float(measured.pairs),
    }  # fmt: skip


def _transitivity(
    judged: JudgedFeatures, features_N_F: np.ndarray, fitted: FittedPreference
) -> dict[str, float]:
    chosen = judged.heldout_prompts or judged.train_prompts
    rows: dict[str, list[int]] = {}
    for row, prompt in enumerate(judged.prompt_ids):
        if prompt in chosen:
            rows.setdefault(prompt, []).append(row)
    counts = [cycles(fitted.head.logits(features_N_F[some])) for some in rows.values()]
    cyclic, triples = (sum(each[side] for each in counts) for side in (0, 1))
    values = {"triples": float(triples)}
    if triples:
        values["intransitive"] = cyclic / triples
    said = judged.within(judged.train_prompts | judged.heldout_prompts)[fitted.head.criteria[0]]
    circles, decided = judged_cycles(said)
    if decided:
        values["intransitive_judged"] = circles / decided
    return values


def _sentence(values: dict[str, float]) -> str:
    """What the person is told of it."""
    text = "A pairwise preference model lies beside the reward model"
    if "unseen_accuracy" in values:
        text += (
            f"; on prompts not learned from, over {SPLITS} splits: accuracy {values['unseen_accuracy']:.3f}, "
            f"log-loss {values['unseen_log_loss']:.3f}"
        )
    if "intransitive" in values:
        text += f"; {values['intransitive']:.1%} of its triples run in a circle"
    if "intransitive_judged" in values:
        text += f", of people's {values['intransitive_judged']:.1%}"
    return text + "."
