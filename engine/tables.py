"""Reading a job's input tables and writing its output files."""

from __future__ import annotations

import json
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq

from engine.errors import WorkbenchError
from engine.files import writing_file
from engine.protocol.events import Output
from engine.protocol.rundir import RunDir
from engine.text import Chat

RESPONSES = pa.schema(
    [
        ("prompt_id", pa.string()),
        ("sample_index", pa.int32()),
        ("text", pa.string()),
        ("token_ids", pa.list_(pa.int32())),
        ("token_logprobs", pa.list_(pa.float32())),
        ("finish_reason", pa.string()),
    ]
)
SCORES = pa.schema(
    [
        ("response_id", pa.string()),
        ("score", pa.float64()),
        ("backend", pa.string()),
        ("criterion", pa.string()),
        ("uncertainty", pa.float64()),  # standard deviation over an ensemble of heads; null without one
        ("cut", pa.bool_()),  # the reward model has read a part of prompt and response
    ]
)
STEP_SCORES = pa.schema(
    [
        ("response_id", pa.string()),
        ("step", pa.int32()),  # from 0
        ("ends_at", pa.int32()),  # characters of the response
        ("score", pa.float64()),  # log-odds that the step is good
    ]
)
SPLITS = pa.schema([("prompt_id", pa.string()), ("split", pa.string())])
JUDGEMENTS = pa.schema(
    [
        ("key", pa.string()),  # of the judgement, whose two rows lie together
        ("annotator", pa.string()),
        ("prompt_id", pa.string()),
        ("criterion", pa.string()),
        ("response_a", pa.string()),
        ("response_b", pa.string()),
        ("verdict", pa.int32()),  # 1 a is better, -1 b, 0 a tie
        ("first_id", pa.string()),  # the response that was shown first in this order, of which …
        ("said", pa.int32()),  # … 1 the first is better, -1 the second, 0 a tie
        ("share", pa.float64()),  # probability that the first is better; null where there is none
        ("mass", pa.float64()),
        ("answer", pa.string()),
        ("tokens_in", pa.int64()),
        ("tokens_out", pa.int64()),
        ("cost", pa.float64()),
        ("seconds", pa.float64()),
        ("cached", pa.bool_()),
    ]
)
UNSEEN = pa.schema(
    [
        ("split", pa.int32()),  # from 0; the prompt was held out of it
        ("criterion", pa.string()),
        ("prompt_id", pa.string()),
        ("response_a", pa.string()),
        ("response_b", pa.string()),
        ("margin", pa.float64()),  # score of a minus score of b, by a head that never saw the prompt
    ]
)


def read_rows(path: Path, columns: Sequence[str]) -> list[dict[str, Any]]:
    """Rows of an input table, `messages` parsed.  Raises WorkbenchError when a column is missing."""
    names = pq.read_schema(path).names
    missing = [name for name in columns if name not in names]
    if missing:
        raise WorkbenchError(f"{path} has no column {missing[0]}; start the run again to make it anew.")
    rows: list[dict[str, Any]] = pq.read_table(path, columns=list(columns)).to_pylist()
    for row in rows:
        if isinstance(row.get("messages"), str):
            row["messages"] = _messages(row["messages"], path)
    return rows


def write_output(
    run: RunDir,
    path: Path,
    kind: Any,
    schema: pa.Schema | None,
    rows: list[dict[str, Any]],
    step: int | None = None,
) -> Output:
    """Write a Parquet file whole or not at all, and the event that announces it.

    Without a schema the columns are those of the first row.
    """
    with writing_file(path) as temporary:
        pq.write_table(pa.Table.from_pylist(rows, schema=schema), temporary)
    return Output(kind=kind, path=run.relative(path), rows=len(rows), step=step)


def score_rows(
    responses: Sequence[tuple[str, bool]],
    scores_n_C: Any,
    spread_n_C: Any | None,
    criteria: Sequence[str],
    backend: str,
) -> list[dict[str, Any]]:
    """Rows of the table of scores, all criteria of a response (its id, and whether it was cut) together.

    scores, and the spread of an ensemble: [n, C] of numpy or torch.
    """
    return [
        {
            "response_id": response,
            "score": float(scores_n_C[place, c]),
            "backend": backend,
            "criterion": criterion,
            "uncertainty": None if spread_n_C is None else float(spread_n_C[place, c]),
            "cut": cut,
        }
        for place, (response, cut) in enumerate(responses)
        for c, criterion in enumerate(criteria)
    ]


def write_splits(run: RunDir, *, train: Iterable[str], heldout: Iterable[str]) -> Output:
    """Which prompts (ids) a run learns on and which it keeps."""
    splits = (("train", train), ("heldout", heldout))
    rows = [{"prompt_id": prompt, "split": split} for split, prompts in splits for prompt in prompts]
    return write_output(run, run.output_path("splits", 1), "splits", SPLITS, rows)


def existing_outputs(run: RunDir, kind: Any, key: str) -> tuple[list[Output], set[str], int]:
    """What an earlier process of this run wrote: its files announced again, their keys, the next number.

    A process may have been killed between writing a file and announcing it; the store takes a row only once.
    """
    files = sorted(run.output_path(kind, 0).parent.glob(f"{kind}-*.parquet"))
    said, keys = [], set()
    for path in files:
        column = pq.read_table(path, columns=[key])[key].to_pylist()
        keys.update(column)
        said.append(Output(kind=kind, path=run.relative(path), rows=len(column)))
    numbers = [int(path.stem.rpartition("-")[2]) for path in files]
    return said, keys, max(numbers, default=0) + 1


def _messages(text: str, path: Path) -> Chat:
    try:
        value = json.loads(text)
    except ValueError as error:
        raise WorkbenchError(f"{path} holds a prompt that is not valid JSON ({error}).") from error
    return list(value)
