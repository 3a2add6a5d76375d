"""Small stores for tests."""

from __future__ import annotations

from pathlib import Path

from storage import judgements, prompts, responses
from storage.records import JudgedItem, NewJudgement
from storage.share.sharing import Share
from storage.store import Store

RANKED = tuple[str, ...]
NO_QUESTIONS = {
    "words": b"nonsense\n",
    "list": b"[]\n",
    "nothing": b"{}\n",
    "bytes": b"\xff\n",
    "deep": b"[" * 100_000 + b"\n",
}
"""Lines at which whoever answers at a socket only says that they are no question."""


def add_prompt(store: Store, text: str = "Say hello.") -> str:
    return prompts.add(store, [{"role": "user", "content": text}], source="test")


def add_responses(store: Store, prompt: str, *texts: str, policy: str = "base") -> list[str]:
    return [responses.add(store, prompt, policy, text) for text in texts]


def judge(store: Store, prompt: str, ranks: dict[str, int], annotator: str = "ana", **more: object) -> str:
    items = tuple(JudgedItem(r, rank, None, place) for place, (r, rank) in enumerate(ranks.items()))
    return judgements.record(store, NewJudgement(prompt, annotator, "ranking", items, **more))  # type: ignore[arg-type]


def write(path: Path, text: str) -> Path:
    path.write_text(text, encoding="utf-8")
    return path


def path_of(shared: Share) -> Path:
    assert shared.store.path is not None
    return shared.store.path
