"""Export a reward model to ONNX and verify it against torch on stored responses before anybody may use it.

The graph takes `input_ids` [N, T], padded on the right, and gives `token_scores` [N, T]: the head at every
token.  Attention is causal, so padding on the right changes nothing before it and no mask is needed; the
score of a response is that of its last real token.  The `onnx` folder also holds configuration and tokeniser
files: it is all that `engine.scoring` needs.
"""

from __future__ import annotations

import logging
import os
import random
import shutil
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import onnxruntime
import torch
from transformers import PreTrainedModel

from engine.errors import UsageError, VerificationError
from engine.jobs.background import in_background
from engine.jobs.quantise import ONE_FILE_BYTES, quantise
from engine.jobs.scoring import batches_by_length, padded, score_batches
from engine.jobs.tables import read_rows
from engine.models.catalogue import resolving
from engine.models.files import copy_tokeniser
from engine.models.reward import load_reward_model, token_scores
from engine.protocol.configs import ExportConfig
from engine.protocol.events import Artifact, Event, Finished, Message, Progress
from engine.protocol.rundir import RunDir
from engine.text import Tokeniser

OPSET = 20
VERIFY_TOKENS = 1024
"""Tokens a batch while verifying."""


def run(config: ExportConfig, run: RunDir) -> Iterator[Event]:
    """Yield an Artifact for each file that passed.

    Raises VerificationError when float32 ONNX differs from torch by more than `tolerance`; an int8 file whose
    rank agreement is below `tau_int8` is thrown away, with a warning.
    """
    folder = yield from resolving(run.model("reward_model").folder)
    tokeniser = Tokeniser.from_folder(folder)
    sequences = _sequences(config, run, tokeniser)
    yield Progress(stage="loading model", done=0)
    model = load_reward_model(folder, "float32")
    scratch = _fresh(run.path / ".onnx.tmp")
    try:
        fp32 = scratch / "fp32.onnx"
        expected = yield from in_background(
            "scoring with torch", lambda: torch_scores(model, sequences, tokeniser)
        )
        yield from in_background("exporting", lambda: export(model, fp32))
        report = yield from in_background(
            "verifying fp32", lambda: compare(expected, onnx_scores(fp32, sequences, tokeniser))
        )
        if not report.max_difference <= config.tolerance:  # NaN fails too
            raise VerificationError(_disagrees(report, config))
        copy_text_files(folder, run.artifact_dir("onnx"))
        yield _keep(run, fp32, "fp32", report)
        summary = {"fp32_max_difference": report.max_difference, "fp32_kendall_tau": report.kendall_tau}
        if config.int8:
            yield from _int8(config, run, scratch, sequences, tokeniser, expected, summary)
    finally:
        shutil.rmtree(scratch, ignore_errors=True)
    yield Finished(summary=summary | {"samples": len(sequences)})


def _int8(
    config: ExportConfig,
    run: RunDir,
    scratch: Path,
    sequences: list[list[int]],
    tokeniser: Tokeniser,
    expected: np.ndarray,
    summary: dict[str, float],
) -> Iterator[Event]:
    """Quantise, verify, and keep what agrees well enough."""
    int8 = scratch / "int8.onnx"
    kept = run.artifact_dir("onnx") / "fp32.onnx"
    yield from in_background("quantising", lambda: _quantise(kept, int8, sequences))
    report = yield from in_background(
        "verifying int8", lambda: compare(expected, onnx_scores(int8, sequences, tokeniser))
    )
    summary |= {"int8_max_difference": report.max_difference, "int8_kendall_tau": report.kendall_tau}
    if report.kendall_tau >= config.tau_int8:
        yield _keep(run, int8, "int8", report)
    else:
        yield Message(
            level="warning",
            text=f"The int8 model ranks {report.samples} stored responses too differently from torch: "
            f"Kendall τ {report.kendall_tau:.3f}, {config.tau_int8:g} wanted; largest difference "
            f"{report.max_difference:.3g}.  Only the fp32 model is registered.",
        )


@dataclass(frozen=True)
class Agreement:
    """How far two backends agree on the same responses; differences in units of score."""

    max_difference: float
    mean_difference: float
    kendall_tau: float
    samples: int

    def details(self) -> dict[str, float | int | str | bool]:
        return {
            "max_difference": self.max_difference,
            "mean_difference": self.mean_difference,
            "kendall_tau": self.kendall_tau,
            "samples": self.samples,
        }


class _Graph(torch.nn.Module):
    """What is exported."""

    def __init__(self, model: PreTrainedModel) -> None:
        super().__init__()
        self.model = model

    def forward(self, input_ids: torch.Tensor) -> torch.Tensor:
        return token_scores(self.model, input_ids)


def export(model: PreTrainedModel, path: Path) -> None:
    """Write the float32 graph with any number of sequences of any length."""
    weights = sum(parameter.numel() * 4 for parameter in model.parameters())
    with _quiet_exporter():
        program = torch.onnx.export(
            _Graph(model).eval(),
            (torch.ones(2, 8, dtype=torch.long),),
            dynamo=True,
            dynamic_shapes={"input_ids": {0: "N", 1: "T"}},
            input_names=["input_ids"],
            output_names=["token_scores"],
            opset_version=OPSET,
            verbose=False,
        )
        assert program is not None  # only the exporter without dynamo returns nothing
        program.save(str(path), external_data=weights > ONE_FILE_BYTES)


