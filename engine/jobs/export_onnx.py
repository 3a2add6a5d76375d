"""Export a reward model to ONNX and verify it against torch on stored responses before anybody may use it.

The trunk becomes a graph (`engine.onnx.trunk_graph`), the head lies beside it: a head that was refitted needs
no export.  The `onnx` folder also holds configuration and tokeniser files: it is all that `engine.scoring`
needs, and every file is verified through it, as it will be used.
"""

from __future__ import annotations

import os
import random
import shutil
from collections.abc import Callable, Generator, Iterator, Sequence
from functools import partial
from pathlib import Path
from typing import Any, cast

import numpy as np
import onnx
import torch
from transformers import PreTrainedModel

from engine.errors import UsageError, VerificationError
from engine.jobs.background import in_background
from engine.left_out import REFUSED, LeftOutTexts, encode_or_leave_out, name_of
from engine.models.catalogue import resolving
from engine.models.files import copy_tokeniser
from engine.models.probe_chats import probe_chats
from engine.models.reward_model import RewardModel, load_reward_model
from engine.onnx.agreement import ScoreAgreement, compare
from engine.onnx.integers import largest_integer
from engine.onnx.quantise import CALIBRATION_SEQUENCES, quantise
from engine.onnx.trunk_graph import ask_for_present, export_trunk, quiet_exporter, without_idle_reshapes
from engine.protocol.configs import ExportConfig
from engine.protocol.events import Artifact, Event, Finished, Message, Progress
from engine.protocol.rundir import RunDir
from engine.scoring.graph import (
    FULLY_HIDDEN,
    HIDING,
    LAYERS,
    TOKENISER,
    Precision,
    has_cuda,
    tokeniser_hash,
)
from engine.scoring.scorer import Scorer
from engine.tables import read_rows
from engine.text import Chat, Tokeniser

TAU_FP32 = 0.99
VERIFY_TOKENS = 1024
"""Tokens a batch of torch while verifying."""


def run(config: ExportConfig, directory: RunDir) -> Iterator[Event]:
    """Yield an Artifact for each file that passed.

    Raises VerificationError when float32 ONNX differs from torch by more than `tolerance` or ranks otherwise;
    an int8 or float16 file whose rank agreement is too low is thrown away, with a warning.
    """
    folder = yield from resolving(directory.model("reward_model").folder)
    tokeniser = Tokeniser.from_folder(folder)
    samples, others = _samples(config, directory, tokeniser)
    calibration = [_tokens(tokeniser, *other) for other in others]
    yield Progress(stage="loading model", done=0)
    reward_model = load_reward_model(folder, "float32")
    expected_N = yield from in_background(
        "scoring with torch", lambda: torch_scores(reward_model, samples, tokeniser)
    )
    summary: dict[str, float | int | str | None] = {}
    scratch = _fresh(directory.path / ".onnx.tmp")
    try:
        write_beside(folder, reward_model, scratch)
        for name, attempts in _attempts(config, reward_model, scratch, calibration).items():
            report = yield from _written(name, attempts, config, scratch, samples, expected_N)
            summary |= {f"{name}_{key}": value for key, value in report.details().items() if key != "samples"}
            accepted = _accepted(name, report, config)
            if name == "fp32" and not accepted:
                raise VerificationError(_disagrees(report, config))
            if accepted:
                yield _keep(directory, scratch, name, report)
            else:
                yield Message(level="warning", text=_ranks_differently(name, report, config))
    finally:
        shutil.rmtree(scratch, ignore_errors=True)
    yield Finished(summary=summary | {"samples": len(samples)})


def _attempts(
    config: ExportConfig, reward_model: RewardModel, folder: Path, calibration: Sequence[list[int]]
) -> dict[Precision, list[Callable[[], None]]]:
    """What to write, in order: for every precision the calls that write its file, the quickest first."""
    attempts: dict[Precision, list[Callable[[], None]]] = {
        "fp32": [
            lambda: export(reward_model.model, reward_model.layers, folder, "fp32"),
            lambda: hide_fully(folder / "fp32.onnx"),
        ]
    }
    if config.int8:
        attempts["int8"] = [partial(to_int8, folder, calibration, careful) for careful in (False, True)]
    if config.fp16 == "always" or (config.fp16 == "auto" and has_cuda()):
        attempts["fp16"] = [lambda: export(reward_model.model.half(), reward_model.layers, folder, "fp16")]
    return attempts


