"""Score responses with an exported reward model: onnxruntime and tokenizers only, torch is never imported.

The folder is what `engine.jobs.export_onnx` wrote: `fp32.onnx`, `int8.onnx`, configuration, tokeniser and
chat template.  The score after every token of a response is the head at that token; the last one, at the
end-of-sequence token, is the score.
"""

from __future__ import annotations

import json
import os
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import numpy as np
import onnxruntime

from engine.errors import ModelFilesError, NonFiniteError, UsageError
from engine.text import Chat, ScoreTokens, Tokeniser

Precision = Literal["int8", "fp32"]
BATCH_TOKENS = 4096
"""Tokens in one run of the graph, padding included."""


@dataclass(frozen=True)
class Scored:
    """A response, scored."""

    score: float
    tokens: list[str]  # display strings, the last one the end-of-sequence token; may hold control characters
    token_scores: list[float]  # the score after each of `tokens`; the last is `score`
    prompt_score: float | None  # the head at the prompt's last token; None when the prompt was cut away
    cut: bool  # prompt and response were longer than `Scorer.max_tokens`


class Scorer:
    """An open session.  `score` may be called from any thread, one call at a time being quickest."""

    def __init__(
        self,
        session: onnxruntime.InferenceSession,
        tokeniser: Tokeniser,
        precision: Precision,
        max_tokens: int,
        folder: Path,
    ) -> None:
        self._session = session
        self.tokeniser = tokeniser
        self.precision = precision
        self.max_tokens = max_tokens
        self.folder = folder

    @classmethod
    def open(
        cls,
        onnx_folder: Path,
        precision: Precision = "int8",
        threads: int | None = None,
        max_tokens: int | None = None,
    ) -> Scorer:
        """Open the exported model of a precision, on CUDA where there is one (fp32 only), else on the CPU.

        `threads` defaults to the cores that this process may use.  Raises ModelFilesError for files that are
        missing, broken or do not fit each other, UsageError for an unknown precision.
        """
        folder = Path(onnx_folder)
        if precision not in ("int8", "fp32"):
            raise UsageError(f'"{precision}" is not a precision; choose int8 or fp32.')
        path = folder / f"{precision}.onnx"
        if not path.is_file():
            others = sorted(file.stem for file in folder.glob("*.onnx"))
            there = f"; there is {', '.join(others)}" if others else ""
            raise ModelFilesError(
                f"{folder} holds no {precision} model{there}; export the reward model first."
            )
        tokeniser = Tokeniser.from_folder(folder)
        _check_vocabulary(folder, tokeniser)
        session = _open_session(path, precision, threads)
        return cls(session, tokeniser, precision, max_tokens or tokeniser.score_tokens, folder)

    @property
    def backend(self) -> str:
        """As it is written beside a score: onnx-int8 or onnx-fp32."""
        return f"onnx-{self.precision}"

    @property
    def provider(self) -> str:
        """Where it runs, for a person: "CPU" or "CUDA"."""
        return str(self._session.get_providers()[0]).removesuffix("ExecutionProvider")

    def score(self, messages: Chat, responses: Sequence[str]) -> list[Scored]:
        """Score the responses to one prompt, in their order; an empty response is scored too.

        Raises NonFiniteError when the model gives a score that is not a number.
        """
        return self.score_many([(messages, response) for response in responses])

    def score_many(self, items: Sequence[tuple[Chat, str]]) -> list[Scored]:
        """Score any (prompt, response) pairs; pairs of similar length share a run of the graph."""
        encoded = [self.tokeniser.encode_for_score(chat, text, self.max_tokens) for chat, text in items]
        results: list[Scored | None] = [None] * len(encoded)
        for batch in _batches([len(tokens.ids) for tokens in encoded]):
            token_scores_NT = self._run([encoded[index].ids for index in batch])
            for row, index in enumerate(batch):
                results[index] = self._scored(encoded[index], token_scores_NT[row])
        return [result for result in results if result is not None]

    def _run(self, sequences: list[list[int]]) -> np.ndarray:
        """The head at every token, [N, T] float32, of sequences padded on the right."""
        width = max(map(len, sequences))
        ids_NT = np.full((len(sequences), width), self.tokeniser.pad_id, dtype=np.int64)
        for row, ids in enumerate(sequences):
            ids_NT[row, : len(ids)] = ids
        try:
            (token_scores_NT,) = self._session.run(["token_scores"], {"input_ids": ids_NT})
        except Exception as error:  # onnxruntime has no public tree of errors
            raise ModelFilesError(
                f"The model in {self.folder} cannot score this text ({_first_line(error)}); export it again."
            ) from error
        return np.asarray(token_scores_NT)

    def _scored(self, tokens: ScoreTokens, token_scores_T: np.ndarray) -> Scored:
        start, end = len(tokens.prompt), len(tokens.ids)
        scores = token_scores_T[start:end].tolist()
        if not np.isfinite(token_scores_T[:end]).all():
            raise NonFiniteError(
                f"The reward model in {self.folder} gives scores that are not numbers; "
                "train and export it again."
            )
        return Scored(
            score=scores[-1],
            tokens=self.tokeniser.pieces(tokens.response),
            token_scores=scores,
            prompt_score=float(token_scores_T[start - 1]) if start else None,
            cut=tokens.was_cut,
        )


