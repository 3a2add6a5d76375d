"""What a reward head on a frozen trunk reaches on PandaLM, by layers and squashing, and what length explains.

5-fold cross-validation by prompt over the pairs on which a majority of three people agrees, ties dropped;
figures are means over `--shuffles` ways to deal the prompts into folds.  In each fold the head is fitted on
the other four; the strength of the ridge is the one with the least held-out log-loss, one for all folds, and
for the shipped setting also chosen inside each fold.  `ratio` is the accuracy of the shipped setting over
that of "the longer response is better".

`held_out`: the same beside the peer, whose split is every fifth prompt.  Everything is chosen on the other
prompts alone: layers and squashing among the settings of the table by 5-fold cross-validation there (least
log-loss, mean over the shuffles), then strength and temperature.

For the shipped setting also: accuracy on pairs whose longer response won, lost, or is within 10 % of the
other's length, and the logistic regression of the verdict on the margin and the log-ratio of lengths.
"""

from __future__ import annotations

import collections
import json
import time
from pathlib import Path

import numpy as np

from engine.frozen.comparisons import Comparisons
from engine.frozen.fit import CrossValidation, FitSettings, cross_validate, fit_head, fold_of
from engine.frozen.measure import Measure, measure
from tests.benchmarks.common import PANDALM, parser, report, say, versions

SHIPPED = "½ 1, squashed"
SETTINGS: dict[str, tuple[tuple[float, ...], bool]] = {
    SHIPPED: ((0.5, 1.0), True),
    "½ 1": ((0.5, 1.0), False),
    "0.4 0.6 0.8, squashed": ((0.4, 0.6, 0.8), True),
    "0.4 0.6 0.8": ((0.4, 0.6, 0.8), False),
    "¼ ½ ¾ 1, squashed": ((8 / 30, 0.5, 22 / 30, 1.0), True),
    "¼ ½ ¾ 1": ((8 / 30, 0.5, 22 / 30, 1.0), False),
    "½, squashed": ((0.5,), True),
    "½": ((0.5,), False),
    "1, squashed": ((1.0,), True),
    "1": ((1.0,), False),
}
"""Layers as shares of the depth, and whether features pass through tanh."""


def read_pairs(path: Path) -> tuple[list[tuple[str, str, str, int]], list[tuple[str, str]]]:
    """(prompt, first, second, 1 where the first is preferred) and the distinct responses."""
    pairs = []
    for line in path.read_text().splitlines():
        row = json.loads(line)
        label, votes = collections.Counter([row[f"annotator_{n}"] for n in (1, 2, 3)]).most_common(1)[0]
        if label != "tie" and votes >= 2 and row["response_a"] != row["response_b"]:
            pairs.append((row["prompt"], row["response_a"], row["response_b"], int(label == "a")))
    responses = dict.fromkeys((prompt, text) for prompt, *both, _ in pairs for text in both)
    return pairs, list(responses)


def all_layers(responses: list[tuple[str, str]], model: str, file: Path | None) -> np.ndarray:
    """Last-token and mean states at every layer, [N, depth + 1, 2, D] float16, cached in `file`."""
    if file is not None and file.exists():
        held = np.load(file, allow_pickle=False)
        rows = {key: row for row, key in enumerate(zip(held["prompts"], held["texts"], strict=True))}
        return np.asarray(held["feats"][[rows[key] for key in responses]][:, :, :2])
    from engine.models.catalogue import resolve_model
    from engine.models.device import resolve_device
    from engine.models.features import depth, features_of, width
    from engine.models.policy import load_policy
    from engine.models.trunk import Trunk
    from engine.text import Tokeniser

    folder = resolve_model(model)
    tokeniser = Tokeniser.from_folder(folder)
    trunk = Trunk.of(load_policy(folder, "bfloat16", "cpu"), tokeniser.pad_id, resolve_device("cpu"))
    layers = tuple(range(depth(trunk.module) + 1))
    pairs = []
    for prompt, text in responses:
        tokens = tokeniser.encode_for_score([{"role": "user", "content": prompt}], text, 512, template=None)
        pairs.append((tokens.prompt, tokens.response))
    found = np.zeros((len(pairs), 2, len(layers), width(trunk.module)), dtype=np.float16)
    for places, features_n_F in features_of(trunk, pairs, layers, ("last", "mean")):
        found[places] = features_n_F.numpy().reshape(len(places), *found.shape[1:])
    found = found.swapaxes(1, 2)
    if file is not None:
        prompts, texts = zip(*responses, strict=True)
        np.savez(file, prompts=np.array(prompts), texts=np.array(texts), feats=found)
    return found


