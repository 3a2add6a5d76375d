"""Responses: what a policy, or a file, answered to a prompt."""

from __future__ import annotations

import json
from collections import defaultdict
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from storage import policies
from storage.ids import imported_response_id, policy_id
from storage.parquet import ALL_ROWS, Span, rows_of
from storage.records import ResponseRow
from storage.sql import block
from storage.store import Store


def of_prompt(store: Store, prompt: str) -> list[ResponseRow]:
    """Every response to a prompt, with its mean rank over standing judgements and its scores."""
    return of_prompts(store, [prompt]).get(prompt, [])


def of_prompts(store: Store, prompts: Sequence[str]) -> dict[str, list[ResponseRow]]:
    """Responses of several prompts at once, by prompt; a prompt without responses is left out."""
    asked = {"prompt_ids": list(prompts)}
    scores: dict[str, dict[str, float]] = defaultdict(dict)
    for response, model, score in store.rows(block("responses", "scores_of_prompts"), asked):
        scores[response][model] = score
    by_prompt: dict[str, list[ResponseRow]] = defaultdict(list)
    for row in store.rows(block("responses", "of_prompts"), asked):
        by_prompt[row[1]].append(ResponseRow(*(*row, scores.get(row[0], {}))))
    return dict(by_prompt)


def add(
    store: Store, prompt: str, policy: str, text: str, *, sample_index: int = 0, source: str | None = None
) -> str:
    """Store one response that no run made, unless it is there; its id.  `policy` is a name."""
    response = imported_response_id(prompt, policy_id(policy), text)
    with store.transaction():
        policies.ensure(store, policy)
        store.write(
            block("responses", "add"),
            {
                "response_id": response,
                "prompt_id": prompt,
                "policy_id": policies.by_name(store, policy).policy_id,
                "sample_index": sample_index,
                "text": text,
                "source": source,
            },
        )
    return response


def insert_from_parquet(
    store: Store,
    path: Path,
    *,
    run_id: str,
    policy_id: str,
    sampling: Mapping[str, Any],
    seed: int | None,
    rows: Span = ALL_ROWS,
) -> int:
    """Ingest what a generate job wrote; rows that are there already are left.  The number added."""
    return store.write(
        block("responses", "ingest"),
        {
            **rows_of(path, rows),
            "run_id": run_id,
            "policy_id": policy_id,
            "sampling": json.dumps(dict(sampling)),
            "seed": seed,
        },
    )
