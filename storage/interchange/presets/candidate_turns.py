"""Conversations in which every turn has several candidates, of which one was chosen to go on with.

PRISM (arXiv 2404.16019) has them in one list of messages, rows of one candidate in its other file; others put
a list of candidates under each turn.  Each turn becomes a row of its own: the conversation so far, and its
candidates with their scores.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import groupby
from typing import Any

from storage.interchange.mapping.cells import RowError, number_of, truth_of
from storage.interchange.mapping.conversations import ROLE_KEYS, ROLES, TEXT_KEYS, is_message

Row = Mapping[str, Any]
Plain = dict[str, Any]
CHOSEN = ("if_chosen", "is_chosen", "chosen", "selected", "is_selected", "preferred")
SCORE = ("score", "rating", "reward")
MODEL = ("model_name", "model", "policy", "llm_name")
ANSWER = ("model_response", "response", "answer", "completion", "output", *TEXT_KEYS)
ASKED = ("user_prompt", "prompt", "question", "user", "human", "instruction", *TEXT_KEYS)
TURN = ("turn", "turn_id", "turn_index", "round")


@dataclass
class Turn:
    """What a person said, and what was offered as an answer."""

    said: Plain
    """role, content, and what else the file says of it."""
    candidates: list[Plain]


def candidate_turns(row: Row) -> Iterator[Plain]:
    """One row a turn.  Raises RowError where a conversation goes on and nobody knows from which candidate."""
    name, turns = found_in(row)
    if name is None:
        raise RowError("it holds no conversation whose turns have candidates")
    about = {key: value for key, value in row.items() if key != name}
    if turns and about.get("opening_prompt") == turns[0].said["content"]:
        del about["opening_prompt"]  # the first turn once more
    yield from _rows(about, turns)


def prism_utterances(rows: Iterable[Row]) -> Iterator[Plain | RowError]:
    """The same of rows of one candidate each; the rows of a conversation stand together."""
    of_conversation = ("conversation_id", "user_id", "conversation_type", "included_in_balanced_subset")
    for _, members in groupby(rows, key=lambda row: row.get("conversation_id")):
        found = sorted(members, key=lambda row: number_of(row.get("turn")) or 0)
        turns = []
        for number, (turn, same) in enumerate(groupby(found, key=lambda row: number_of(row.get("turn")))):
            if turn != number:
                yield RowError("the earlier turns of its conversation do not stand beside it")
                break
            candidates = [{k: v for k, v in r.items() if k not in of_conversation} for r in same]
            said = {"role": "user", "content": candidates[0].get("user_prompt")}
            turns.append(Turn(said, [{k: v for k, v in c.items() if k != "user_prompt"} for c in candidates]))
        try:
            yield from _rows({k: found[0].get(k) for k in of_conversation}, turns)
        except RowError as error:
            yield error


def has_candidates(rows: Sequence[Row]) -> bool:
    """Whether these rows are such conversations."""
    return bool(rows) and all(found_in(row)[0] is not None for row in rows)


def found_in(row: Row) -> tuple[str | None, list[Turn]]:
    """The column of the conversation and its turns; None where no column is one."""
    for name, value in row.items():
        if isinstance(value, list) and value and all(isinstance(element, dict) for element in value):
            turns = _of_messages(value) if all(map(is_message, value)) else _of_nested(value)
            rivals = [turn for turn in turns if len(turn.candidates) > 1]
            if rivals and all(_first(c, CHOSEN)[0] for turn in rivals for c in turn.candidates):
                return name, turns
    return None, []


def _rows(about: Plain, turns: Sequence[Turn]) -> Iterator[Plain]:
    chat: list[Plain] = []
    conversation = about.get("conversation_id")
    for number, turn in enumerate(turns):
        said = {k: v for k, v in turn.said.items() if k in ("role", "content")}
        more = {f"user_{k}": v for k, v in turn.said.items() if k not in said and v is not None}
        chat = [*chat, said]
        yield {
            **about,
            **more,
            "id": None if conversation is None else f"{conversation}/{number}",
            "prompt": chat,
            "responses": _ranked(turn.candidates),
        }
        going_on = {_first(c, ANSWER)[1] for c in turn.candidates if _is_chosen(c)}
        if len(turn.candidates) == 1:
            going_on = {_first(turn.candidates[0], ANSWER)[1]}
        if len(going_on) != 1 and number + 1 < len(turns):
            raise RowError("a conversation goes on, and not from one candidate that was chosen")
        chat = [*chat, *({"role": "assistant", "content": text} for text in going_on)]


def _ranked(candidates: Sequence[Plain]) -> list[Plain]:
    """The chosen one has rank 1, the others follow by score; without a chosen one there are no ranks."""
    scores = [number_of(_first(c, SCORE)[1]) for c in candidates]
    order = [(not _is_chosen(c), 0.0 if s is None else -s) for c, s in zip(candidates, scores, strict=True)]
    chosen = any(not later for later, _ in order)
    made = []
    for candidate, place, score in zip(candidates, order, scores, strict=True):
        text, model = _first(candidate, ANSWER), _first(candidate, MODEL)
        read = (text[0], model[0], _first(candidate, SCORE)[0], *ROLE_KEYS)
        rest = {key: value for key, value in candidate.items() if key not in read}
        rank = 1 + sum(other < place for other in order) if chosen else None
        made.append({**rest, "text": text[1], "policy": model[1], "rating": score, "rank": rank})
    return made


def _of_messages(messages: Sequence[Plain]) -> list[Turn]:
    """Messages of the user, each with the messages of models behind it, in the order of their turns."""
    numbers = [number_of(_first(message, TURN)[1]) for message in messages]
    if all(number is not None for number in numbers):
        messages = [m for _, m in sorted(zip(numbers, messages, strict=True), key=lambda pair: pair[0] or 0)]
    turns: list[Turn] = []
    for message in messages:
        role = ROLES.get(str(next((message[k] for k in ROLE_KEYS if message.get(k)), "")).strip().lower())
        text = _first(message, TEXT_KEYS)
        if role == "assistant" and turns:
            turns[-1].candidates.append(message)
        elif role == "user" and (not turns or turns[-1].candidates):
            rest = {k: v for k, v in message.items() if k not in (*ROLE_KEYS, text[0], *TURN)}
            turns.append(Turn({**rest, "role": "user", "content": text[1]}, []))
        else:
            return []  # a system's turn, or two of the user in a row: no conversation of this kind
    return turns


def _of_nested(elements: Sequence[Plain]) -> list[Turn]:
    """Objects of a text and of a list of candidates."""
    turns = []
    for element in elements:
        lists = [k for k, v in element.items() if isinstance(v, list) and v and all(map(_is_candidate, v))]
        asked = next((key for key in ASKED if isinstance(element.get(key), str)), None)
        if len(lists) != 1 or asked is None:
            return []
        rest = {k: v for k, v in element.items() if k not in (lists[0], asked, *TURN)}
        turns.append(Turn({**rest, "role": "user", "content": element[asked]}, list(element[lists[0]])))
    return turns


def _is_candidate(value: object) -> bool:
    return isinstance(value, dict) and isinstance(_first(value, ANSWER)[1], str)


def _is_chosen(candidate: Plain) -> bool:
    return truth_of(_first(candidate, CHOSEN)[1]) is True


def _first(value: Row, names: Sequence[str]) -> tuple[str | None, Any]:
    """The first of some keys that an object has, and what stands there."""
    name = next((name for name in names if name in value), None)
    return name, None if name is None else value[name]
