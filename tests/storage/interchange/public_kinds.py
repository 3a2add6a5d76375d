# ruff: noqa: E501  one kind a line, so that they can be read side by side
"""Further layouts of public data sets, each with the columns that its kind of fault needs."""

from __future__ import annotations

import json
from typing import Any

from tests.storage.interchange.kinds import BAD, GOOD, PAIRS, Kind, Q, chat, rows, turn

TIED = (3, 6, 3, 2, 1)


def prism(n: int) -> dict[str, Any]:
    """Two turns: four candidates, of which the second was chosen, then two."""
    said = [
        {"turn": 0, "role": "user", "content": Q[n], "model_name": None, "score": None, "if_chosen": None}
    ]
    for place, score in enumerate((40, 90, 40, 1)):
        said.append(
            {
                "turn": 0,
                "role": "model",
                "content": f"{GOOD[n]} {place}",
                "model_name": f"m{place}",
                "model_provider": "p",
                "score": score,
                "if_chosen": place == 1,
                "within_turn_id": place,
            }
        )
    said.append({"turn": 1, "role": "user", "content": f"And then, {n}?"})
    for place, score in enumerate((60, 60)):
        said.append(
            {
                "turn": 1,
                "role": "model",
                "content": f"{BAD[n]} {place}",
                "model_name": "m1",
                "model_provider": "p",
                "score": score,
                "if_chosen": place == 1,
                "within_turn_id": place,
            }
        )
    return {
        "conversation_id": f"c{n}",
        "user_id": f"user{n}",
        "conversation_type": "unguided",
        "opening_prompt": Q[n],
        "conversation_turns": 2,
        "conversation_history": said,
        "performance_attributes": {"values": 50},
        "open_feedback": "Fine.",
    }


def utterances(n: int) -> list[dict[str, Any]]:
    """The same conversation as rows of one candidate."""
    whole = prism(n)
    made = []
    for message in whole["conversation_history"]:
        if message["role"] == "user":
            asked = message["content"]
        else:
            rest = {k: v for k, v in message.items() if k not in ("role", "content")}
            about = {k: whole[k] for k in ("conversation_id", "user_id", "conversation_type")}
            made.append(
                {
                    **about,
                    "utterance_id": f"u{n}-{len(made)}",
                    "user_prompt": asked,
                    "model_response": message["content"],
                    **rest,
                }
            )
    return made


def nested(n: int) -> dict[str, Any]:
    """Turns as objects with lists of candidates."""
    first = [
        {"model": m, "text": f"{GOOD[n]} {m}", "score": s, "chosen": s == 90}
        for m, s in (("a", 40), ("b", 90), ("c", 1))
    ]
    second = [{"model": "b", "text": f"{BAD[n]} {s}", "score": s, "chosen": s == 70} for s in (70, 20)]
    return {
        "id": f"x{n}",
        "turns": [{"user": Q[n], "candidates": first}, {"user": f"And then, {n}?", "candidates": second}],
    }