def features(states_N_L_2_D: np.ndarray, shares: tuple[float, ...]) -> np.ndarray:
    """[N, F] float32, parts first, then layers, as the reward job has them."""
    layers = [round(share * (states_N_L_2_D.shape[1] - 1)) for share in shares]
    chosen = states_N_L_2_D[:, layers].astype(np.float32).swapaxes(1, 2)
    return np.ascontiguousarray(chosen.reshape(len(chosen), -1))


def compared(
    pairs: list[tuple[str, str, str, int, int]], responses: list[tuple[str, str]]
) -> tuple[Comparisons, np.ndarray, float]:
    """The pairs by rows of `responses`, ln of their ratio of lengths [M], accuracy of the longer response."""
    rows = {key: row for row, key in enumerate(responses)}
    numbers = {prompt: number for number, prompt in enumerate(sorted({pair[0] for pair in pairs}))}
    win = np.array([float(pair[3]) for pair in pairs])
    judged = Comparisons(
        left=np.array([rows[prompt, first] for prompt, first, *_ in pairs]),
        right=np.array([rows[prompt, second] for prompt, _, second, *_ in pairs]),
        prompt=np.array([numbers[pair[0]] for pair in pairs]),
        win=win,
        loss=1 - win,
        tie=np.zeros(len(win)),
    )
    length = np.array([max(len(text), 1) for _, text in responses])
    log_ratio = np.log(length[judged.left] / length[judged.right])
    longer = float(np.where(log_ratio == 0, 0.5, (log_ratio > 0) == (win > 0.5)).mean())
    return judged, log_ratio, longer


def crossed(x_N_F: np.ndarray, judged: Comparisons, squash: bool, shuffles: int) -> list[CrossValidation]:
    """Cross-validation, once for each way to deal the prompts into folds."""
    return [cross_validate(x_N_F, judged, FitSettings(squash=squash, seed=n)) for n in range(shuffles)]


def best_strength(runs: list[CrossValidation]) -> dict[str, float]:
    """Means over the shuffles, each with its best strength."""
    return mean([run.measures[run.strengths.index(run.strength)] for run in runs])


def margins(
    x_N_F: np.ndarray, judged: Comparisons, learned_M: np.ndarray, settings: FitSettings
) -> np.ndarray:
    """Margins of all pairs, [M], by a head that was fitted on some of them."""
    head = fit_head(x_N_F, judged.chosen(learned_M), layers=(0,), parts=("last",), settings=settings)
    scores_N = head.scores(x_N_F)[:, 0]
    return np.asarray(scores_N[judged.left] - scores_N[judged.right])


def nested(x_N_F: np.ndarray, judged: Comparisons, seed: int) -> Measure:
    """Cross-validation in which strength and temperature, too, are chosen without the held-out prompts."""
    settings = FitSettings(members=0, seed=seed)
    fold_M = fold_of(judged.prompt, settings.folds, seed)
    margin_M = np.zeros(len(judged))
    for fold in range(settings.folds):
        out = fold_M == fold
        margin_M[out] = margins(x_N_F, judged, ~out, settings)[out]
    return measure(margin_M, judged)


def held_out(states: np.ndarray, judged: Comparisons, prompts: list[str], shuffles: int) -> dict[str, object]:
    """Choose among SETTINGS on the training prompts, fit there, and measure on every fifth prompt.

    prompts: of each pair.
    """
    chosen = set(sorted(set(prompts))[::5])
    out_M = np.array([prompt in chosen for prompt in prompts])
    learned = judged.chosen(~out_M)
    losses: dict[str, float] = {}
    for name, (shares, squash) in SETTINGS.items():
        runs = crossed(features(states, shares), learned, squash, shuffles)
        losses[name] = best_strength(runs)["log_loss"]
    best = min(losses, key=lambda name: losses[name])
    shares, squash = SETTINGS[best]
    x_N_F = features(states, shares)
    settings = [FitSettings(squash=squash, members=0, seed=seed) for seed in range(shuffles)]
    found = [measure(margins(x_N_F, judged, ~out_M, each)[out_M], judged.chosen(out_M)) for each in settings]
    return {"setting": best, "pairs": int(out_M.sum()), **mean(found), "training_log_loss": losses}


