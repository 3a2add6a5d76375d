"""Exports of annotation tools."""

from __future__ import annotations

from storage.interchange.presets.labelstudio_columns import has_controls
from storage.interchange.presets.preset import Preset

ARGILLA = (
    "id=id",
    "annotator=annotator",
    "criterion=criterion",
    "responses=responses[].text",
    "ranks=responses[].rank",
    "ratings=responses[].rating",
    "best=best",
)
WRITER = "Argilla's own writer, November 2026"
PRODIGY = "its documentation of interfaces and exports that others published, November 2026"

OF_TOOLS: tuple[Preset, ...] = (
    Preset(
        "argilla",
        "Argilla's records as JSON: fields, responses of annotators, suggestions",
        "https://docs.argilla.io/latest/how_to_guides/import_export/",
        ("fields:object", "responses", "suggestions"),
        ARGILLA,
        unfold="argilla",
        checked=WRITER,
    ),
    Preset(
        "argilla_columns",
        "Argilla's records as columns of a data set: question.responses, .responses.users, .suggestion",
        "https://docs.argilla.io/latest/how_to_guides/import_export/",
        ("*.responses.users",),
        ARGILLA,
        unfold="argilla_columns",
        checked=WRITER,
    ),
    Preset(
        "argilla_columns_1",
        "Argilla 1's records as columns of a data set: question, question-suggestion, its metadata",
        "https://docs.v1.argilla.io/en/latest/",
        ("*-suggestion-metadata",),
        ARGILLA,
        unfold="argilla_columns",
        checked=WRITER,
    ),
    Preset(
        "labelstudio",
        "Label Studio's tasks as JSON: pairwise choice, ranker, rating, choices",
        "https://labelstud.io/guide/export#Label-Studio-JSON-format-of-annotated-tasks",
        ("data:object", "annotations"),
        (
            "id=id",
            "annotator=annotator",
            "criterion=criterion",
            "seconds=seconds",
            "note=note",
            "responses=responses[].text",
            "ranks=responses[].rank",
            "ratings=responses[].rating",
        ),
        unfold="labelstudio",
        checked="its documentation of tags, November 2026",
    ),
    Preset(
        "labelstudio_columns",
        "Label Studio's tasks as CSV or JSON_MIN: one column a control, what was set in a list",
        "https://labelstud.io/guide/export#JSON_MIN",
        ("annotator", "annotation_id", "lead_time"),
        ("id=id", "annotator=annotator", "seconds=lead_time"),
        unfold="labelstudio_columns",
        holds=has_controls,
        checked="what is known of its converter, without an export beside, November 2026",
    ),
    Preset(
        "prodigy_compare",
        "Prodigy's comparisons of two outputs, of which answer says whether the accepted one is better",
        "https://prodi.gy/docs/recipes#compare",
        ("input:object", "input.text:text", "accept.text:text", "reject.text:text", "answer:text"),
        (
            "id=id",
            "prompt=input.text",
            "response_a=accept.text",
            "response_b=reject.text",
            "winner=answer{accept:a, reject:b, ignore:skip}",
            "annotator=_annotator_id",
            "annotator=_session_id",
        ),
        checked="what is known of its recipe, without an export beside, November 2026",
    ),
    Preset(
        "prodigy",
        "Prodigy's tasks with options, of which people accept some",
        "https://prodi.gy/docs/api-interfaces#choice",
        ("_task_hash", "options:objects", "options[].text", "answer:text"),
        (
            "prompt=prompt",
            "annotator=annotator",
            "responses=responses[].text",
            "ranks=responses[].rank",
        ),
        unfold="prodigy",
        checked=PRODIGY,
    ),
    Preset(
        "prodigy_binary",
        "Prodigy's tasks of one text each, accepted or rejected",
        "https://prodi.gy/docs/api-interfaces#classification",
        ("_task_hash", "prompt:text", "text:text", "answer:text"),
        (
            "prompt=prompt",
            "response=text",
            "label=answer",
            "annotator=_annotator_id",
            "annotator=_session_id",
        ),
        without=("options",),
        checked=PRODIGY,
    ),
)
