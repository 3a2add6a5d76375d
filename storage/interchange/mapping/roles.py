"""The roles that a column can have: the store's words."""

from __future__ import annotations

import difflib

from storage.errors import MappingError

ROLES: dict[str, str] = {
    "prompt": "the prompt: text, messages, or a transcript",
    "system": "the system's turn, put before the prompt",
    "input": "what the instruction is about, put after the prompt",
    "turns": "earlier turns, a list of pairs (user, assistant)",
    "id": "the prompt's id in the file",
    "reference": "the reference answer",
    "source": "where a prompt comes from",
    "split": "train, validation, test …",
    "subset": "the part of a benchmark or data set",
    "response": "one response",
    "responses": "a list of responses",
    "steps": "the steps of one response, a list",
    "step_labels": "whether each step is right, or its rating",
    "policy": "who wrote the response",
    "policies": "who wrote each response of a list",
    "rank": "the response's rank, the lowest is best",
    "ranks": "ranks of a list of responses, or their order as text: B > A = C",
    "order": "the places of a list's responses, the best one's first",
    "ranks_by_annotator": "an object: by annotator, the ranks of a list of responses",
    "comparisons": "a list of pairs, the better one first, or of objects with both sides and the better one",
    "rating": "a number, higher is better",
    "ratings": "ratings of a list of responses",
    "ratings_by_annotator": "an object: by annotator, the ratings of a list of responses",
    "label": "whether the response is good: true or false",
    "best": "the best response of a list: its place from 0, its letter, its name, or a list of true, false",
    "chosen": "the better response, or a list of them",
    "rejected": "the worse response, or a list of them",
    "chosen_policy": "who wrote the better response",
    "rejected_policy": "who wrote the worse response",
    "chosen_rating": "the better response's rating",
    "rejected_rating": "the worse response's rating",
    "response_a": "the first of two responses or conversations",
    "response_b": "the second of two",
    "policy_a": "who wrote the first",
    "policy_b": "who wrote the second",
    "rating_a": "the first one's rating",
    "rating_b": "the second one's rating",
    "winner": "which of two is better",
    "won_a": "true or 1 where the first is better",
    "won_b": "true or 1 where the second is better",
    "won_tie": "true or 1 where both are alike",
    "strength": "how much better",
    "annotator": "who judged",
    "criterion": "the name of the criterion, in a column",
    "group": "rows with the same value are one judgement",
    "note": "what the annotator wrote",
    "seconds": "how long the annotator took",
    "keep": "kept as metadata",
    "ignore": "left out on purpose",
}
# Roles with a name of the file's behind a dot.
NAMED: dict[str, str] = {
    "criterion": "criterion.NAME: a rating of the response (or of each in a list) by a criterion",
    "criterion_a": "criterion_a.NAME: the same for the first of two",
    "criterion_b": "criterion_b.NAME: the same for the second of two",
    "winner": "winner.CRITERION: which of two is better by a criterion",
    "winner_by": "winner_by.ANNOTATOR: which of two is better, in one column an annotator",
}
OTHER_NAMES = {"verdict": "winner", "model": "policy", "models": "policies"}


def check_role(role: str) -> None:
    """Raises MappingError for what is no role, with the nearest one."""
    stem, dot, name = role.partition(".")
    if role in ROLES or (dot and name and stem in NAMED):
        return
    known = [*ROLES, *(f"{stem}.NAME" for stem in NAMED)]
    near = difflib.get_close_matches(OTHER_NAMES.get(role, role), known, n=1, cutoff=0.6)
    raise MappingError(
        f'"{role[:40]}" is not a role of a column'
        + (f'; did you mean "{near[0]}"?' if near else f"; there are {', '.join(known)}.")
    )
