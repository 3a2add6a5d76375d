"""Battles of an arena: two whole conversations and the winner, ties included."""

from __future__ import annotations

from collections.abc import Iterator

from storage.interchange.formats.columns import Row
from storage.interchange.formats.format import Format
from storage.interchange.formats.leaving import READ_ABOUT, Leaving, said


def _battles(leaving: Leaving) -> Iterator[Row]:
    for row in leaving.rows("compared"):
        sides = [("chosen", "model_a"), ("rejected", "model_b")]
        if row["swapped"]:  # by an id that says nothing, so that the winner is not always the first
            sides.reverse()
        (a, _), (b, _) = sides
        first, second = row[a], row[b]
        yield {
            "conversation_a": [*row["chat"], *said(first)],
            "conversation_b": [*row["chat"], *said(second)],
            "model_a": row[f"{a}_policy"],
            "model_b": row[f"{b}_policy"],
            "winner": "tie" if row["tied"] else "model_a" if a == "chosen" else "model_b",
            "judge": leaving.person(row["annotator"]),
            "criterion": row["criterion"],
            **leaving.about(row),
        }


FORMATS = (
    Format(
        "arena",
        "Battles as Chatbot Arena's: two whole conversations, two models, the winner or tie",
        "pairs",
        "https://huggingface.co/datasets/lmsys/chatbot_arena_conversations",
        lambda leaving: {
            "conversation_a": "messages",
            "conversation_b": "messages",
            **dict.fromkeys(("model_a", "model_b", "winner", "judge", "criterion"), "text"),
            **leaving.about_columns,
        },
        _battles,
        (
            "response_a=conversation_a",
            "response_b=conversation_b",
            "policy_a=model_a",
            "policy_b=model_b",
            "winner=winner{model_a:a, model_b:b, tie:tie}",
            "annotator=judge",
            "criterion=criterion",
            *READ_ABOUT,
        ),
    ),
)
