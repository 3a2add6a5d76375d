"""Ratings by criterion: UltraFeedback's completions of a prompt, HelpSteer's one response a row."""

from __future__ import annotations

from collections.abc import Iterator
from itertools import groupby

from storage.interchange.formats.columns import Columns, Row
from storage.interchange.formats.format import Format
from storage.interchange.formats.leaving import READ_ABOUT, Leaving, Values, number
from storage.sql import block

OVERALL = "overall"
FIXED = ("prompt", "response", "policy", "annotator", "id", "reference", "source", "split", "subset")


def criteria(leaving: Leaving) -> list[str]:
    """What responses are rated by, sorted."""
    return [name for (name,) in leaving.store.rows(block("exports", "rated_criteria"))]


def _completions(leaving: Leaving) -> Iterator[Row]:
    """One row a prompt and annotator, as the layout has no place for several."""
    rated = leaving.rows("rated")
    for _, rows in groupby(rated, key=lambda row: (row["prompt_id"], row["annotator"])):
        together = list(rows)
        first = together[0]
        if not leaving.one_turn(first):
            continue
        by_response: dict[str, list[Values]] = {}
        for row in together:
            by_response.setdefault(row["response_id"], []).append(row)
        yield {
            "instruction": first["chat"][0]["content"],
            "completions": [_completion(group) for group in by_response.values()],
            "annotator": leaving.person(first["annotator"]),
            **leaving.about(first),
        }


def _completion(rows: list[Values]) -> Row:
    ratings = {row["criterion"]: number(row["rating"]) for row in rows}
    return {
        "response": rows[0]["response"],
        "model": rows[0]["policy"],
        "overall_score": ratings.get(OVERALL),
        "annotations": {c: {"Rating": str(r)} for c, r in ratings.items() if c != OVERALL},
    }


def _responses(leaving: Leaving) -> Iterator[Row]:
    """One row a response and annotator, one column a criterion."""
    names = columns_of(criteria(leaving))
    rated = leaving.rows("rated")
    for _, rows in groupby(rated, key=lambda row: (row["response_id"], row["annotator"])):
        together = list(rows)
        first = together[0]
        ratings = {row["criterion"]: number(row["rating"]) for row in together}
        yield {
            "prompt": leaving.prompt(first["chat"]),
            "response": first["response"],
            **{column: ratings.get(criterion) for criterion, column in names.items()},
            "policy": first["policy"],
            "annotator": leaving.person(first["annotator"]),
            **leaving.about(first),
        }


def columns_of(names: list[str]) -> dict[str, str]:
    """Column by criterion; a criterion may be called as another column is."""
    columns = {name: name for name in names if name not in FIXED}
    for name in sorted(set(names) & set(FIXED)):
        column = f"{name}_rating"
        while column in columns.values():
            column += "_"
        columns[name] = column
    return columns


def _response_columns(leaving: Leaving) -> Columns:
    rated = dict.fromkeys(columns_of(criteria(leaving)).values(), "number")
    asked: Columns = {"prompt": leaving.prompt_kind, "response": "text"}
    return {**asked, **rated, "policy": "text", "annotator": "text", **leaving.about_columns}


FORMATS = (
    Format(
        "ultrafeedback",
        "As UltraFeedback: an instruction and its completions, rated by criterion",
        "responses",
        "https://huggingface.co/datasets/openbmb/UltraFeedback",
        lambda leaving: {
            "instruction": "text",
            "completions": "json",
            "annotator": "text",
            **leaving.about_columns,
        },
        _completions,
        (
            "prompt=instruction as text",
            "responses=completions[].response as text",
            "policies=completions[].model",
            "ratings=completions[].overall_score",
            "criterion.*=completions[].annotations.*.Rating",
            "annotator=annotator",
            *READ_ABOUT,
        ),
    ),
    Format(
        "helpsteer",
        "As HelpSteer: one response a row, one column a criterion",
        "responses",
        "https://huggingface.co/datasets/nvidia/HelpSteer2",
        _response_columns,
        _responses,
        ("prompt=prompt", "response=response as text", "policy=policy", "annotator=annotator", *READ_ABOUT),
    ),
)
