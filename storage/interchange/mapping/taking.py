"""A mapping put to work: one row of a file becomes an `Example`."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable
from collections.abc import Mapping as AnyMapping
from dataclasses import dataclass, field
from typing import Any

from storage.ids import Chat
from storage.interchange.clean import clean_text
from storage.interchange.mapping.answers import Asked, answers_of, ask, said_in
from storage.interchange.mapping.cells import (
    NothingNewError,
    RowError,
    absent,
    cleaned,
    missing,
    name_of,
    parsed,
    step_label,
)
from storage.interchange.mapping.comparing import comparisons_of, places_of, texts_compared
from storage.interchange.mapping.conversations import system_text
from storage.interchange.mapping.defaults import Defaults
from storage.interchange.mapping.example import Answer, Example
from storage.interchange.mapping.judging import JudgementReader
from storage.interchange.mapping.language import Mapping, Statement, value_at
from storage.interchange.mapping.unjudged import Unjudged
from storage.interchange.mapping.unread import Unread, item_keys
from storage.interchange.mapping.verdicts import Coding
from storage.wording import counted

Row = AnyMapping[str, Any]
Getter = Callable[[Row], Any]
LAYOUTS = ("prompts", "responses", "ranked", "ranked_lists", "pairs", "annotated_pairs", "steps")


def layout_of(mapping: Mapping) -> str | None:
    """What the rows are, by the roles that the mapping fills; None where it fills too little."""
    if mapping.has("chosen") and mapping.has("rejected"):
        return "pairs"
    if mapping.has("response_a") and mapping.has("response_b"):
        return "annotated_pairs"
    if mapping.has("steps"):
        return "steps" if mapping.has("prompt") else None
    if mapping.has("responses") or mapping.has("comparisons"):
        return "ranked_lists" if mapping.has("prompt") else None
    if mapping.has("response") or mapping.has("prompt"):
        judged = any(mapping.has(r) for r in ("rank", "rating", "label")) or mapping.under("criterion")
        if not mapping.has("prompt"):
            return None
        return "ranked" if judged else "responses" if mapping.has("response") else "prompts"
    return None


@dataclass
class Taker:
    """Turns rows into examples.  `dropped` counts what was changed or not kept on the way, by what it was."""

    mapping: Mapping
    codings: AnyMapping[str, Coding]  # by the text of the verdict's path
    defaults: Defaults = field(default_factory=Defaults)
    dropped: Counter[str] = field(default_factory=Counter)

    def __post_init__(self) -> None:
        self.layout = layout_of(self.mapping)
        if self.layout == "ranked_lists":
            self.mapping = _as_lists(self.mapping)
        self._get = {
            role: _getter(self.mapping.all(role), role) for role in {s.role for s in self.mapping.statements}
        }
        self._columns = {s.role: str(s.path) for s in reversed(self.mapping.statements)}
        self._forms = {s.role: s.form for s in reversed(self.mapping.statements)}
        self._used = self.mapping.columns()
        self._extra = [s.path.column for s in self.mapping.all("keep")]
        self._used -= set(self._extra)
        self.unread = Unread(self.mapping)
        self.unjudged = Unjudged(self.mapping)
        self.judging = JudgementReader(self.mapping, self.codings, self.defaults, self._value, self.dropped)
        self._take = {
            "pairs": self._pair,
            "annotated_pairs": self._two,
            "ranked_lists": self._list,
            "steps": self._steps,
        }.get(self.layout or "", self._single)
        self._items = item_keys(self.mapping)
        self.judges = any(s.role.partition(".")[0] in OF_TWO for s in self.mapping.statements)

    def take(self, row: Row) -> Example:
        """Raises RowError with the reason for which the row is left out."""
        example = self._take(row)
        chat = example.chat
        if not chat or not (str(chat[-1]["content"]).strip() or chat[-1]["role"] == "tool"):
            raise NothingNewError("the prompt is empty")
        if chat[-1]["role"] == "assistant":
            raise RowError("the prompt ends with a turn of the assistant")
        self._about(example, row)
        return example

    # --- the layouts -------------------------------------------------------------------------------------

    def _pair(self, row: Row) -> Example:
        better, worse = (self._many(row, role) for role in ("chosen", "rejected"))
        chat, texts = self._answers(
            row, [*better, *worse], ["chosen"] * len(better) + ["rejected"] * len(worse)
        )
        policies = self._listed_names(row, "policies", len(texts))
        if policies is None:
            named = [name_of(value) for _, value in self._of_sides(row, "policy", better, worse)]
            policies = [name or self._name(row, "policy") for name in named]
        answers = [Answer(t, p or self.defaults.policy) for t, p in zip(texts, policies, strict=True)]
        if len(answers) == 2 and (answers[0].text, answers[0].policy) == (answers[1].text, answers[1].policy):
            raise NothingNewError("chosen and rejected are the same")
        rated = self._of_sides(row, "rating", better, worse)
        ratings = [self.judging.number(value, self._column(role)) for role, value in rated]
        worse_rank = 1.0 if self.judging.tied(row) else 2.0
        items = [(n, 1.0 if n < len(better) else worse_rank, rating) for n, rating in enumerate(ratings)]
        kind = "pair" if len(items) == 2 else "best_of"
        return Example(chat, answers, [self.judging.made(row, kind, items)])

    def _two(self, row: Row) -> Example:
        values = [self._present(row, role) for role in ("response_a", "response_b")]
        chat, texts = self._answers(row, values, ["response_a", "response_b"])
        policies = [
            self._name(row, role) or self._name(row, "policy") or self.defaults.policy
            for role in ("policy_a", "policy_b")
        ]
        answers = [Answer(t, p) for t, p in zip(texts, policies, strict=True)]
        if (texts[0], policies[0]) == (texts[1], policies[1]):
            raise NothingNewError("both responses are the same")
        judged = self.judging.of_two(row)
        if not judged and self.judges:
            self.dropped[UNJUDGED] += 1
        return Example(chat, answers, judged)

    def _list(self, row: Row) -> Example:
        said = self.mapping.get("comparisons")
        compared = comparisons_of(self._value(row, "comparisons"), said, self.dropped) if said else []
        listed = self._opened(row, "responses") if "responses" in self._get else texts_compared(compared)
        if not isinstance(listed, list):
            raise RowError(f'"{self._column("responses")}" is not a list')
        places = [n for n, value in enumerate(listed) if not absent(value)]
        if len(places) < len(listed):
            self.dropped["empty places in a list of responses"] += len(listed) - len(places)
        if not places:
            raise RowError("there are no responses in the list")
        chat, texts = self._answers(row, [listed[n] for n in places], ["responses"] * len(places))
        names = self._listed_names(row, "policies", len(listed)) or [self._name(row, "policy")] * len(listed)
        answers = [Answer(t, names[n] or self.defaults.policy) for t, n in zip(texts, places, strict=True)]
        self._item_metadata(row, answers, places)
        judged = self.judging.of_list(row, places, len(listed))
        for each in compared:
            judged.append(self.judging.of_comparison(row, each, *places_of(each, texts, places)))
        return Example(chat, answers, judged)

    def _single(self, row: Row) -> Example:
        asked = self._asked(row)
        if "response" in self._get:
            value = self._present(row, "response")
            chat, texts = self._answers(row, [value], ["response"])
        else:
            chat = self._completed(row, asked).chat or []
            split = len(chat)
            while split and chat[split - 1]["role"] == "assistant":
                split -= 1
            texts = [said_in(chat[split:], self.dropped)] if split < len(chat) else []
            chat = chat[:split]
        policy = self._name(row, "policy") or self.defaults.policy
        answers = [Answer(text, policy) for text in texts]
        return Example(chat, answers, self.judging.of_one(row) if answers else [])

    def _steps(self, row: Row) -> Example:
        steps, labels = self._opened(row, "steps"), self._opened(row, "step_labels")
        if not isinstance(steps, list) or not steps:
            raise RowError(f'"{self._column("steps")}" is not a list of steps')
        texts = [clean_text(s) if isinstance(s, str) else said_in(self._step(s), self.dropped) for s in steps]
        if labels is not None and (not isinstance(labels, list) or len(labels) != len(steps)):
            raise RowError(f"it has {counted(len(steps), 'step')} and another number of labels")
        numbers = [step_label(label) for label in labels or [None] * len(steps)]
        chat = self._completed(row, self._asked(row)).chat or []
        text = self._value(row, "response")
        whole = clean_text(text) if isinstance(text, str) else "\n".join(texts)
        answer = Answer(whole, self._name(row, "policy") or self.defaults.policy)
        answer.steps = list(zip(texts, numbers, strict=True))
        return Example(chat, [answer], self.judging.of_one(row))

    def _opened(self, row: Row, role: str) -> Any:
        """A value, or the list that stands as JSON text in a cell of a table."""
        return (parsed(v) or v) if isinstance(v := self._value(row, role), str) else v

    def _step(self, value: Any) -> Chat:
        from storage.interchange.mapping.conversations import chat_of

        chat = chat_of(value, self.dropped)
        if chat is None:
            raise RowError(f'"{self._column("steps")}" holds something else than texts')
        return chat

    # --- prompt and answers ------------------------------------------------------------------------------

    def _asked(self, row: Row) -> Asked:
        statement = self.mapping.get("prompt")
        if statement is None:
            return Asked(None)
        value = self._value(row, "prompt")
        if absent(value):
            raise RowError(
                f'"{statement.path}" is empty'
                if statement.path.column in row
                else f'there is no "{statement.path}"'
            )
        return ask(value, self.dropped, statement.form, str(statement.path))

    def _answers(self, row: Row, values: list[Any], roles: list[str]) -> tuple[Chat, list[str]]:
        columns = [self._column(role) for role in roles]
        forms = [self._forms.get(role) for role in roles]
        asked = self._asked(row)
        chat, texts = answers_of(asked, values, columns, self.dropped, forms)
        return self._completed(row, Asked(chat)).chat or [], texts

    def _completed(self, row: Row, asked: Asked) -> Asked:
        """With the system's turn, earlier turns and the input that stand in columns of their own."""
        chat = asked.chat or []
        if "turns" in self._get and (history := self._history(row)):
            chat = [*history, *chat]
        if "input" in self._get:
            more = self._value(row, "input")
            if not absent(more) and chat:
                last = {**chat[-1], "content": f"{chat[-1]['content']}\n\n{clean_text(str(more))}".strip()}
                chat = [*chat[:-1], last]
        if "system" in self._get:
            system = self._value(row, "system")
            if isinstance(system, list | dict):
                system = system_text(system, self.dropped)
            if isinstance(system, str) and system.strip() and chat and chat[0]["role"] != "system":
                chat = [{"role": "system", "content": clean_text(system)}, *chat]
        return Asked(chat, asked.raw)

    def _history(self, row: Row) -> Chat | None:
        from storage.interchange.mapping.conversations import chat_of

        value = self._value(row, "turns")
        return None if missing(value) or value == [] else chat_of(value, self.dropped, "messages")

    # --- the rest of the row -----------------------------------------------------------------------------

    def _about(self, example: Example, row: Row) -> None:
        for role in ("id", "reference", "source", "split", "subset"):
            if role in self._get:
                setattr(example, role, self._name(row, role))
        rest = self.rest_of(row)
        if not example.judgements and self.unjudged:
            rest = {**cleaned(self.unjudged.of(row, answered=bool(example.answers))), **rest}
        if not rest:
            return
        judged = [j for j in example.judgements if j.group is None]
        if judged and self.layout not in ("ranked", "responses"):
            judged[0].metadata = {**(judged[0].metadata or {}), **rest}
        elif self.layout in ("ranked", "responses", "steps") and example.answers:
            example.answers[0].metadata = {**(example.answers[0].metadata or {}), **rest}
        else:
            example.metadata = rest

    def rest_of(self, row: Row) -> dict[str, Any]:
        """What no role reads, cleaned: whole columns, and the rest of those of which a part is read."""
        whole = {k: v for k, v in row.items() if k not in self._used and v not in EMPTY}
        rest = {**whole, **self.unread.of(row)}
        return cleaned(rest) if rest else {}

    def _item_metadata(self, row: Row, answers: list[Answer], places: list[int]) -> None:
        """What the objects of a list of responses hold beside what the mapping reads."""
        if self._items is None:
            return
        prefix, used = self._items
        elements = value_at(row, prefix)
        if isinstance(elements, dict):
            elements = list(elements.values())
        for answer, place in zip(answers, places, strict=True):
            element = elements[place] if isinstance(elements, list) else None
            if isinstance(element, dict):
                rest = {k: v for k, v in element.items() if k not in used and v not in (None, "", [], {})}
                answer.metadata = cleaned(rest) if rest else None

    # --- values ------------------------------------------------------------------------------------------

    def _value(self, row: Row, role: str) -> Any:
        get = self._get.get(role)
        return get(row) if get else None

    def _column(self, role: str) -> str:
        return self._columns.get(role, role)

    def _present(self, row: Row, role: str) -> Any:
        value = self._value(row, role)
        if absent(value):
            column = self._column(role)
            raise RowError(f'"{column}" is empty' if column in row else f'there is no "{column}"')
        return value

    def _many(self, row: Row, role: str) -> list[Any]:
        """The values of chosen or rejected: one, or each of a list of answers."""
        value = self._present(row, role)
        if isinstance(value, str) and value[:2] in ('["', "['", "[["):
            inner = parsed(value)
            value = inner if isinstance(inner, list) and all(isinstance(v, list) for v in inner) else value
        if isinstance(value, list) and not (value and isinstance(value[0], dict)):
            value = [v for v in value if not absent(v)]
            if not value:
                raise RowError(f'"{self._column(role)}" is empty')
            return value
        return [value]

    def _of_sides(self, row: Row, said: str, better: list[Any], worse: list[Any]) -> list[tuple[str, Any]]:
        """Role and value of each answer: of a side a list as long as it is, or one value for all of it."""
        found = []
        for role, length in ((f"chosen_{said}", len(better)), (f"rejected_{said}", len(worse))):
            value = self._value(row, role)
            listed = isinstance(value, list) and len(value) == length and (length > 1 or said == "rating")
            each = value if listed else [value] * length
            found += [(role, one) for one in each]
        return found

    def _name(self, row: Row, role: str) -> str | None:
        get = self._get.get(role)
        return name_of(get(row)) if get else None

    def _number(self, row: Row, role: str) -> float | None:
        get = self._get.get(role)
        return self.judging.number(get(row), self._column(role)) if get else None

    def _listed_names(self, row: Row, role: str, length: int) -> list[str | None] | None:
        value = self._opened(row, role)
        if not isinstance(value, list):
            return None
        if len(value) == 1 < length:
            value = value * length
        if len(value) != length:
            raise RowError(f"it has {counted(length, 'response')} and {len(value)} in policies")
        return [name_of(v) for v in value]


