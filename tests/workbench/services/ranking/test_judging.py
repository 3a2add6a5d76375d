"""Judging: what comes next, what is stored, what undo brings back, and what rules do."""

from __future__ import annotations

import pytest

from engine.errors import UsageError
from storage import prompts, responses
from workbench.services.ranking.judging import MAX_RESPONSES, RankItem, letter
from workbench.services.workspace import Workspace


def rank_in_order(workspace: Workspace, item: RankItem, annotator: str = "ada") -> str:
    ranks = {candidate.response_id: place + 1 for place, candidate in enumerate(item.responses)}
    return workspace.judging.record(item, annotator, ranks, seconds=2.0)


def test_letters() -> None:
    assert [letter(n) for n in (0, 1, 25, 26, 27, 51, 52, 701, 702)] == [
        *("A", "B", "Z", "AA", "AB", "AZ", "BA", "ZZ", "AAA")
    ]


def test_every_prompt_comes_once(filled: Workspace) -> None:
    seen = []
    while (item := filled.judging.next_item("ada")) is not None:
        seen.append(item.prompt_id)
        rank_in_order(filled, item)
    assert len(seen) == len(set(seen)) == 2
    assert filled.judging.next_item("bert") is not None


def test_a_seed_gives_the_same_item_in_the_same_order(filled: Workspace) -> None:
    assert filled.judging.next_item("ada", seed=7) == filled.judging.next_item("ada", seed=7)
    items = [filled.judging.next_item("ada", seed=seed) for seed in range(20)]
    orders = {tuple(c.response_id for c in item.responses) for item in items if item is not None}
    assert len(orders) > 2


def test_excluded_prompts_do_not_come(filled: Workspace) -> None:
    first = filled.judging.next_item("ada")
    assert first is not None
    second = filled.judging.next_item("ada", exclude=[first.prompt_id])
    assert second is not None
    assert second.prompt_id != first.prompt_id
    assert filled.judging.next_item("ada", exclude=[first.prompt_id, second.prompt_id]) is None


def test_ranks_are_stored_dense_with_ties_and_positions(filled: Workspace) -> None:
    item = filled.judging.next_item("ada")
    assert item is not None
    assert len(item.responses) == 3
    a, b, c = (candidate.response_id for candidate in item.responses)
    filled.judging.record(item, "ada", {a: 5, b: 2, c: 2}, seconds=1.5, flagged=True, note="odd")
    rows = filled.store.rows(
        "SELECT response_id, rank, position, flagged, note, seconds FROM judgement_items JOIN judgements "
        "USING (judgement_id) ORDER BY position"
    )
    assert rows == [(a, 2, 0, True, "odd", 1.5), (b, 1, 1, True, "odd", 1.5), (c, 1, 2, True, "odd", 1.5)]


def test_a_missing_rank_is_told_by_its_letter(filled: Workspace) -> None:
    item = filled.judging.next_item("ada")
    assert item is not None
    with pytest.raises(UsageError, match=r"without one: B, C"):
        filled.judging.record(item, "ada", {item.responses[0].response_id: 1}, seconds=1)


def test_pair_mode_gives_each_pair_once(filled: Workspace) -> None:
    pairs = set()
    while (item := filled.judging.next_item("ada", mode="pair")) is not None:
        assert len(item.responses) == 2
        pairs.add(frozenset(candidate.response_id for candidate in item.responses))
        rank_in_order(filled, item)
        assert len(pairs) < 10
    assert len(pairs) == 4
    assert {kind for (kind,) in filled.store.rows("SELECT kind FROM judgements")} == {"pair"}


def test_a_skipped_prompt_does_not_come_again(filled: Workspace) -> None:
    item = filled.judging.next_item("ada")
    assert item is not None
    filled.judging.skip(item, "ada", "unclear", seconds=1)
    after = filled.judging.next_item("ada")
    assert after is not None
    assert after.prompt_id != item.prompt_id


