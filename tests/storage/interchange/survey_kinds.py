# ruff: noqa: E501  one kind a line, so that they can be read side by side
"""Layouts of surveys, of training tools and of verdicts in lists, each with what its kind of fault needs."""

from __future__ import annotations

import json
from typing import Any

from tests.storage.interchange.kinds import BAD, GOOD, PAIRS, Kind, Q, chat, rows, turn


def two(n: int, **more: Any) -> dict[str, Any]:
    return {"prompt": Q[n], "response_a": GOOD[n], "response_b": BAD[n], **more}


def google(role: str, text: str) -> dict[str, Any]:
    return {"role": role, "parts": [{"text": text}]}


def studio(n: int, **more: Any) -> dict[str, Any]:
    about = {"id": n, "annotator": 1, "annotation_id": n + 5, "created_at": "2026", "lead_time": 12.5}
    return {"prompt": Q[n], **more, **about}


ITEMS = [{"id": "x", "title": "A", "body": GOOD[0]}, {"id": "y", "title": "B", "body": BAD[0]}]
IN_LISTS = "is taken for verdicts of several annotators"
SURVEYS = [
    Kind("verdicts_in_a_list", [two(n, preferences=["a", "b", "tie"][: n + 1]) for n in range(3)], (3, 6, 6, 5, 1), said=IN_LISTS),
    Kind("verdicts_and_people_in_lists", rows(lambda n: two(n, labels=["A", "B"], annotators=["x", "y"])), (3, 6, 6, 6, 0)),
    Kind("numbers_of_annotators", rows(lambda n: {"prompt": Q[n], "response_1": GOOD[n], "response_2": BAD[n], "annotator_preferences": [1, 2, 2]}), (3, 6, 9, 9, 0), said=IN_LISTS),
    Kind("one_row_with_annotations", [two(0, annotations=[{"annotator": "x", "preference": "a"}, {"annotator": "y", "preference": "b"}])], (1, 2, 2, 2, 0)),
    Kind("one_row_with_verdicts", [two(0, annotations=["a", "b"])], (1, 2, 2, 2, 0), said=IN_LISTS),
    Kind("pairs_called_j_and_k", rows(lambda n: {"question": Q[n], "response_j": GOOD[n], "response_k": BAD[n]}), PAIRS, said="is taken for the better one"),
    Kind("scores_by_model_and_criterion", rows(lambda n: {"instruction": Q[n], "model_outputs": {"m-a": GOOD[n], "m-b": BAD[n]}, "scores": {"m-a": {"Truth": 5, "Style": 4}, "m-b": {"Truth": 3, "Style": 2}}}), (3, 6, 6, 0, 0)),
    Kind("scores_of_three_models", rows(lambda n: {"instruction": Q[n], "outputs": {m: f"{GOOD[n]} {m}" for m in "xyz"}, "scores": {m: {"Truth": k, "Style": 4} for k, m in enumerate("xyz")}}), (3, 9, 6, 0, 0)),
    Kind("output_beside_a_rejected_one", rows(lambda n: {"instruction": Q[n], "output": GOOD[n], "rejected_output": BAD[n]}), PAIRS),
    Kind("several_rejected_beside_messages", rows(lambda n: {"messages": chat(n, GOOD[n]), "rejected_response": [BAD[n], "worse"]}), (3, 9, 3, 6, 0)),
    Kind("whole_prompt_as_parts", rows(lambda n: {"systemInstruction": google("system", "Be kind."), "contents": [google("user", Q[n]), google("model", GOOD[n])]}), (3, 3, 0, 0, 0), contains="Be kind."),
    Kind("system_as_parts", rows(lambda n: {"system": [{"text": "Be kind."}], "messages": chat(n, GOOD[n])}), (3, 3, 0, 0, 0), contains="Be kind."),
    Kind("answers_among_metadata", rows(lambda n: {"data_source": "d", "prompt": [turn("user", Q[n])], "reward_model": {"ground_truth": "72"}, "extra_info": {"answer": "so it is 72", "index": n}}), (3, 0, 0, 0, 0)),
    Kind("best_of_a_list_by_its_id", rows(lambda n: {"prompt": Q[n], "responses": [GOOD[n], BAD[n]], "better_response_id": n % 2}), PAIRS),
    Kind("best_behind_a_prefix", rows(lambda n: {"annotator_id": "x", "turn_prompt": Q[n], **{f"turn_response_{c}": f"{GOOD[n]} {c}" for c in "abcd"}, "turn_preferred_response": "b"}), (3, 12, 3, 9, 0)),
    Kind("a_ranking_beside_a_list", rows(lambda n: {"query": Q[n], "response": [GOOD[n], BAD[n]], "human_ranking": [1, 0]}), PAIRS),
    Kind("ranked_in_columns", rows(lambda n: {"instruction": Q[n], "rank1": GOOD[n], "rank2": BAD[n], "rank3": "the worst"}), (3, 9, 3, 9, 0), said="is taken for the best response"),
    Kind("model_in_the_name_of_an_output", rows(lambda n: {"conversation_input": [turn("user", Q[n])], "model_A": "x", "model_B": "y", "model_output_A": GOOD[n], "model_output_B": BAD[n], "winner": ("A", "B", "tie")[n]}), (3, 6, 3, 2, 1)),
    Kind("a_pick_that_names_its_column", rows(lambda n: {"dialog": [{"speaker": "user", "text": Q[n]}], "bot_a": GOOD[n], "bot_b": BAD[n], "human_pick": f"bot_{'ab'[n % 2]}"}), PAIRS),
    Kind("ids_beside_a_verdict", rows(lambda n: {"prompt": Q[n], "answer1": GOOD[n], "answer2": BAD[n], "pw": ("left", "right", "left")[n], "annotation_id": n + 5}), PAIRS),
    Kind("studio_columns", [studio(n, answer1=GOOD[n], answer2=BAD[n], pw=[{"selected": ("left", "right", "left")[n]}]) for n in range(3)], PAIRS),
    Kind("studio_columns_as_text", [studio(n, answer1=GOOD[n], answer2=BAD[n], pw=json.dumps([{"selected": "left"}])) for n in range(3)], PAIRS),
    Kind("studio_columns_rated", [studio(n, response=GOOD[n], rating=[{"rating": n + 1}]) for n in range(3)], (3, 3, 3, 0, 0)),
    Kind("studio_columns_ranked", [studio(0, items=ITEMS, rank=[{"ranker": {"_": ["y", "x"]}}])], (1, 2, 1, 1, 0)),
    Kind("prodigy_compare", rows(lambda n: {"input": {"text": Q[n]}, "accept": {"text": GOOD[n]}, "reject": {"text": BAD[n]}, "mapping": {"A": "accept"}, "answer": ("accept", "reject", "ignore")[n]}), (3, 6, 2, 2, 0)),
    Kind("ratings_with_words", rows(lambda n: two(n, winner="a", helpfulness_a="5 - Excellent")), PAIRS, said="written in a way that is not read"),
    Kind("another_answer_beside_a_pair", rows(lambda n: {"prompt": Q[n], "best": GOOD[n], "second": f"middling {n}", "worst": BAD[n]}), PAIRS, said="holds other texts"),
    Kind("raters_without_a_verdict", rows(lambda n: {"context": Q[n], "response": GOOD[n], "rater_id": f"r{n}", "Q_overall": ("No", "Yes", "Unsure")[n]}), (3, 3, 0, 0, 0), said="says who judged"),
]  # fmt: skip
