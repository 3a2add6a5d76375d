"""Annotators of other processes in one store: nothing lost, nothing doubled, nobody in another's name."""

from __future__ import annotations

import json
import socket
from collections.abc import Iterator
from inspect import isfunction, signature
from pathlib import Path
from typing import Any

import pytest

from engine.errors import UsageError, WorkbenchError
from storage import judgements, projects
from storage.errors import LockedError, StoreError
from storage.share import invitations
from storage.share.deeds import do
from storage.share.remote import RemoteStore
from storage.share.sharing import share
from storage.sql_guard import RefusedError
from storage.store import Store
from tests.storage.builders import NO_QUESTIONS, add_prompt, add_responses
from tests.workbench.ui_rank.driving import shown, until
from workbench.guest import GuestApp, guest_workspace
from workbench.services.ranking.draft import Draft
from workbench.services.ranking.item import RankItem
from workbench.services.ranking.judging import Judging
from workbench.services.serving.counter import Counter
from workbench.services.serving.desk import REQUESTS, Desk
from workbench.services.serving.guest import CounterClient, GuestJudging
from workbench.settings import Settings

PROMPTS = 6


class Served:
    """A store that is served in this process."""

    def __init__(self, folder: Path, names: tuple[str, ...], prompts: int = PROMPTS) -> None:
        self.now = 0.0
        self.store = Store.open(folder / "a.duckdb")
        for number in range(prompts):
            with self.store.transaction():  # thousands of single rows in one are held in memory until its end
                prompt = add_prompt(self.store, f"prompt {number}")
                for policy in ("one", "two", "three"):
                    add_responses(
                        self.store, prompt, f"answer of {policy} to {number}", policy=f"policy-{policy}"
                    )
        self.tokens = {name: invitations.invite(self.store, name) for name in names}
        self.desk = Desk(self.store, clock=lambda: self.now, lease_seconds=100)
        self.counter = Counter(folder / "sock", self.store, self.desk)
        self._own: list[Store] = []

    def guest(self, name: str) -> GuestJudging:
        self._own.append(Store.open(":memory:"))
        return GuestJudging(self._own[-1], CounterClient(self.counter.path, self.tokens[name]))

    def judged(self) -> list[tuple[str, str]]:
        """(annotator, prompt) of each judgement that stands."""
        return self.store.rows(
            "SELECT a.name, j.prompt_id FROM judgements j JOIN annotators a USING (annotator_id) "
            "WHERE j.kind NOT IN ('retraction') AND j.judgement_id NOT IN "
            "(SELECT supersedes FROM judgements WHERE supersedes IS NOT NULL) ORDER BY ALL"
        )

    def close(self) -> None:
        self.counter.close()
        for store in (*self._own, self.store):
            store.close()


@pytest.fixture
def served(tmp_path: Path) -> Iterator[Served]:
    made = Served(tmp_path, ("ada", "bo"))
    yield made
    made.close()


def ranked(item: RankItem) -> Draft:
    """A complete draft: the letters in order."""
    draft = item.draft
    for response in draft.responses:
        draft = draft.place_next(response)
    return draft


def next_of(judging: Judging, name: str) -> RankItem:
    item = judging.next_item(name)
    assert item is not None
    return item


def test_an_item_is_what_the_owner_sees_without_policies(served: Served) -> None:
    ada = served.guest("ada")
    item = next_of(ada, "ada")
    own = Judging(served.store).next_item("ada")
    assert own is not None
    assert (item.prompt_id, item.messages) == (own.prompt_id, own.messages)
    assert {each.text for each in item.responses} == {each.text for each in own.responses}
    made = ada.submit(item, "bo", ranked(item), seconds=3.0)  # whose name is given does not count
    (judgement,) = [judgements.get(served.store, each) for each in made]
    assert (judgement.annotator, judgement.prompt_id) == ("ada", item.prompt_id)
    assert [each.rank for each in judgement.items] == [1, 2, 3]
    assert ada.pace("ada").done == 1
    assert ada.session("ada", names=True).policies == ()
    assert not ada.may_reveal("end")


def test_no_two_terminals_have_one_prompt_until_a_lease_runs_out(served: Served) -> None:
    first, second, other = served.guest("ada"), served.guest("ada"), served.guest("bo")
    items = [next_of(judging, "") for judging in (first, second, other)]
    assert len({item.prompt_id for item in items}) == 3
    assert next_of(first, "ada").prompt_id == items[0].prompt_id  # its own comes again
    first_item = next_of(first, "ada")
    served.now = 99
    first.keep(first_item, "ada", ranked(first_item))  # which renews
    served.now = 150
    assert next_of(other, "bo").prompt_id != first_item.prompt_id
    assert second.resume("ada") is None
    served.now = 200
    taken = second.resume("ada")
    assert taken is not None
    assert taken.prompt_id == first_item.prompt_id
    assert taken.draft.placed == ranked(first_item).placed
    with pytest.raises(UsageError, match="another terminal meanwhile"):
        first.submit(first_item, "ada", ranked(first_item), seconds=None)
    assert not first.follows(first_item)
    second.submit(taken, "ada", taken.draft, seconds=None)
    assert served.judged() == [("ada", first_item.prompt_id)]


