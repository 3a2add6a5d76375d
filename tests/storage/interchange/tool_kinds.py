# ruff: noqa: E501  one kind a line, so that they can be read side by side
"""Exports of annotation tools, and verdicts that stand in more than one column."""

from __future__ import annotations

from typing import Any

from tests.storage.interchange.further_kinds import TIED
from tests.storage.interchange.kinds import BAD, GOOD, PAIRS, Kind, Q, chat, rows, turn
from tests.storage.interchange.nastier_kinds import UNJUDGED


def argilla(n: int, responses: dict[str, Any], suggestions: dict[str, Any] | None = None) -> dict[str, Any]:
    fields = {"prompt": Q[n], "response_a": GOOD[n], "response_b": BAD[n]}
    return {"id": n, "fields": fields, "responses": responses, "suggestions": suggestions or {}}


def said(value: Any, user: str = "u1", status: str = "submitted") -> dict[str, Any]:
    return {"value": value, "user_id": user, "status": status}


def rated(name: str, side: str, stars: int) -> dict[str, Any]:
    return {
        "type": "rating",
        "from_name": f"{name}_response_{side}",
        "to_name": f"response_{side}",
        "value": {"rating": stars},
    }


def studio(n: int, *annotations: dict[str, Any], **more: Any) -> dict[str, Any]:
    return {
        "id": n,
        "data": {"prompt": Q[n], "response_a": GOOD[n], "response_b": BAD[n]},
        "annotations": list(annotations),
        **more,
    }


def prodigy(n: int, answer: str, **more: Any) -> dict[str, Any]:
    return {"text": Q[n], "answer": answer, "_input_hash": 1, "_task_hash": n, "_session_id": "ana", **more}


