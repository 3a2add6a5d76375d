"""Tables of plain rows on their way into `stage_wide`."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

from storage.ids import annotator_id, policy_id

TEXTS = (
    "prompt",
    "external_id",
    "reference",
    "source",
    "split",
    "subset",
    "prompt_metadata",
    "text_a",
    "metadata_a",
    "text_b",
    "criterion",
    "note",
    "metadata",
    "group",
)
IDS = {"policy_a": "policies", "policy_b": "policies", "annotator": "annotators"}
NUMBERS = ("rating_a", "rating_b", "strength", "seconds")
RANKS = ("rank_a", "rank_b")


def with_ids(table: Any, start: int, step: int, policies: dict[str, str], annotators: dict[str, str]) -> Any:
    """With `n` in the place of `place` and ids in the place of names, which both dictionaries remember."""
    import pyarrow as pa
    import pyarrow.compute as pc

    places = table.column("place")
    columns = {"n": pc.add(pc.multiply(places, pa.scalar(step, pa.int64())), pa.scalar(start, pa.int64()))}
    for name in table.column_names:
        if name == "annotator":
            columns[name] = _ids(table.column(name), annotators, annotator_id)
        elif name in IDS:
            columns[name] = _ids(table.column(name), policies, policy_id)
        elif name != "place":
            columns[name] = table.column(name)
    return pa.table(columns)


def _ids(names: Any, known: dict[str, str], made: Callable[[str], str]) -> Any:
    """The id of each name."""
    import pyarrow as pa

    names = names.combine_chunks().dictionary_encode()
    if isinstance(names, pa.ChunkedArray):
        names = names.combine_chunks()
    ids = [known.get(name) or known.setdefault(name, made(name)) for name in names.dictionary.to_pylist()]
    return pa.array(ids, pa.string()).take(names.indices) if ids else pa.nulls(len(names), pa.string())


def joined(tables: list[Any]) -> Any:
    """One table with every column of `stage_wide` but those that SQL makes."""
    import pyarrow as pa

    kinds: Mapping[str, Any] = {
        "n": pa.int64(),
        **dict.fromkeys((*TEXTS, *IDS), pa.string()),
        **dict.fromkeys(NUMBERS, pa.float64()),
        **dict.fromkeys(RANKS, pa.int32()),
        "said": pa.list_(
            pa.struct(
                [
                    ("kind", pa.string()),
                    ("criterion", pa.string()),
                    ("rank", pa.float64()),
                    ("rating", pa.float64()),
                ]
            )
        ),
    }
    whole = pa.concat_tables(tables, promote_options="default")
    missing = [name for name in kinds if name not in whole.column_names]
    for name in missing:
        whole = whole.append_column(name, pa.nulls(whole.num_rows, kinds[name]))
    return whole