def _written(
    name: Precision,
    attempts: Sequence[Callable[[], None]],
    config: ExportConfig,
    scratch: Path,
    samples: Sequence[tuple[Chat, str]],
    expected_N: np.ndarray,
) -> Generator[Event, None, ScoreAgreement]:
    """Write a file and compare it, again as long as it ranks otherwise and there is another way."""
    for number, write in enumerate(attempts, 1):
        yield from in_background(_stage(name), write)
        found_N = yield from in_background(f"verifying {name}", partial(onnx_scores, scratch, name, samples))
        report = compare(expected_N, found_N)
        if number == len(attempts) or _accepted(name, report, config):
            break
        yield Message(level="info", text=_again(name, report, config))
    return report


def export(model: PreTrainedModel, layers: Sequence[int], folder: Path, precision: Precision) -> None:
    """Write the graph of a model's trunk into a folder that holds its tokeniser already."""
    path = folder / f"{precision}.onnx"
    export_trunk(cast(PreTrainedModel, model.base_model), layers, path)
    graph = onnx.load(path, load_external_data=False)
    without_idle_reshapes(graph.graph)
    ask_for_present(graph.graph)
    described = {LAYERS: ",".join(map(str, layers)), TOKENISER: tokeniser_hash(folder)}
    first = folder / "fp32.onnx"  # what hides tokens there was found to be right
    if precision != "fp32" and first.exists():
        described = _description(onnx.load(first, load_external_data=False)) | described
    onnx.helper.set_model_props(graph, described)
    onnx.save(graph, path)


def hide_fully(path: Path) -> None:
    """Let a graph's own description say that hidden tokens must be as far away as can be."""
    graph = onnx.load(path, load_external_data=False)
    onnx.helper.set_model_props(graph, _description(graph) | {HIDING: str(FULLY_HIDDEN)})
    onnx.save(graph, path)


def _description(graph: onnx.ModelProto) -> dict[str, str]:
    return {entry.key: entry.value for entry in graph.metadata_props}


def to_int8(folder: Path, sequences: Sequence[list[int]], careful: bool = False) -> None:
    """Write the int8 graph of the float32 one in the folder, measured on some token sequences.

    Its weights have seven bits where this machine would add up eight wrongly; such a file is right anywhere.
    """
    with quiet_exporter():
        quantise(folder / "fp32.onnx", folder / "int8.onnx", sequences, careful, largest_integer())


def write_beside(source: Path, reward_model: RewardModel, destination: Path) -> None:
    """What the scorer needs besides a graph: head, configuration, tokeniser, chat template."""
    copy_tokeniser(source, destination)
    shutil.copyfile(source / "config.json", destination / "config.json")
    reward_model.head().save(destination)
    for file in destination.iterdir():
        file.chmod(0o600)


def torch_scores(
    reward_model: RewardModel, samples: Sequence[tuple[Chat, str]], tokeniser: Tokeniser
) -> np.ndarray:
    """float32 scores by the first criterion: what the exported graph must reproduce.  [N]"""
    limit = tokeniser.score_tokens
    encoded = [tokeniser.encode_for_score(chat, text, limit) for chat, text in samples]
    pairs = [(tokens.prompt, tokens.response) for tokens in encoded]
    with torch.no_grad():
        return reward_model.scores_of(pairs, VERIFY_TOKENS)[:, 0].numpy().astype(np.float64)


def onnx_scores(folder: Path, precision: Precision, samples: Sequence[tuple[Chat, str]]) -> np.ndarray:
    """Scores of an exported model through the scorer, as it will be used.  [N]"""
    return np.array([scored.score for scored in Scorer.open(folder, precision).score_many(samples)])