def test_a_lease_that_ran_out_counts_while_nobody_else_has_the_prompt(served: Served) -> None:
    ada = served.guest("ada")
    item = next_of(ada, "ada")
    served.now = 1000
    ada.submit(item, "ada", ranked(item), seconds=None)
    assert served.judged() == [("ada", item.prompt_id)]


def test_what_is_asked_twice_is_recorded_once(served: Served) -> None:
    ada = served.guest("ada")
    item = next_of(ada, "ada")
    first = ada.submit(item, "ada", ranked(item), seconds=None)
    assert ada.submit(item, "ada", ranked(item), seconds=None) == first
    skipped = next_of(ada, "ada")
    assert ada.skip(skipped, "ada", "odd", seconds=1) == ada.skip(skipped, "ada", "odd", seconds=1)
    assert len(served.judged()) == 2


def test_only_ones_own_is_taken_back(served: Served) -> None:
    ada, bo = served.guest("ada"), served.guest("bo")
    item = next_of(ada, "ada")
    ada.submit(item, "ada", ranked(item), seconds=None)
    assert bo.undo("ada") is None
    back = ada.undo("ada")
    assert back is not None
    assert back.draft.placed == ranked(item).placed
    assert served.judged() == []
    again = ada.redo("ada")
    assert again is not None
    assert served.judged() == [("ada", item.prompt_id)]
    back = ada.undo("ada")
    assert back is not None
    ada.submit(back, "ada", ranked(back), seconds=None)
    assert served.judged() == [("ada", item.prompt_id)]


def test_what_is_forged_is_refused_and_changes_nothing(served: Served) -> None:
    ada, bo = served.guest("ada"), CounterClient(served.counter.path, served.tokens["bo"])
    item = next_of(ada, "ada")
    draft = ranked(item)
    content = draft.content()
    forged: list[dict[str, Any]] = [
        {**content, "responses": [*content["responses"][:2], "r-of-others"]},
        {**content, "responses": [*content["responses"], content["responses"][0]]},
        {**content, "placed": [[draft.responses[0], -5], [draft.responses[1], 2], [draft.responses[2], 3]]},
        {**content, "placed": [[draft.responses[0], 1], [draft.responses[0], 2], [draft.responses[1], 3]]},
        {**content, "placed": [[draft.responses[0], "x"]]},
        {**content, "outcome": "'; DROP TABLE judgements"},
        {**content, "confidence": 99},
        {**content, "note": ["x"]},
        {},
    ]
    for wrong in forged:
        with pytest.raises(UsageError, match="no judgement of the responses"):
            served.desk.asked("ada", "t", "submit", {"lease": item.assignment, "draft": wrong})
    for what in ("submit", "keep", "skip"):
        with pytest.raises(UsageError, match="another terminal"):
            bo.ask(what, lease=item.assignment, draft=content, reason="x")
    assert bo.ask("follows", lease=item.assignment) is False
    for what in ("asked", "_of", "__init__", "close", "sql"):
        with pytest.raises(UsageError, match="nothing that an annotator"):
            bo.ask(what)
    with pytest.raises(UsageError, match="way of judging"):
        bo.ask("next", mode="DROP")
    assert served.judged() == []
    assert set(REQUESTS) == {
        *("welcome", "next", "resume", "follows", "keep", "submit", "skip", "undo", "redo", "pace", "session")
    }


def test_a_token_opens_until_it_is_withdrawn_or_replaced(served: Served, tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="opens nothing"):
        CounterClient(served.counter.path, "x" * 43).ask("welcome")
    old = CounterClient(served.counter.path, served.tokens["ada"])
    new = CounterClient(served.counter.path, invitations.invite(served.store, "ada"))
    assert new.ask("welcome")["annotator"] == "ada"
    with pytest.raises(UsageError, match="opens nothing"):
        old.ask("welcome")
    assert invitations.withdraw(served.store, "ada")
    assert not invitations.withdraw(served.store, "ada")
    with pytest.raises(UsageError, match="opens nothing"):
        new.ask("welcome")
    assert served.tokens["bo"] not in str(served.store.rows("SELECT * FROM store_settings"))
    assert served.counter.path.stat().st_mode & 0o777 == 0o660
    with pytest.raises(WorkbenchError, match="does not answer"):
        CounterClient(tmp_path / "nowhere", "x").ask("welcome")


