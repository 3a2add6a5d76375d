"""The leaderboard of a store: judges, small samples, and the same figures as a naive count."""

from __future__ import annotations

import random

import pytest

from engine.errors import UsageError
from storage import artifacts, scores
from storage.measures import comparisons
from storage.records import NewScore
from tests.storage.builders import add_prompt, add_responses, judge
from workbench.services.labels.leaderboard import evidence, notes
from workbench.services.workspace import Workspace


def compete(workspace: Workspace, prompts: int, policies: tuple[str, ...] = ("a", "b", "c")) -> list[str]:
    """Ana ranks a over b over c, but the last two the other way round on every fourth prompt."""
    made = []
    for number in range(prompts):
        prompt = add_prompt(workspace.store, f"Question {number}")
        found = [add_responses(workspace.store, prompt, f"of {name}", policy=name)[0] for name in policies]
        order = [*found[:-2], *(found[-2:][::-1] if number % 4 == 3 else found[-2:])]
        judge(workspace.store, prompt, {r: place for place, r in enumerate(order, 1)})
        made += found
    return made


def test_policies_stand_in_order_with_who_beat_whom(workspace: Workspace) -> None:
    compete(workspace, 24)
    board = workspace.leaderboards.board()
    assert [row.policy for row in board.standings] == ["a", "b", "c"]
    assert [row.place for row in board.standings] == [1, 2, 2]  # 24 prompts do not tell b from c
    assert (board.pairs, board.prompts) == (72, 24)
    met = board.meeting("b", "c")
    assert met is not None
    assert (met.rate, met.pairs, met.prompts) == (0.75, 24, 24)
    assert met.low < 0.75 < met.high
    back = board.meeting("c", "b")
    assert back is not None
    assert back.rate == pytest.approx(0.25)
    always = board.meeting("a", "b")
    assert always is not None
    assert always.low < always.rate == 1.0
    for row in board.standings:
        assert row.low < row.strength < row.high


def test_one_pair_looks_like_one_pair(workspace: Workspace) -> None:
    compete(workspace, 1, ("a", "b"))
    board = workspace.leaderboards.board()
    first = board.standings[0]
    assert evidence(first) == "1 pair"
    low, high = first.chances[1:]
    assert high - low > 0.3
    assert low < 0.5
    assert {row.place for row in board.standings} == {1}
    assert any("That is little: with 1 prompt" in note for note in notes(board))


def test_each_kind_of_judge_has_a_board(workspace: Workspace) -> None:
    found = compete(workspace, 4)
    store = workspace.store
    model = artifacts.insert(store, run_id="reward-1", kind="reward_model", name="rm", path="/models/rm")
    scores.upsert(store, [NewScore(r, model, float(place % 3), "onnx-int8") for place, r in enumerate(found)])
    board = workspace.leaderboards.board("rm")
    assert [row.policy for row in board.standings] == ["c", "b", "a"]
    assert board.pairs == 12
    assert workspace.leaderboards.board("ai").standings == ()
    assert notes(workspace.leaderboards.board("ai")) == [
        "No responses of two policies have been compared by ai."
    ]
    assert "rm" in workspace.leaderboards.judges()
    with pytest.raises(UsageError, match="Did you mean “people”"):
        workspace.leaderboards.board("poeple")


def test_policies_that_never_met_are_marked(workspace: Workspace) -> None:
    compete(workspace, 6, ("a", "b"))
    compete_apart = add_prompt(workspace.store, "Another question")
    x, y = (add_responses(workspace.store, compete_apart, f"of {name}", policy=name)[0] for name in "xy")
    judge(workspace.store, compete_apart, {x: 1, y: 2})
    board = workspace.leaderboards.board()
    apart = {row.policy: row.apart for row in board.standings}
    assert apart["a"] == apart["b"] != apart["x"] == apart["y"]
    assert any("never compared" in evidence(row) for row in board.standings)


def test_what_a_board_reads_are_the_rows_of_the_view_of_verdicts(workspace: Workspace) -> None:
    rng, store = random.Random(3), workspace.store
    models = [
        artifacts.insert(store, run_id=name, kind="reward_model", name=name, path="/m")
        for name in ("one", "two")
    ]
    for number in range(8):
        prompt = add_prompt(store, f"Question {number}")
        found = [
            response
            for policy in ("a", "b", "c")
            for response in add_responses(
                store, prompt, *(f"{policy} {'x' * rng.randrange(9)} {n}" for n in range(2)), policy=policy
            )
        ]
        for annotator in ("ana", "bo"):
            judge(store, prompt, {r: rng.randint(1, 4) for r in rng.sample(found, 4)}, annotator=annotator)
        told = [NewScore(r, model, float(rng.randint(0, 3)), "x") for r in found for model in models]
        scores.upsert(store, told[: len(told) - number])
    view = (
        "SELECT policy_a, policy_b, prompt_id, won, weight, doublings FROM policy_verdicts "
        "WHERE judge = $judge AND coalesce(criterion, 'overall') = 'overall'"
    )
    for name, by_model in (("human", False), ("one", True), ("two", True)):
        table = comparisons.policy_verdicts(store, (name,), by_model=by_model)
        read = list(zip(*table.to_pydict().values(), strict=True))
        expected = store.rows(view, {"judge": name})
        assert len(read) == len(expected) > 20
        rounded = [sorted((*row[:3], *(round(float(x), 9) for x in row[3:])) for row in rows)
                   for rows in (read, expected)]  # fmt: skip
        assert rounded[0] == rounded[1]