def _quantise(source: Path, destination: Path, sequences: list[list[int]]) -> None:
    with _quiet_exporter():
        quantise(source, destination, sequences)


def torch_scores(model: PreTrainedModel, sequences: list[list[int]], tokeniser: Tokeniser) -> np.ndarray:
    """float32 scores: what the exported graph must reproduce.  [samples]"""
    scores = np.full(len(sequences), np.nan)
    for batch, found in score_batches(model, sequences, tokeniser.pad_id, VERIFY_TOKENS):
        scores[batch] = found
    return scores


def onnx_scores(path: Path, sequences: list[list[int]], tokeniser: Tokeniser) -> np.ndarray:
    """Scores of an exported graph on padded batches, as it will be used.  [samples]"""
    session = onnxruntime.InferenceSession(path, providers=["CPUExecutionProvider"])
    scores = np.full(len(sequences), np.nan)
    for batch in batches_by_length([len(ids) for ids in sequences], VERIFY_TOKENS):
        ids_NT, lengths = padded([sequences[index] for index in batch], tokeniser.pad_id)
        (found_NT,) = session.run(["token_scores"], {"input_ids": ids_NT.numpy()})
        scores[batch] = found_NT[np.arange(len(batch)), lengths.numpy() - 1]
    return scores


def compare(expected: np.ndarray, found: np.ndarray) -> Agreement:
    """Largest and mean absolute difference, and Kendall's τ-b."""
    difference = np.abs(expected - found)
    return Agreement(
        float(difference.max()), float(difference.mean()), kendall_tau(expected, found), len(expected)
    )


def kendall_tau(first: np.ndarray, second: np.ndarray) -> float:
    """Kendall's τ-b, with ties (Kendall 1945).  1 when both are constant, 0 when one is."""
    upper = np.triu_indices(len(first), 1)
    a, b = (np.sign(values[:, None] - values[None, :])[upper] for values in (first, second))
    spread = float(np.count_nonzero(a)) * float(np.count_nonzero(b))
    if spread == 0.0:
        return 1.0 if not a.any() and not b.any() else 0.0
    return float((a * b).sum() / np.sqrt(spread))


def _sequences(config: ExportConfig, run: RunDir, tokeniser: Tokeniser) -> list[list[int]]:
    """Tokens of the responses to verify on: a seeded choice of the stored ones."""
    rows = read_rows(run.table("responses"), ["messages", "text"])
    if len(rows) < 2:
        raise UsageError(
            f"An export is verified on stored responses, and there are {len(rows)}; generate or import some."
        )
    chosen = random.Random(config.seed).sample(rows, min(config.samples, len(rows)))
    limit = tokeniser.score_tokens
    return [tokeniser.encode_for_score(row["messages"], row["text"], limit).ids for row in chosen]


def _disagrees(report: Agreement, config: ExportConfig) -> str:
    return (
        f"The exported model disagrees with torch on {report.samples} stored responses: largest difference "
        f"{report.max_difference:.3g}, mean {report.mean_difference:.3g}, {config.tolerance:g} allowed "
        f"(Kendall τ {report.kendall_tau:.3f}); it is not registered."
    )


def _keep(run: RunDir, path: Path, name: str, report: Agreement) -> Artifact:
    """Move a verified file, and its weights where they are apart, to the onnx folder."""
    for file in (path, path.with_name(path.name + ".data")):
        if file.exists():
            file.chmod(0o600)
            os.replace(file, run.artifact_dir("onnx") / file.name)
    return Artifact(kind="onnx", name=name, path=f"onnx/{path.name}", details=report.details())


def copy_text_files(source: Path, destination: Path) -> None:
    """What the scorer needs besides the graph: configuration, tokeniser, chat template."""
    copy_tokeniser(source, destination)
    shutil.copyfile(source / "config.json", destination / "config.json")
    for file in destination.iterdir():
        file.chmod(0o600)


def _fresh(folder: Path) -> Path:
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir(mode=0o700)
    return folder


@contextmanager
def _quiet_exporter() -> Iterator[None]:
    """The exporter warns of its own deprecations and of packages that it does without."""
    exporter = logging.getLogger("torch.onnx")
    level, disabled = exporter.level, logging.root.manager.disable
    exporter.setLevel(logging.ERROR)
    logging.disable(logging.WARNING)  # the quantiser speaks through the root logger
    try:
        with warnings.catch_warnings():
            warnings.filterwarnings(
                "ignore", message=r"`isinstance\(treespec, LeafSpec\)`", category=FutureWarning
            )
            warnings.filterwarnings("ignore", category=DeprecationWarning, module=r"(onnx|torch|onnxscript)")
            yield
    finally:
        exporter.setLevel(level)
        logging.disable(disabled)
