"""An exported trunk in onnxruntime: token ids in, features and the keys and values of every layer out.

The graph is that of `engine.onnx.trunk_graph`.  Sequences of any lengths, each after a past of any length of
its own, go through in one run: new tokens are padded on the right, pasts on the right too, and the bias hides
the padding from everybody.
"""

from __future__ import annotations

import hashlib
import threading
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import numpy as np
import onnxruntime

from engine.cores import usable_cores
from engine.errors import ModelFilesError

Precision = Literal["int8", "fp16", "fp32"]
PRECISIONS: tuple[Precision, ...] = ("int8", "fp16", "fp32")
HIDDEN, FULLY_HIDDEN = -50.0, -1e30
"""What the bias says where a token may not look: e⁻⁵⁰ is nothing beside 1 in float32.

Anything below -80 makes numbers too small for the normal format, on which processors take some twice as long
over the whole of attention.  A model whose visible scores get as low as -50 needs the other one: the export
finds out and writes it into the graph.
"""
SPIN_US = "100"
"""Microseconds that a thread stays awake after an operator."""
ROOM = 32
"""Tokens by which a cache of keys and values grows: it is copied so often while somebody types."""
LAYERS, TOKENISER, HIDING = "layers", "tokeniser", "hidden"
"""Keys of the graph's own description: layers of the features, hash of its tokeniser, what hides a token."""


