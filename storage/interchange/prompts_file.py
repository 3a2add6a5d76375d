"""A file of prompts: `prompt` (text or messages), `source` if there is one; other columns are metadata."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any

from storage.interchange.clean import clean_text
from storage.interchange.rows import RowError, chat_of
from storage.interchange.shapes import Job, Shape


def take(job: Job, values: Mapping[str, Any], number: int) -> None:
    chat = chat_of(values, job.columns["prompt"])
    if not chat or not chat[-1]["content"].strip():
        job.skipped["the prompt is empty"] += 1
        return
    if chat[-1]["role"] != "user":
        raise RowError("the conversation ends with the assistant; a prompt ends with a turn of the user")
    source = job.name(values, "source", "") or None
    job.staging.prompt(chat, source=source, metadata=_metadata(job, values))


def _metadata(job: Job, values: Mapping[str, Any]) -> str | None:
    kept = {name: values.get(name) for name in job.extra if values.get(name) not in (None, "")}
    return clean_text(json.dumps(kept, ensure_ascii=False, default=str)) if kept else None


PROMPTS = Shape("prompts", needs=(("prompt",),), may=("source",), take=take)
