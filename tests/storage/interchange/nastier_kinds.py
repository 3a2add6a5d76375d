# ruff: noqa: E501  one kind a line, so that they can be read side by side
"""Layouts of training tools, templates and codings that name things in their own way."""

from __future__ import annotations

from tests.storage.interchange.further_kinds import TIED
from tests.storage.interchange.kinds import BAD, GOOD, PAIRS, Kind, Q, chat, rows, turn, two

UNJUDGED = (3, 6, 0, 0, 0)
STEPS = (3, 3, 0, 0, 0)
ALPACA = "Below is an instruction that describes a task. Write a response.\n\n### Instruction:\n{}\n\n### Response:\n{}"
CALL = {"id": "1", "type": "function", "function": {"name": "w", "arguments": "{}"}}
SOLVED = [f"{q} Step 1: First. ки\nStep 2: Then. ки" for q in Q]

NASTIER = [
    Kind("ms_swift_response", rows(lambda n: {"messages": [turn("system", "Be kind."), *chat(n, GOOD[n])], "rejected_response": BAD[n]}), PAIRS, contains="Be kind."),
    Kind("ms_swift_messages", rows(lambda n: {"messages": chat(n, GOOD[n]), "rejected_messages": chat(n, BAD[n])}), PAIRS),
    Kind("conversation_beside_text", rows(lambda n: {"chosen": chat(n, GOOD[n]), "rejected": BAD[n]}), PAIRS),
    Kind("llama_factory", rows(lambda n: {"instruction": Q[n], "input": "", "output": [GOOD[n], BAD[n]], "history": [["Hi", "Hello"]]}), UNJUDGED, contains="Hello", said="nothing says which is better"),
    Kind("alpaca_template", rows(lambda n: {"chosen": ALPACA.format(Q[n], GOOD[n]), "rejected": ALPACA.format(Q[n], BAD[n])}), PAIRS, absent="### Response"),
    Kind("guanaco", rows(lambda n: {"chosen": f"### Human: {Q[n]}### Assistant: {GOOD[n]}", "rejected": f"### Human: {Q[n]}### Assistant: {BAD[n]}"}), PAIRS, absent="###"),
    Kind("tools_in_the_answer", rows(lambda n: {"prompt": [turn("user", Q[n])], "chosen": [{**turn("assistant", None), "tool_calls": [CALL]}, turn("tool", "12C"), turn("assistant", GOOD[n])], "rejected": [turn("assistant", BAD[n])]}), PAIRS, contains="12C"),
    Kind("ultra_interact", rows(lambda n: {"task": "Math", "dataset": "d", "trajectory": [{"from": "user", "value": Q[n]}], "chosen": GOOD[n], "rejected": BAD[n], "id": str(n), "parent_id": "0"}), PAIRS),
    Kind("replies_of_a_post", rows(lambda n: {"title": f"Help {n}", "selftext": Q[n], "comment_A": GOOD[n], "comment_B": BAD[n], "ups_A": 3, "ups_B": 9}), PAIRS, contains="Question 2"),
    Kind("children", rows(lambda n: {"prompt": Q[n], "children": [{"text": GOOD[n], "score": 2, "children": []}, {"text": BAD[n], "score": 1, "children": []}]}), PAIRS),
    Kind("prometheus", rows(lambda n: {"orig_instruction": Q[n], "orig_response": GOOD[n], "orig_score": str(n), "orig_criteria": "c"}), (3, 3, 3, 0, 0)),
    Kind("labels_of_steps_as_numbers", rows(lambda n: {"prompt": Q[n], "completions": [f"First {n}.", "Then."], "labels": [1, 0]}), STEPS, said="where they are rivals"),
    Kind("math_shepherd", rows(lambda n: {"input": SOLVED[n], "label": SOLVED[n].replace("First. ки", "First. +").replace("ки", "-"), "task": "GSM8K"}), STEPS, absent="ки"),
    Kind("math_shepherd_of_the_card", rows(lambda n: {"input": SOLVED[n].replace("ки", "ки ?"), "label": SOLVED[n].replace("ки", "ки +"), "task": "MATH"}), STEPS, absent="ки"),
    Kind("points_with_words", two(["1 - A is much better", "2: A better", "3 - equal", "5. B much better"], key="preference"), (4, 8, 4, 3, 1)),
    Kind("arrows_alone", two([">", "<<", "="], key="comparison"), TIED),
    Kind("two_shares", two([[0.8, 0.2], [0.1, 0.9], [0.5, 0.5]], key="label"), TIED),
    Kind("gaps_as_words", [*rows(lambda n: {"prompt": Q[n], "chosen": GOOD[n], "rejected": BAD[n]}), {"prompt": "Who?", "chosen": "NULL", "rejected": " "}], (4, 8, 4, 4, 0), said="“NULL”, kept as such"),
    Kind("candidates_by_letter", rows(lambda n: {"prompt": Q[n], "candidates": {"A": {"text": GOOD[n], "score": 5}, "B": {"text": BAD[n], "score": 1}}}), PAIRS),
    Kind("nested_sides", rows(lambda n: {"data": {"prompt": Q[n], "a": {"text": GOOD[n]}, "b": {"text": BAD[n]}}, "label": {"choice": "a"}}), PAIRS),
    Kind("lists_of_winners", rows(lambda n: {"prompt": Q[n], "winners": [GOOD[n], GOOD[n] + "!"], "losers": [BAD[n]]}), (3, 9, 3, 6, 0)),
    Kind("places_among_words", two(["1", "2", "tie"], "output_1", "output_2", "vote"), TIED),
    Kind("both_ticked", two([["A"], ["B"], ["A", "B"]], key="preferred"), TIED),
    Kind("model_in_other_letters", [{**row, "model_a": "gpt-4", "model_b": "llama"} for row in two(["GPT-4", "Llama", "GPT-4"])], PAIRS),
    Kind("shares_in_percent", two(["75%", "20 %", "50%"], key="win_probability"), TIED, said="leaves open"),
    Kind("exclamations", two(["A wins!", "B wins.", "It's a tie!"]), TIED),
    Kind("difference_of_scores", two([1.5, -2.0, 0.0], key="score_diff"), TIED, said="positive means the first"),
    Kind("words_nobody_knows", two(["A besser", "B besser", "gleich"], key="urteil"), UNJUDGED, said='"urteil" looks like a verdict'),
    Kind("one_list_too_long", [{"prompt": Q[n], "responses": [GOOD[n], BAD[n]], "ratings": [5, 1, 3][: 3 if n == 1 else 2]} for n in range(3)], (2, 4, 2, 2, 0)),
    Kind("answers_as_messages", rows(lambda n: {"prompt": [turn("user", Q[n])], "responses": [turn("assistant", GOOD[n]), turn("assistant", BAD[n])], "scores": [1, 0]}), PAIRS),
    Kind("turns_as_objects", rows(lambda n: {"dialogue": [{"user": Q[n], "assistant": "Which?"}, {"user": "Any."}], "chosen": GOOD[n], "rejected": BAD[n]}), PAIRS, contains="Which?"),
    Kind("calls_without_content", rows(lambda n: {"prompt": [turn("user", Q[n]), {"role": "assistant", "tool_calls": [CALL]}, turn("tool", "12C")], "chosen": GOOD[n], "rejected": BAD[n]}), PAIRS, contains="tool_calls"),
    Kind("thoughts", rows(lambda n: {"prompt": Q[n], "chosen": [{**turn("assistant", GOOD[n]), "reasoning_content": "hm"}], "rejected": [turn("assistant", BAD[n])]}), PAIRS, said="thoughts beside the text"),
    Kind("ids_called_prompt", rows(lambda n: {"prompt": f"#{n}", "chosen": chat(n, GOOD[n]), "rejected": chat(n, BAD[n])}), PAIRS, absent="#1"),
    Kind("end_markers", rows(lambda n: {"prompt": f"<s>[INST] {Q[n]} [/INST]", "chosen": f"{GOOD[n]}</s>", "rejected": f"{BAD[n]} </s>"}), PAIRS, absent="</s>", said="end marker is cut off"),
    Kind("system_in_a_list", rows(lambda n: {"system": ["Be kind."], "prompt": Q[n], "chosen": GOOD[n], "rejected": BAD[n]}), PAIRS, contains="Be kind."),
    Kind("a_persona", rows(lambda n: {"persona": "You are a pirate who likes rum.", "question": Q[n], "chosen": GOOD[n], "rejected": BAD[n]}), PAIRS, said='"persona" looks like a part of the prompt'),
    Kind("an_order_in_the_name", rows(lambda n: {"prompt": Q[n], "ranked_responses": [GOOD[n], BAD[n]]}), UNJUDGED, said="order is not read"),
    Kind("people_in_each_response", rows(lambda n: {"prompt": Q[n], "completions": [{"text": GOOD[n], "feedback": [{"annotator": "x", "score": 5}]}, {"text": BAD[n], "feedback": [{"annotator": "x", "score": 1}]}]}), UNJUDGED, said="completions[].feedback"),
    Kind("pairs_of_places", rows(lambda n: {"prompt": Q[n], "responses": [GOOD[n], BAD[n]], "pairs": [[0, 1]]}), UNJUDGED, said="does not say which one is better"),
    Kind("comparisons_of_places", rows(lambda n: {"prompt": Q[n], "responses": [GOOD[n], BAD[n]], "comparisons": [{"winner": 0, "loser": 1}]}), PAIRS),
]  # fmt: skip