@pytest.mark.parametrize("line", [b"\n", *NO_QUESTIONS.values()], ids=["empty", *NO_QUESTIONS])
def test_what_is_no_question_is_answered_by_a_sentence(served: Served, line: bytes) -> None:
    with socket.socket(socket.AF_UNIX) as connection:
        connection.settimeout(60)
        connection.connect(str(served.counter.path))
        connection.sendall(line)
        with connection.makefile("rb") as file:
            answer = json.loads(file.readline())
    assert "no question" in answer["error"]


def test_a_project_gives_each_their_queue_and_the_same_prompt_to_two(tmp_path: Path) -> None:
    served = Served(tmp_path, ("ada", "bo"), prompts=4)
    try:
        text = 'name = "study"\nannotators = ["ada", "bo"]\noverlap = 2\nresponses = 3\n'
        Judging(served.store).projects.follow_text(text)
        ada, again, bo = served.guest("ada"), served.guest("ada"), served.guest("bo")
        seen: list[tuple[str, str]] = []
        for name, judging in (("ada", ada), ("ada", again), ("bo", bo)) * 4:
            item = judging.next_item(name)
            if item is not None:
                seen.append((name, item.prompt_id))
                judging.submit(item, name, ranked(item), seconds=None)
        assert served.judged() == sorted(seen)
        assert len(set(seen)) == len(seen) == 8
        assert all(row.done == row.entries for row in projects.progress(served.store, "study"))
    finally:
        served.close()


OWNERS = {"record", "rules", "apply_rule"}
"""What programs and rules judge with, in the store itself."""


def test_a_guest_answers_all_that_a_screen_asks_of_judging_and_is_asked_in_the_same_way() -> None:
    asked = {name: each for name, each in vars(Judging).items() if isfunction(each) and name[0] != "_"}
    answered = {name: each for name, each in vars(GuestJudging).items() if name in asked}
    assert asked.keys() - answered.keys() == OWNERS
    for name, each in answered.items():
        assert signature(each) == signature(asked[name]), name


def test_the_workspace_of_a_guest_has_nothing_but_the_queue(served: Served) -> None:
    settings = Settings(db="/nowhere/else.duckdb", annotator="somebody")
    with guest_workspace(settings, served.counter.path, served.tokens["ada"]) as workspace:
        assert workspace.settings.annotator == "ada"
        assert workspace.settings.in_memory
        assert workspace.judging.next_item("ada") is not None
        assert workspace.library.prompts() == []


async def test_a_guest_judges_and_is_told_whose_everything_else_is(served: Served) -> None:
    with guest_workspace(Settings("x", "me"), served.counter.path, served.tokens["ada"]) as workspace:
        app = GuestApp(workspace)
        async with app.run_test(size=(80, 24), notifications=True) as pilot:
            await until(pilot, lambda: "answer of" in shown(app))
            await until(pilot, lambda: "you judge as ada" in shown(app))
            assert "0 prompts" not in shown(app)
            every = {binding.action for _, binding in app._bindings if binding.action.startswith("go(")}
            asked = [*every, "launch", "import", "disagreements", "steps", "experiments", "leaderboard"]
            for action in [*asked, "report", "project"]:
                if action == "go('rank')":
                    continue
                before = len(app._notifications)
                await app.run_action(action)
                await pilot.pause()
                assert len(app._notifications) == before + 1, action
                assert "belongs to whoever serves this study" in list(app._notifications)[-1].message, action
                assert app.current_mode == "rank"
                assert len(app.screen_stack) == 1
            titles = {command.title for command in app.commands(app.screen)}
            assert "Quit" in titles
            assert not titles & {"Prompts", "SQL", "Import a file", "Project", "Leaderboard"}
            for _ in range(PROMPTS):
                standing = len(served.judged())
                await pilot.press("a", "b", "c", "enter")
                await until(pilot, lambda standing=standing: len(served.judged()) > standing)  # type: ignore[misc]
            await until(pilot, lambda: "Nothing waits for you now" in shown(app))
    assert len(served.judged()) == PROMPTS


def test_who_is_invited_while_the_study_is_served_judges_at_once(served: Served) -> None:
    """Another process asks the holder; the same as asking the store."""
    path = served.store.path
    assert path is not None
    serving = share(served.store)
    try:
        with RemoteStore(path, LockedError("held")) as beside:
            token = do(beside, "invite", "cy")
            assert CounterClient(served.counter.path, token).ask("welcome")["annotator"] == "cy"
            assert do(beside, "invited") == do(served.store, "invited") == ["ada", "bo", "cy"]
            assert do(beside, "withdraw", "cy") is True
            assert do(beside, "withdraw", "cy") is False
            with pytest.raises(UsageError, match="opens nothing"):
                CounterClient(served.counter.path, token).ask("welcome")
            for wrong in ("", "two\nlines", "x" * 101):
                with pytest.raises(StoreError, match="name has 1 to 100"):
                    do(beside, "invite", wrong)
            for what in ("rows", "close", "__init__"):
                with pytest.raises(RefusedError, match="nothing that another process"):
                    beside.do(what, "x")
    finally:
        serving.close()
