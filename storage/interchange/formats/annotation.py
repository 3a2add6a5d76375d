"""Import files of annotation tools: a record a prompt with its responses, and the judgements that stand."""

from __future__ import annotations

import re
import uuid
from collections import Counter
from collections.abc import Iterator
from typing import Any

from storage.ids import Chat
from storage.interchange.formats.columns import Row
from storage.interchange.formats.format import Format
from storage.interchange.formats.leaving import Leaving, Values, number
from storage.prompts import shown_text

TIED = "rankings with ties"
BY_CRITERION = "judgements by a criterion other than overall"
PEOPLE = uuid.UUID("6b7f2a52-6c35-5b7e-9d0e-0d2f6f0c8a11")  # of names that are no UUID themselves
PREFIX = "annotator "  # before the people of Label Studio, where the store has them
OVERALL = "overall"


def _standing(leaving: Leaving, row: Values, *, ratings: bool) -> Iterator[tuple[Values, list[str]]]:
    """Judgements that the tool can say, with the ids of the responses from best to worst.

    `ratings`: it has ratings beside strict orders.
    """
    for judgement in row["judgements"] or ():
        items = sorted(judgement["items"], key=lambda item: item["rank"])
        if judgement["criterion"] != OVERALL:
            leaving.left_out[BY_CRITERION] += 1
        elif len({item["rank"] for item in items}) < len(items) and not (
            ratings and judgement["kind"] == "rating"
        ):
            leaving.left_out[TIED] += 1
        else:
            yield judgement, [item["response_id"] for item in items]


def _argilla(leaving: Leaving) -> Iterator[Row]:
    for row in leaving.rows("tasks"):
        names = {r["response_id"]: f"response_{n}" for n, r in enumerate(row["responses"], 1)}
        said: Counter[str] = Counter()
        answers = []
        for judgement, order in _standing(leaving, row, ratings=False):
            if len(order) < 2:
                leaving.left_out["ratings of one response"] += 1
                continue
            person = _uuid(leaving.person(judgement["annotator"]))
            said[person] += 1
            if said[person] > 1:  # the tool keeps one answer a person and question
                leaving.left_out["further judgements of one annotator"] += 1
                continue
            value = [names[response] for response in order]
            answers.append({"value": value, "user_id": person, "status": "submitted"})
        responses = {names[r["response_id"]]: r["text"] for r in row["responses"]}
        yield {
            "id": _id(leaving, row),
            "fields": {"prompt": leaving.prompt(row["chat"]), **responses},
            "metadata": {k: v for k, v in leaving.about(row).items() if k != "id" and v is not None}
            | {
                f"policy_{n}": r["policy"] for n, r in enumerate(row["responses"], 1) if not leaving.anonymous
            },
            "suggestions": {},
            "responses": {"ranking": answers} if answers else {},
            "vectors": {},
        }


def _labelstudio(leaving: Leaving) -> Iterator[Row]:
    for row in leaving.rows("tasks"):
        ids = {r["response_id"]: str(n) for n, r in enumerate(row["responses"], 1)}
        titles = {
            r["response_id"]: f"Response {ids[r['response_id']]}" if leaving.anonymous else r["policy"]
            for r in row["responses"]
        }
        answers = [
            {"id": ids[r["response_id"]], "title": titles[r["response_id"]], "body": r["text"]}
            for r in row["responses"]
        ]
        annotations = []
        for judgement, order in _standing(leaving, row, ratings=True):
            annotation: Row = {"result": _results(judgement, [ids[r] for r in order], ids)}
            if judgement["seconds"] is not None:
                annotation["lead_time"] = judgement["seconds"]
            if not leaving.anonymous:
                annotation["completed_by"] = _worker(judgement["annotator"])
            annotations.append(annotation)
        yield {
            "data": {"prompt": _shown(row["chat"]), "answers": answers},
            "meta": {k: v for k, v in leaving.about(row).items() if v is not None},
            "annotations": annotations,
        }


def _results(judgement: Values, order: list[str], ids: dict[str, str]) -> list[Row]:
    """A ranking as the Ranker tag stores it, or a rating for each response."""
    if judgement["kind"] != "rating":
        value = {"ranker": {"rank": order}}
        return [{"type": "ranker", "from_name": "rank", "to_name": "answers", "value": value}]
    return [
        {
            "type": "rating",
            "from_name": f"rating_{ids[item['response_id']]}",
            "to_name": "answers",
            "value": {"rating": number(item["rating"])},
        }
        for item in judgement["items"]
    ]


def _worker(name: str) -> Any:
    """People are numbers or addresses there; any other name stands as an address."""
    bare = name.removeprefix(PREFIX)
    return int(bare) if re.fullmatch(r"[1-9]\d{0,8}", bare) else {"email": bare}


def _shown(chat: Chat) -> str:
    """The tool shows text; several turns are told with their speakers."""
    return chat[0]["content"] if len(chat) == 1 else shown_text(chat)


def _id(leaving: Leaving, row: Values) -> str:
    return row["prompt_id"] if leaving.anonymous or row["id"] is None else row["id"]


def _uuid(name: str) -> str:
    """People are UUIDs in Argilla; a name becomes the same one every time."""
    try:
        return str(uuid.UUID(name))
    except ValueError:
        return str(uuid.uuid5(PEOPLE, name))


FORMATS = (
    Format(
        "argilla",
        "Records for Argilla: the responses as fields, strict rankings as answers to the question `ranking`",
        "responses",
        "https://docs.argilla.io/latest/how_to_guides/import_export/",
        lambda leaving: dict.fromkeys(
            ("id", "fields", "metadata", "suggestions", "responses", "vectors"), "json"
        ),
        _argilla,
        documents=True,
    ),
    Format(
        "labelstudio",
        "Tasks for Label Studio: the responses as items of a list, strict rankings and ratings as results",
        "responses",
        "https://labelstud.io/guide/tasks#Basic-Label-Studio-JSON-format",
        lambda leaving: dict.fromkeys(("data", "meta", "annotations"), "json"),
        _labelstudio,
        documents=True,
    ),
)
