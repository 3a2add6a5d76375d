"""A frozen reward model on prompts never seen: 20 nested splits by prompt, raw and controlled for length.

Data: PandaLM's judgements (three people a pair), with `--hh FILE` also pairs of transcripts
(`chosen`, `rejected`), and both together.  Layers and settings as shipped; strength chosen inside each split.
Figures are means over splits with the standard deviation over splits; on pairs on which a majority agrees.
`cross_validated` is what 5-fold cross-validation on all prompts says, `ratio` the least accuracy on pairs
whose longer response lost, controlled for length, over one half.

`--heads` also gives each data set of the mixture a head of its own beside one that both share; `--verdict`
adds to the features what the model itself answers when asked whether a response is good; `--pairwise` fits
the pairwise preference model to the same pairs on the same splits.
"""

from __future__ import annotations

import argparse
import json
import re
from collections import Counter
from collections.abc import Sequence
from dataclasses import replace
from itertools import product
from pathlib import Path

import numpy as np

from engine.frozen.comparisons import Comparisons, stacked
from engine.frozen.fit import FitSettings, Prepared, cross_validate, prepare, scaling_of
from engine.frozen.measure import measure
from engine.frozen.preference import preference_settings, skew_spaces
from engine.frozen.splits import unseen
from engine.frozen.subspace import Space
from tests.benchmarks.common import PANDALM, parser, report, say, versions

Pair = tuple[str, str, str, int, int, int]
"""Messages as JSON, two responses, votes for the first, the second, neither."""
TURN = re.compile(r"(?:^|\n\n)(Human|Assistant):")


def pandalm(path: Path) -> list[Pair]:
    """Every pair with its three votes."""
    pairs = []
    for line in path.read_text().splitlines():
        row = json.loads(line)
        votes = Counter(row[f"annotator_{n}"] for n in (1, 2, 3))
        chat = json.dumps([{"role": "user", "content": row["prompt"]}])
        if row["response_a"] != row["response_b"]:
            pairs.append((chat, row["response_a"], row["response_b"], votes["a"], votes["b"], votes["tie"]))
    return pairs


def transcripts(path: Path) -> list[Pair]:
    """Pairs that differ in what the assistant says after the last shared turn of the user."""
    pairs = []
    for line in path.read_text().splitlines():
        row = json.loads(line)
        sides = [TURN.split(row[name])[1:] for name in ("chosen", "rejected")]
        turns = [list(zip(side[::2], map(str.strip, side[1::2]), strict=True)) for side in sides]
        same = 0
        while same < min(map(len, turns)) and turns[0][same] == turns[1][same]:
            same += 1
        while same and turns[0][same - 1][0] != "Human":
            same -= 1
        chosen, rejected = ("\n\n".join(text for _, text in each[same:]) for each in turns)
        roles = {"Human": "user", "Assistant": "assistant"}
        if same and chosen != rejected:
            chat = [{"role": roles[who], "content": text} for who, text in turns[0][:same]]
            pairs.append((json.dumps(chat), chosen, rejected, 1, 0, 0))
    return pairs


def features(
    responses: list[tuple[str, str]], model: str, file: Path | None, tokens: int | None = None
) -> np.ndarray:
    """What the shipped head reads, [N, F] float32; kept in `file`.  `tokens`: at most so many."""
    if file is not None and file.exists():
        held = np.load(file, allow_pickle=False)
        rows = {key: row for row, key in enumerate(zip(held["chats"], held["texts"], strict=True))}
        return np.asarray(held["features"][[rows[key] for key in responses]], dtype=np.float32)
    from engine.models.catalogue import resolve_model
    from engine.models.device import resolve_device
    from engine.models.features import default_layers, depth, features_of
    from engine.models.policy import load_policy
    from engine.models.trunk import Trunk
    from engine.text import SCORE_TOKENS, Tokeniser

    folder = resolve_model(model)
    tokeniser = Tokeniser.from_folder(folder)
    trunk = Trunk.of(load_policy(folder, "bfloat16", "cpu"), tokeniser.pad_id, resolve_device("cpu"))
    limit = tokens or SCORE_TOKENS
    encoded = [tokeniser.encode_for_score(json.loads(chat), text, limit) for chat, text in responses]
    pairs = [(each.prompt, each.response) for each in encoded]
    layers = default_layers(depth(trunk.module))
    parts = {}
    for places, found_n_F in features_of(trunk, pairs, layers, ("last", "mean")):
        parts |= dict(zip(places, found_n_F.numpy(), strict=True))
    found = np.stack([parts[place] for place in range(len(pairs))])
    if file is not None:
        chats, texts = zip(*responses, strict=True)
        np.savez(file, chats=np.array(chats), texts=np.array(texts), features=found)
    return found


