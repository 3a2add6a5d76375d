# ruff: noqa: E501  one kind a line, so that they can be read side by side
"""Rows in the layouts of public data sets and tools, and what has to stand in the store after an import."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

Q = [f"Question {n}, please?" for n in range(3)]
GOOD = [f"A careful answer to {n}." for n in range(3)]
BAD = [f"no idea about {n}" for n in range(3)]


def turn(role: str, text: Any) -> dict[str, Any]:
    return {"role": role, "content": text}


def chat(n: int, answer: str) -> list[dict[str, Any]]:
    return [turn("user", Q[n]), turn("assistant", answer)]


@dataclass(frozen=True)
class Kind:
    """`counts`: prompts, responses, standing judgements, pairs and ties of the criterion overall."""

    name: str
    rows: list[dict[str, Any]]
    counts: tuple[int, int, int, int, int]
    contains: str = ""
    absent: str = ""
    said: str = ""  # in a warning or a note


def rows(make: Any) -> list[dict[str, Any]]:
    return [make(n) for n in range(3)]


def two(
    verdicts: list[Any], a: str = "response_a", b: str = "response_b", key: str = "winner"
) -> list[dict[str, Any]]:
    return [
        {"prompt": Q[n % 3] + str(n), a: GOOD[n % 3], b: BAD[n % 3], key: v} for n, v in enumerate(verdicts)
    ]


PAIRS = (3, 6, 3, 3, 0)
KINDS = [
    Kind("trl_implicit", rows(lambda n: {"chosen": chat(n, GOOD[n]), "rejected": chat(n, BAD[n])}), PAIRS),
    Kind("trl_conversational", rows(lambda n: {"prompt": [turn("user", Q[n])], "chosen": [turn("assistant", GOOD[n])], "rejected": [turn("assistant", BAD[n])]}), PAIRS),
    Kind("trl_prompt_completion", rows(lambda n: {"prompt": [turn("user", Q[n])], "completion": [turn("assistant", GOOD[n])]}), (3, 3, 0, 0, 0)),
    Kind("trl_language", rows(lambda n: {"messages": chat(n, GOOD[n])}), (3, 3, 0, 0, 0)),
    Kind("trl_unpaired_chat", rows(lambda n: {"prompt": [turn("user", Q[n])], "completion": [turn("assistant", GOOD[n])], "label": n > 0}), (3, 3, 3, 0, 0)),
    Kind("argilla_binarized", rows(lambda n: {"source": "s", "prompt": Q[n], "chosen": chat(n, GOOD[n]), "chosen-rating": 5.0, "chosen-model": "m-a", "rejected": chat(n, BAD[n]), "rejected-rating": 2.0, "rejected-model": "m-b"}), PAIRS),
    Kind("distilabel_orca", rows(lambda n: {"system": "Be brief.", "input": Q[n], "chosen": GOOD[n], "rejected": BAD[n], "generations": [GOOD[n], BAD[n]], "order": ["chosen", "rejected"], "labelling_model": "gpt-4", "rating": [9.0, 7.0], "status": "unchanged", "original_chosen": GOOD[n], "original_rejected": BAD[n]}), PAIRS, contains="Be brief."),
    Kind("distilabel_list", rows(lambda n: {"instruction": Q[n], "generations": [GOOD[n], BAD[n]], "generation_models": ["m-a", "m-b"], "ratings": [5, 2], "rationales": ["x", "y"]}), PAIRS),
    Kind("helpsteer2_preference", [{"prompt": Q[n], "response_1": GOOD[n], "response_2": BAD[n], "preference_strength": v, "preference_statement": "@Response 1 is better", "split": "train"} for n, v in enumerate((-2, 0, 3))], (3, 6, 3, 2, 1)),
    Kind("pku", rows(lambda n: {"prompt": Q[n], "response_0": GOOD[n], "response_1": BAD[n], "is_response_0_safe": True, "is_response_1_safe": False, "better_response_id": n % 2, "safer_response_id": 0}), (3, 6, 6, 3, 0)),
    Kind("webgpt", rows(lambda n: {"question": {"dataset": "eli5", "id": f"q{n}", "full_text": Q[n]}, "answer_0": GOOD[n], "answer_1": BAD[n], "score_0": 0.5, "score_1": -0.5, "quotes_0": {"title": ["t"]}, "tokens_0": {"prefix": [1]}}), PAIRS),
    Kind("tldr", rows(lambda n: {"info": {"id": f"t3_{n}", "post": Q[n] * 3, "title": "T", "subreddit": "r"}, "summaries": [{"text": GOOD[n], "policy": "sup", "note": "x"}, {"text": BAD[n], "policy": "ref", "note": None}], "choice": n % 2, "worker": "w", "batch": "b", "split": "train", "extra": {"confidence": 3}}), PAIRS),
    Kind("tldr_axis", rows(lambda n: {"info": {"id": f"t3_{n}", "post": Q[n] * 3}, "split": "test", "summary": {"text": GOOD[n], "policy": "sup", "note": "n", "axes": {"overall": 5 + n, "accuracy": 4}}, "worker": "w"}), (3, 3, 6, 0, 0)),
    Kind("rewardbench", rows(lambda n: {"prompt": Q[n], "chosen": GOOD[n], "chosen_model": "a", "rejected": BAD[n], "rejected_model": "b", "subset": "alpacaeval-easy", "id": n}), PAIRS),
    Kind("rm_bench", rows(lambda n: {"id": f"c{n}", "prompt": Q[n], "chosen": [GOOD[n] + s for s in "abc"], "rejected": [BAD[n] + s for s in "abc"], "domain": "chat"}), (3, 18, 3, 27, 0)),
    Kind("judgebench", rows(lambda n: {"pair_id": f"c{n}", "original_id": n, "source": "mmlu", "question": Q[n], "response_model": "gpt-4o", "response_A": GOOD[n], "response_B": BAD[n], "label": ("A>B", "B>A", "A>B")[n]}), PAIRS),
    Kind("ppe_human", rows(lambda n: {"question_id": f"id{n}", "model_1": "a", "model_2": "b", "response_1": GOOD[n], "response_2": BAD[n], "winner": ("model_1", "model_2", "tie (bothbad)")[n], "prompt": Q[n], "language": "en"}), (3, 6, 3, 2, 1)),
    Kind("arena_conversations", rows(lambda n: {"question_id": f"id{n}", "model_a": "a", "model_b": "b", "winner": ("model_a", "tie (bothbad)", "model_b")[n], "judge": "arena_user", "conversation_a": chat(n, GOOD[n]), "conversation_b": chat(n, BAD[n]), "turn": 1, "language": "English", "tstamp": 1.5}), (3, 6, 3, 2, 1)),
    Kind("arena_two_turns", rows(lambda n: {"model_a": "a", "model_b": "b", "winner": "model_a", "conversation_a": [*chat(n, GOOD[n]), turn("user", "more?"), turn("assistant", "yes")], "conversation_b": [*chat(n, BAD[n]), turn("user", "more?"), turn("assistant", "no")]}), PAIRS, said="later turns"),
    Kind("arena_names", rows(lambda n: {"prompt": Q[n], "model_a": "gpt", "model_b": "llama", "response_a": GOOD[n], "response_b": BAD[n], "winner": ("gpt", "llama", "tie")[n]}), (3, 6, 3, 2, 1)),
    Kind("oasst_tree", [{"message_tree_id": "t", "tree_state": "ready_for_export", "prompt": {"message_id": "m1", "text": Q[0], "role": "prompter", "lang": "en", "replies": [{"message_id": "m2", "text": GOOD[0], "role": "assistant", "rank": 0, "replies": [{"message_id": "m4", "text": "And then?", "role": "prompter", "replies": [{"message_id": "m5", "text": "Done.", "role": "assistant", "rank": 0, "replies": []}]}]}, {"message_id": "m3", "text": BAD[0], "role": "assistant", "rank": 1, "replies": []}]}}], (2, 3, 1, 1, 0)),
    Kind("oasst_rows", [{"message_id": i, "parent_id": p, "text": t, "role": r, "rank": k, "message_tree_id": "t", "lang": "en"} for i, p, t, r, k in (("m1", None, Q[0], "prompter", None), ("m2", "m1", GOOD[0], "assistant", 0.0), ("m3", "m1", BAD[0], "assistant", 1.0))], (1, 2, 1, 1, 0)),
    Kind("prm800k", [{"labeler": "l1", "timestamp": "t", "question": {"problem": "1+1?", "ground_truth_answer": "2"}, "label": {"steps": [{"completions": [{"text": "It is 2.", "rating": 1, "flagged": None}], "human_completion": None, "chosen_completion": 0}, {"completions": [{"text": "So 3.", "rating": -1}], "human_completion": None, "chosen_completion": None}], "total_time": 9, "finish_reason": "found_error"}}], (1, 1, 0, 0, 0)),
    Kind("sharegpt", rows(lambda n: {"id": f"s{n}", "conversations": [{"from": "human", "value": Q[n]}, {"from": "gpt", "value": GOOD[n]}]}), (3, 3, 0, 0, 0)),
    Kind("sharegpt_pairs", rows(lambda n: {"conversations": [{"from": "human", "value": Q[n]}], "chosen": {"from": "gpt", "value": GOOD[n]}, "rejected": {"from": "gpt", "value": BAD[n]}}), PAIRS),
    Kind("alpaca", rows(lambda n: {"instruction": "Translate.", "input": Q[n], "output": GOOD[n]}), (3, 3, 0, 0, 0), contains="Question 0"),
    Kind("alpaca_farm", rows(lambda n: {"instruction": Q[n], "input": "", "output_1": GOOD[n], "output_2": BAD[n], "preference": 1 + n % 2}), PAIRS),
    Kind("openai_preference", rows(lambda n: {"input": {"messages": [turn("user", Q[n])], "tools": [], "parallel_tool_calls": True}, "preferred_output": [turn("assistant", GOOD[n])], "non_preferred_output": [turn("assistant", BAD[n])]}), PAIRS),
    Kind("llama_factory_history", rows(lambda n: {"instruction": Q[n], "input": "", "system": "Be kind.", "history": [["Hello", "Hi."]], "chosen": GOOD[n], "rejected": BAD[n]}), PAIRS, contains="Hello"),
    Kind("chatml", rows(lambda n: {"prompt": f"<|im_start|>system\nBe kind.<|im_end|>\n<|im_start|>user\n{Q[n]}<|im_end|>\n<|im_start|>assistant\n", "chosen": GOOD[n], "rejected": BAD[n]}), PAIRS, contains="Be kind.", absent="im_start"),
    Kind("llama2", rows(lambda n: {"prompt": f"<s>[INST] <<SYS>>\nBe kind.\n<</SYS>>\n\n{Q[n]} [/INST]", "chosen": GOOD[n], "rejected": BAD[n]}), PAIRS, absent="[INST]"),
    Kind("single_message", rows(lambda n: {"prompt": turn("user", Q[n]), "chosen": turn("assistant", GOOD[n]), "rejected": turn("assistant", BAD[n])}), PAIRS),
    Kind("system_column", rows(lambda n: {"system_prompt": "Be kind.", "prompt": Q[n], "response": GOOD[n], "rating": n + 1}), (3, 3, 3, 0, 0), contains="Be kind."),
    Kind("numbered_four", rows(lambda n: {"prompt": Q[n], **{f"response_{k}": f"{GOOD[n]} {k}" for k in range(1, 5)}, **{f"rank_{k}": k for k in range(1, 5)}}), (3, 12, 3, 18, 0)),
    Kind("repeats_prompt", rows(lambda n: {"prompt": Q[n], "chosen": f"{Q[n]} {GOOD[n]}", "rejected": f"{Q[n]} {BAD[n]}"}), PAIRS),
    Kind("human_ai_prompt", rows(lambda n: {"prompt": f"Human: Hello\n\nAssistant: Hi\n\nHuman: {Q[n]}\n\nAssistant:", "response": GOOD[n], "score": float(n)}), (3, 3, 3, 0, 0), absent="Human:"),
    Kind("first_ids", rows(lambda n: {"prompt_id": f"p{n}", "text": Q[n], "chosen": GOOD[n], "rejected": BAD[n]}), PAIRS, absent="p0"),
    Kind("index_of_best", rows(lambda n: {"question": Q[n], "answers": [GOOD[n], BAD[n], "third"], "best": n % 3}), (3, 9, 3, 6, 0)),
    Kind("long_criteria", [{"prompt": Q[0], "response": t, "criterion": c, "score": s, "annotator_id": 7} for t, c, s in (("x", "style", 2), ("y", "style", 4), ("x", "truth", 5), ("y", "truth", 1))], (1, 2, 2, 0, 0)),
    Kind("likert", two([1, 4, 7], key="preference"), (3, 6, 3, 2, 1), said="leaves open"),
    Kind("signed", two([-3, 0, 2], key="rating"), (3, 6, 3, 2, 1), said="leaves open"),
    Kind("words", two(["A is slightly better", "B is much better", "Both are equally good", "skip"], key="verdict"), (4, 8, 3, 2, 1)),
    Kind("left_right", two(["left", "right", "left"], "answer1", "answer2", "pw"), PAIRS),
    Kind("arrows", two(["A>>B", "[[B>A]]", "A=B"]), (3, 6, 3, 2, 1)),
    Kind("zero_one", two([0, 1, 0], key="preference"), PAIRS, said="leaves open"),
    Kind("index_zero", two([0, 1, 0], "response_0", "response_1", "preferred"), PAIRS),
    Kind("truths", two([True, False, True], key="a_is_better"), PAIRS),
    Kind("probabilities", two([0.9, 0.25, 0.5, 0.61], key="prob_a"), (4, 8, 4, 3, 1), said="leaves open"),
    Kind("one_hot", [{"prompt": Q[n], "response_a": GOOD[n], "response_b": BAD[n], "a_wins": int(n == 0), "b_wins": int(n == 1), "tie": int(n == 2)} for n in range(3)], (3, 6, 3, 2, 1)),
    Kind("upvotes", [{"post": Q[n] * 2, "answer_a": GOOD[n], "answer_b": BAD[n], "upvotes_a": 9, "upvotes_b": (3, 9, 1)[n]} for n in range(3)], (3, 6, 3, 2, 1)),
    Kind("labelstudio_ranker", [{"id": n, "data": {"prompt": Q[n], "items": [{"id": "x", "title": "A", "body": GOOD[n]}, {"id": "y", "title": "B", "body": BAD[n]}]}, "annotations": [{"completed_by": {"email": "ana@x"}, "was_cancelled": False, "result": [{"type": "ranker", "from_name": "rank", "to_name": "items", "value": {"ranker": {"_": ["y", "x"]}}}]}]} for n in range(3)], PAIRS),
    Kind("argilla_rating", [{"id": n, "fields": {"prompt": Q[n], "response": GOOD[n]}, "responses": {"quality": [{"value": 4, "user_id": "u1", "status": "submitted"}, {"value": 2, "user_id": "u2", "status": "submitted"}]}, "suggestions": {}, "metadata": {"topic": "x"}} for n in range(3)], (3, 3, 6, 0, 0)),
    Kind("argilla_label", [{"id": n, "fields": {"instruction": Q[n], "response_a": GOOD[n], "response_b": BAD[n]}, "responses": {"best": [{"value": "response_a", "user_id": "u1", "status": "submitted"}]}, "suggestions": {}} for n in range(3)], PAIRS),
    Kind("several_in_list", [{"prompt": Q[n], "response_a": GOOD[n], "response_b": BAD[n], "annotations": [{"annotator": "x", "preference": "a"}, {"annotator": "y", "preference": "tie"}]} for n in range(3)], (3, 6, 6, 3, 3)),
    Kind("missing_late_column", [{"prompt": Q[0]}, {"prompt": Q[1], "response": "x"}, {"prompt": Q[1], "response": "y", "rank": 2}, {"prompt": Q[1], "response": "x", "rank": 1}], (1, 2, 1, 1, 0)),
]  # fmt: skip
