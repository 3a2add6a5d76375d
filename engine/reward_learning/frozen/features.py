"""The features of the responses that a run needs, computed once and kept for the next run.

Needed are the judged ones and, when the configuration asks for some, those that the label queue shows next.

Parts are written every few seconds, so that a stopped run goes on where it was; the whole then becomes
`features/features.parquet`.  Features of an earlier run on the same trunk are taken over.
"""

from __future__ import annotations

import json
import shutil
import time
from collections.abc import Generator, Iterator, Mapping, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

import numpy as np
from transformers import AutoConfig, AutoModel

from engine.errors import ModelFilesError, WorkbenchError
from engine.files import write_atomic
from engine.frozen.store import DESCRIPTION, FILE, FeatureInfo, FeatureStore, write_features
from engine.left_out import LeftOutTexts, encode_or_leave_out
from engine.models.device import resolve_device
from engine.models.features import FEATURE_TOKENS, default_layers, features_of, fingerprint
from engine.models.parts import place
from engine.models.policy import load_weights
from engine.models.trunk import Trunk
from engine.protocol.configs import JobConfig, RewardConfig
from engine.protocol.events import Artifact, Event, Message, Progress
from engine.protocol.rundir import RunDir
from engine.scoring.head import FeaturePart
from engine.tables import read_rows
from engine.text import Tokeniser
from engine.wording import counted

PARTS: tuple[FeaturePart, ...] = ("last", "mean")
SECONDS_A_PART = 20.0


def response_features(
    config: RewardConfig, run: RunDir, folder: Path, tokeniser: Tokeniser
) -> Generator[Event, None, FeatureStore]:
    """Features of all responses of the tables `responses` and `rankings`, by the trunk in `folder`.

    Texts are cut as in scoring, so that the head reads later what it was fitted to.  Prompts that cannot be
    encoded are left out with their responses.
    """
    info = feature_info(config, folder, tokeniser)
    rows, left_out = _usable_responses(run, tokeniser)
    yield from left_out.messages()
    destination = run.artifact_dir("features")
    if not _complete(destination / FILE, info, rows):
        parts = run.artifact_dir("features/parts")
        files = _holding(rows, [*sorted(parts.glob("part-*.parquet")), *_earlier(run)], info)
        known = FeatureStore(info, files)
        missing = known.missing(rows)
        if len(known) and len(missing) < len(rows):
            there = counted(len(rows) - len(missing), "response")
            yield Message(level="info", text=f"There already: the features of {there}.")
        if missing:
            waiting = {response: rows[response] for response in missing}
            yield from _compute(config, folder, tokeniser, info, waiting, parts)
        fresh = [part for part in sorted(parts.glob("part-*.parquet")) if part not in files]
        whole = FeatureStore(info, _usable([*files, *fresh], info))
        write_features(destination / FILE, info, whole.batches(sorted(rows)))
        description = json.dumps(asdict(info) | {"responses": len(rows), "computed": len(missing)})
        write_atomic(destination / DESCRIPTION, (description + "\n").encode())
        shutil.rmtree(parts)
    yield Artifact(
        kind="features",
        name=config.policy,
        path=run.relative(destination),
        details={
            "base": config.policy,
            "layers": ",".join(map(str, info.layers)),
            "width": info.width,
            "responses": len(rows),
        },
    )
    return FeatureStore.open(destination)


def feature_info(config: RewardConfig, folder: Path, tokeniser: Tokeniser) -> FeatureInfo:
    """What this run's features are of."""
    try:
        text: Any = AutoConfig.from_pretrained(folder, local_files_only=True).get_text_config()
    except (OSError, ValueError) as error:
        raise ModelFilesError(f"The configuration in {folder} cannot be read ({error}).") from error
    layers = default_layers(text.num_hidden_layers)
    return FeatureInfo(
        base=config.policy,
        trunk=fingerprint(folder),
        layers=layers,
        parts=PARTS,
        width=len(PARTS) * len(layers) * text.hidden_size,
        dtype=config.dtype,
        template=tokeniser.score_template,
        max_tokens=tokeniser.at_most(config.limit_of("frozen")),
    )


def _all_responses(run: RunDir) -> dict[str, dict[str, Any]]:
    """Every response of the input tables, by its id."""
    columns = ["response_id", "messages", "text"]
    names = [name for name in ("responses", "rankings") if name in run.inputs.tables]
    return {row["response_id"]: row for name in names for row in read_rows(run.table(name), columns)}