QUESTION = (
    "A request:\n\n{request}\n\nA response to it:\n\n{response}\n\n"
    "Is this a good response? Answer with Yes or No alone."
)
SHARED = (0.2, 0.5, 0.8)
VERDICT_SCALE = 10.0  # as covariates of length have it: hardly penalised


def verdicts(responses: list[tuple[str, str]], model: str, file: Path | None) -> np.ndarray:
    """log P(Yes) − log P(No) of the model asked whether each response is good, [N]; kept in `file`."""
    if file is not None and file.exists():
        held = np.load(file, allow_pickle=False)
        known = dict(zip(zip(held["chats"], held["texts"], strict=True), held["verdicts"], strict=True))
        return np.array([known[key] for key in responses])
    import torch

    from engine.models.catalogue import resolve_model
    from engine.models.policy import load_policy
    from engine.text import SCORE_TOKENS, Tokeniser

    folder = resolve_model(model)
    tokeniser, policy = Tokeniser.from_folder(folder), load_policy(folder, "bfloat16", "cpu")
    yes, no = (tokeniser.encode_response(word)[0] for word in ("Yes", "No"))
    found = []
    for chat, text in responses:
        request = "\n\n".join(turn["content"] for turn in json.loads(chat))
        asked = [{"role": "user", "content": QUESTION.format(request=request, response=text)}]
        tokens = tokeniser.encode_prompt(asked, "chat")[-SCORE_TOKENS:]
        with torch.inference_mode():
            last_V = policy(torch.tensor([tokens]), logits_to_keep=1).logits[0, -1].float()
        found.append(float(last_V[yes] - last_V[no]))
    if file is not None:
        chats, texts = zip(*responses, strict=True)
        np.savez(file, chats=np.array(chats), texts=np.array(texts), verdicts=np.array(found))
    return np.array(found)


def with_verdict(ready: Prepared, verdict_N: np.ndarray) -> Prepared:
    """One more coordinate, the difference of verdicts, that is part of the score."""
    learned, space = ready.learned, ready.subspace
    found_M = verdict_N[learned.left] - verdict_N[learned.right]
    found_M *= VERDICT_SCALE / max(float(np.sqrt(np.square(found_M).mean())), 1e-12)
    scored = space.scored.stop
    differences = np.insert(space.differences, scored, found_M, axis=1)
    spread = np.insert(space.spread, scored, (learned.total * found_M**2).sum())
    combination = np.pad(space._combination, ((0, 0), (0, 1)))
    return replace(
        ready, subspace=replace(space, differences=differences, spread=spread, _combination=combination)
    )


def with_own_heads(ready: Prepared, members: Sequence[np.ndarray], shared: float) -> Prepared:
    """Coordinates of a head for all, with `shared` of the prior's variance, and of one of each set's own."""
    space = ready.subspace
    of_all = space.differences[:, space.scored]
    blocks = [np.sqrt(shared) * of_all, *(np.sqrt(1 - shared) * of_all * mine[:, None] for mine in members)]
    differences = np.concatenate(blocks, axis=1)
    spread = (ready.learned.total[:, None] * np.square(differences)).sum(axis=0)
    combination = np.concatenate([space._combination] * len(blocks), axis=1)
    return replace(
        ready, subspace=replace(space, differences=differences, spread=spread, _combination=combination)
    )


def compared(pairs: list[Pair], responses: list[tuple[str, str]]) -> Comparisons:
    rows = {key: row for row, key in enumerate(responses)}
    numbers = {chat: number for number, chat in enumerate(sorted({pair[0] for pair in pairs}))}
    return stacked([(numbers[chat], rows[chat, a], rows[chat, b], *votes) for chat, a, b, *votes in pairs])


def tried(
    prepared: Prepared,
    settings: FitSettings,
    length_N: np.ndarray,
    counts_M: np.ndarray,
    spaces: Sequence[Space] | None = None,
) -> dict[str, list[float]]:
    """Mean and standard deviation over splits of each figure, on the pairs that count.

    spaces: those of a preference model, of which each split chooses one.
    """
    strict, found = prepared.strict, []
    longer_M = np.sign(length_N[strict.left] - length_N[strict.right])
    won_M = longer_M * np.sign(strict.win - strict.loss)
    for split in unseen(prepared, settings, spaces):
        kept = counts_M[split.held]
        held, margin = split.held[kept], split.margins[kept]
        whole = measure(margin, strict.chosen(held))
        figures = {"accuracy": whole.accuracy, "log_loss": whole.log_loss}
        figures["longer"] = measure(longer_M[held], strict.chosen(held)).accuracy
        for name, sign in (("longer_won", 1), ("longer_lost", -1)):
            mine = won_M[held] == sign
            figures[name] = measure(margin[mine], strict.chosen(held[mine])).accuracy
        found.append(figures)
    values = {name: [each[name] for each in found] for name in found[0]}
    return {name: [round(float(f(v)), 3) for f in (np.mean, np.std)] for name, v in values.items()}