MODELS = "abcd"
PUBLIC = [
    Kind("prism", rows(prism), (6, 18, 6, 18, 3)),
    Kind("prism_utterances", [row for n in range(3) for row in utterances(n)], (6, 18, 6, 18, 3)),
    Kind("turns_with_candidates", rows(nested), (6, 15, 6, 12, 0)),
    Kind("rivals_without_a_choice", rows(lambda n: {"messages": [turn("user", Q[n]), turn("assistant", GOOD[n]), turn("assistant", BAD[n])]}), (3, 3, 0, 0, 0), said="may be rivals"),
    Kind("rmb", rows(lambda n: {"conversation_input": [turn("user", Q[n])], "bon_best": {"llm_name": "x", "answer": GOOD[n]}, "loser_list": [{"llm_name": "y", "answer": BAD[n]}, {"llm_name": "z", "answer": f"{BAD[n]}!"}], "bon_uid": f"{n}", "category_path": "BoN_set/Helpfulness"}), (3, 9, 3, 6, 0)),
    Kind("rmb_pairs", rows(lambda n: {"pair_uid": f"{n}", "conversation_input": [turn("user", Q[n])], "chosen": {"llm_name": "x", "answer": GOOD[n], "score": 3.5}, "reject": {"llm_name": "y", "answer": BAD[n], "score": 1.0}, "category_path": "Pairwise_set"}), PAIRS),
    Kind("capybara_dpo", rows(lambda n: {"source": "Dove", "conversation": [{"input": Q[n], "output": None}], "original_response": BAD[n], "raw_generation_responses": ["r"], "prompt": Q[n], "chosen": chat(n, GOOD[n]), "rejected": chat(n, BAD[n]), "rating_chosen": 5, "rating_rejected": 3, "chosen_model": "x", "rejected_model": "y"}), PAIRS),
    Kind("math_step_dpo", rows(lambda n: {"dataset": "gsm", "prompt": Q[n], "initial_reason_steps": "First this.\nStep 2:", "chosen": GOOD[n], "rejected": BAD[n], "full_chosen": f"{GOOD[n]} Done.", "full_rejected": f"{BAD[n]} Done.", "answer": "2"}), PAIRS, contains="Step 2:A careful answer to 1"),
    Kind("processbench", [{"id": f"g{n}", "generator": "m", "problem": Q[n], "steps": ["One.", "Two.", f"Three {n}."], "final_answer_correct": n == 0, "label": (-1, 1, 0)[n]} for n in range(3)], (3, 3, 0, 0, 0)),
    Kind("code_ultrafeedback", rows(lambda n: {"instruction": Q[n], "preference": "overall", "preference_instruction": "Be neat.", "models": list(MODELS), "responses": [{"model": m, "response": f"{GOOD[n]} {m}"} for m in MODELS], "annotations": [{"model": m, "rating": r, "rationale": "why"} for m, r in zip(MODELS[::-1], "5422", strict=True)]}), (3, 12, 3, 15, 3)),
    Kind("ratings_in_an_object_of_columns", rows(lambda n: {"instruction": Q[n], "scores": {"response_1": 7, "response_2": 3}, "response_1": GOOD[n], "response_2": BAD[n], "overall_winner": "response_1"}), PAIRS),
    Kind("ratings_of_several_people", rows(lambda n: {"prompt": Q[n], "response": GOOD[n], "helpfulness": [3, 4, None], "verbosity": [1, 2, 1]}), (3, 3, 15, 0, 0), said="is taken for one annotator's"),
    Kind("a_list_called_response", rows(lambda n: {"prompt": Q[n], "response": [GOOD[n], BAD[n]], "score": [1, 0]}), PAIRS),
    Kind("people_on_one_scale", [{"prompt": Q[n], "response1": GOOD[n], "response2": BAD[n], "annotator1": (1, 2, 0)[n], "annotator2": n % 2} for n in range(3)], (3, 6, 6, 3, 3), said="0 a tie"),
    Kind("scores_in_objects", rows(lambda n: {"prompt": Q[n], "chosen": GOOD[n], "rejected": BAD[n], "rewards_by_model": [{"score": 0.2, "parts": [1]}]}), PAIRS, said="looks like a verdict that no role reads"),
    Kind("lmsys_kaggle", [{"id": n, "model_a": "a", "model_b": "b", "prompt": json.dumps([Q[n]]), "response_a": json.dumps([GOOD[n]]), "response_b": json.dumps([BAD[n]]), "winner_model_a": int(n == 0), "winner_model_b": int(n == 1), "winner_tie": int(n == 2)} for n in range(3)], TIED),
    Kind("arena_parts", rows(lambda n: {"model_a": "a", "model_b": "b", "winner": ("model_a", "both_bad", "model_b")[n], "conversation_a": [turn("user", [{"type": "text", "text": Q[n], "image": None}]), turn("assistant", [{"type": "text", "text": GOOD[n]}])], "conversation_b": [turn("user", [{"type": "text", "text": Q[n], "image": None}]), turn("assistant", [{"type": "text", "text": BAD[n]}])], "evaluation_order": 1}), TIED),
    Kind("ultra_interact", rows(lambda n: {"task": "Coding", "dataset": "apps", "trajectory": [{"from": "user", "value": Q[n]}], "chosen": GOOD[n], "rejected": BAD[n], "id": f"i{n}", "parent_id": "p"}), PAIRS),
    Kind("helpsteer3_edit_quality", rows(lambda n: {"domain": "code", "context": [turn("user", Q[n])], "original_response": "first", "good_edited_response": GOOD[n], "bad_edited_response": BAD[n], "feedback": ["f"]}), PAIRS),
    Kind("beavertails", [{"prompt": Q[0], "response": GOOD[n], "category": {"privacy": n == 1}, "is_safe": n != 1} for n in range(3)], (1, 3, 1, 2, 1)),
    Kind("magpie", rows(lambda n: {"uuid": f"u{n}", "instruction": Q[n], "responses": [GOOD[n], BAD[n]], "rewards_armorm": [{"score": 0.2}, {"score": 0.1}], "chosen": chat(n, GOOD[n]), "rejected": chat(n, BAD[n])}), PAIRS),
    Kind("skywork", rows(lambda n: {"chosen": chat(n, GOOD[n]), "rejected": chat(n, BAD[n]), "source": "magpie"}), PAIRS),
    Kind("tulu", rows(lambda n: {"id": f"t{n}", "source": "s", "prompt": Q[n], "chosen": chat(n, GOOD[n]), "rejected": chat(n, BAD[n]), "chosen_rating": 5.0, "rejected_rating": 3.0, "chosen_model": "a", "rejected_model": "b"}), PAIRS),
    Kind("flags_in_a_list", rows(lambda n: {"prompt": Q[n], "responses": [{"text": GOOD[n], "is_preferred": True}, {"text": BAD[n], "is_preferred": False}, {"text": "hm", "is_preferred": False}]}), (3, 9, 3, 6, 0)),
    Kind("ratings_of_both_lists", rows(lambda n: {"prompt": Q[n], "chosen": [GOOD[n], "also good"], "rejected": [BAD[n]], "chosen_score": [5, 4], "rejected_score": [1]}), (3, 9, 3, 6, 0)),
    Kind("turns_alone", rows(lambda n: {"conversations": [Q[n], GOOD[n]], "source": "x"}), (3, 3, 0, 0, 0)),
    Kind("judge_lm", rows(lambda n: {"question_body": Q[n], "answer1_body": GOOD[n], "answer2_body": BAD[n], "answer1_model_id": "a", "answer2_model_id": "b", "score": [{"score1": 8, "score2": 2}]}), (3, 6, 0, 0, 0), said="looks like a verdict that no role reads"),
]  # fmt: skip
