"""Importing in the terminal: pick a file, see what its columns become, change that by keys, import."""

from __future__ import annotations

import json
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import pytest
from textual.pilot import Pilot
from textual.widgets import DirectoryTree, Input, OptionList, Static

from storage.store import Store
from tests.storage.builders import write
from tests.workbench.ui_rank.driving import opened, shown, until
from workbench.app import WorkbenchApp
from workbench.screens.importing.files import ImportScreen
from workbench.screens.importing.options import share_of
from workbench.screens.importing.plan import ImportedScreen, ImportPlanScreen
from workbench.services.workspace import Workspace
from workbench.settings import Settings
from workbench.widgets.row_list import RowList

COUNTS = """
SELECT (SELECT count(*) FROM prompts), (SELECT count(*) FROM responses),
       (SELECT count(*) FROM current_judgements), (SELECT count(*) FROM preference_pairs)"""
UNCLEAR = [
    {
        "colour": f"Why is the sky {n} times blue?",
        "dog": f"Light is scattered {n}.",
        "cat": f"No idea {n}.",
        "n": 3 - n,
    }
    for n in range(3)
]


def lines(rows: list[dict[str, Any]]) -> str:
    return "".join(json.dumps(row) + "\n" for row in rows)


@asynccontextmanager
async def importing(tmp_path: Path, path: Path) -> AsyncIterator[tuple[WorkbenchApp, Pilot[None], Store]]:
    """The sheet of a file, over an empty store in memory."""
    with Workspace(
        Settings(db=":memory:", annotator="ada"), Store.open(":memory:", runs_root=tmp_path / "runs")
    ) as workspace:
        async with opened(workspace) as (app, pilot):
            await pilot.press("i")
            await until(pilot, lambda: isinstance(app.screen, ImportScreen))
            app.screen.query_one("#path", Input).value = str(path)
            await pilot.press("enter")
            yield app, pilot, workspace.store


async def sheet(app: WorkbenchApp, pilot: Pilot[None]) -> ImportPlanScreen:
    await until(pilot, lambda: isinstance(app.screen, ImportPlanScreen))
    screen = app.screen
    assert isinstance(screen, ImportPlanScreen)
    await until(pilot, lambda: not screen.keys_wait)
    return screen


def text_of(screen: Any, selector: str) -> str:
    return str(screen.query_one(selector, Static).content)


async def test_roles_are_given_by_keys_and_the_file_comes_in(tmp_path: Path) -> None:
    async with importing(tmp_path, write(tmp_path / "u.jsonl", lines(UNCLEAR))) as (app, pilot, store):
        screen = await sheet(app, pilot)
        assert screen.plan.layout is None
        said = text_of(screen, "#losses-text")
        assert "p on “" in said
        assert "--" not in said, "a refusal names keys and no flags"
        await pilot.press("i")
        await until(pilot, lambda: bool(app._notifications))
        assert store.row(COUNTS) == (0, 0, 0, 0)
        await pilot.press("p", "down", "a", "down", "b", "down", "w")
        await until(pilot, lambda: screen.plan.layout == "annotated_pairs" and not screen.keys_wait)
        await until(pilot, lambda: "3 judgements" in text_of(screen, "#plan-counts"))
        assert "3 prompts, 6 responses, 3 judgements" in text_of(screen, "#plan-counts")
        await pilot.press("i")
        await until(pilot, lambda: isinstance(app.screen, ImportedScreen))
        assert store.row(COUNTS) == (3, 6, 3, 2), "3 of 1, 2 and 3 is a tie"
        await until(pilot, lambda: app.status.prompts == 3)  # before the list below can be seen
        await pilot.press("enter")
        await until(pilot, lambda: len(app.screen_stack) == 1)
        await until(pilot, lambda: app.screen.query_one(RowList).count == 3)


async def test_a_column_can_be_left_out_kept_and_given_back(tmp_path: Path) -> None:
    rows = [
        {"prompt": f"Q {n}?", "chosen": f"good {n}", "rejected": f"bad {n}", "mood": "x"} for n in range(3)
    ]
    async with importing(tmp_path, write(tmp_path / "p.jsonl", lines(rows))) as (app, pilot, store):
        screen = await sheet(app, pilot)
        await pilot.press("end", "x")
        await until(pilot, lambda: screen.lines[3].became == "left out, as said")
        await pilot.press("backspace")
        await until(pilot, lambda: screen.lines[3].became == "metadata of the judgement")
        await pilot.press("x", "i")
        await until(pilot, lambda: isinstance(app.screen, ImportedScreen))
        assert store.rows("SELECT DISTINCT metadata FROM judgements") == [(None,)]


async def test_verdicts_can_be_turned(tmp_path: Path) -> None:
    rows = [
        {"prompt": f"Q {n}?", "answer_a": f"one {n}", "answer_b": f"two {n}", "label": n % 2}
        for n in range(4)
    ]
    async with importing(tmp_path, write(tmp_path / "l.jsonl", lines(rows))) as (app, pilot, store):
        screen = await sheet(app, pilot)
        assert "t on “label” turns it" in text_of(screen, "#losses-text")
        await pilot.press("end", "t")
        await until(pilot, lambda: "(turned)" in screen.lines[3].became)
        assert "t on" not in text_of(screen, "#losses-text"), "what a person has said is no guess any more"
        await pilot.press("i")
        await until(pilot, lambda: isinstance(app.screen, ImportedScreen))
        better = (
            "SELECT count(*) FROM preference_pairs AS p JOIN responses AS r ON r.response_id = p.winner_id"
        )
        assert store.row(f"{better} WHERE r.text IN ('two 0', 'one 1', 'two 2', 'one 3')") == (4,)


