"""Annotators, agreement, consensus and adjudication, as screens and commands ask for them."""

from __future__ import annotations

import pytest

from engine.errors import UsageError
from storage.measures import labels as stored
from tests.storage.builders import add_prompt, add_responses, judge
from workbench.services.workspace import Workspace


def fill(workspace: Workspace, prompts: int = 12) -> list[tuple[str, list[str]]]:
    """Ana and ben rank alike, cat the other way round on every third prompt; a rule likes the longest."""
    made = []
    for number in range(prompts):
        prompt = add_prompt(workspace.store, f"Question {number}")
        found = add_responses(workspace.store, prompt, "good", "fair, longer", "bad, the longest of all")
        a, b, c = found
        for who in ("ana", "ben"):
            judge(workspace.store, prompt, {a: 1, b: 2, c: 3}, annotator=who)
        judge(
            workspace.store,
            prompt,
            {a: 3, b: 2, c: 1} if number % 3 == 0 else {a: 1, b: 2, c: 3},
            annotator="cat",
        )
        judge(workspace.store, prompt, {a: 3, b: 2, c: 1}, annotator="rule:longest")
        made.append((prompt, found))
    return made


def test_the_model_is_kept_and_fitted_anew_only_for_new_judgements(workspace: Workspace) -> None:
    assert workspace.labels.refresh() is None
    made = fill(workspace)
    fit = workspace.labels.refresh()
    assert fit is not None
    assert (fit.prompts, fit.verdicts, fit.driven_by) == (12, 144, "people")
    assert workspace.labels.refresh() == fit
    people = {row.annotator: row for row in workspace.labels.annotators()}
    assert people["ana"].slope > people["cat"].slope > people["rule:longest"].slope
    assert people["rule:longest"].drives is False
    assert people["rule:longest"].accuracy < 0.4
    assert people["ana"].accuracy_low < people["ana"].accuracy < people["ana"].accuracy_high
    prompt, (a, b, _) = made[1]
    judge(workspace.store, prompt, {a: 2, b: 1}, annotator="dan")
    again = workspace.labels.refresh()
    assert again is not None
    assert again.verdicts == 145


def test_the_consensus_has_intervals_and_follows_an_adjudication(workspace: Workspace) -> None:
    made = fill(workspace)
    workspace.labels.refresh()
    prompt, (a, b, c) = made[0]
    rows = {
        (row.better_id, row.worse_id): row for row in stored.consensus(workspace.store, prompt, "overall")
    }
    assert set(rows) == {(a, b), (a, c), (b, c)}
    best = rows[a, c]
    assert best.low < best.difference < best.high
    assert 0.5 < best.probability < 1
    workspace.labels.adjudicate(prompt, "dan", {a: 3, b: 2, c: 1})
    workspace.labels.refresh()
    rows = {
        (row.better_id, row.worse_id): row for row in stored.consensus(workspace.store, prompt, "overall")
    }
    assert set(rows) == {(b, a), (c, a), (c, b)}
    assert all(row.adjudicated and row.settled for row in rows.values())
    assert "dan" not in {row.annotator for row in workspace.labels.annotators() if row.accuracy is not None}


def test_an_adjudication_replaces_the_one_before(workspace: Workspace) -> None:
    (prompt, (a, b, c)), *_ = fill(workspace, prompts=3)
    assert workspace.labels.count_disagreements() == (3, 3)
    workspace.labels.adjudicate(prompt, "dan", {a: 1, b: 2, c: 3})
    workspace.labels.adjudicate(prompt, "eve", {a: 7, b: 7, c: 9})
    columns = workspace.labels.side_by_side(prompt).columns
    assert [column.name for column in columns].count("adjudicated") == 1
    (decided,) = [column for column in columns if column.name == "adjudicated"]
    assert (dict(decided.places), decided.note) == ({a: 1, b: 1, c: 2}, "adjudicated by eve")
    assert workspace.labels.count_disagreements() == (3, 2)
    with pytest.raises(UsageError, match="two responses"):
        workspace.labels.adjudicate(prompt, "dan", {a: 1})


def test_side_by_side_shows_everybody_with_the_consensus_first(workspace: Workspace) -> None:
    (prompt, (a, b, c)), *_ = fill(workspace)
    workspace.labels.refresh()
    found = workspace.labels.side_by_side(prompt)
    assert [column.name for column in found.columns] == ["consensus", "ana", "ben", "cat", "rule:longest"]
    assert dict(found.columns[0].places) == {a: 1, b: 2, c: 3}
    assert found.texts[b] == "fair, longer"
    assert all(error > 0 for _, error in found.qualities.values())


def test_agreement_of_every_two_and_of_all(workspace: Workspace) -> None:
    fill(workspace)
    couples = {(row.annotator_a, row.annotator_b): row for row in workspace.labels.agreement()}
    same, other = couples["ana", "ben"], couples["ana", "cat"]
    assert (same.prompts, same.pairs, same.agreement.value, same.kappa.value, same.tau.value) == (
        12,
        36,
        1,
        1,
        1,
    )
    assert same.kappa.low < 1
    assert other.agreement.value == pytest.approx(2 / 3)
    assert other.tau.value == pytest.approx(1 / 3)
    assert other.tau.low < 1 / 3 < other.tau.high
    (whole,) = workspace.labels.reliability()
    assert 0 < whole.alpha.low < whole.alpha.value < whole.alpha.high < 1


def test_a_criterion_that_nobody_knows_is_told(workspace: Workspace) -> None:
    assert workspace.labels.known("anything") == "anything"  # nobody has judged at all
    fill(workspace, prompts=1)
    with pytest.raises(UsageError, match="Did you mean"):
        workspace.labels.known("overal")
