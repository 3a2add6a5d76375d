"""Annotators of other processes in one store: nothing lost, nothing doubled, nobody in another's name."""

from __future__ import annotations

import json
import os
import socket
import subprocess
import sys
from collections import Counter as Tally
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from engine.errors import UsageError, WorkbenchError
from storage import invitations, judgements, projects
from storage.store import Store
from tests.storage.builders import add_prompt, add_responses
from workbench.guest import guest_workspace
from workbench.services.draft import Draft
from workbench.services.judging import Judging
from workbench.services.rank_item import RankItem
from workbench.services.serving.counter import Counter
from workbench.services.serving.desk import REQUESTS, Desk
from workbench.services.serving.guest import CounterClient, GuestJudging
from workbench.settings import Settings

ROOT = Path(__file__).parents[3]
PROMPTS = 6


class Served:
    """A store that is served in this process."""

    def __init__(self, folder: Path, names: tuple[str, ...], prompts: int = PROMPTS) -> None:
        self.now = 0.0
        self.store = Store.open(folder / "a.duckdb")
        with self.store.transaction():
            for number in range(prompts):
                prompt = add_prompt(self.store, f"prompt {number}")
                for policy in ("one", "two", "three"):
                    add_responses(self.store, prompt, f"answer of {policy} to {number}", policy=policy)
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


NONSENSE = {
    "empty": b"\n",
    "words": b"nonsense\n",
    "list": b"[]\n",
    "nothing": b"{}\n",
    "bytes": b"\xff\n",
    "deep": b"[" * 100_000 + b"\n",
}


@pytest.mark.parametrize("line", NONSENSE.values(), ids=NONSENSE)
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


def test_the_workspace_of_a_guest_has_nothing_but_the_queue(served: Served) -> None:
    settings = Settings(db="/nowhere/else.duckdb", annotator="somebody")
    with guest_workspace(settings, served.counter.path, served.tokens["ada"]) as workspace:
        assert workspace.settings.annotator == "ada"
        assert workspace.settings.in_memory
        assert workspace.judging.next_item("ada") is not None
        assert workspace.library.prompts() == []


ANNOTATE = """
import json, random, sys, time
from pathlib import Path
from storage.store import Store
from workbench.services.serving.guest import CounterClient, GuestJudging
at, token, seconds, seed = sys.argv[1:]
until, chance = time.monotonic() + float(seconds), random.Random(seed)
with Store.open(":memory:") as own:
    judging = GuestJudging(own, CounterClient(Path(at), token))
    while time.monotonic() < until:
        item = judging.resume("") or judging.next_item("")
        if item is None:
            break
        draft = item.draft
        for response in chance.sample(draft.responses, len(draft.responses)):
            if draft.rank(response) is None:
                draft = draft.place_next(response)
                judging.keep(item, "", draft)
        made = judging.submit(item, "", draft, seconds=1.0)
        print(json.dumps([made[0], item.prompt_id, draft.ranks()]), flush=True)
        if chance.random() < 0.1:
            back = judging.undo("")
            print(json.dumps([None, back.prompt_id, None]), flush=True)
"""


def annotate(folder: Path, people: int, seconds: float, prompts: int) -> None:
    """People judge at once, each in a process of their own, one at two terminals; one is killed."""
    names = tuple(f"person-{number}" for number in range(people))
    served = Served(folder, names, prompts)
    try:
        terminals = [*names, names[0]]
        command = [sys.executable, "-c", ANNOTATE, str(served.counter.path)]
        running = [
            subprocess.Popen(
                [*command, served.tokens[name], str(seconds), str(number)],
                stdout=subprocess.PIPE,
                text=True,
                cwd=ROOT,
                env={**os.environ, "PYTHONPATH": str(ROOT)},
            )
            for number, name in enumerate(terminals)
        ]
        killed = running[1].stdout
        assert killed is not None
        first = killed.readline()
        running[1].kill()
        told = [process.communicate(timeout=seconds + 200)[0].splitlines() for process in running]
        told[1].insert(0, first)
        assert [process.returncode for process in running] == [0, -9, *[0] * (len(running) - 2)]
        acknowledged: list[tuple[str, str, str, dict[str, int]]] = []
        for name, lines in zip(terminals, told, strict=True):
            for line in lines:
                judgement, prompt, ranks = json.loads(line)
                if judgement is not None:
                    acknowledged.append((name, judgement, prompt, ranks))
        assert len(acknowledged) >= min(prompts, 100)
        for name, judgement, prompt, ranks in acknowledged:
            found = judgements.get(served.store, judgement)
            assert (found.annotator, found.prompt_id) == (name, prompt)
            assert {each.response_id: each.rank for each in found.items} == ranks
        doubled = [key for key, count in Tally(served.judged()).items() if count > 1]
        assert doubled == []
    finally:
        served.close()


def test_three_annotators_at_once_lose_and_double_nothing(tmp_path: Path) -> None:
    annotate(tmp_path, people=3, seconds=60.0, prompts=6)


@pytest.mark.slow
@pytest.mark.long
def test_eight_annotators_for_ten_minutes_lose_and_double_nothing(tmp_path: Path) -> None:
    seconds = float(os.environ.get("WORKBENCH_TEST_SECONDS", "600"))
    annotate(tmp_path, people=8, seconds=seconds, prompts=5000)