OPTIONS = [{"id": "a", "text": "A careful answer."}, {"id": "b", "text": "no idea"}]
TOOLS = [
    Kind("argilla_two_choices", rows(lambda n: argilla(n, {"helpful": [said("response_a")], "honest": [said("response_b")]})), (3, 6, 6, 0, 0)),
    Kind("argilla_ratings_by_response", rows(lambda n: argilla(n, {f"{c}_response_{s}": [said(v)] for c in ("helpfulness", "honesty") for s, v in (("a", 5), ("b", 2))})), (3, 6, 6, 0, 0)),
    Kind("argilla_score_of_a_suggestion", rows(lambda n: argilla(n, {}, {"best": {"value": "response_a", "score": 0.8, "agent": "m"}})), PAIRS),
    Kind("argilla_discarded", rows(lambda n: argilla(n, {"best": [said("response_a"), said("response_b", "u2", "discarded")]})), PAIRS),
    Kind("argilla_columns", rows(lambda n: {"id": f"r{n}", "status": "completed", "_server_id": "s", "prompt": Q[n], "response_1": GOOD[n], "response_2": BAD[n], "rank.responses": [["response_1", "response_2"]], "rank.responses.users": ["u1"], "rank.responses.status": ["submitted"], "rank.suggestion": None, "rank.suggestion.score": None, "rank.suggestion.agent": None}), PAIRS),
    Kind("argilla_columns_1", rows(lambda n: {"prompt": Q[n], "response_1": GOOD[n], "response_2": BAD[n], "rank": {"user_id": ["u1"], "value": [{"rank": [1, 2], "value": ["response_1", "response_2"]}], "status": ["submitted"]}, "rank-suggestion": None, "rank-suggestion-metadata": {"type": None, "score": None, "agent": None}, "external_id": None, "metadata": "{}"}), PAIRS),
    Kind("labelstudio_ratings_by_response", rows(lambda n: studio(n, {"completed_by": 1, "result": [rated("helpful", "a", 5), rated("helpful", "b", 1), rated("honest", "a", 2), rated("honest", "b", 4)]})), (3, 6, 6, 0, 0)),
    Kind("labelstudio_predictions", rows(lambda n: studio(n, {"completed_by": 1, "result": [rated("stars", "a", 5), rated("stars", "b", 1)]}, predictions=[{"model_version": "m", "score": 0.7, "result": [rated("stars", "a", 3), rated("stars", "b", 2)]}])), (3, 6, 6, 6, 0)),
    Kind("prodigy_choice", rows(lambda n: prodigy(n, ("accept", "accept", "ignore")[n], options=OPTIONS, accept=["a"])), (3, 6, 2, 2, 0)),
    Kind("prodigy_binary", rows(lambda n: prodigy(n, ("accept", "reject", "accept")[n], prompt=Q[n])), (3, 3, 3, 0, 0)),
    Kind("a_tie_above_chosen", rows(lambda n: {"prompt": Q[n], "chosen": GOOD[n], "rejected": BAD[n], "is_tie": n == 1}), TIED),
    Kind("a_tie_where_no_model_is_named", rows(lambda n: {"prompt": Q[n], "model_a": "x", "model_b": "y", "response_a": GOOD[n], "response_b": BAD[n], "chosen_model": ("x", "y", None)[n], "both_equal": n == 2}), TIED),
    Kind("no_verdict_in_a_row", rows(lambda n: {"prompt": Q[n], "response_a": GOOD[n], "response_b": BAD[n], "winner": ("a", None, "b")[n]}), (3, 6, 2, 2, 0), said="rows without a verdict"),
    Kind("people_who_agree", rows(lambda n: {"prompt": Q[n], "response1": GOOD[n], "response2": BAD[n], "annotator1": n, "annotator2": 1, "annotator3": 2}), (3, 6, 9, 8, 1), said="leaves open"),
    Kind("exchanged_sides", rows(lambda n: {"prompt": Q[n], "chosen": GOOD[n], "rejected": BAD[n], "flipped": n == 1}), PAIRS, said="may say that the two sides are exchanged"),
    Kind("margins_below_0", rows(lambda n: {"prompt": Q[n], "chosen": GOOD[n], "rejected": BAD[n], "margin": (0.5, -1.0, 2.0)[n]}), PAIRS, said="is below 0 in 1 of the first 3"),
    Kind("ratings_that_are_words", [{"prompt": f"Why {n}?", "chosen": "so", "rejected": "no", "score_chosen": (5, 4, 3, "high")[n], "score_rejected": 1} for n in range(4)], (4, 8, 4, 4, 0), said="no numbers and are not kept"),
    Kind("other_answers_beside", rows(lambda n: {"question": Q[n], "human_answers": [GOOD[n], "hm"], "chatgpt_answers": [BAD[n]]}), UNJUDGED, said='"chatgpt_answers" holds texts'),
    Kind("rivals_in_one_conversation", rows(lambda n: {"conversation": [*chat(n, GOOD[n]), turn("assistant", BAD[n])]}), (3, 3, 0, 0, 0), said="they may be rivals"),
    Kind("sides_in_the_middle_of_names", rows(lambda n: {"question_body": Q[n], "answer1_body": GOOD[n], "answer2_body": BAD[n], "score": [8, 5]}), (3, 6, 3, 3, 0)),
    Kind("a_question_as_a_column", rows(lambda n: {"Prompt": Q[n], "Answer A": GOOD[n], "Answer B": BAD[n], "Which answer is better?": ("Answer A", "Answer B", "Both equal")[n]}), TIED),
    Kind("truths_of_a_table", rows(lambda n: {"prompt": Q[n], "response_a": GOOD[n], "response_b": BAD[n], "a_wins": str(n == 0), "b_wins": str(n == 1), "tie": str(n == 2)}), TIED),
    Kind("rmb", rows(lambda n: {"bon_uid": f"b{n}", "category_path": "x", "conversation_input": [turn("user", Q[n])], "bon_best": {"llm_name": "a", "answer": GOOD[n]}, "loser_list": [{"llm_name": "b", "answer": BAD[n]}, {"llm_name": "c", "answer": "hm"}]}), (3, 9, 3, 6, 0)),
    Kind("objects_with_answers_beside_one", rows(lambda n: {"prompt": Q[n], "response": GOOD[n], "others": [{"text": BAD[n]}]}), (3, 3, 0, 0, 0), said='"others" holds texts'),
    Kind("accepted_and_refused", rows(lambda n: {"prompt": Q[n], "accepted": GOOD[n], "refused": BAD[n]}), PAIRS),
    Kind("stack_exchange_paired", rows(lambda n: {"qid": n, "question": Q[n], "date": "2020", "metadata": ["x"], "response_j": GOOD[n], "response_k": BAD[n]}), PAIRS),
    Kind("preference_collection", rows(lambda n: {"orig_criteria": "kind?", "orig_instruction": Q[n], "orig_response_A": GOOD[n], "orig_response_B": BAD[n], "orig_preference": "AB"[n % 2], "orig_score_A": "5", "orig_score_B": "2", "orig_feedback": "fine", "instruction": f"###Task: rate {Q[n]}", "input": "", "output": "fine [RESULT] A"}), PAIRS, absent="###Task"),
    Kind("feedback_collection", rows(lambda n: {"orig_criteria": "kind?", "orig_instruction": Q[n], "orig_response": GOOD[n], "orig_score": str(n + 1), "orig_feedback": "fine", "instruction": f"###Task: rate {Q[n]}", "input": "", "output": "fine [RESULT] 3"}), (3, 3, 3, 0, 0), absent="###Task"),
]  # fmt: skip
