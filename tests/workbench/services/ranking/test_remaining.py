"""How much waits: kept up to date, it is always what counting all of it says."""

from __future__ import annotations

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from storage import judgements, responses, waiting
from workbench.services.ranking.remaining import Remaining
from workbench.services.workspace import Workspace

OPERATIONS = (
    "rank",
    "pair",
    "skip",
    "undo",
    "redo",
    "respond",
    "same text",
    "other",
    "taken out",
    "re-judge",
)


def act(workspace: Workspace, operation: str, number: int) -> None:
    """Something that changes what waits for ada, or could."""
    judging, store = workspace.judging, workspace.store
    prompts = [row.prompt_id for row in workspace.library.prompts()]
    if operation in ("rank", "other", "pair", "skip"):
        who = "bert" if operation == "other" else "ada"
        item = judging.next_item(who, mode="pair" if operation == "pair" else "rank")
        if item is not None and operation == "skip":
            judging.skip(item, who, "not now", seconds=None)
        elif item is not None:
            judging.record(
                item, who, {c.response_id: n for n, c in enumerate(item.responses, 1)}, seconds=None
            )
    elif operation == "undo":
        judging.undo("ada")
    elif operation == "redo":
        judging.redo("ada")
    elif operation == "respond":
        responses.add(store, prompts[number % len(prompts)], "late", f"answer {number}")
    elif operation == "same text":
        responses.add(store, prompts[number % len(prompts)], f"late {number}", "Blue.")
    elif operation == "taken out":  # as when an import is taken back
        store.write("DELETE FROM judgements WHERE judgement_id = (SELECT min(judgement_id) FROM judgements)")
    elif operation == "re-judge":
        item = judging.item(prompts[number % len(prompts)], "ada")
        if item is not None:
            judging.record(item, "ada", {c.response_id: 1 for c in item.responses}, seconds=None)


def plain(workspace: Workspace, *, pairs: bool) -> int:
    counted = judgements.count_pairs if pairs else judgements.count_to_rank
    return counted(workspace.store, "ada")


@settings(
    max_examples=12,
    deadline=None,
    suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow],
)
@given(operations=st.lists(st.sampled_from(OPERATIONS), min_size=3, max_size=10))
def test_what_is_left_is_what_counting_says(filled: Workspace, operations: list[str]) -> None:
    remaining = Remaining(filled.store)
    for number, operation in enumerate(operations):
        act(filled, operation, number)
        for pairs in (False, True):
            assert remaining.left("ada", "overall", pairs=pairs) == plain(filled, pairs=pairs)


def test_a_judgement_makes_nothing_else_be_counted(
    filled: Workspace, monkeypatch: pytest.MonkeyPatch
) -> None:
    act(filled, "rank", 0)
    remaining = Remaining(filled.store)
    before = remaining.left("ada", "overall", pairs=False)
    counted: list[str] = []
    monkeypatch.setattr(waiting, "judgeable", lambda *_, **__: counted.append("all"))
    act(filled, "rank", 1)
    assert remaining.left("ada", "overall", pairs=False) == before - 1
    assert not counted
