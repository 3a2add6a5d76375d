"""Roles of which a file or a row has no use: what stands in their columns is kept as metadata."""

from __future__ import annotations

from collections.abc import Mapping as AnyMapping
from typing import Any

from storage.interchange.mapping.cells import missing
from storage.interchange.mapping.language import Mapping, Statement, value_at

ALWAYS = ("prompt", "system", "input", "turns", "id", "reference", "source", "split", "subset", "policy")
FREE = ("keep", "ignore")
JUDGING = ("annotator", "criterion", "strength", "note", "seconds")
OF_ONE = (*JUDGING, "response", "rank", "rating", "label", "criterion.", "group")
OF_LAYOUT: dict[str, tuple[str, ...]] = {
    "prompts": (),
    "responses": ("response",),
    "ranked": OF_ONE,
    "steps": (*OF_ONE, "steps", "step_labels"),
    "pairs": (
        *JUDGING,
        *("policies", "won_tie"),
        *(side + what for side in ("chosen", "rejected") for what in ("", "_policy", "_rating")),
    ),
    "annotated_pairs": (
        *JUDGING,
        *(what + side for side in "ab" for what in ("response_", "policy_", "rating_", "won_")),
        *("won_tie", "winner", "winner.", "winner_by.", "criterion_a.", "criterion_b."),
    ),
    "ranked_lists": (
        *JUDGING,
        *("responses", "policies", "rank", "ranks", "rating", "ratings", "order", "best", "winner"),
        *("comparisons", "ranks_by_annotator", "ratings_by_annotator", "criterion."),
    ),
}
"""What rows of each layout are asked for; a dot stands for names behind it."""
VERDICTS = (
    "winner",
    "winner_by",
    "won_a",
    "won_b",
    "won_tie",
    "rating_a",
    "rating_b",
    "rank",
    "rating",
    "label",
)


def unread(mapping: Mapping, layout: str | None) -> list[Statement]:
    """Statements whose roles rows of this layout have no use for."""
    known = {*ALWAYS, *FREE, *OF_LAYOUT[layout]} if layout else set()
    return [s for s in mapping.statements if layout and "".join(s.role.partition(".")[:2]) not in known]


class Unjudged:
    """What a row says of a judgement, or of an answer's policy, and holds none."""

    def __init__(self, mapping: Mapping) -> None:
        plain = [s for s in mapping.statements if s.path.constant is None and not s.path.listed]
        self._policy = [s for s in plain if s.role == "policy"]
        self._said = [s for s in plain if s.role.partition(".")[0] in (*JUDGING, *VERDICTS)]

    def __bool__(self) -> bool:
        return bool(self._said or self._policy)

    def of(self, row: AnyMapping[str, Any], *, answered: bool) -> dict[str, Any]:
        """By column, what is there; the policy where nothing is answered."""
        said = self._said if answered else [*self._policy, *self._said]
        values = {str(s.path): value_at(row, s.path.steps) for s in said}
        return {name: value for name, value in values.items() if not missing(value) and value not in ([], {})}