class KeysAndValues:
    """Keys and values of a text that grows at its end: of every layer [1, G, capacity, d], keys first.

    Several passages read one buffer, each its own length of it; what is behind may be written.  All of it
    goes into the graph as it lies here, and the bias hides what a passage has not got.
    """

    def __init__(self, arrays: tuple[np.ndarray, ...], length: int) -> None:
        self.arrays = arrays
        self._length = length
        self._lock = threading.Lock()

    @classmethod
    def empty(cls, layers: int, heads: int, size: int, capacity: int, dtype: Any) -> KeysAndValues:
        """Zeros: what is hidden must still be finite."""
        arrays = tuple(np.zeros((1, heads, capacity, size), dtype=dtype) for _ in range(2 * layers))
        return cls(arrays, 0)

    @property
    def capacity(self) -> int:
        """Tokens that there is room for."""
        return int(self.arrays[0].shape[2])

    @property
    def bytes(self) -> int:
        """Memory that the buffer holds, its free room included."""
        return sum(array.nbytes for array in self.arrays)

    def extended(self, length: int, new: Sequence[np.ndarray]) -> KeysAndValues:
        """These with more tokens behind the first `length`: `new` of every layer, [T, G·d].

        In place where nobody has written behind `length` yet and there is room, else in a copy.
        """
        count = len(new[0])
        with self._lock:
            free = self._length == length and length + count <= self.capacity
            if free:
                self._length = length + count
        target = self if free else self._copied(length, count)
        for array, tokens in zip(target.arrays, new, strict=True):
            _, heads, _, size = array.shape
            array[0, :, length : length + count] = tokens.reshape(count, heads, size).transpose(1, 0, 2)
        return target

    def _copied(self, length: int, more: int) -> KeysAndValues:
        """The first tokens in a buffer of their own, with room for `more` and some."""
        _, heads, _, size = self.arrays[0].shape
        capacity = -(-(length + more + ROOM) // ROOM) * ROOM
        layers, dtype = len(self.arrays) // 2, self.arrays[0].dtype
        copy = KeysAndValues.empty(layers, heads, size, capacity, dtype)
        for array, source in zip(copy.arrays, self.arrays, strict=True):
            array[:, :, :length] = source[:, :, :length]
        copy._length = length + more
        return copy


@dataclass(frozen=True)
class Passage:
    """Tokens that went through the trunk, with what is needed to go on from them.  S tokens.

    The last ones may lack keys and values: no text goes on behind an end-of-sequence token.
    """

    ids: np.ndarray  # [S] int64
    features: np.ndarray  # [S, F] float32
    cached: KeysAndValues
    known: int  # tokens whose keys and values are cached, at most S

    def __len__(self) -> int:
        return len(self.ids)

    @property
    def bytes(self) -> int:
        """Memory of its tokens, features, keys and values."""
        return self.ids.nbytes + self.features.nbytes + self.cached.bytes

    def until(self, length: int) -> Passage:
        """Its first tokens, of those that can be gone on from."""
        length = min(length, self.known)
        return Passage(self.ids[:length], self.features[:length], self.cached, length)


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
        outputs = {entry.name for entry in self._session.get_outputs()}
        if "new_key_0" not in outputs or not self._past_names or LAYERS not in described:
            raise ModelFilesError(
                f"{path} was exported by another version of the workbench; export the reward model again."
            )
        self.layers = tuple(int(layer) for layer in described[LAYERS].split(",") if layer.strip().isdigit())
        self.tokeniser_hash = described.get(TOKENISER, "")
        self._hidden = float(described.get(HIDING, HIDDEN))
        first = inputs[self._past_names[0]]
        self._heads, self._size = int(first.shape[1]), int(first.shape[3])
        self._new_names = [name.replace("past_", "new_", 1) for name in self._past_names]
        self.width = int(self._session.get_outputs()[0].shape[2])
        self._format = np.float16 if "float16" in first.type else np.float32

    @property
    def provider(self) -> str:
        """Where it runs, for a person: "CPU" or "CUDA"."""
        return str(self._session.get_providers()[0]).removesuffix("ExecutionProvider")

    @property
    def bytes_per_token(self) -> int:
        """Of its keys and values."""
        return len(self._past_names) * self._heads * self._size * np.dtype(self._format).itemsize

    @property
    def nothing(self) -> Passage:
        """The past of a sequence that has none."""
        cached = KeysAndValues.empty(len(self._past_names) // 2, self._heads, self._size, 0, self._format)
        return Passage(np.zeros(0, dtype=np.int64), np.zeros((0, self.width), dtype=np.float32), cached, 0)

    def extend(self, before: Passage, ids: Sequence[int], keep: int | None = None) -> Passage:
        """The passage with more tokens behind it; only those are computed.

        Keys and values are kept of the first `keep` new ones, of all by default.
        """
        past, new = before.until(before.known), np.asarray(ids, dtype=np.int64)
        features, *keys_and_values = self._feed(
            new[None],
            np.arange(len(past), len(past) + len(new))[None],
            causal_bias([len(past)], [len(new)], past.cached.capacity, self._hidden),
            past.cached.arrays,
            self._new_names,
        )
        return _longer(past, new, features[0], [array[0, :keep] for array in keys_and_values])

    def run(
        self, pasts: Sequence[Passage], sequences: Sequence[Sequence[int]], pad_id: int, keep: bool = True
    ) -> list[Passage]:
        """Each past with a sequence behind it, in one run of the graph; new keys and values if to `keep`."""
        lengths, befores = [len(ids) for ids in sequences], [past.known for past in pasts]
        width = max(lengths)
        ids_N_T = np.full((len(sequences), width), pad_id, dtype=np.int64)
        for row, ids in enumerate(sequences):
            ids_N_T[row, : len(ids)] = ids
        positions_N_T = np.asarray(befores)[:, None] + np.arange(width)
        bias = causal_bias(befores, lengths, hidden=self._hidden)
        wanted = self._new_names if keep else []
        features, *keys_and_values = self._feed(ids_N_T, positions_N_T, bias, self._joined(pasts), wanted)
        return [
            _longer(
                past.until(past.known),
                ids_N_T[row, :length],
                features[row, :length],
                [array[row, :length] for array in keys_and_values],
            )
            for row, (past, length) in enumerate(zip(pasts, lengths, strict=True))
        ]

    def _joined(self, pasts: Sequence[Passage]) -> list[np.ndarray]:
        """Pasts padded on the right to the longest: [N, G, P, d] for every layer's keys and values."""
        longest = max(past.known for past in pasts)
        shape = (len(pasts), self._heads, longest, self._size)
        joined = [np.zeros(shape, dtype=self._format) for _ in self._past_names]
        for row, past in enumerate(pasts):
            for array, one in zip(joined, past.cached.arrays, strict=True):
                array[row, :, : past.known] = one[0, :, : past.known]
        return joined

    def _feed(
        self,
        ids_N_T: np.ndarray,
        positions_N_T: np.ndarray,
        bias: np.ndarray,
        past: Sequence[np.ndarray],
        wanted: Sequence[str],
    ) -> list[np.ndarray]:
        """Features, and the outputs wanted besides."""
        feed = {"input_ids": ids_N_T, "position_ids": positions_N_T, "attention_bias": bias}
        feed |= dict(zip(self._past_names, past, strict=True))
        try:
            return list(self._session.run(["features", *wanted], feed))
        except Exception as error:  # onnxruntime has no public tree of errors
            raise ModelFilesError(
                f"The model in {self.path.parent} cannot score this text ({first_line(error)}); "
                "export it again."
            ) from error


def _longer(past: Passage, ids_T: np.ndarray, features_T_F: np.ndarray, new: Sequence[np.ndarray]) -> Passage:
    """A passage with more tokens, of which `new` has keys and values of every layer, or of none."""
    cached, known = past.cached, len(past)
    if new:
        cached, known = cached.extended(known, new), known + len(new[0])
    ids_S, features_S_F = (
        np.concatenate(parts) for parts in ((past.ids, ids_T), (past.features, features_T_F))
    )
    return Passage(ids_S, features_S_F, cached, known)


def causal_bias(
    befores: Sequence[int], lengths: Sequence[int], room: int | None = None, hidden: float = HIDDEN
) -> np.ndarray:
    """[N, 1, T, P + T]: each token sees the real past of its row, and its row's new tokens up to itself.

    P is `room`, the longest past by default.
    """
    longest, width = max(befores) if room is None else room, max(lengths)
    seen = np.zeros((len(lengths), 1, width, longest + width), dtype=bool)
    seen[:, :, :, :longest] = (np.arange(longest) < np.asarray(befores)[:, None])[:, None, None]
    seen[:, :, :, longest:] = np.tri(width, dtype=bool)
    return np.where(seen, np.float32(0), np.float32(hidden))


def tokeniser_hash(folder: Path) -> str:
    """SHA-256 of the folder's tokenizer.json; "" when there is none."""
    path = folder / "tokenizer.json"
    return hashlib.sha256(path.read_bytes()).hexdigest() if path.is_file() else ""


def _open(path: Path, precision: Precision, threads: int | None) -> onnxruntime.InferenceSession:
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = threads or usable_cores()
    # Threads wait for the next operator awake, but not for the next text: the screen needs the cores too.
    options.add_session_config_entry("session.intra_op.spin_duration_us", SPIN_US)
    options.add_session_config_entry("session.force_spinning_stop", "1")
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


def first_line(error: Exception) -> str:
    """What an error of onnxruntime says first, at most 200 characters."""
    return (str(error).strip() or type(error).__name__).splitlines()[0][:200].rstrip(".")
