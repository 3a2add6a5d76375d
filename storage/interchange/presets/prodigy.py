"""Tasks of Prodigy as `db-out` writes them, with options to choose from."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from storage.interchange.mapping.cells import RowError
from storage.interchange.presets.tools import Plain

READ = ("options", "accept", "answer", "_session_id", "_annotator_id", "text")


def prodigy(row: Mapping[str, Any]) -> Iterator[Plain]:
    """What was chosen has rank 1 and the others 2; a task that was rejected or ignored says nothing."""
    options = row.get("options") or []
    prompt = row.get("prompt") or row.get("text")
    if not prompt:
        raise RowError('it has neither "prompt" nor "text"')
    made = {k: v for k, v in row.items() if k not in READ}
    if row.get("prompt") and row.get("text"):
        made["text"] = row["text"]
    accepted = row.get("accept") or []
    chosen = [option.get("id") in accepted for option in options]
    told = row.get("answer") == "accept" and 0 < sum(chosen) < len(options)
    responses = [
        {**option, **({"rank": 1 if better else 2} if told else {})}
        for option, better in zip(options, chosen, strict=True)
    ]
    if not told:
        made |= {"answer": row.get("answer"), "accept": accepted}
    person = row.get("_annotator_id") or row.get("_session_id")
    yield {**made, "prompt": prompt, "annotator": person, "responses": responses}
