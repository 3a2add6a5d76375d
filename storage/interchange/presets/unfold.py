"""Rows of tools and trees, brought into rows that a mapping can name."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Iterator, Mapping
from itertools import groupby
from typing import Any

from storage.interchange.mapping.cells import RowError, missing
from storage.interchange.presets.argilla import argilla, argilla_columns
from storage.interchange.presets.candidate_turns import candidate_turns, prism_utterances
from storage.interchange.presets.labelstudio import labelstudio
from storage.interchange.presets.labelstudio_columns import labelstudio_columns
from storage.interchange.presets.prodigy import prodigy

Row = Mapping[str, Any]
Plain = dict[str, Any]


def tldr(row: Row) -> Iterator[Plain]:
    """The post or the article is the prompt."""
    info = row.get("info") or {}
    text = info.get("post") or info.get("article")
    if missing(text):
        raise RowError('"info" holds neither a post nor an article')
    yield {**row, "prompt": text}


def math_shepherd(row: Row) -> Iterator[Plain]:
    """Each step ends with ки in `input`; in `label` + or - stands there, behind the same words."""
    text, labelled = str(row.get("input") or ""), str(row.get("label") or "").replace("ки", "")
    parts = [part.strip() for part in re.split(r"ки(?:\s*\?)?", text)]
    parts = parts[:-1] if not parts[-1] else parts
    signs: list[str] = []
    place = 0
    for part in parts:
        match = re.compile(re.escape(part) + r"\s*([+-])").match(labelled, place)
        if match is None:
            raise RowError('"label" does not say of each step of "input" whether it is right')
        signs.append(match[1])
        place = match.end() + len(labelled[match.end() :]) - len(labelled[match.end() :].lstrip())
    question, mark, first = (parts or [""])[0].partition("Step 1:")
    if not mark:
        raise RowError('"input" holds no question with steps behind it')
    rest = {k: v for k, v in row.items() if k not in ("input", "label")}
    yield {**rest, "prompt": question.strip(), "steps": [mark + first, *parts[1:]], "step_labels": signs}


def prm800k(row: Row) -> Iterator[Plain]:
    """The steps that were taken, with their ratings; what else was proposed for a step stays as metadata."""
    question, label = row.get("question") or {}, row.get("label") or {}
    texts: list[str] = []
    ratings: list[Any] = []
    others: list[Any] = []
    for number, step in enumerate(label.get("steps") or []):
        completions = step.get("completions") or []
        place = step.get("chosen_completion")
        human = step.get("human_completion")
        if place is None and human is None and completions:
            place = 0  # the labelling ended here
        chosen = completions[place] if place is not None and place < len(completions) else human
        if not chosen:
            continue
        texts.append(str(chosen.get("text") or "") if isinstance(chosen, dict) else str(chosen))
        rating = chosen.get("rating") if isinstance(chosen, dict) else None
        ratings.append(1 if rating is None and chosen is human else rating)  # who wrote it wrote a right one
        rest = [c for n, c in enumerate(completions) if n != place]
        if rest:
            others.append({"step": number, "completions": rest})
    if not texts:
        raise RowError("there are no steps in it")
    about_row = {k: v for k, v in row.items() if k not in ("question", "label")}
    about_row |= {
        f"question_{k}": v for k, v in question.items() if k not in ("problem", "ground_truth_answer")
    }
    about_row |= {k: v for k, v in label.items() if k != "steps"}
    yield {
        **about_row,
        "problem": question.get("problem"),
        "reference": question.get("ground_truth_answer"),
        "steps": texts,
        "step_labels": ratings,
        "other_completions": others,
    }


def oasst_tree(row: Row) -> Iterator[Plain]:
    """Every turn of the user with its replies."""
    root = row.get("prompt")
    if not isinstance(root, dict):
        raise RowError('"prompt" is not a message')
    about_tree = {k: v for k, v in row.items() if k not in ("prompt", "message_tree_id")}
    yield from _replies(root, [], {**about_tree, "tree": row.get("message_tree_id")})


def _replies(message: Mapping[str, Any], before: list[Plain], about_tree: Plain) -> Iterator[Plain]:
    stack = [(message, before)]
    while stack:
        turn, earlier = stack.pop()
        asked = turn.get("role") in ("prompter", "user", None)
        chat = [*earlier, {"role": "user" if asked else "assistant", "content": turn.get("text") or ""}]
        replies = [r for r in turn.get("replies") or [] if isinstance(r, dict) and not r.get("deleted")]
        if asked:
            answers = [{**{k: v for k, v in r.items() if k != "replies"}} for r in replies]
            about = {k: v for k, v in turn.items() if k not in ("replies", "text", "role", "message_id")}
            if gone := len(turn.get("replies") or []) - len(replies):
                about["deleted_replies"] = gone
            yield {**about_tree, **about, "id": turn.get("message_id"), "prompt": chat, "responses": answers}
        stack += [(reply, chat) for reply in reversed(replies)]


def oasst_messages(rows: Iterable[Row]) -> Iterator[Plain]:
    """Trees from messages one a row; the rows of a tree stand together, parents before children."""
    for tree, members in groupby(rows, key=lambda row: row.get("message_tree_id")):
        messages = [dict(m) for m in members]
        by_id = {m.get("message_id"): m for m in messages}
        roots = []
        for message in messages:
            parent = by_id.get(message.get("parent_id"))
            if parent is None:
                roots.append(message)
            else:
                parent.setdefault("replies", []).append(message)
        for root in roots:
            for made in _replies(root, [], {}):
                for answer in made["responses"]:
                    for name in ("message_tree_id", "parent_id", "replies"):
                        answer.pop(name, None)
                for name in ("message_tree_id", "parent_id"):
                    made.pop(name, None)
                yield {**made, "tree": tree}


def code_ultrafeedback(row: Row) -> Iterator[Plain]:
    """Each response with what was said of it, which stands in a list of its own and names its model."""
    said = {each.get("model"): each for each in row.get("annotations") or []}
    responses = row.get("responses") or []
    known = {response.get("model") for response in responses}
    if len(known) < len(responses) or not known >= said.keys():
        raise RowError('"annotations" and "responses" are not of the same models')
    joined = [{**said.get(response.get("model"), {}), **response} for response in responses]
    rest = {key: value for key, value in row.items() if key not in ("annotations", "responses")}
    yield {**rest, "responses": joined}


def math_step_dpo(row: Row) -> Iterator[Plain]:
    """Two next steps behind the same beginning of a solution, which belongs to both responses."""
    begun = str(row.get("initial_reason_steps") or "")
    rest = {key: value for key, value in row.items() if key != "initial_reason_steps"}
    yield {**rest, **{side: begun + str(row.get(side) or "") for side in ("chosen", "rejected")}}


def processbench(row: Row) -> Iterator[Plain]:
    """`label` is the place of the first wrong step, −1 where all are right; it says nothing of later ones."""
    steps, wrong = row.get("steps") or [], row.get("label")
    if not isinstance(wrong, int) or not -1 <= wrong < len(steps):
        raise RowError('"label" is no place of a step')
    labels = [None if 0 <= wrong < n else float(n != wrong) for n in range(len(steps))]
    rest = {key: value for key, value in row.items() if key != "label"}
    yield {**rest, "step_labels": labels}


ONE: dict[str, Callable[[Row], Iterator[Plain]]] = {
    "tldr": tldr,
    "prm800k": prm800k,
    "math_shepherd": math_shepherd,
    "oasst_tree": oasst_tree,
    "argilla": argilla,
    "argilla_columns": argilla_columns,
    "labelstudio": labelstudio,
    "labelstudio_columns": labelstudio_columns,
    "prodigy": prodigy,
    "candidate_turns": candidate_turns,
    "code_ultrafeedback": code_ultrafeedback,
    "math_step_dpo": math_step_dpo,
    "processbench": processbench,
}
MANY: dict[str, Callable[[Iterable[Row]], Iterator[Plain | RowError]]] = {
    "oasst_messages": oasst_messages,
    "prism_utterances": prism_utterances,
}
