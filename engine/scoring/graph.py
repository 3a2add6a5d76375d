"""An exported trunk in onnxruntime: token ids in, features and the keys and values of every layer out.

The graph is that of `engine.jobs.onnx_graph`.  Sequences of any lengths, each after a past of any length of
its own, go through in one run: new tokens are padded on the right, pasts on the right too, and the bias hides
the padding from everybody.
"""

from __future__ import annotations

import hashlib
import os
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import numpy as np
import onnxruntime

from engine.errors import ModelFilesError

Precision = Literal["int8", "fp16", "fp32"]
PRECISIONS: tuple[Precision, ...] = ("int8", "fp16", "fp32")
HIDDEN = np.float32(-1e30)
"""What the bias says where a token may not look."""
LAYERS, TOKENISER = "layers", "tokeniser"
"""Keys of the graph's own description: layers of the features, hash of the tokeniser it was exported with."""


@dataclass(frozen=True)
class Passage:
    """Tokens that went through the trunk, with what is needed to go on from any of them.  S tokens."""

    ids: np.ndarray  # [S] int64
    features: np.ndarray  # [S, F] float32
    past: tuple[np.ndarray, ...]  # keys of every layer, then values: [1, G, S, d]

    def __len__(self) -> int:
        return len(self.ids)

    @property
    def bytes(self) -> int:
        return self.ids.nbytes + self.features.nbytes + sum(array.nbytes for array in self.past)

    def until(self, length: int) -> Passage:
        """Its first tokens."""
        if length >= len(self):
            return self
        past = tuple(np.ascontiguousarray(array[:, :, :length]) for array in self.past)
        return Passage(self.ids[:length], self.features[:length], past)


class TrunkSession:
    """An open graph.  `run` may be called from any thread."""

    layers: tuple[int, ...]  # whose hidden states the features are
    width: int  # of the features of one token

    def __init__(self, path: Path, precision: Precision, threads: int | None = None) -> None:
        """Open a graph on CUDA where there is a device (not int8), else on the CPU.

        `threads` defaults to the cores that this process may use.  Raises ModelFilesError for a file that is
        broken or was not written by this export.
        """
        self.path = path
        self._session = _open(path, precision, threads)
        inputs = {entry.name: entry for entry in self._session.get_inputs()}
        self._past_names = [name for name in inputs if name.startswith("past_")]
        described = self._session.get_modelmeta().custom_metadata_map
        if "attention_bias" not in inputs or not self._past_names or LAYERS not in described:
            raise ModelFilesError(
                f"{path} was exported by another version of the workbench; export the reward model again."
            )
        self.layers = tuple(int(layer) for layer in described[LAYERS].split(",") if layer.strip().isdigit())
        self.tokeniser_hash = described.get(TOKENISER, "")
        first = inputs[self._past_names[0]]
        self._heads, self._size = int(first.shape[1]), int(first.shape[3])
        self.width = int(self._session.get_outputs()[0].shape[2])
        self._format = np.float16 if "float16" in first.type else np.float32

    @property
    def provider(self) -> str:
        """Where it runs, for a person: "CPU" or "CUDA"."""
        return str(self._session.get_providers()[0]).removesuffix("ExecutionProvider")

    @property
    def nothing(self) -> Passage:
        """The past of a sequence that has none."""
        shape = (1, self._heads, 0, self._size)
        past = tuple(np.zeros(shape, dtype=self._format) for _ in self._past_names)
        return Passage(np.zeros(0, dtype=np.int64), np.zeros((0, 0), dtype=np.float32), past)

    def extend(self, before: Passage, ids: Sequence[int]) -> Passage:
        """The passage with more tokens behind it; only those are computed."""
        new = np.asarray(ids, dtype=np.int64)
        features, *present = self._feed(
            new[None], np.arange(len(before), len(before) + len(new))[None],
            causal_bias([len(before)], [len(new)]), before.past,
        )  # fmt: skip
        features_S_F = features[0] if not len(before) else np.concatenate([before.features, features[0]])
        return Passage(np.concatenate([before.ids, new]), features_S_F, tuple(present))

    def run(
        self, pasts: Sequence[Passage], sequences: Sequence[Sequence[int]], pad_id: int, keep: bool = True
    ) -> list[Passage]:
        """The passages of some sequences, each behind its past, in one run of the graph.

        What comes back are the new tokens' features and, with `keep`, the keys and values of past and new.
        """
        lengths, befores = [len(ids) for ids in sequences], [len(past) for past in pasts]
        width = max(lengths)
        ids_N_T = np.full((len(sequences), width), pad_id, dtype=np.int64)
        for row, ids in enumerate(sequences):
            ids_N_T[row, : len(ids)] = ids
        positions_N_T = np.asarray(befores)[:, None] + np.arange(width)
        found = self._feed(ids_N_T, positions_N_T, causal_bias(befores, lengths), self._joined(pasts))
        features, present, longest = found[0], found[1:], max(befores)
        return [
            Passage(
                ids_N_T[row, :length],
                features[row, :length],
                tuple(_joined_row(array[row], before, longest, length) for array in present) if keep else (),
            )
            for row, (before, length) in enumerate(zip(befores, lengths, strict=True))
        ]

    def _joined(self, pasts: Sequence[Passage]) -> list[np.ndarray]:
        """Pasts padded on the right to the longest: [N, G, P, d] for every layer's keys and values."""
        longest = max(map(len, pasts))
        shape = (len(pasts), self._heads, longest, self._size)
        joined = [np.zeros(shape, dtype=self._format) for _ in self._past_names]
        for row, past in enumerate(pasts):
            for array, one in zip(joined, past.past, strict=True):
                array[row, :, : len(past)] = one[0]
        return joined

    def _feed(
        self, ids_N_T: np.ndarray, positions_N_T: np.ndarray, bias: np.ndarray, past: Sequence[np.ndarray]
    ) -> list[np.ndarray]:
        feed = {"input_ids": ids_N_T, "position_ids": positions_N_T, "attention_bias": bias}
        try:
            return list(self._session.run(None, feed | dict(zip(self._past_names, past, strict=True))))
        except Exception as error:  # onnxruntime has no public tree of errors
            raise ModelFilesError(
                f"The model in {self.path.parent} cannot score this text ({first_line(error)}); "
                "export it again."
            ) from error


