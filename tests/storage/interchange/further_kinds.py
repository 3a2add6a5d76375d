# ruff: noqa: E501  one kind a line, so that they can be read side by side
"""Layouts that people make themselves, where content says more than names do."""

from __future__ import annotations

from typing import Any

from tests.storage.interchange.kinds import BAD, GOOD, PAIRS, Kind, Q, chat, rows, turn

TIED = (3, 6, 3, 2, 1)


def one_hot(*names: str) -> Any:
    return lambda n: {
        "prompt": Q[n],
        "answer_1": GOOD[n],
        "answer_2": BAD[n],
        **{name: int(n == place) for place, name in enumerate(names)},
    }


FURTHER = [
    Kind("one_hot_wins", rows(one_hot("first_wins", "second_wins", "draw")), TIED),
    Kind("one_hot_left_right", rows(lambda n: {"prompt": Q[n], "response_left": GOOD[n], "response_right": BAD[n], "left_better": n == 0, "right_better": n == 1, "both_good": n == 2, "both_bad": False}), TIED),
    Kind("criteria_of_two", rows(lambda n: {"question": Q[n], "response_a": GOOD[n], "response_b": BAD[n], "helpfulness_a": 4, "helpfulness_b": 2, "honesty_a": 3, "honesty_b": 5, "rater": f"r{n}"}), (3, 6, 6, 0, 0)),
    Kind("title_and_body", rows(lambda n: {"post": {"title": f"Help {n}", "body": Q[n]}, "candidates": [{"output": GOOD[n], "position": 2, "model": "x"}, {"output": BAD[n], "position": 1, "model": "y"}]}), PAIRS, contains="Question 2"),
    Kind("position_is_the_order", rows(lambda n: {"prompt": Q[n], "candidates": [{"output": GOOD[n], "position": 1}, {"output": BAD[n], "position": 2}]}), (3, 6, 0, 0, 0)),
    Kind("steps_as_objects", rows(lambda n: {"problem": Q[n], "solution_steps": [{"text": f"First {n}.", "rating": 1, "why": "ok"}, {"text": "Then.", "rating": -1, "why": "no"}]}), (3, 3, 0, 0, 0), contains="First 1."),
    Kind("steps_with_signs", rows(lambda n: {"question": Q[n], "steps": [f"First {n}.", "Then."], "ratings": ["+", "-"]}), (3, 3, 0, 0, 0), contains="First 1."),
    Kind("steps_alone", rows(lambda n: {"question": Q[n], "steps": [f"First {n}.", "Then."]}), (3, 3, 0, 0, 0), contains="First 1."),
    Kind("votes_by_person", rows(lambda n: {"prompt": Q[n], "response_a": GOOD[n], "response_b": BAD[n], "votes": {"alice": "a", "bob": "b", "carol": "tie"}}), (3, 6, 9, 6, 3)),
    Kind("columns_by_person", rows(lambda n: {"prompt": Q[n], "response_a": GOOD[n], "response_b": BAD[n], "alice": "A", "bob": "B", "carol": "tie"}), (3, 6, 9, 6, 3)),
    Kind("columns_by_criterion", rows(lambda n: {"prompt": Q[n], "response_a": GOOD[n], "response_b": BAD[n], "helpfulness": "A", "safety": "B"}), (3, 6, 6, 0, 0)),
    Kind("pairs_by_criterion", [{"prompt": Q[0], "chosen": a, "rejected": b, "criterion": c} for a, b, c in ((GOOD[0], BAD[0], "overall"), (BAD[0], GOOD[0], "harmless"))], (1, 2, 2, 1, 0)),
    Kind("verdicts_by_aspect", [{"prompt": Q[0], "response_a": GOOD[0], "response_b": BAD[0], "winner": w, "aspect": c} for w, c in (("a", "overall"), ("b", "harmless"))], (1, 2, 2, 1, 0)),
    Kind("winner_is_the_text", rows(lambda n: {"prompt": Q[n], "response_a": GOOD[n], "response_b": BAD[n], "winner": (GOOD, BAD)[n % 2][n]}), PAIRS),
    Kind("responses_as_objects", rows(lambda n: {"prompt": {"text": Q[n], "id": f"p-{n}"}, "response_a": {"text": GOOD[n], "model": "m"}, "response_b": {"text": BAD[n], "model": "n"}, "label": {"winner": "response_a"}}), PAIRS),
    Kind("chosen_as_object", rows(lambda n: {"prompt": Q[n], "chosen": {"text": GOOD[n], "model": "m"}, "rejected": {"text": BAD[n], "model": "n"}}), PAIRS),
    Kind("two_conversations", rows(lambda n: {"conversation_1": [turn("user", Q[n]), turn("assistant", "Which?"), *chat(n, GOOD[n])], "conversation_2": [turn("user", Q[n]), turn("assistant", "Which?"), *chat(n, BAD[n])], "preferred": 1 + n % 2}), PAIRS),
    Kind("not_available", [*rows(lambda n: {"prompt": Q[n], "chosen": GOOD[n], "rejected": BAD[n]}), {"prompt": "N/A", "chosen": "a", "rejected": "b"}, {"prompt": "Why?", "chosen": "N/A", "rejected": "b"}], PAIRS, absent="N/A"),
    Kind("answers_of_one_word", rows(lambda n: {"prompt": Q[n], "responses": [GOOD[n], "None", "?", "unknown"], "ranks": [1, 2, 3, 4]}), (3, 12, 3, 18, 0)),
    Kind("list_sources", rows(lambda n: {"prompt": Q[n], "chosen": GOOD[n], "rejected": BAD[n], "source": ["web", "forum"], "annotator": 7}), PAIRS),
    Kind("labels_chosen_and_rejected", [{"prompt": Q[n], "response": r, "label": v} for n in range(3) for r, v in ((GOOD[n], "chosen"), (BAD[n], "rejected"))], (3, 6, 3, 3, 0)),
    Kind("order_as_text", rows(lambda n: {"prompt": Q[n], "responses": [GOOD[n], BAD[n], "hm"], "ranking": "B > A = C"}), (3, 9, 3, 6, 3)),
    Kind("order_of_columns", rows(lambda n: {"prompt": Q[n], "response_a": GOOD[n], "response_b": BAD[n], "response_c": "hm", "ranking": "A>B>C"}), (3, 9, 3, 9, 0)),
    Kind("order_or_ranks", rows(lambda n: {"prompt": Q[n], "responses": [GOOD[n], BAD[n], "hm"], "order": [2, 0, 1]}), (3, 9, 3, 9, 0), said="leaves open what it lists"),
    Kind("best_by_letter", rows(lambda n: {"prompt": Q[n], "responses": [GOOD[n], BAD[n], "hm"], "best": "B"}), (3, 9, 3, 6, 0)),
    Kind("best_by_column", rows(lambda n: {"prompt": Q[n], "response_1": GOOD[n], "response_2": BAD[n], "response_3": "hm", "best": "response_2"}), (3, 9, 3, 6, 0)),
    Kind("object_by_model", rows(lambda n: {"prompt": Q[n], "responses": {"gpt-4": GOOD[n], "llama": BAD[n]}, "ratings": {"llama": 2, "gpt-4": 4}}), PAIRS),
    Kind("object_by_model_and_winner", rows(lambda n: {"prompt": Q[n], "responses": {"gpt-4": GOOD[n], "llama": BAD[n]}, "winner": "llama"}), PAIRS),
    Kind("column_a_model", rows(lambda n: {"prompt": Q[n], "gpt4_response": GOOD[n], "llama_response": BAD[n], "winner": "gpt4" if n else "tie"}), TIED),
    Kind("shares_in_an_object", rows(lambda n: {"prompt": Q[n], "response_a": GOOD[n], "response_b": BAD[n], "preference": {"a": 0.7, "b": 0.3}}), PAIRS),
    Kind("stack_exchange", rows(lambda n: {"qid": n, "question": Q[n], "answers": [{"answer_id": 1, "author": "x", "pm_score": 3, "text": GOOD[n]}, {"answer_id": 2, "author": "y", "pm_score": 1, "text": BAD[n]}]}), PAIRS),
    Kind("candidates_as_messages", rows(lambda n: {"conversation": [turn("user", Q[n])], "candidates": [{**turn("assistant", GOOD[n]), "score": 0.9}, {**turn("assistant", BAD[n]), "score": 0.1}]}), PAIRS),
    Kind("winners_by_criterion", rows(lambda n: {"prompt": Q[n], "response_a": GOOD[n], "response_b": BAD[n], "helpful_winner": "a", "honest_winner": "b", "overall_winner": "tie"}), (3, 6, 9, 0, 3)),
    Kind("pair_and_place", rows(lambda n: {"prompt": Q[n], "pair": [GOOD[n], BAD[n]], "preferred": n % 2}), PAIRS),
    Kind("ratings_in_an_object", rows(lambda n: {"query": Q[n], "responses": [GOOD[n], BAD[n]], "reward": {"helpfulness": [4, 1], "truth": [5, 3]}}), (3, 6, 6, 0, 0)),
    Kind("texts_that_nobody_reads", rows(lambda n: {"prompt": Q[n], "gpt-4": GOOD[n], "llama": BAD[n]}), (3, 0, 0, 0, 0), said="if they are responses"),
    Kind("rankings_of_people", rows(lambda n: {"prompt": Q[n], "responses": [GOOD[n], BAD[n], "hm"], "rankings": [{"annotator": "x", "ranks": [1, 2, 3]}, {"annotator": "y", "ranks": [2, 1, 3]}]}), (3, 9, 6, 18, 0)),
    Kind("scores_too_deep", rows(lambda n: {"prompt": Q[n], "responses": [GOOD[n], BAD[n]], "scores": [[4, 5], [1, 2]]}), (3, 6, 0, 0, 0), said="looks like a verdict"),
    Kind("pairs_by_place", rows(lambda n: {"prompt": Q[n], "candidates": [GOOD[n], BAD[n], "hm"], "pairs": [[0, 1], [2, 1], [0, 2]]}), (3, 9, 9, 9, 0), said="the first is taken for the better one"),
    Kind("pairs_without_a_direction", rows(lambda n: {"prompt": Q[n], "responses": [GOOD[n], BAD[n], "hm"], "pairs": [[0, 1], [1, 2]]}), (3, 9, 0, 0, 0), said="does not say which one is better"),
    Kind("pairs_counted_from_1", rows(lambda n: {"prompt": Q[n], "responses": [GOOD[n], BAD[n], "hm"], "pairs": [[2, 1], [1, 2]]}), (3, 9, 0, 0, 0), said="counted from 0 or from 1"),
    Kind("comparisons_by_place", rows(lambda n: {"prompt": Q[n], "responses": [GOOD[n], BAD[n], "hm"], "comparisons": [{"a": 0, "b": 1, "winner": "a"}, {"a": 1, "b": 2, "winner": "tie"}, {"a": 2, "b": 0, "winner": None}]}), (3, 9, 6, 3, 3), said="comparisons without a verdict in a list of them: 3"),
    Kind("comparisons_with_a_place_or_a_side", rows(lambda n: {"prompt": Q[n], "responses": [GOOD[n], BAD[n], "hm"], "comparisons": [{"a": 1, "b": 0, "winner": 0}]}), (3, 9, 0, 0, 0), said="the place of a response or one of the two sides"),
    Kind("comparisons_of_people", rows(lambda n: {"prompt": Q[n], "responses": [GOOD[n], BAD[n], "hm"], "comparisons": [{"winner": 0, "loser": 1, "annotator": "x"}, {"winner": 1, "loser": 0, "annotator": "y", "why": "short"}]}), (3, 9, 6, 6, 0)),
    Kind("comparisons_of_texts", rows(lambda n: {"prompt": Q[n], "comparisons": [{"chosen": GOOD[n], "rejected": BAD[n]}, {"chosen": "hm", "rejected": BAD[n]}]}), (3, 9, 6, 6, 0)),
    Kind("comparisons_of_texts_and_a_winner", rows(lambda n: {"prompt": Q[n], "responses": [GOOD[n], BAD[n], "hm"], "comparisons": [{"response_a": GOOD[n], "response_b": "hm", "preference": "hm"}]}), (3, 9, 3, 3, 0)),
    Kind("a_comparison_of_another_response", [*rows(lambda n: {"prompt": Q[n], "responses": [GOOD[n], BAD[n], "hm"], "comparisons": [{"chosen": 0, "rejected": 1}]}), {"prompt": "Why?", "responses": ["a", "b"], "comparisons": [{"chosen": 7, "rejected": 1}]}], (3, 9, 3, 3, 0), absent="Why?"),
    Kind("rankings_by_person", rows(lambda n: {"prompt": Q[n], "responses": [GOOD[n], BAD[n], "hm"], "rankings": {"ada": [2, 1, 3], f"person {n}": [1, 2, 2]}}), (3, 9, 6, 15, 3), said="1 the best, by annotator"),
    Kind("ratings_by_person_or_criterion", rows(lambda n: {"prompt": Q[n], "responses": [GOOD[n], BAD[n], "hm"], "ratings": {"ada": [2, 1, 3], "bob": [1, 2, 2]}}), (3, 9, 6, 0, 0), said="where they are annotators"),
    Kind("labelstudio_buckets_that_sort", rows(lambda n: {"id": n, "data": {"prompt": Q[n], "items": [{"id": "x", "body": GOOD[n]}, {"id": "y", "body": BAD[n]}]}, "annotations": [{"completed_by": 3, "result": [{"type": "ranker", "from_name": "rank", "to_name": "items", "value": {"ranker": {"best": ["y"], "ads": ["x"]}}}]}]}), (3, 6, 0, 0, 0)),
    Kind("labelstudio_bucket_that_ranks", rows(lambda n: {"id": n, "data": {"prompt": Q[n], "items": [{"id": "x", "body": GOOD[n]}, {"id": "y", "body": BAD[n]}]}, "annotations": [{"completed_by": 3, "result": [{"type": "ranker", "from_name": "rank", "to_name": "items", "value": {"ranker": {"rank": ["y", "x"], "biased": ["x"]}}}]}]}), PAIRS),
]  # fmt: skip