def test_undo_gives_the_item_back_as_it_was(filled: Workspace) -> None:
    item = filled.judging.next_item("ada")
    assert item is not None
    rank_in_order(filled, item)
    back = filled.judging.undo("ada")
    assert back is not None
    assert back.responses == item.responses
    assert back.previous == {c.response_id: n + 1 for n, c in enumerate(item.responses)}
    assert filled.judging.pace("ada").done == 0
    again = filled.judging.next_item("ada")
    assert again is not None
    assert again.prompt_id == item.prompt_id
    assert filled.judging.undo("ada") is None


def test_undo_gives_flag_and_note_back(filled: Workspace) -> None:
    item = filled.judging.next_item("ada")
    assert item is not None
    ranks = {c.response_id: 1 for c in item.responses}
    filled.judging.record(item, "ada", ranks, seconds=1.0, flagged=True, note="odd")
    back = filled.judging.undo("ada")
    assert back is not None
    assert (back.draft.flagged, back.draft.note) == (True, "odd")


def test_judging_a_prompt_again_replaces(filled: Workspace) -> None:
    item = filled.judging.next_item("ada")
    assert item is not None
    rank_in_order(filled, item)
    again = filled.judging.item(item.prompt_id, "ada")
    assert again is not None
    assert again.previous
    filled.judging.record(again, "ada", dict.fromkeys(again.previous, 1), seconds=1)
    assert filled.judging.pace("ada").done == 1
    assert filled.store.row("SELECT count(*) FROM preference_pairs") == (0,)


def test_a_prompt_with_one_response_cannot_be_judged(workspace: Workspace) -> None:
    prompt = prompts.add(workspace.store, [{"role": "user", "content": "x"}])
    responses.add(workspace.store, prompt, "a", "only")
    assert workspace.judging.item(prompt, "ada") is None
    assert workspace.judging.next_item("ada") is None


def test_no_more_than_nine_and_unseen_ones_first(workspace: Workspace) -> None:
    prompt = prompts.add(workspace.store, [{"role": "user", "content": "x"}])
    for number in range(12):
        responses.add(workspace.store, prompt, "a", f"answer {number}")
    item = workspace.judging.next_item("ada")
    assert item is not None
    assert len(item.responses) == MAX_RESPONSES
    rank_in_order(workspace, item)
    second = workspace.judging.next_item("ada")
    assert second is not None
    left = {c.response_id for c in second.responses} - {c.response_id for c in item.responses}
    assert len(left) == 3
    rank_in_order(workspace, second)
    assert workspace.judging.next_item("ada") is None


def test_pace_counts_and_extrapolates(filled: Workspace) -> None:
    assert filled.judging.pace("ada").per_hour is None
    item = filled.judging.next_item("ada")
    assert item is not None
    rank_in_order(filled, item)
    pace = filled.judging.pace("ada")
    assert (pace.done, pace.remaining, pace.today, pace.per_hour) == (1, 1, 1, 1800.0)


def test_a_rule_judges_all_prompts_once(filled: Workspace) -> None:
    heard: list[tuple[int, int]] = []
    assert filled.judging.apply_rule("rule:concise", on_progress=lambda *at: heard.append(at)) == 2
    assert heard[-1] == (2, 2)
    assert filled.judging.apply_rule("concise") == 0
    assert ("rule:concise", "rule") in filled.library.annotators()
    best = filled.store.rows(
        "SELECT text FROM judgement_items JOIN responses USING (response_id) WHERE rank = 1 ORDER BY text"
    )
    assert best == [("Hi.",), ("Light.",)]


def test_a_rule_ranks_again_what_got_new_responses(filled: Workspace) -> None:
    filled.judging.apply_rule("finished")
    prompt = filled.library.prompts("hi")[0].prompt_id
    responses.add(filled.store, prompt, "b", "Hello and")
    assert filled.judging.apply_rule("finished") == 1
    standing = filled.store.rows(
        "SELECT count(*) FROM preference_pairs WHERE prompt_id = ? AND annotator = 'rule:finished'", [prompt]
    )
    assert standing == [(2,)]


def test_an_unknown_rule_is_told_with_the_near_one(filled: Workspace) -> None:
    with pytest.raises(UsageError, match="Did you mean “concise”"):
        filled.judging.apply_rule("consise")