def _samples(
    config: ExportConfig, run: RunDir, tokeniser: Tokeniser
) -> tuple[list[tuple[Chat, str]], list[tuple[Chat, str]]]:
    """The responses to verify on, and those to measure activations on: a seeded choice of the stored ones.

    They are different ones as far as there are enough.
    """
    rows, left_out = read_rows(run.table("responses"), ["messages", "text"]), LeftOutTexts()
    samples = [(row["messages"], row["text"]) for row in rows if _can_be_read(tokeniser, row, left_out)]
    if not tokeniser.reads_tokens and len(samples) < CALIBRATION_SEQUENCES:
        samples += probe_chats()  # a reward model from elsewhere may come before any response
    if not samples and len(left_out):
        raise left_out.nothing_left("import some")
    if len(samples) < 2:
        raise UsageError(
            f"An export is verified on two stored responses at least, not {len(samples)}; "
            "generate or import some."
        )
    count = min(config.samples + CALIBRATION_SEQUENCES, len(samples))
    chosen = random.Random(config.seed).sample(samples, count)
    return chosen[: config.samples], chosen[-CALIBRATION_SEQUENCES:]


def _can_be_read(tokeniser: Tokeniser, row: dict[str, Any], left_out: LeftOutTexts) -> bool:
    if encode_or_leave_out(tokeniser, row["messages"], None, left_out) is None:
        return False
    try:
        tokeniser.encode_for_score(row["messages"], row["text"])
    except UsageError as error:  # of a whole conversation
        left_out.add(REFUSED, name_of(row["messages"]), str(error))
        return False
    return True


def _tokens(tokeniser: Tokeniser, chat: Chat, text: str) -> list[int]:
    return tokeniser.encode_for_score(chat, text, tokeniser.score_tokens).ids


def _accepted(name: Precision, report: ScoreAgreement, config: ExportConfig) -> bool:
    """Whether a precision agrees as it must; NaN does not."""
    if name == "fp32":
        return report.max_difference <= config.tolerance and report.kendall_tau >= TAU_FP32
    return report.kendall_tau >= config.tau_int8


def _again(name: Precision, report: ScoreAgreement, config: ExportConfig) -> str:
    if name == "fp32":
        return (
            f"Scores differ by up to {report.max_difference:.3g} from torch's, {config.tolerance:g} allowed; "
            "trying again with hidden tokens further away, which is slower."
        )
    return (
        f"Kendall τ of the {name} model is {report.kendall_tau:.3f}, {config.tau_int8:g} wanted; "
        "trying again with its most delicate products in float32."
    )


def _stage(precision: Precision) -> str:
    return "quantising" if precision == "int8" else f"exporting {precision}"


def _disagrees(report: ScoreAgreement, config: ExportConfig) -> str:
    return (
        f"The exported model disagrees with torch on {report.samples} stored responses: largest difference "
        f"{report.max_difference:.3g}, mean {report.mean_difference:.3g}, {config.tolerance:g} allowed; "
        f"Kendall τ {report.kendall_tau:.3f}, {TAU_FP32:g} wanted; it is not registered."
    )


def _ranks_differently(precision: Precision, report: ScoreAgreement, config: ExportConfig) -> str:
    return (
        f"The {precision} model ranks {report.samples} stored responses too differently from torch: "
        f"Kendall τ {report.kendall_tau:.3f}, {config.tau_int8:g} wanted; largest difference "
        f"{report.max_difference:.3g}. It is not registered."
    )


def _keep(run: RunDir, scratch: Path, name: Precision, report: ScoreAgreement) -> Artifact:
    """Put a verified graph, and what lies beside it, into the onnx folder."""
    folder = run.artifact_dir("onnx")
    for file in scratch.iterdir():
        if file.name in (f"{name}.onnx", f"{name}.onnx.data") or file.suffix not in (".onnx", ".data"):
            copy = folder / file.name
            copy.unlink(missing_ok=True)
            try:
                os.link(file, copy)  # the float32 graph is still needed where it is
            except OSError:  # a file system without links
                shutil.copyfile(file, copy)
            copy.chmod(0o600)
    return Artifact(kind="onnx", name=name, path=f"onnx/{name}.onnx", details=report.details())


def _fresh(folder: Path) -> Path:
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir(mode=0o700)
    return folder