UNJUDGED = "rows without a verdict, whose responses come in unjudged"
OF_TWO = ("winner", "winner_by", "won_a", "rating_a", "criterion_a")
EMPTY: tuple[Any, ...] = (None, "", [], {})
LISTS = ("responses", "policies", "ranks", "ratings", "steps")
_IN_LISTS = {"policy": "policies", "rank": "ranks", "rating": "ratings", "winner": "best"}


def _as_lists(mapping: Mapping) -> Mapping:
    """In a list of responses, the roles of one response mean those of each."""
    return Mapping(
        tuple(
            (
                Statement(_IN_LISTS[s.role], s.path, s.coding, s.form)
                if s.role in _IN_LISTS and (s.path.listed or s.role == "winner")
                else s
            )
            for s in mapping.statements
        )
    )


def _getter(statements: list[Statement], role: str) -> Getter:
    """One column, or several columns that are a list together."""
    if len(statements) > 1 and role in LISTS:
        many = [getter(s) for s in statements]
        return lambda row: [get(row) for get in many]
    return getter(statements[0])


def getter(statement: Statement) -> Getter:
    """What reads a statement's value from a row."""
    path = statement.path
    if path.constant is not None:
        constant = path.constant
        return lambda row: constant
    if len(path.steps) == 1:
        key = path.column
        return lambda row: row.get(key)
    steps = path.steps
    return lambda row: value_at(row, steps)
