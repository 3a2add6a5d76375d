"""Rows on their way in: checked and gathered in temporary tables first, merged in one transaction at the end.

Nothing of a file touches the store before its last row has been read, other threads can write meanwhile, and
memory stays bounded because DuckDB spills temporary tables to disk.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

from storage.faults import told
from storage.ids import Chat, annotator_id, canonical_messages, imported_judgement_id, policy_id, prompt_id
from storage.ids import imported_response_id as response_id
from storage.prompts import shown_text
from storage.records import Count
from storage.sql import block
from storage.store import Store

CHUNK = 4096  # rows of a temporary table
CHUNK_CHARACTERS = 16_000_000
PORTION_CHARACTERS = 16_000_000  # merged by one statement
REMEMBERED = 50_000  # ids known to be staged, so that neighbours with one prompt stage it once
TABLES = {
    "stage_prompts": ("n", "prompt_id", "text", "messages", "source", "metadata"),
    "stage_responses": ("n", "response_id", "prompt_id", "policy_id", "text"),
    "stage_items": (
        "judgement_id",
        "prompt_id",
        "annotator_id",
        "kind",
        "response_id",
        "rank",
        "rating",
        "position",
    ),
}


@dataclass(frozen=True, slots=True)
class Verdict:
    """One response in a judgement."""

    response_id: str
    rank: int | None
    rating: float | None = None
    position: int | None = None


@dataclass
class Staging:
    """Gathers what the rows of one file say."""

    store: Store
    source: str
    criterion: str = "overall"
    policies: dict[str, str] = field(default_factory=dict)  # name by id
    annotators: dict[str, str] = field(default_factory=dict)
    _buffers: dict[str, list[tuple[Any, ...]]] = field(default_factory=lambda: {name: [] for name in TABLES})
    _characters: int = 0  # in the buffers
    _total: int = 0  # characters staged so far
    _known: set[str] = field(default_factory=set)
    _n: int = 0

    def __post_init__(self) -> None:
        self._run("drop")
        self._run("create")

    def prompt(self, chat: Chat, *, source: str | None = None, metadata: str | None = None) -> str:
        canonical = canonical_messages(chat)
        prompt = prompt_id(canonical)
        if self._new(prompt):
            row = (self._n, prompt, shown_text(chat), canonical, source or self.source, metadata)
            self._add("stage_prompts", row, 2 * len(canonical))
        return prompt

    def response(self, prompt: str, policy: str, text: str) -> str:
        policy_key = policy_id(policy)
        self.policies[policy_key] = policy
        response = response_id(prompt, policy_key, text)
        if self._new(response):
            self._add("stage_responses", (self._n, response, prompt, policy_key, text), len(text))
        return response

    def judgement(self, prompt: str, annotator: str, kind: str, verdicts: Sequence[Verdict]) -> None:
        """A whole judgement.  The same verdict staged twice is one judgement."""
        key = annotator_id(annotator)
        self.annotators[key] = annotator
        values = [(v.response_id, str(v.rank if v.rating is None else v.rating)) for v in verdicts]
        judgement = imported_judgement_id(prompt, key, kind, self.criterion, values)
        for v in verdicts:
            self._add(
                "stage_items", (judgement, prompt, key, kind, v.response_id, v.rank, v.rating, v.position), 0
            )

    def ranked_row(self, group: str, prompt: str, annotator: str, verdict: Verdict) -> None:
        """One response of a judgement that is spread over rows; `group` holds them together."""
        key = annotator_id(annotator)
        self.annotators[key] = annotator
        kind = "ranking" if verdict.rating is None else "rating"
        row = (f"group {group}", prompt, key, kind, verdict.response_id, verdict.rank, verdict.rating, None)
        self._add("stage_items", row, 0)

    def merge(self) -> tuple[Count, Count, Count, int]:
        """Prompts, responses, judgements added, and groups left out because only one response was ranked.

        One transaction: all of the file or nothing.
        """
        self._flush()
        cursor = self.store.cursor()
        with told(self.store.path):
            cursor.execute(block("staging", "join_groups"), {"criterion": self.criterion})
            cursor.execute(block("staging", "settle_judgements"))
            row = cursor.execute(block("staging", "count_single")).fetchone()
        alone = int(row[0]) if row else 0
        names = {"ids": list(self.policies), "names": list(self.policies.values())}
        people = {"ids": list(self.annotators), "names": list(self.annotators.values())}
        judged = {"criterion": self.criterion, "source": self.source}
        with self.store.transaction():
            self.store.write(block("staging", "merge_policies"), names)
            self.store.write(block("staging", "merge_annotators"), people)
            prompts = self._merge_texts("prompts", {})
            responses = self._merge_texts("responses", {"source": self.source})
            self.store.write(block("staging", "merge_items"))
            judgements = self._merge_judgements(judged)
        return prompts, responses, judgements, alone

    def close(self) -> None:
        self._run("drop")

    def _merge_texts(self, what: str, values: dict[str, Any]) -> Count:
        """Prompts or responses, in portions: one INSERT of a gigabyte would hold all of it in memory."""
        self._run(f"first_{what}")
        added = 0
        step = max(200, self._n * PORTION_CHARACTERS // max(self._total, 1))
        for after in range(0, self._n, step):
            portion = {**values, "after": after, "upto": after + step}
            added += self.store.write(block("staging", f"merge_{what}"), portion)
        return self._count(added, f"(SELECT DISTINCT {what[:-1]}_id FROM stage_{what})")

    def _merge_judgements(self, values: dict[str, Any]) -> Count:
        added = self.store.write(block("staging", "merge_judgements"), values)
        return self._count(added, "(SELECT DISTINCT judgement_id FROM stage_judgements)")

    def _count(self, added: int, table: str) -> Count:
        row = self.store.row(f"SELECT count(*) FROM {table}")
        return Count(added, (int(row[0]) if row else 0) - added)

    def _new(self, key: str) -> bool:
        self._n += 1
        if key in self._known:
            return False
        if len(self._known) >= REMEMBERED:
            self._known.clear()
        self._known.add(key)
        return True

    def _add(self, table: str, row: tuple[Any, ...], characters: int) -> None:
        buffer = self._buffers[table]
        buffer.append(row)
        self._characters += characters
        self._total += characters
        if len(buffer) >= CHUNK or self._characters > CHUNK_CHARACTERS:
            self._flush()

    def _flush(self) -> None:
        for table, columns in TABLES.items():
            rows = self._buffers[table]
            if rows:
                self.store.write_many(f"INSERT INTO {table} SELECT * FROM arrived", columns, rows)
                rows.clear()
        self._characters = 0

    def _run(self, name: str) -> None:
        with told(self.store.path):
            self.store.cursor().execute(block("staging", name))