def asked() -> argparse.Namespace:
    """The command line."""
    arguments = parser(__doc__ or "")
    arguments.add_argument("--model", default="smollm2", help="folder, hub id or smollm2")
    arguments.add_argument("--data", type=Path, default=PANDALM)
    arguments.add_argument("--hh", type=Path, help="transcripts in pairs, JSON Lines")
    arguments.add_argument("--features", type=Path, help="cache of the features, .npz")
    arguments.add_argument("--heads", action="store_true", help="a head for each data set of the mixture too")
    arguments.add_argument("--verdict", type=Path, help="the model's own verdicts too; their cache, .npz")
    arguments.add_argument("--pairwise", action="store_true", help="the pairwise preference model too")
    options = arguments.parse_args()
    if not options.data.exists():
        raise SystemExit(f"{options.data} does not exist; name the file with --data.")
    return options


def main() -> None:
    """Print a line a data set on stderr and everything as JSON on stdout."""
    options = asked()
    sets = {"PandaLM": pandalm(options.data)}
    if options.hh:
        sets |= {"HH": transcripts(options.hh)}
        sets |= {"mixture": sets["PandaLM"] + sets["HH"]}
    everything = [pair for pairs in sets.values() for pair in pairs]
    responses = list(dict.fromkeys((chat, text) for chat, *both, _, _, _ in everything for text in both))
    x_N_F = features(responses, options.model, options.features)
    length_N = np.array([float(len(text)) for _, text in responses])
    verdict_N = verdicts(responses, options.model, options.verdict) if options.verdict else None
    table: dict[str, dict[str, object]] = {}
    for name, pairs in sets.items():
        judged = compared(pairs, responses)
        rows = np.unique(np.concatenate([judged.left, judged.right]))
        at = {row: place for place, row in enumerate(rows)}
        left, right = (np.array([at[row] for row in side]) for side in (judged.left, judged.right))
        judged = Comparisons(left, right, judged.prompt, judged.win, judged.loss, judged.tie)
        first = set(sets["PandaLM"])
        parts = {"": np.ones(len(judged), dtype=bool)}
        if name == "mixture":
            parts |= {", of PandaLM": np.array([pair in first for pair in pairs])}
            parts |= {", of HH": ~parts[", of PandaLM"]}
        for length in ("raw", "controlled"):
            settings = FitSettings(votes="all", ties=False, members=0, length=length)
            mine, long = x_N_F[rows], length_N[rows]
            ready = prepare(mine, judged, scaling_of(mine, settings), settings, length_N=long)
            cv = cross_validate(mine, judged, settings, long).calibrated
            ways = {length: ready}
            if verdict_N is not None:
                ways[f"{length}, verdict"] = with_verdict(ready, verdict_N[rows])
            if options.heads and name == "mixture" and length == "raw":
                sets_M = [parts[", of PandaLM"], parts[", of HH"]]
                ways |= {
                    f"a head each, {shared} shared": with_own_heads(ready, sets_M, shared)
                    for shared in SHARED
                }
            for (way, made), (part, counts_M) in product(ways.items(), parts.items()):
                key = f"{name}{part}, {way}"
                table[key] = {**tried(made, settings, long, counts_M)}
                table[key]["cross_validated"] = [round(cv.accuracy, 3), round(cv.log_loss, 3)]
                say(f"{key:32s} {table[key]}")
            if options.pairwise and length == "raw":
                spaces = skew_spaces(ready.subspace, ready.learned)
                key = f"{name}, pairwise"
                table[key] = {**tried(ready, preference_settings(settings), long, parts[""], spaces)}
                say(f"{key:32s} {table[key]}")
    lost = [each["longer_lost"][0] for key, each in table.items() if "controlled" in key]  # type: ignore[index]
    report(
        "unseen prompts", figures=table, ratio=round(min(lost) / 0.5, 3), versions=versions("torch", "numpy")
    )


if __name__ == "__main__":
    main()
