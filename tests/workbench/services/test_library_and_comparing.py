"""What the library shows, and how policies compare; every number against one counted by hand."""

from __future__ import annotations

from pathlib import Path

import pytest

from storage import artifacts, policies, scores
from storage.errors import ImportFileError, NotFoundError
from storage.records import NewScore
from workbench.services.workspace import Workspace

VALUES = {"Light.": 1.0, "Light is scattered by the air.": 3.0, "Hi.": 2.0, "Hello there.": 2.0}
LONG = "Light is scattered by the air, and blue light more than red."


@pytest.fixture
def scored(filled: Workspace) -> Workspace:
    model = artifacts.insert(filled.store, run_id="reward-1", kind="reward_model", name="rm", path="/nowhere")
    values = VALUES | {LONG: 2.0}
    rows = filled.store.rows("SELECT response_id, text FROM responses")
    scores.upsert(filled.store, [NewScore(r, model, values[text], "onnx-fp32") for r, text in rows])
    return filled


def test_counts_and_search(filled: Workspace) -> None:
    assert (filled.library.count(), filled.library.count("sky")) == (2, 1)
    assert [row.responses for row in filled.library.prompts()] == [3, 2]
    overview = filled.library.overview()
    assert (overview.prompts, overview.responses, overview.policies) == (2, 5, 2)


def test_win_rate_by_a_reward_model(scored: Workspace) -> None:
    """First prompt: a has 1 and 3 against 2, so one half; second prompt: a tie."""
    result = scored.comparing.win_rate("a", "b", "rm")
    assert (result.wins, result.ties, result.losses, result.prompts, result.rate) == (1, 1, 1, 2, 0.5)
    assert result.low is not None
    assert result.high is not None
    assert result.low < 0.5 < result.high
    view = scored.store.row(
        "SELECT wins, ties, losses, prompts, rate FROM win_rates WHERE judge = 'rm' AND policy_a = 'a'"
    )
    assert view == (1, 1, 1, 2, 0.5)


def test_win_rate_by_people(filled: Workspace) -> None:
    item = filled.judging.item(filled.library.prompts("hi")[0].prompt_id, "ada")
    assert item is not None
    ranks = {candidate.response_id: 1 if candidate.text == "Hi." else 2 for candidate in item.responses}
    filled.judging.record(item, "ada", ranks, seconds=1)
    result = filled.comparing.win_rate("a", "b")
    assert (result.judge, result.wins, result.prompts, result.rate) == ("people", 1, 1, 1.0)
    outcomes = [row.outcome for row in filled.comparing.items("a", "b")]
    assert outcomes == [None, "win"]


def test_policies_that_nobody_compared_have_no_rate(filled: Workspace) -> None:
    result = filled.comparing.win_rate("a", "b")
    assert (result.rate, result.low, result.high, result.prompts) == (None, None, None, 0)


def test_why_nothing_is_compared(filled: Workspace) -> None:
    comparing = filled.comparing
    assert comparing.why_nothing("a", "b") == "No prompt where somebody judged responses of both a and b."
    model = artifacts.insert(filled.store, run_id="reward-1", kind="reward_model", name="rm", path="/nowhere")
    assert "workbench score --reward-model rm" in comparing.why_nothing("a", "b", "rm")
    rows = filled.store.rows(
        "SELECT response_id FROM responses JOIN policies USING (policy_id) WHERE name = 'a'"
    )
    scores.upsert(filled.store, [NewScore(r, model, 1.0, "onnx-fp32") for (r,) in rows])
    assert comparing.why_nothing("a", "b", "rm").startswith("rm has scored no response of b")
    policies.ensure(filled.store, "new")
    assert "workbench generate --policy new" in comparing.why_nothing("a", "new", "rm")


def test_side_by_side(scored: Workspace) -> None:
    every = scored.comparing.items("a", "b", "rm")
    found = scored.comparing.outcomes("a", "b", "rm")
    assert [(each.prompt_id, each.share, each.outcome) for each in found] == [
        (each.prompt_id, each.share, each.outcome) for each in every
    ]
    turned = scored.comparing.items_of("a", "b", found[::-1], "rm")
    assert turned == every[::-1]
    first, second = every
    assert ([side.text for side in first.a], [side.text for side in first.b]) == (
        ["Light.", "Light is scattered by the air."],
        [LONG],
    )
    assert (first.score_a, first.score_b, first.share, first.outcome) == (2.0, 2.0, 0.5, "tie")
    assert second.outcome == "tie"
    assert [row.prompt_id for row in scored.comparing.items("a", "b", "rm", limit=1, offset=1)] == [
        second.prompt_id
    ]


def test_policy_score_averages_prompts(scored: Workspace) -> None:
    ids = [row.prompt_id for row in scored.library.prompts()]
    a, b = (scored.comparing.policy_score(policy, "rm", ids) for policy in ("a", "b"))
    assert (a.mean, a.responses, a.prompts, a.standard_error) == (2.0, 3, 2, 0.0)
    assert scored.comparing.paired_difference(a, b) == (0.0, 0.0)


def test_unknown_names_are_told(filled: Workspace) -> None:
    with pytest.raises(NotFoundError, match="policy"):
        filled.comparing.win_rate("a", "c")
    with pytest.raises(NotFoundError, match="reward model"):
        filled.comparing.win_rate("a", "b", "rm")


def test_import_and_export(workspace: Workspace, tmp_path: Path) -> None:
    source = tmp_path / "pairs.csv"
    source.write_text("prompt,chosen,rejected\nSay hi.,Hi.,No.\n")
    assert workspace.library.import_file(source).judgements.added == 1
    assert workspace.library.import_file(source).judgements.added == 0
    assert workspace.library.export("pairs", tmp_path / "out.jsonl") == 1
    with pytest.raises(ImportFileError, match="no file"):
        workspace.library.import_file(tmp_path / "missing.csv")


def test_a_prompt_is_cleaned_and_added_once(workspace: Workspace) -> None:
    first = workspace.library.add_prompts(["Say\x1b[2J hi."], source="mine")
    assert workspace.library.add_prompts(["Say\x1b[2J hi."], source="mine") == first
    assert "\x1b" not in workspace.library.messages(first[0])[0]["content"]