def _usable_responses(run: RunDir, tokeniser: Tokeniser) -> tuple[dict[str, dict[str, Any]], LeftOutTexts]:
    """`_all_responses` without those whose prompt cannot be encoded, and these prompts.

    A row also has `prompt_tokens`, how many its prompt has.
    """
    usable, left_out = {}, LeftOutTexts()
    lengths: dict[str, int] = {}  # by prompt; 0 for one that cannot be encoded
    for response, row in _all_responses(run).items():
        key = json.dumps(row["messages"])
        if key not in lengths:
            lengths[key] = len(encode_or_leave_out(tokeniser, row["messages"], None, left_out) or ())
        if lengths[key]:
            usable[response] = row | {"prompt_tokens": lengths[key]}
    return usable, left_out


def cut_responses(run: RunDir, tokeniser: Tokeniser, max_tokens: int) -> set[str]:
    """Responses of the tables of which, with their prompt, the trunk reads a part only."""
    rows, _ = _usable_responses(run, tokeniser)
    return {
        response
        for response, row in rows.items()
        if row["prompt_tokens"] + len(tokeniser.encode_response(row["text"])) + 1 > max_tokens
    }


def _earlier(run: RunDir) -> list[Path]:
    """The features of earlier runs that this one was given, the newest first."""
    return [run.table(name) for name in run.inputs.tables if name.partition("_")[0] == "features"]


def _holding(rows: Mapping[str, Any], files: Sequence[Path], info: FeatureInfo) -> list[Path]:
    """The files that have features of some of the rows, no more of them than are needed."""
    holding, missing = [], list(rows)
    for path in _usable(files, info):
        if not missing:
            break
        lacking = FeatureStore.open(path).missing(missing)
        if len(lacking) < len(missing):
            holding.append(path)
            missing = lacking
    return holding


def _usable(files: Sequence[Path], info: FeatureInfo) -> list[Path]:
    """The files that can be read and are of the same trunk, layers and parts."""
    usable = []
    for path in files:
        try:
            if FeatureInfo.of(path).fits(info):
                usable.append(path)
        except WorkbenchError:  # a file of an older kind, or gone: its features are computed anew
            continue
    return usable


def _complete(path: Path, info: FeatureInfo, rows: dict[str, Any]) -> bool:
    return bool(_usable([path], info)) and not FeatureStore.open(path).missing(rows)


def load_trunk(folder: Path, config: JobConfig, tokeniser: Tokeniser) -> Trunk:
    """The model in `folder` without its head.  Raises ModelFilesError when weights are missing."""
    device = resolve_device(config.device)
    model, missing = load_weights(AutoModel, folder, config.dtype)
    if missing:
        raise ModelFilesError(f"{folder} lacks weights ({sorted(missing)[0]}); copy or save it again.")
    return Trunk.of(place(model, device).eval(), tokeniser.pad_id, device)


def _compute(
    config: RewardConfig,
    folder: Path,
    tokeniser: Tokeniser,
    info: FeatureInfo,
    waiting: dict[str, dict[str, Any]],
    parts: Path,
) -> Iterator[Event]:
    """Run the waiting responses through the trunk, writing a part every few seconds."""
    yield Progress(stage="loading model", done=0, total=1)
    trunk = load_trunk(folder, config, tokeniser)
    yield Progress(stage="loading model", done=1, total=1)
    if trunk.why_not_packed:
        yield Message(level="info", text=f"Responses are encoded one by one: {trunk.why_not_packed}.")
    encoded = [
        tokeniser.encode_for_score(row["messages"], row["text"], info.max_tokens) for row in waiting.values()
    ]
    ids, pairs = list(waiting), [(tokens.prompt, tokens.response) for tokens in encoded]
    pending: list[tuple[list[str], np.ndarray]] = []
    done, started = 0, time.monotonic()
    written = started
    for places, features_n_F in features_of(trunk, pairs, info.layers, PARTS, FEATURE_TOKENS):
        pending.append(([ids[i] for i in places], features_n_F.numpy()))
        done += len(places)
        if time.monotonic() - written > SECONDS_A_PART or done == len(ids):
            number = len(list(parts.glob("part-*.parquet"))) + 1
            write_features(parts / f"part-{number:06d}.parquet", info, pending)
            pending, written = [], time.monotonic()
        rate = done / max(time.monotonic() - started, 1e-9)
        yield Progress(
            stage="features", done=done, total=len(ids), unit="responses", rate=rate, rate_unit="responses/s"
        )