def _batches(lengths: Sequence[int]) -> list[list[int]]:
    """Indices, longest first, in batches whose padded size stays under the budget."""
    batches: list[list[int]] = []
    for index in sorted(range(len(lengths)), key=lambda index: -lengths[index]):
        if batches and (len(batches[-1]) + 1) * lengths[batches[-1][0]] <= BATCH_TOKENS:
            batches[-1].append(index)
        else:
            batches.append([index])
    return batches


def _open_session(path: Path, precision: Precision, threads: int | None) -> onnxruntime.InferenceSession:
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = threads or _cores()
    options.add_session_config_entry("session.intra_op.allow_spinning", "0")  # the screen needs the cores too
    options.log_severity_level = 3  # errors; warnings would be written over the terminal
    providers = ["CPUExecutionProvider"]
    if precision == "fp32" and _has_cuda():  # the int8 operators have no CUDA kernels
        providers.insert(0, "CUDAExecutionProvider")
    try:
        return onnxruntime.InferenceSession(path, options, providers=providers)
    except Exception as error:
        raise ModelFilesError(f"{path} cannot be opened ({_first_line(error)}); export it again.") from error


def _has_cuda() -> bool:
    """Whether there is a CUDA device and an onnxruntime that can use it; its libraries are loaded if so."""
    if "CUDAExecutionProvider" not in onnxruntime.get_available_providers():
        return False
    if not any(Path("/dev").glob("nvidia[0-9]*")) and not Path("/dev/dxg").exists():
        return False
    onnxruntime.preload_dlls(directory="")  # of the nvidia packages, where there are any
    return True


def _cores() -> int:
    if hasattr(os, "sched_getaffinity"):
        return len(os.sched_getaffinity(0))
    return os.cpu_count() or 1


def _check_vocabulary(folder: Path, tokeniser: Tokeniser) -> None:
    path = folder / "config.json"
    try:
        config: dict[str, Any] = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise ModelFilesError(f"{path} cannot be read ({error}); export the reward model again.") from error
    size = config.get("vocab_size")
    if isinstance(size, int) and tokeniser.vocab_size > size:
        raise ModelFilesError(
            f"The tokeniser in {folder} has {tokeniser.vocab_size} tokens and the model knows {size}; "
            "they do not belong together: export the reward model again."
        )


def _first_line(error: Exception) -> str:
    return (str(error).strip() or type(error).__name__).splitlines()[0][:200].rstrip(".")