def causal_bias(befores: Sequence[int], lengths: Sequence[int]) -> np.ndarray:
    """[N, 1, T, P + T]: each token sees the real past of its row, and its row's new tokens up to itself."""
    longest, width = max(befores), max(lengths)
    seen = np.zeros((len(lengths), 1, width, longest + width), dtype=bool)
    seen[:, :, :, :longest] = (np.arange(longest) < np.asarray(befores)[:, None])[:, None, None]
    seen[:, :, :, longest:] = np.tri(width, dtype=bool)
    return np.where(seen, np.float32(0), HIDDEN)


def _joined_row(array_G_S_d: np.ndarray, before: int, longest: int, length: int) -> np.ndarray:
    """Past and new tokens of one row without the padding between and behind them, [1, G, S, d]."""
    if before == longest:
        return np.ascontiguousarray(array_G_S_d[None, :, : before + length])
    parts = [array_G_S_d[:, :before], array_G_S_d[:, longest : longest + length]]
    return np.concatenate(parts, axis=1)[None]


def tokeniser_hash(folder: Path) -> str:
    """SHA-256 of the folder's tokenizer.json; "" when there is none."""
    path = folder / "tokenizer.json"
    return hashlib.sha256(path.read_bytes()).hexdigest() if path.is_file() else ""


def _open(path: Path, precision: Precision, threads: int | None) -> onnxruntime.InferenceSession:
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = threads or _cores()
    options.add_session_config_entry("session.intra_op.allow_spinning", "0")  # the screen needs the cores too
    options.log_severity_level = 4  # what goes wrong is raised; a log would be written over the terminal
    providers: list[Any] = ["CPUExecutionProvider"]
    if precision != "int8" and has_cuda():  # the int8 operators have no CUDA kernels
        providers.insert(0, "CUDAExecutionProvider")
    try:
        return onnxruntime.InferenceSession(path, options, providers=providers)
    except Exception as error:
        raise ModelFilesError(f"{path} cannot be opened ({first_line(error)}); export it again.") from error


def has_cuda() -> bool:
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


def first_line(error: Exception) -> str:
    """What an error of onnxruntime says first, at most 200 characters."""
    return (str(error).strip() or type(error).__name__).splitlines()[0][:200].rstrip(".")
