"""Features of responses in Parquet, looked up by response.

A file has the columns `response_id` and `features` (a list of F float32) and says in its schema's metadata
what the features are of.  Only the row groups that are asked for are read.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from engine.errors import WorkbenchError
from engine.files import writing_file
from engine.text import SCORE_TOKENS

FILE, DESCRIPTION = "features.parquet", "features.json"
KEY = b"features"
GROUP_ROWS = 512  # a row group of 3,456 features is 7 MB


@dataclass(frozen=True)
class FeatureInfo:
    """What features are of: two files fit each other when all of this is equal, the base's name aside."""

    base: str  # the model's name in the store
    trunk: str  # fingerprint of its weights and tokeniser
    layers: tuple[int, ...]
    parts: tuple[str, ...]
    width: int  # F
    dtype: str  # number format that they were computed in
    template: str  # chat or plain
    max_tokens: int = SCORE_TOKENS  # longer texts were cut; files that do not say so were cut here

    def fits(self, other: FeatureInfo) -> bool:
        """Whether rows of both may stand in one table."""
        return {**asdict(self), "base": ""} == {**asdict(other), "base": ""}

    def schema(self) -> pa.Schema:
        """The columns of a features file, with this description in its metadata."""
        columns = [("response_id", pa.string()), ("features", pa.list_(pa.float32(), self.width))]
        return pa.schema(columns, metadata={KEY: json.dumps(asdict(self)).encode()})

    @classmethod
    def of(cls, path: Path) -> FeatureInfo:
        """As a features file says.  Raises WorkbenchError when it is not one."""
        try:
            said: dict[str, Any] = json.loads((pq.read_schema(path).metadata or {})[KEY])
            return cls(**said | {"layers": tuple(said["layers"]), "parts": tuple(said["parts"])})
        except (OSError, KeyError, TypeError, ValueError, pa.ArrowException) as error:
            raise WorkbenchError(
                f"{path} is not a file of features ({error}); train a reward model with tuning frozen again."
            ) from error


def write_features(path: Path, info: FeatureInfo, batches: Iterable[tuple[Sequence[str], np.ndarray]]) -> int:
    """Write (response ids, features [n, F]) batches whole or not at all, mode 0600; the number of rows.

    Raises WorkbenchError when the disk is full.
    """
    schema, rows = info.schema(), 0
    with (
        writing_file(path) as temporary,
        pq.ParquetWriter(temporary, schema, compression="none", use_dictionary=False) as writer,
    ):
        for ids, features_n_F in batches:
            flat = pa.array(np.ascontiguousarray(features_n_F, dtype=np.float32).reshape(-1))
            column = pa.FixedSizeListArray.from_arrays(flat, info.width)
            table = pa.Table.from_arrays([pa.array(list(ids), pa.string()), column], schema=schema)
            writer.write_table(table, row_group_size=GROUP_ROWS)
            rows += len(ids)
    return rows


class FeatureStore:
    """Features of many responses in one file or several that fit each other."""

    def __init__(self, info: FeatureInfo, files: Sequence[Path]) -> None:
        self.info = info
        self._files = [pq.ParquetFile(path, memory_map=True) for path in files]
        self._places: dict[str, tuple[int, int, int]] = {}  # response → file, row group, row in it
        for f, file in enumerate(self._files):
            for g in range(file.num_row_groups):
                ids = file.read_row_group(g, columns=["response_id"])["response_id"].to_pylist()
                self._places |= {response: (f, g, row) for row, response in enumerate(ids)}

    @classmethod
    def open(cls, *paths: Path) -> FeatureStore:
        """The store in these files, or folders that hold `features.parquet`.

        Raises WorkbenchError when a file cannot be read or does not fit the first.
        """
        files = [path / FILE if path.is_dir() else path for path in paths]
        infos = [FeatureInfo.of(path) for path in files]
        for path, info in zip(files, infos, strict=True):
            if not info.fits(infos[0]):
                raise WorkbenchError(f"The features in {path} are not of the same model as {files[0]}.")
        return cls(infos[0], files)

    def __len__(self) -> int:
        return len(self._places)

    def __contains__(self, response_id: object) -> bool:
        return response_id in self._places

    @property
    def ids(self) -> list[str]:
        """Every response that has features."""
        return list(self._places)

    def missing(self, response_ids: Iterable[str]) -> list[str]:
        """Those without features, in order and once each."""
        return [response for response in dict.fromkeys(response_ids) if response not in self._places]

    def rows(self, response_ids: Sequence[str]) -> np.ndarray:
        """Features of the responses in their order, [n, F] float32.  Raises KeyError for a missing one."""
        found_n_F = np.empty((len(response_ids), self.info.width), dtype=np.float32)
        wanted: dict[tuple[int, int], list[tuple[int, int]]] = {}
        for place, response in enumerate(response_ids):
            f, g, row = self._places[response]
            wanted.setdefault((f, g), []).append((place, row))
        for (f, g), pairs in wanted.items():
            places, rows = (list(side) for side in zip(*pairs, strict=True))
            found_n_F[places] = self._group(f, g)[rows]
        return found_n_F

    def batches(
        self, response_ids: Sequence[str], size: int = GROUP_ROWS
    ) -> Iterator[tuple[list[str], np.ndarray]]:
        """The rows of many responses, some at a time."""
        for start in range(0, len(response_ids), size):
            part = list(response_ids[start : start + size])
            yield part, self.rows(part)

    def _group(self, file: int, group: int) -> np.ndarray:
        column = self._files[file].read_row_group(group, columns=["features"])["features"].combine_chunks()
        return np.asarray(column.flatten().to_numpy(zero_copy_only=False).reshape(-1, self.info.width))
