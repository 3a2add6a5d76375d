"""What ways of judging leave in the store, and what reads it: views, training's table, undo, redo, drafts."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pyarrow.parquet as pq
import pytest

from engine.errors import UsageError
from storage import drafts, judgements
from storage.errors import StoreError
from storage.store import Store
from storage.transfer import snapshots
from workbench.services.ranking.draft import Draft, Mode
from workbench.services.ranking.judging import Judging, RankItem
from workbench.services.workspace import Workspace

SCALES = {"help": ("poor", "fair", "good"), "harm": ("none", "some")}


def next_of(workspace: Workspace, mode: Mode) -> RankItem:
    item = workspace.judging.next_item("ada", mode=mode)
    assert item is not None
    return item


def said(workspace: Workspace) -> dict[str, list[tuple[object, ...]]]:
    """Pairs and ties, as letters of the shown order would be too long: response ids."""
    return {
        view: workspace.store.rows(f"SELECT {columns} FROM {view} ORDER BY ALL")
        for view, columns in (
            ("preference_pairs", "winner_id, loser_id, strength"),
            ("preference_ties", "response_a, response_b"),
        )
    }


def test_what_a_best_few_left_was_not_compared(filled: Workspace) -> None:
    item = next_of(filled, "best")
    assert len(item.responses) == 3
    best, *rest = (candidate.response_id for candidate in item.responses)
    filled.judging.submit(item, "ada", item.draft.place_next(best), seconds=1)
    assert said(filled) == {
        "preference_pairs": sorted((best, other, None) for other in rest),
        "preference_ties": [],
    }


def test_the_middle_of_best_and_worst_was_not_compared(filled: Workspace) -> None:
    from storage import responses

    item = next_of(filled, "best_worst")
    responses.add(filled.store, item.prompt_id, "b", "one more")
    item = next_of(filled, "best_worst")
    best, worst, *middle = (candidate.response_id for candidate in item.responses)
    assert len(middle) == 2
    filled.judging.submit(item, "ada", item.draft.place_next(best).place_next(worst), seconds=1)
    pairs = {(winner, loser) for winner, loser, _ in said(filled)["preference_pairs"]}
    assert pairs == {(best, worst), *((best, m) for m in middle), *((m, worst) for m in middle)}
    assert said(filled)["preference_ties"] == []


def test_how_much_better_reaches_the_table_that_training_reads(filled: Workspace, tmp_path: Path) -> None:
    item = next_of(filled, "pair")
    better, worse = (candidate.response_id for candidate in item.responses)
    filled.judging.submit(item, "ada", replace(item.draft.prefer(0, 3.0), confidence=2), seconds=1)
    assert said(filled)["preference_pairs"] == [(better, worse, 3.0)]
    snapshots.write_rankings(filled.store, tmp_path / "rankings.parquet")
    rows = pq.read_table(tmp_path / "rankings.parquet").to_pylist()
    assert [(row["response_id"], row["rank"], row["strength"], row["unordered"]) for row in rows] == [
        (better, 1, 3.0, False), (worse, 2, 3.0, False),
    ]  # fmt: skip
    ((confidence,),) = filled.store.rows("SELECT confidence FROM current_judgements")
    assert confidence == 2


def test_both_bad_is_a_tie_that_says_so(filled: Workspace) -> None:
    item = next_of(filled, "pair")
    filled.judging.submit(item, "ada", item.draft.prefer(None, None, "both_bad"), seconds=1)
    assert len(said(filled)["preference_ties"]) == 1
    assert filled.store.rows("SELECT outcome FROM current_judgements") == [("both_bad",)]


def test_several_criteria_are_one_sitting_that_is_taken_back_and_recorded_again_whole(
    filled: Workspace,
) -> None:
    filled.judging.criteria = SCALES
    item = next_of(filled, "rate")
    draft = item.draft
    for value, candidate in enumerate(item.responses, 1):
        draft = draft.rate("help", candidate.response_id, value).rate("harm", candidate.response_id, 1)
    ids = filled.judging.submit(item, "ada", draft, seconds=6.0)
    assert len(ids) == 2
    rows = filled.store.rows("SELECT criterion, kind, seconds FROM judgements ORDER BY ALL")
    assert rows == [("harm", "rating", 3.0), ("help", "rating", 3.0)]
    assert filled.store.rows("SELECT count(DISTINCT sitting), count(sitting) FROM judgements") == [(1, 2)]
    after = next_of(filled, "rate")
    assert after.prompt_id != item.prompt_id
    back = filled.judging.undo("ada")
    assert back is not None
    assert set(back.draft.ratings) == set(draft.ratings)
    assert back.draft.complete
    assert judgements.count_standing(filled.store, "help") == 0
    assert filled.judging.redo("ada") is not None
    assert (
        judgements.count_standing(filled.store, "help"),
        judgements.count_standing(filled.store, "harm"),
    ) == (1, 1)
    assert filled.judging.redo("ada") is None


def test_undo_and_redo_across_items_leave_what_was_there(filled: Workspace) -> None:
    before = []
    for _ in range(2):
        item = next_of(filled, "rank")
        draft = item.draft
        for candidate in item.responses[:-1]:
            draft = draft.place_next(candidate.response_id)
        filled.judging.submit(item, "ada", replace(draft, note="a\nb", flagged=True, confidence=3), seconds=2)
        before = said(filled)["preference_pairs"]
    for _ in range(2):
        assert filled.judging.undo("ada") is not None
    assert filled.judging.undo("ada") is None
    assert said(filled)["preference_pairs"] == []
    for _ in range(2):
        assert filled.judging.redo("ada") is not None
    assert said(filled)["preference_pairs"] == before
    kept = filled.store.rows("SELECT DISTINCT note, flagged, confidence FROM current_judgements")
    assert kept == [("a\nb", True, 3)]


def test_a_new_judgement_ends_what_can_be_redone(filled: Workspace) -> None:
    item = next_of(filled, "pair")
    filled.judging.submit(item, "ada", item.draft.prefer(0), seconds=1)
    back = filled.judging.undo("ada")
    assert back is not None
    filled.judging.submit(back, "ada", back.draft.prefer(1), seconds=1)
    assert filled.judging.redo("ada") is None


def test_what_was_judged_before_names_were_shown_stays(filled: Workspace) -> None:
    item = next_of(filled, "rank")
    draft = item.draft.place_next(item.responses[0].response_id).place_next(item.responses[1].response_id)
    filled.judging.submit(item, "ada", draft, seconds=4)
    assert filled.judging.session("ada", names=False).policies == ()
    session = filled.judging.session("ada", names=True)
    assert (session.judged, session.seconds) == (1, 4)
    assert session.policies
    for judging in (filled.judging, Judging(filled.store)):  # another start of the workbench knows it too
        with pytest.raises(UsageError, match="names of the policies have been shown"):
            judging.undo("ada")
    assert filled.judging.undo("bert") is None
    again = next_of(filled, "rank")
    filled.judging.submit(again, "ada", _placed(again), seconds=1)
    assert filled.judging.undo("ada") is not None


def _placed(item: RankItem) -> Draft:
    draft = item.draft
    for candidate in item.responses:
        draft = draft.place_next(candidate.response_id)
    return draft


def test_a_draft_is_kept_until_it_is_recorded(tmp_path: Path) -> None:
    from tests.workbench.ui_rank.test_kill import fill

    fill(tmp_path / "d.duckdb")
    with Store.open(tmp_path / "d.duckdb") as store:
        judging = Judging(store)
        item = judging.next_item("ada")
        assert item is not None
        draft = replace(item.draft.place_next(item.responses[1].response_id), note="why", seconds=7.5)
        judging.keep(item, "ada", draft)
        assert judging.resume("bert") is None
    with Store.open(tmp_path / "d.duckdb") as store:
        judging = Judging(store)
        back = judging.resume("ada")
        assert back is not None
        assert (back.responses, back.draft) == (item.responses, draft)
        judging.submit(back, "ada", draft.place_next(item.responses[0].response_id), seconds=8)
        assert judging.resume("ada") is None
        other = judging.next_item("ada")
        assert other is not None
        judging.keep(other, "ada", draft=other.draft)
        assert drafts.newest(store, "ada") is None, "nothing begun is nothing kept"


def test_a_judgement_that_fails_leaves_its_draft(filled: Workspace, monkeypatch: pytest.MonkeyPatch) -> None:
    item = next_of(filled, "rank")
    draft = _placed(item)
    filled.judging.keep(item, "ada", draft)

    def fails(*_: object) -> None:
        raise StoreError("The disk is full.")

    monkeypatch.setattr(judgements, "record_many", fails)
    with pytest.raises(StoreError):
        filled.judging.submit(item, "ada", draft, seconds=1)
    back = filled.judging.resume("ada")
    assert back is not None
    assert back.draft.placed == draft.placed


def test_a_draft_about_other_responses_is_not_taken(filled: Workspace) -> None:
    from storage import responses

    item = next_of(filled, "rank")
    filled.judging.keep(item, "ada", item.draft.place_next(item.responses[0].response_id))
    responses.add(filled.store, item.prompt_id, "b", "one more")
    fresh = filled.judging.item(item.prompt_id, "ada")
    assert fresh is not None
    assert len(fresh.responses) == 4
    assert not fresh.draft.begun
    assert filled.judging.pace("ada").done == 0


def test_judging_again_replaces_what_was_said_in_the_same_way_only(filled: Workspace) -> None:
    filled.judging.criteria = SCALES
    prompt = next_of(filled, "rank").prompt_id

    def judge(mode: Mode, value: int) -> None:
        item = filled.judging.item(prompt, "ada", mode=mode)
        assert item is not None
        draft = item.draft
        for candidate in item.responses:
            for name in SCALES if mode == "rate" else ():
                draft = draft.rate(name, candidate.response_id, value)
            draft = draft if mode == "rate" else draft.place(candidate.response_id, 1)
        filled.judging.submit(item, "ada", draft, seconds=1)

    for mode, value in (("rank", 1), ("rate", 1), ("rank", 1), ("rate", 2)):
        judge(mode, value)  # type: ignore[arg-type]
    assert filled.store.rows("SELECT criterion, kind FROM current_judgements ORDER BY ALL") == [
        ("harm", "rating"), ("help", "rating"), ("overall", "ranking"),
    ]  # fmt: skip
    assert filled.store.rows("SELECT DISTINCT rating FROM rankings WHERE kind = 'rating'") == [(2.0,)]


def test_a_dozen_are_sorted_recorded_undone_and_kept(filled: Workspace) -> None:
    """More responses than there are letters: a ranking of all, and undo gives back what was answered."""
    from storage import responses

    prompt = next_of(filled, "rank").prompt_id
    for number in range(9):
        responses.add(filled.store, prompt, "b", f"answer {number}")
    item = filled.judging.item(prompt, "ada", mode="sort")
    assert item is not None
    assert len(item.responses) == 12
    order, draft = sorted(candidate.response_id for candidate in item.responses), item.draft
    while (question := draft.sorting.question) is not None:
        assert draft.on_screen == question
        draft = draft.answer(1 if order.index(question[0]) < order.index(question[1]) else -1)
        filled.judging.keep(item, "ada", draft)
    assert len(draft.answers) <= 30
    again = filled.judging.resume("ada")
    assert again is not None
    assert (again.mode, again.draft.answers) == ("sort", draft.answers)
    filled.judging.submit(item, "ada", draft, seconds=60)
    assert len(said(filled)["preference_pairs"]) == 66
    undone = filled.judging.undo("ada")
    assert undone is not None
    assert (undone.mode, undone.draft.ranks()) == ("sort", draft.ranks())
    assert undone.draft.complete
    assert filled.judging.redo("ada") is not None