def by_length(margin_M: np.ndarray, first_wins_M: np.ndarray, log_ratio_M: np.ndarray) -> dict[str, object]:
    """How much of the accuracy length explains.

    log_ratio: ln of the first response's length over the second's.
    """
    right = np.where(margin_M == 0, 0.5, (margin_M > 0) == first_wins_M)
    longer_won = (log_ratio_M > 0) == first_wins_M
    unequal, matched = log_ratio_M != 0, np.abs(log_ratio_M) < np.log(1.1)

    def share(mask: np.ndarray) -> dict[str, float | int]:
        return {"accuracy": round(float(right[mask].mean()), 3), "pairs": int(mask.sum())}

    x_M_2, y = np.stack([margin_M, log_ratio_M], axis=1), first_wins_M.astype(float)
    effect = np.zeros(2)
    for _ in range(50):
        p = 1 / (1 + np.exp(-x_M_2 @ effect))
        curvature = x_M_2.T @ (x_M_2 * (p * (1 - p))[:, None])
        effect += np.linalg.solve(curvature, x_M_2.T @ (y - p))
    errors = np.sqrt(np.diag(np.linalg.inv(curvature)))
    return {
        "longer_won": share(longer_won & unequal),
        "longer_lost": share(~longer_won & unequal),
        "lengths_within_10_percent": share(matched),
        "margin_length_correlation": round(float(np.corrcoef(margin_M, log_ratio_M)[0, 1]), 3),
        "logistic": {
            "margin": [round(float(effect[0]), 3), round(float(errors[0]), 3)],
            "log_length_ratio": [round(float(effect[1]), 3), round(float(errors[1]), 3)],
        },
    }


def mean(found: list[Measure]) -> dict[str, float]:
    """Means over the shuffles."""
    return {
        "accuracy": round(float(np.mean([one.accuracy for one in found])), 4),
        "log_loss": round(float(np.mean([one.log_loss for one in found])), 4),
    }


def main() -> None:
    """Print a line a setting on stderr and everything as JSON on stdout."""
    arguments = parser(__doc__ or "")
    arguments.add_argument("--model", default="smollm2", help="folder, hub id or smollm2")
    arguments.add_argument("--data", type=Path, default=PANDALM)
    arguments.add_argument("--features", type=Path, help="cache of the states, .npz")
    arguments.add_argument("--shuffles", type=int, default=5)
    options = arguments.parse_args()
    if not options.data.exists():
        raise SystemExit(f"{options.data} does not exist; name the file with --data.")
    pairs, responses = read_pairs(options.data)
    started = time.perf_counter()
    states = all_layers(responses, options.model, options.features)
    seconds = {"states": round(time.perf_counter() - started, 1)}
    judged, log_ratio, longer = compared(pairs, responses)
    table: dict[str, dict[str, float]] = {}
    control: dict[str, object] = {}
    started = time.perf_counter()
    for name, (shares, squash) in SETTINGS.items():
        x_N_F = features(states, shares)
        runs = crossed(x_N_F, judged, squash, options.shuffles)
        table[name] = best_strength(runs)
        say(f"{name:24s} {table[name]}")
        if name == SHIPPED:
            control = by_length(runs[0].margins, judged.win > 0.5, log_ratio)
            inside = mean([nested(x_N_F, judged, seed) for seed in range(options.shuffles)])
            table[f"{name}, strength chosen inside each fold"] = inside
            say(f"{'strength chosen inside':24s} {inside}\n{control}")
    apart = held_out(states, judged, [pair[0] for pair in pairs], options.shuffles)
    say(f"every fifth prompt: {apart}")
    seconds["cross_validation"] = round(time.perf_counter() - started, 1)
    report(
        "frozen trunk",
        settings=table,
        longer_response=round(longer, 4),
        by_length=control,
        held_out=apart,
        pairs=len(judged),
        prompts=judged.prompts,
        ratio=round(table[SHIPPED]["accuracy"] / longer, 3),
        seconds=seconds,
        versions=versions("torch", "transformers", "numpy"),
    )


if __name__ == "__main__":
    main()
