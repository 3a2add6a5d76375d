"""The data set formats of TRL's trainers."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from storage.interchange.formats.columns import Columns, Row
from storage.interchange.formats.format import Format
from storage.interchange.formats.leaving import READ_ABOUT, Leaving, Values, said

DOCUMENTED = "https://huggingface.co/docs/trl/dataset_formats#"
TIES = "ties"
JUDGED: Columns = {
    "annotator": "text",
    "criterion": "text",
    "chosen_policy": "text",
    "rejected_policy": "text",
    "strength": "number",
    "seconds": "number",
    "note": "text",
}
READ_JUDGED = (*(f"{name}={name}" for name in JUDGED), *READ_ABOUT)
STANDARD = ("prompt=prompt as text", "chosen=chosen as text", "rejected=rejected as text")
NO_EXTREME = "responses between the best and the worst of a judgement, or alike"
NO_LABEL = "steps that are neither right nor wrong: solutions"


def pairs(leaving: Leaving) -> Iterator[Values]:
    """Every pair that stands, the better response under chosen; ties are counted as left out."""
    for row in leaving.rows("compared"):
        if row["tied"]:
            leaving.left_out[TIES] += 1
        else:
            yield row


def judged(leaving: Leaving, row: Values) -> Row:
    """The columns beside the texts of a pair."""
    made = {name: row[name] for name in judged_columns(leaving) if name in JUDGED}
    return {**made, "annotator": leaving.person(row["annotator"]), **leaving.about(row)}


def judged_columns(leaving: Leaving) -> Columns:
    """Columns that say how a pair was judged, without notes where the export is anonymous."""
    columns = {name: kind for name, kind in JUDGED.items() if not (leaving.anonymous and name == "note")}
    return {**columns, **leaving.about_columns}


def _standard(leaving: Leaving) -> Iterator[Row]:
    for row in pairs(leaving):
        if leaving.one_turn(row):
            texts = {"chosen": row["chosen"], "rejected": row["rejected"]}
            yield {"prompt": row["chat"][0]["content"], **texts, **judged(leaving, row)}


def _conversational(leaving: Leaving) -> Iterator[Row]:
    for row in pairs(leaving):
        sides = {side: said(row[side]) for side in ("chosen", "rejected")}
        yield {"prompt": row["chat"], **sides, **judged(leaving, row)}


def _implicit(leaving: Leaving) -> Iterator[Row]:
    for row in pairs(leaving):
        sides = {side: [*row["chat"], *said(row[side])] for side in ("chosen", "rejected")}
        yield {**sides, **judged(leaving, row)}


def _prompts(leaving: Leaving) -> Iterator[Row]:
    for row in leaving.rows("prompts"):
        yield {"prompt": row["chat"], **leaving.about(row)}


def _unpaired(leaving: Leaving) -> Iterator[Row]:
    for row in leaving.rows("labelled"):
        label = _label(row)
        if label is None:
            leaving.left_out[NO_EXTREME] += 1
            continue
        yield {
            "prompt": row["chat"],
            "completion": said(row["response"]),
            "label": label,
            "policy": row["policy"],
            "annotator": leaving.person(row["annotator"]),
            "criterion": row["criterion"],
            **leaving.about(row),
        }


def _label(row: Values) -> bool | None:
    """The label itself where the judgement holds labels; else the best is good and the worst is not."""
    if row["labels"]:
        return bool(row["rating"])
    if row["best"] == row["worst"]:
        return None
    return {row["best"]: True, row["worst"]: False}.get(row["rank"])


def _stepwise(leaving: Leaving) -> Iterator[Row]:
    for row in leaving.rows("solutions"):
        if not leaving.one_turn(row):
            continue
        if any(label not in (0, 1) for label in row["labels"]):
            leaving.left_out[NO_LABEL] += 1
            continue
        yield {
            "prompt": row["chat"][0]["content"],
            "completions": row["steps"],
            "labels": [bool(label) for label in row["labels"]],
            "response": row["response"],
            "policy": row["policy"],
            **leaving.about(row),
        }


def _with_pairs(prompt: str | None, answer: str) -> Any:
    first: Columns = {"prompt": prompt} if prompt else {}
    return lambda leaving: {**first, "chosen": answer, "rejected": answer, **judged_columns(leaving)}


FORMATS = (
    Format(
        "trl-preference",
        "TRL's preferences, standard: prompt, chosen and rejected as text",
        "pairs",
        DOCUMENTED + "preference",
        _with_pairs("text", "text"),
        _standard,
        (*STANDARD, *READ_JUDGED),
    ),
    Format(
        "trl-conversational",
        "TRL's preferences, conversational: prompt, chosen and rejected as messages",
        "pairs",
        DOCUMENTED + "preference",
        _with_pairs("messages", "messages"),
        _conversational,
        ("prompt=prompt", "chosen=chosen", "rejected=rejected", *READ_JUDGED),
    ),
    Format(
        "trl-implicit",
        "TRL's preferences with the prompt inside: chosen and rejected as whole conversations",
        "pairs",
        DOCUMENTED + "preference",
        _with_pairs(None, "messages"),
        _implicit,
        ("chosen=chosen", "rejected=rejected", *READ_JUDGED),
    ),
    Format(
        "trl-prompts",
        "TRL's prompts alone, as messages",
        "prompts",
        DOCUMENTED + "prompt-only",
        lambda leaving: {"prompt": "messages", **leaving.about_columns},
        _prompts,
        ("prompt=prompt", *READ_ABOUT),
    ),
    Format(
        "trl-unpaired",
        "TRL's unpaired preferences: prompt, completion, and its label, or true for the best and"
        " false for the worst of a judgement",
        "responses",
        DOCUMENTED + "unpaired-preference",
        lambda leaving: {
            "prompt": "messages",
            "completion": "messages",
            "label": "truth",
            **dict.fromkeys(("policy", "annotator", "criterion"), "text"),
            **leaving.about_columns,
        },
        _unpaired,
        (
            "prompt=prompt",
            "response=completion",
            "label=label",
            "policy=policy",
            "annotator=annotator",
            "criterion=criterion",
            *READ_ABOUT,
        ),
    ),
    Format(
        "trl-stepwise",
        "TRL's stepwise supervision: the steps of a solution, each right or wrong",
        "responses",
        DOCUMENTED + "stepwise-supervision",
        lambda leaving: {
            "prompt": "text",
            "completions": "texts",
            "labels": "truths",
            "response": "text",
            "policy": "text",
            **leaving.about_columns,
        },
        _stepwise,
        (
            "prompt=prompt as text",
            "steps=completions",
            "step_labels=labels",
            "response=response as text",
            "policy=policy",
            *READ_ABOUT,
        ),
    ),
)
