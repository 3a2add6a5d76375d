"""What an annotator has begun and not recorded: it survives the process that showed it."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from storage.ids import annotator_id
from storage.sql import block
from storage.store import Store


@dataclass(frozen=True, slots=True)
class KeptDraft:
    """A draft as it is kept; `content` belongs to whoever judges."""

    prompt_id: str
    mode: str
    content: Mapping[str, Any]


def keep(store: Store, annotator: str, draft: KeptDraft) -> None:
    """Replace the draft of this annotator, prompt and mode; on disk when this returns."""
    values = _key(annotator, draft.prompt_id, draft.mode) | {"content": json.dumps(draft.content)}
    store.write(block("drafts", "keep"), values)


def drop(store: Store, annotator: str, prompt_id: str, mode: str) -> None:
    """Forget a draft, if there is one."""
    store.write(block("drafts", "drop"), _key(annotator, prompt_id, mode))


def of(store: Store, annotator: str, prompt_id: str, mode: str) -> KeptDraft | None:
    """The draft of this annotator, prompt and mode."""
    return _read(store.row(block("drafts", "of"), _key(annotator, prompt_id, mode)))


def newest(store: Store, annotator: str) -> KeptDraft | None:
    """The draft that was changed last."""
    return _read(store.row(block("drafts", "newest"), {"annotator_id": annotator_id(annotator)}))


def _key(annotator: str, prompt_id: str, mode: str) -> dict[str, str]:
    return {"annotator_id": annotator_id(annotator), "prompt_id": prompt_id, "mode": mode}


def _read(row: tuple[Any, ...] | None) -> KeptDraft | None:
    return None if row is None else KeptDraft(row[0], row[1], json.loads(row[2]))
