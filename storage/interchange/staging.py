"""Examples on their way in: gathered in temporary tables first, merged in one transaction at the end.

Nothing of a file touches the store before its last row has been read, other threads can write meanwhile, and
memory stays bounded because DuckDB spills temporary tables to disk.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from functools import partial
from hashlib import sha256
from math import inf
from typing import Any, TypeVar

from storage.errors import MemoryFullError
from storage.file.faults import told
from storage.ids import SEPARATOR, annotator_id, canonical_messages, policy_id
from storage.import_records import Count
from storage.interchange.columns.staging import joined, with_ids
from storage.interchange.mapping.cells import as_json
from storage.interchange.mapping.example import Answer, Example, Judged
from storage.interchange.mapping.orders import said_of, whole_ranks
from storage.prompts import shown_text
from storage.sql import block
from storage.store import Store

CHUNK = 20_000  # rows of all temporary tables together
CHUNK_CHARACTERS = 16_000_000
PORTION_CHARACTERS = 32_000_000  # merged by one statement
PLACES = 2**25  # numbers for what one row says: more than fit into the longest row
FRUGAL = 200_000_000  # bytes that DuckDB may use while a large import is on
KEYS = 40_000_000, 60  # bytes that a merge needs: for any, and for each key that is not committed yet
ROOMS = (300_000_000, 450_000_000, 700_000_000, inf)  # what is tried next; inf: all that the store may use
LARGE = 2**25  # bytes of files; what is smaller fits into memory, and spilling would only cost time
LONG = 1_000  # characters of a row; to compress longer ones takes more memory than an import has
REMEMBERED = 50_000  # ids known to be staged, so that neighbours with one prompt stage it once
TABLES = {
    "stage_prompts": (
        "n",
        "prompt_id",
        "text",
        "messages",
        "source",
        "metadata",
        "external_id",
        "reference",
        "split",
        "subset",
    ),
    "stage_responses": ("n", "response_id", "prompt_id", "policy_id", "text", "metadata"),
    "stage_told": ("prompt_id", "said"),
    "stage_steps": ("response_id", "step", "text", "label"),
    "stage_items": ("n", "judgement_id", "response_id", "rank", "rating", "position"),
    "stage_about": (
        "n",
        "judgement_id",
        "prompt_id",
        "annotator_id",
        "kind",
        "criterion",
        "strength",
        "note",
        "seconds",
        "metadata",
    ),
    "stage_rows": (
        "n",
        "group",
        "prompt_id",
        "annotator_id",
        "kind",
        "criterion",
        "response_id",
        "rank",
        "rating",
        "strength",
        "note",
        "seconds",
    ),
}
# Arrow cannot tell the type of a column in which every value is missing.
TYPES = {
    **dict.fromkeys(("n", "step", "position"), "int64"),
    **dict.fromkeys(("label", "rating", "rank", "strength", "seconds"), "float64"),
}

T = TypeVar("T")
Item = tuple[str, int | None, float | None, int]  # response, rank, rating, place on the screen


@dataclass
class Staging:
    """Gathers what the rows of one file say."""

    store: Store
    source: str
    size: int = 0  # bytes of the files
    policies: dict[str, str] = field(default_factory=dict)  # id by name
    annotators: dict[str, str] = field(default_factory=dict)
    repeated: int = 0  # responses that stand twice in one row, by one policy
    _buffers: dict[str, list[tuple[Any, ...]]] = field(default_factory=lambda: {name: [] for name in TABLES})
    _characters: int = 0  # in the buffers
    _total: int = 0  # characters staged so far
    _rows: int = 0  # in the buffers
    _tables: list[Any] = field(default_factory=list)  # of Arrow, not yet staged
    _table_bytes: int = 0
    _known: set[str] = field(default_factory=set)
    _abouts: dict[str, str] = field(default_factory=dict)  # by thing, digits of what a row says of it
    _n: int = 0
    _room: float = inf  # bytes that DuckDB may use; inf: all that the store may use

    def __post_init__(self) -> None:
        self._run("drop")
        self._run("create")
        if self.size > LARGE:
            self._allow(FRUGAL)

    def at(self, row: int) -> None:
        """What is added next is of this row; rows keep their order whenever they are added."""
        self._n = max(self._n, row * PLACES)

    def add(self, example: Example, split: str | None = None, subset: str | None = None) -> None:
        """All of one row; `split` and `subset` are the file's, where the row says none."""
        example.subset = example.subset or subset
        prompt = self._prompt(example, split)
        responses = [self._response(prompt, answer) for answer in example.answers]
        for judged in example.judgements:
            self._judgement(prompt, responses, judged)
        if self._rows >= CHUNK or self._characters > CHUNK_CHARACTERS:
            self._flush()

    def add_table(self, table: Any, first: int, rows: int) -> None:
        """The plain rows, as `columns.taking` gives them, of a batch of `rows` that begins with row `first`.

        What the row path has of the batch is added before.
        """
        if table.num_rows:
            self._tables.append(with_ids(table, first * PLACES, PLACES, self.policies, self.annotators))
            self._table_bytes += table.nbytes
        self.at(first + rows)
        if self._table_bytes > CHUNK_CHARACTERS:
            self._flush()

    def _prompt(self, example: Example, split: str | None) -> str:
        chat = example.chat
        canonical = canonical_messages(chat)
        prompt = "p" + _digits(canonical)
        split = example.split or split
        source = example.source or self.source
        about = (source, example.id, example.reference, split, example.subset)
        self._tell(prompt, SEPARATOR.join(said or "" for said in about))
        metadata = as_json(example.metadata) if example.metadata else None
        if metadata:
            self._tell(f"+{prompt}", metadata)
        if self._new(prompt):
            text = chat[0]["content"] if len(chat) == 1 else shown_text(chat)
            row = (
                self._n,
                prompt,
                text,
                canonical,
                source,
                metadata,
                example.id,
                example.reference,
                split,
                example.subset,
            )
            self._add("stage_prompts", row, 2 * len(canonical))
        return prompt

    def _response(self, prompt: str, answer: Answer) -> str:
        policy = self.policies.get(answer.policy) or self.policies.setdefault(
            answer.policy, policy_id(answer.policy)
        )
        response = "r" + _digits(f"{prompt}{SEPARATOR}{policy}{SEPARATOR}{answer.text}")
        metadata = as_json(answer.metadata) if answer.metadata else None
        if metadata:
            self._tell(f"+{response}", metadata)
        if self._new(response):
            self._add(
                "stage_responses",
                (self._n, response, prompt, policy, answer.text, metadata),
                len(answer.text),
            )
            for number, (text, label) in enumerate(answer.steps or ()):
                self._add("stage_steps", (response, number, text, label), len(text))
        return response

    def _tell(self, of: str, said: str) -> None:
        """Note what a row says of a thing that others may say something else of; + stands before metadata."""
        digits = _digits(said)
        if self._abouts.get(of) != digits:
            self._abouts[of] = digits
            self._add("stage_told", (of, digits), 0)

    def _judgement(self, prompt: str, responses: list[str], judged: Judged) -> None:
        person = self.annotators.get(judged.annotator) or self.annotators.setdefault(
            judged.annotator, annotator_id(judged.annotator)
        )
        self._n += 1
        if judged.group is not None:
            place, rank, rating = judged.items[0]
            group = SEPARATOR.join((prompt, person, judged.kind, judged.criterion, judged.group))
            said_of = (judged.strength, judged.note, judged.seconds)
            self._add(
                "stage_rows",
                (
                    self._n,
                    group,
                    prompt,
                    person,
                    judged.kind,
                    judged.criterion,
                    responses[place],
                    rank,
                    rating,
                    *said_of,
                ),
                0,
            )
            return
        if judged.kind == "pair" and len(responses) == 2 and responses[0] != responses[1]:
            said, items = self._pair_items(responses, judged)
        else:
            said, items = self._several_items(responses, judged)
        if len(items) < 2 and judged.kind != "rating":
            return
        strength = [] if judged.strength is None else [f"strength={judged.strength:.17g}"]
        parts = (prompt, person, judged.kind, judged.criterion, *sorted(said), *strength)
        key = "j" + _digits(SEPARATOR.join(parts))
        for response, rank, rating, place in items:
            self._add("stage_items", (self._n, key, response, rank, rating, place), 0)
        metadata = as_json(judged.metadata) if judged.metadata else None
        about = (judged.kind, judged.criterion, judged.strength, judged.note, judged.seconds, metadata)
        self._add("stage_about", (self._n, key, prompt, person, *about), len(metadata or ""))

    def _pair_items(self, responses: list[str], judged: Judged) -> tuple[list[str], list[Item]]:
        """The commonest judgement, whose ranks are 1 and 2 or both 1."""
        (_, first, rating_a), (_, second, rating_b) = judged.items
        a, b = responses
        ranks = (int(first or 1), int(second or 1))
        items: list[Item] = [(a, ranks[0], rating_a, 0), (b, ranks[1], rating_b, 1)]
        return [said_of(a, ranks[0], rating_a), said_of(b, ranks[1], rating_b)], items

    def _several_items(self, responses: list[str], judged: Judged) -> tuple[list[str], list[Item]]:
        """Any number of responses, each once."""
        items = {responses[place]: (rank, rating, place) for place, rank, rating in reversed(judged.items)}
        self.repeated += len(items) < len(judged.items)
        ranks = whole_ranks([rank for rank, _, _ in items.values()])
        rows = [
            (response, rank, rating, place)
            for (response, (_, rating, place)), rank in zip(items.items(), ranks, strict=True)
        ]
        return [said_of(response, rank, rating) for response, rank, rating, _ in rows], rows

    def merge(self, record: dict[str, Any]) -> tuple[Count, Count, Count, int]:
        """Prompts, responses, judgements added, and groups left out because only one response was ranked.

        One transaction: all of the file or nothing.  `record` is the row of `imports`.
        """
        self._flush()
        if self.size > LARGE and self._total * PLACES > LONG * self._n:
            self.store.plain_texts(True)
        for name in ("settle_wide", "join_groups"):
            self._with_room(partial(self._run, name))
        row = self.store.row(block("staging", "count_single"))
        for name in ("settle_items", "settle_about"):
            self._with_room(partial(self._run, name))
        self._room_for_keys()
        return *self._with_room(lambda: self._merged(record)), int(row[0]) if row else 0

    def _room_for_keys(self) -> None:
        """Keys are in memory until they are committed, and nothing can make room for them.

        To find out by trying costs the whole merge once more.
        """
        row = self.store.row(block("staging", "count_keys"))
        any_merge, each = KEYS
        room = any_merge + each * (int(row[0]) if row else 0)
        if room > self._room:
            self._allow(room)

    def _allow(self, room: float) -> None:
        self._room = room
        self.store.spare_memory(None if room == inf else int(room))

    def _with_room(self, run: Callable[[], T]) -> T:
        """Again with more memory, where the little of an import is not enough; at last with all there is."""
        for room in ROOMS:
            if room > self._room:
                try:
                    return run()
                except MemoryFullError:
                    self._allow(room)
        return run()

    def _merged(self, record: dict[str, Any]) -> tuple[Count, Count, Count]:
        names = {"ids": list(self.policies.values()), "names": list(self.policies)}
        people = {"ids": list(self.annotators.values()), "names": list(self.annotators)}
        with self.store.transaction():
            self.store.write(block("staging", "merge_policies"), names)
            self.store.write(block("staging", "merge_annotators"), people)
            prompts = self._merge_texts("prompts", {})
            responses = self._merge_texts("responses", {"source": self.source})
            self.store.write(block("staging", "merge_steps"))
            judgements = self._merge_judgements()
            added = {"prompts": prompts.added, "responses": responses.added, "judgements": judgements.added}
            self.store.write(block("staging", "record_import"), {**record, "added": as_json(added)})
        return prompts, responses, judgements

    def merged_rows(self) -> tuple[int, ...]:
        """After the merge: rows that judged as another row had, prompts told of in several ways, and prompts
        and responses with several metadata.  Of such a thing the store keeps what its first row says.
        """
        names = ("count_alike", "count_differing", "count_with_other_metadata")
        counts = (self._with_room(partial(self.store.row, block("staging", name))) for name in names)
        return tuple(int(count[0]) if count else 0 for count in counts)

    def close(self) -> None:
        """Drop the temporary tables and give their memory back."""
        try:
            self._run("drop")
        finally:
            self.store.spare_memory(None)
            self.store.plain_texts(False)

    def _merge_texts(self, what: str, values: dict[str, Any]) -> Count:
        """Prompts or responses, in portions: one INSERT of a gigabyte would hold all of it in memory."""
        self._run(f"first_{what}")
        added = 0
        step = max(200, self._n * PORTION_CHARACTERS // max(self._total, 1))
        for after in range(0, self._n, step):
            self.store.leave_room()
            portion = {**values, "after": after, "upto": after + step}
            added += self.store.write(block("staging", f"merge_{what}"), portion)
        row = self.store.row(f"SELECT count(DISTINCT {what[:-1]}_id) FROM temp.staged_{what}")
        return Count(added, (int(row[0]) if row else 0) - added)

    def _merge_judgements(self) -> Count:
        self._run("new_judgements")
        self.store.write(block("staging", "merge_items"))
        added = self.store.write(block("staging", "merge_judgements"), {"source": self.source})
        row = self.store.row(block("staging", "count_judgements"))
        return Count(added, (int(row[0]) if row else 0) - added)

    def _new(self, key: str) -> bool:
        self._n += 1
        if key in self._known:
            return False
        if len(self._known) >= REMEMBERED:
            self._known.clear()
            self._abouts.clear()
        self._known.add(key)
        return True

    def _add(self, table: str, row: tuple[Any, ...], characters: int) -> None:
        self._buffers[table].append(row)
        self._characters += characters
        self._total += characters
        self._rows += 1

    def _flush(self) -> None:
        self.store.leave_room()
        for table, columns in TABLES.items():
            rows = self._buffers[table]
            if rows:
                statement = f"INSERT INTO {table} SELECT * FROM arrived"
                self._with_room(partial(self.store.write_many, statement, columns, rows, TYPES))
                rows.clear()
        self._characters = self._rows = 0
        if self._tables:
            self._with_room(self._stage_tables)
            self._tables.clear()
            self._total += self._table_bytes
            self._table_bytes = 0

    def _stage_tables(self) -> None:
        cursor = self.store.cursor()
        with told(self.store.path):
            cursor.register("arrived", joined(self._tables))
            try:
                cursor.execute(block("staging", "stage_wide"))
            finally:
                cursor.unregister("arrived")

    def _run(self, name: str) -> None:
        with told(self.store.path):
            self.store.cursor().execute(block("staging", name))


def _digits(text: str) -> str:
    return sha256(text.encode("utf-8", "surrogatepass")).hexdigest()[:16]
