"""Stores into one another: twice adds nothing, and any order gives the same rows."""

from __future__ import annotations

import itertools
import json
import shutil
from collections.abc import Callable
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from engine.errors import UsageError
from storage import judgements, prompts, responses
from storage.errors import NotADatabaseError, StoreError
from storage.share.sharing import share
from storage.sql import block
from storage.store import Store
from storage.transfer.merging import MergeError, merge
from storage.transfer.packing import tables
from tests.storage.builders import add_prompt, add_responses, judge
from workbench.services.people import People
from workbench.services.workspace import Workspace
from workbench.settings import Settings

OURS = ("store_settings", "drafts")


def rows(store: Store) -> dict[str, list[str]]:
    """Every row of every table as text, in order."""
    return {
        name: [text for (text,) in store.rows(f'SELECT "{name}"::VARCHAR FROM "{name}" ORDER BY 1')]
        for name in tables(store)
        if name not in OURS
    }


@pytest.fixture(scope="module")
def empty(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("empty") / "empty.duckdb"
    Store.open(path).close()
    return path


RUN = (
    "INSERT INTO runs (run_id, kind, status, config, created_at, last_seq) "
    "VALUES ($id, 'ppo', $status, '{}', '2026-01-01', $seq)"
)


def do(store: Store, what: tuple[str, int, int, int]) -> None:
    """One thing that a person or a job does; the numbers come from small sets, so that stores meet."""
    kind, a, b, c = what
    day = f"2026-01-{1 + b:02d}"
    if kind == "prompt":
        prompt = prompts.add(store, [{"role": "user", "content": f"prompt {a}"}], source=f"source {b}")
        store.write(
            "UPDATE prompts SET created_at = $d, metadata = $m WHERE prompt_id = $p",
            {"d": day, "m": None if c else '{"a": 1}', "p": prompt},
        )
    elif kind == "response":
        response = responses.add(store, add_prompt(store, f"prompt {a}"), f"policy {b}", f"text {c}")
        store.write(
            "UPDATE responses SET token_ids = $t, created_at = $d WHERE response_id = $r",
            {"t": [a, b] if c else None, "d": day, "r": response},
        )
    elif kind == "judge":
        prompt = add_prompt(store, f"prompt {a}")
        first, second = add_responses(store, prompt, "text 0", "text 1", policy="policy 0")
        judge(store, prompt, {first: 1, second: 1 + b % 2}, annotator=f"annotator {c}")
    elif kind == "annotator":
        judgements.ensure_annotator(store, f"annotator {a}", "human" if b else "ai")
    elif kind == "query":
        values = {"id": f"q{a}{b}", "name": f"name {a}", "sql": f"SELECT {c}", "d": day}
        store.write(
            "INSERT OR REPLACE INTO saved_queries (query_id, name, sql, created_at) "
            "VALUES ($id, $name, $sql, $d)",
            values,
        )
    elif not store.rows("SELECT 1 FROM runs WHERE run_id = $id", {"id": f"r{a}"}):
        store.write(RUN, {"id": f"r{a}", "status": ("done", "stopped", "running")[b % 3], "seq": c})
        store.write(
            f"INSERT INTO metrics SELECT 'r{a}', i, i, 'x', {b}, '2026-01-01' FROM range({c + 1}) t(i)"
        )
        store.write(
            f"INSERT INTO run_messages SELECT 'r{a}', i, 'info', '{b}', '2026-01-01' FROM range({4 - c}) t(i)"
        )


DONE = st.tuples(
    st.sampled_from(["prompt", "response", "judge", "annotator", "query", "run"]),
    st.integers(0, 1),
    st.integers(0, 2),
    st.integers(0, 2),
)


@settings(max_examples=4, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(st.tuples(*[st.lists(DONE, max_size=8)] * 3), st.permutations(range(3)))
def test_three_stores_in_any_order_are_one(
    empty: Path,
    tmp_path_factory: pytest.TempPathFactory,
    done: tuple[list[tuple[str, int, int, int]], ...],
    other: list[int],
) -> None:
    folder = tmp_path_factory.mktemp("merge")
    files = []
    for number, things in enumerate(done):
        files.append(folder / f"{number}.duckdb")
        shutil.copyfile(empty, files[-1])
        with Store.open(files[-1]) as store:
            for thing in things:
                do(store, thing)
    outcomes = []
    for name, order in ("in order", files), ("in another", [files[number] for number in other]):
        into = folder / f"{name}.duckdb"
        shutil.copyfile(empty, into)
        with Store.open(into) as store:
            for file in order:
                merge(store, file)
            outcomes.append(rows(store))
            assert not store.rows(block("doctor", "stale_latest"), {"runs": None})
    assert outcomes[0] == outcomes[1]
    with Store.open(into) as store:
        for file in files:
            again = merge(store, file)
            assert (again.added.keys() | again.changed.keys()) <= {"saved_queries"}
        assert rows(store) == outcomes[0]
    shutil.rmtree(folder)


@pytest.fixture
def two(empty: Path, tmp_path: Path) -> tuple[Path, Path]:
    files = tmp_path / "a.duckdb", tmp_path / "b.duckdb"
    for file in files:
        shutil.copyfile(empty, file)
    return files


def changed(file: Path, change: Callable[[Store], object]) -> None:
    with Store.open(file) as store:
        change(store)


def test_what_both_tell_differently_is_listed(two: tuple[Path, Path]) -> None:
    ours, theirs = two
    changed(ours, lambda store: judgements.ensure_annotator(store, "ana", "human"))
    changed(theirs, lambda store: judgements.ensure_annotator(store, "ana", "ai"))
    with Store.open(ours) as store:
        report = merge(store, theirs)
        (kind,) = store.row("SELECT kind FROM annotators") or ()
    (conflict,) = report.conflicts
    assert (conflict.table, conflict.columns) == ("annotators", ("kind",))
    assert kind == {"ours": "human", "theirs": "ai"}[conflict.kept]


@pytest.mark.parametrize(
    ("table", "change"),
    [
        ("run", "UPDATE runs SET config = '{\"seed\": 2}'"),
        ("response", "UPDATE responses SET text = 'another' WHERE text = 'one'"),
        ("judgement", "UPDATE judgements SET kind = 'pair'"),
    ],
)
def test_different_things_of_one_name_are_not_merged(two: tuple[Path, Path], table: str, change: str) -> None:
    ours, theirs = two

    def fill(store: Store) -> None:
        prompt = add_prompt(store)
        first, second = add_responses(store, prompt, "one", "two")
        judge(store, prompt, {first: 1, second: 2})
        store.write(RUN, {"id": "r", "status": "done", "seq": 1})

    changed(ours, fill)
    shutil.copyfile(ours, theirs)
    changed(theirs, lambda store: (store.write(change), add_prompt(store, "more")))
    with Store.open(ours) as store:
        before = rows(store)
        with pytest.raises(MergeError, match=f"the {table} "):
            merge(store, theirs)
        assert rows(store) == before


def test_the_other_file_stays_as_it_is_and_may_be_held_or_older(
    two: tuple[Path, Path], tmp_path: Path
) -> None:
    ours, theirs = two
    changed(theirs, add_prompt)
    before = theirs.read_bytes()
    with Store.open(ours) as store:
        assert merge(store, theirs).added == {"prompts": 1}
        with pytest.raises(StoreError, match="the store itself"):
            merge(store, ours)
        with pytest.raises(StoreError, match="no database"):
            merge(store, tmp_path / "nowhere.duckdb")
        text = tmp_path / "text.duckdb"
        text.write_text("not a database")
        with pytest.raises(NotADatabaseError):
            merge(store, text)
    assert theirs.read_bytes() == before
    assert not list(tmp_path.glob("workbench-merge-*"))


PROJECT = """
name = "fair"
annotators = ["ana", "bo", "cy"]
overlap = 2
repeats = 0.5
repeat_after = 1
seed = 3
[gold]
by = "before"
count = 1
"""


def _study(path: Path) -> Workspace:
    """Six prompts that somebody has judged, in a project of three annotators, two of them for each task."""
    workspace = Workspace.open(Settings(str(path), "me"))
    store = workspace.store
    for number in range(6):
        prompt = add_prompt(store, f"prompt {number}")
        first, second = add_responses(store, prompt, "one", "two", policy="tuned")
        judge(store, prompt, {first: 1, second: 2}, annotator="before")
    workspace.judging.projects.follow_text(PROJECT)
    return workspace


def test_a_package_is_blind_and_comes_back(tmp_path: Path) -> None:
    with _study(tmp_path / "study.duckdb") as study:
        store, people = study.store, People(study)
        made = people.assign(tmp_path)
        assert [package.annotator for package in made] == ["ana", "bo", "cy"]
        for wrong, folder in (("there already", tmp_path), ("no folder", tmp_path / "nowhere")):
            with pytest.raises(UsageError, match=wrong):
                people.assign(folder)
        with pytest.raises(UsageError, match="not among the annotators"):
            people.assign(tmp_path, annotators=["eve"])
        judged = {package.annotator: _judge_all(Path(package.path), package.annotator) for package in made}
        before = rows(store)
        for package in made:
            (report,) = people.merge([Path(package.path)])
            assert report.conflicts == ()
            assert set(report.added) <= {"judgements", "judgement_items", "annotators"}
            assert report.added["judgements"] == judged[package.annotator] == package.entries
            assert merge(store, package.path).added == {}
        after = rows(store)
        same = set(before) - {"judgements", "judgement_items", "annotators"}
        assert {name: after[name] for name in same} == {name: before[name] for name in same}
        progress = study.judging.projects.overview("fair")
        assert all(each.done == each.entries for each in progress.progress)
        assert progress.tasks == {2: 5}  # one of the six is the gold question
        assert {(check.what, check.pairs == check.agreed) for check in progress.checks} == {
            ("gold", True),
            ("repeat", True),
        }


def _judge_all(path: Path, annotator: str) -> int:
    """Judge everything that waits in a package, and look for what should not be in it; how much it was."""
    with Workspace.open(Settings(str(path), "somebody else")) as package:
        assert package.settings.annotator == annotator
        whole = json.dumps(list(rows(package.store).values()))
        assert not [word for word in ("tuned", "before", "gold", "repeat") if word in whole]
        done = 0
        while item := package.judging.next_item(annotator):
            order = sorted(item.responses, key=lambda candidate: candidate.text)  # "one" before "two"
            ranks = {candidate.response_id: place for place, candidate in enumerate(order, 1)}
            package.judging.record(item, annotator, ranks, seconds=2.0)
            done += 1
        return done


def test_a_package_first_and_the_study_after_it_are_the_same_rows(tmp_path: Path, empty: Path) -> None:
    with _study(tmp_path / "study.duckdb") as study:
        People(study).assign(tmp_path)
        whole = rows(study.store)
    files = [tmp_path / "ana.duckdb", tmp_path / "study.duckdb", tmp_path / "bo.duckdb"]
    for number, order in enumerate(list(itertools.permutations(files))[::2]):
        into = tmp_path / f"into-{number}.duckdb"
        shutil.copyfile(empty, into)
        with Store.open(into) as store:
            for file in order:
                assert merge(store, file).conflicts == ()
            assert {**rows(store), "annotators": []} == {**whole, "annotators": []}


def test_a_store_that_another_process_holds_is_read_through_it(two: tuple[Path, Path]) -> None:
    import subprocess
    import sys

    ours, theirs = two
    code = (
        "from storage.store import Store\nfrom storage.transfer.merging import merge\n"
        f"with Store.open({str(ours)!r}) as store:\n    print(merge(store, {str(theirs)!r}).added)"
    )
    with Store.open(theirs) as store:
        add_prompt(store)
        serving = share(store)
        try:
            done = subprocess.run(
                [sys.executable, "-c", code],
                capture_output=True,
                text=True,
                cwd=Path(__file__).parents[3],
                check=True,
            )
        finally:
            serving.close()
    assert done.stdout == "{'prompts': 1}\n"