async def test_every_role_can_be_chosen_from_a_list(tmp_path: Path) -> None:
    rows = [{"prompt": f"Q {n}?", "answer": f"one {n}", "goodness": n} for n in range(4)]
    async with importing(tmp_path, write(tmp_path / "r.jsonl", lines(rows))) as (app, pilot, _):
        screen = await sheet(app, pilot)
        await pilot.press("end", "enter")
        await until(pilot, lambda: bool(app.screen.query(OptionList)))
        listed = app.screen.query_one(OptionList)
        names = [str(listed.get_option_at_index(n).prompt) for n in range(listed.option_count)]
        listed.highlighted = next(n for n, name in enumerate(names) if "criterion.NAME" in name)
        await pilot.press("enter")
        await until(pilot, lambda: screen.lines[2].roles == ("criterion.goodness",))


async def test_a_file_is_picked_from_the_tree(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    files = tmp_path / "files"
    files.mkdir()
    monkeypatch.chdir(files)
    write(files / "a.jsonl", lines([{"prompt": "Why?"}]))
    write(files / "b.exe", "MZ")
    with Workspace(
        Settings(db=":memory:", annotator="ada"), Store.open(":memory:", runs_root=tmp_path / "runs")
    ) as workspace:
        async with opened(workspace) as (app, pilot):
            await pilot.press("i")
            await until(pilot, lambda: isinstance(app.screen, ImportScreen))
            tree = app.screen.query_one(DirectoryTree)
            await until(pilot, lambda: bool(tree.root.children))
            assert [str(node.label) for node in tree.root.children] == ["a.jsonl"]
            await pilot.press("tab", "down", "enter")
            screen = await sheet(app, pilot)
            assert screen.plan.layout == "prompts"
            await pilot.press("escape")
            await until(pilot, lambda: isinstance(app.screen, ImportScreen))
            assert not store_holds(workspace.store)


def store_holds(store: Store) -> bool:
    return store.row(COUNTS) != (0, 0, 0, 0)


async def test_what_cannot_be_read_is_told_with_keys(tmp_path: Path) -> None:
    path = tmp_path / "latin.csv"
    path.write_bytes("prompt,chosen,rejected\nWo ist die Tür?,dort,weiß nicht\n".encode("latin-1"))
    async with importing(tmp_path, path) as (app, pilot, store):
        await until(pilot, lambda: "not UTF-8" in text_of(app.screen, "#import-says"))
        said = text_of(app.screen, "#import-says")
        assert "ctrl+o" in said
        assert "--" not in said
        await pilot.press("ctrl+o", *"latin-1", "enter")
        await until(pilot, lambda: isinstance(app.screen, ImportScreen))
        await pilot.press("enter")
        await sheet(app, pilot)
        await pilot.press("i")
        await until(pilot, lambda: isinstance(app.screen, ImportedScreen))
        assert store.row("SELECT count(*) FROM responses WHERE text = 'weiß nicht'") == (1,)


async def test_more_bad_rows_can_be_allowed(tmp_path: Path) -> None:
    rows: list[dict[str, Any]] = [{"prompt": f"Q {n}?", "chosen": "a", "rejected": "b"} for n in range(4)]
    rows += [{"prompt": f"Q {n}?", "chosen": None, "rejected": "b"} for n in range(6)]
    async with importing(tmp_path, write(tmp_path / "b.jsonl", lines(rows))) as (app, pilot, store):
        screen = await sheet(app, pilot)
        await pilot.press("i")
        await until(pilot, lambda: "6 of 10 rows" in text_of(screen, "#losses-text"))
        assert "allow more of them: o" in text_of(screen, "#losses-text")
        await pilot.press("o", "up", *["backspace"] * 4, *"70%", "enter")
        await until(pilot, lambda: screen.options.most_bad == pytest.approx(0.7))
        await pilot.press("i")
        await until(pilot, lambda: isinstance(app.screen, ImportedScreen))
        assert store.row(COUNTS) == (4, 8, 4, 4)


async def test_hostile_values_and_names_never_reach_the_terminal(tmp_path: Path) -> None:
    evil = "\x1b]52;c;aGk=\x07[red]\u202e"
    rows = [
        {f"prompt{evil}": f"Why {n}? {evil}", "chosen": f"a {evil}{n}", "rejected": f"b{n}"} for n in range(3)
    ]
    async with importing(tmp_path, write(tmp_path / "[x].jsonl", lines(rows))) as (app, pilot, _):
        screen = await sheet(app, pilot)
        await pilot.press("p", "v")
        await until(pilot, lambda: screen.has_class("-standing") and not screen.keys_wait)
        for view in ("v", "v"):
            assert not any(c in shown(app) for c in "\x1b\x07\u202e")
            await pilot.press(view)
        assert screen.query_one(RowList).count >= 3


@pytest.mark.parametrize(
    ("text", "share"), [("10%", 0.1), ("0.25", 0.25), ("0,5", 0.5), ("0", 0.0), ("150%", None), ("all", None)]
)
def test_shares(text: str, share: float | None) -> None:
    assert share_of(text) == share
