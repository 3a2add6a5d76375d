"""The rows that belong to one run, as a store of their own."""

from __future__ import annotations

from pathlib import Path

from storage.sql import block
from storage.store import Store
from storage.transfer.merging import FIGURES, FOUND_ANEW
from storage.transfer.packing import tables, write_store

OWN = ("drafts", "step_drafts", "saved_queries")


def write(store: Store, target: Path, run_id: str) -> int:
    """Write a store of the run, those it builds on, and all prompts, responses, judgements and scores.

    The number of rows.  Raises as `packing.write_store`.
    """
    of_runs = (*FIGURES, *FOUND_ANEW, "runs", "artifacts")
    parts = [
        f'SELECT "{name}" FROM "{name}"'
        + (" WHERE run_id IN (SELECT run_id FROM lineage)" if name in of_runs else "")
        for name in tables(store)
        if name not in OWN
    ]
    question = block("packing", "lineage") + "\n" + "\nUNION ALL BY NAME ".join(parts)
    return write_store(store, target, question, parameters={"run_id": run_id})
