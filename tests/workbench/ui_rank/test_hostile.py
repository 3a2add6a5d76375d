"""Hostile text goes through every screen: nothing crashes, nothing reaches the terminal as a control."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from storage import prompts, responses
from storage.errors import StoreError
from storage.store import Store
from tests.sampled import sampled
from tests.workbench.ui_rank.driving import NARROW, WIDE, opened, shown, until
from tests.workbench.ui_rank.fakes import fake_workspace
from tests.workbench.ui_rank.hostile import HOSTILE, SURROGATE
from tests.workbench.ui_rank.terminal import KEYS, Terminal
from workbench.screens.compare import CompareScreen
from workbench.screens.rank.screen import RankScreen

ROUNDS = 6  # of four responses each: every text stands on a card
BIDI = re.compile("[\u061c\u200e\u200f\u202a-\u202e\u2066-\u2069\x80-\x9f]")


@pytest.mark.parametrize("size", sampled([NARROW, WIDE], NARROW))
async def test_every_screen_survives(size: tuple[int, int]) -> None:
    texts = (*HOSTILE, SURROGATE)
    workspace = fake_workspace(prompts=len(texts), responses=5, texts=texts)
    workspace.library.texts = texts[:5]
    rounds = [tuple(texts[(start + k) % len(texts)] for k in range(5)) for start in range(0, len(texts), 5)]
    async with opened(workspace, size) as (app, pilot):
        for answers in rounds:
            workspace.library.texts = answers
            await pilot.press("down", "down", "down", "down", "down")
        await pilot.press("home", "enter", "escape", "slash", *"[/", "enter", "escape")
        workspace.library.texts = rounds[0]
        await pilot.press("f3")
        await until(pilot, lambda: isinstance(app.screen, RankScreen) and app.screen.item is not None)
        for number, answers in enumerate((*rounds[1:], rounds[0]), 1):
            workspace.library.texts = answers
            for letter in "abcde":
                await pilot.press(letter, "z", "escape")
            assert not BIDI.search(shown(app))
            await pilot.press("enter")
            await until(pilot, lambda number=number: len(workspace.judging.records) == number)
            await until(pilot, lambda: app.screen.item is not None)
        await pilot.press("u", "f6")
        await until(
            pilot, lambda: isinstance(app.screen, CompareScreen) and len(app.screen.items) == len(texts)
        )
        for _ in texts:
            await pilot.press("down")
        assert not BIDI.search(shown(app))


async def test_names_errors_and_notes() -> None:
    workspace = fake_workspace()
    workspace.settings.db = "/x/\x1b]52;c;x\x07[/foo].duckdb"
    workspace.library.import_error = StoreError(HOSTILE[0] + HOSTILE[3] + SURROGATE)
    async with opened(workspace) as (app, pilot):
        app.tell(StoreError(HOSTILE[3] + SURROGATE))
        await pilot.press("i", *"[/x]", "enter")
        await until(pilot, lambda: "clipboard ␛]52" in shown(app))
        await pilot.press("escape", "f3")
        await until(pilot, lambda: isinstance(app.screen, RankScreen) and app.screen.item is not None)
        await pilot.press("n", *"[/foo]", "enter")
        await until(pilot, lambda: "note: [/foo]" in shown(app))
        await pilot.press("s", "tab", *"[/foo]", "enter")
        await until(pilot, lambda: len(workspace.judging.skips) == 1)


def fill(path: Path) -> None:
    """A store with hostile text that no import would let in."""
    store = Store.open(path)
    with store.transaction():
        for number, text in enumerate(HOSTILE):
            chat = [{"role": "user", "content": f"{text} {number}"}]
            prompt = prompts.add(store, chat, source=f"source \x1b]52;c;{number}\x07")
            for k in range(4):
                policy = f"policy {k} \x1b]52;c;x\x07[/foo]"
                responses.add(store, prompt, policy, HOSTILE[(number + 3 * k) % len(HOSTILE)] or " ")
    store.close()


@pytest.mark.timeout(120)
@pytest.mark.parametrize("size", sampled([NARROW, WIDE], NARROW))
def test_the_terminals_bytes_are_clean(tmp_path: Path, size: tuple[int, int]) -> None:
    path = tmp_path / "hostile.duckdb"
    fill(path)
    with Terminal("--db", str(path), home=tmp_path, columns=size[0], rows=size[1]) as terminal:
        terminal.wait_for("clipboard ␛]52;c;SGFja2Vk␇")
        terminal.send(KEYS["down"] * 3)
        terminal.wait_for("policy 0 ␛]52;c;x␇[/foo]")
        seen = len(terminal.text)
        terminal.send(KEYS["f3"])
        terminal.wait_for("0 done", after=seen)
        for number in range(1, ROUNDS + 1):
            seen = len(terminal.text)
            terminal.send("az")
            terminal.wait_for("esc back", after=seen)  # with Markdown or, too long for it, without
            seen = len(terminal.text)
            terminal.send("mz" + "bcd\r")
            terminal.wait_for(f"{number} done", after=seen)
        seen = len(terminal.text)
        terminal.send(KEYS["f6"])
        terminal.wait_for("judged by people", after=seen)
        terminal.send(KEYS["down"] * 5 + "j")
        terminal.wait_for("Judged by", after=seen)
        terminal.send("\r")
        assert terminal.quit() == 0
        assert_clean(bytes(terminal.bytes))


def assert_clean(written: bytes) -> None:
    """No sequence of the texts came through: no clipboard, title, link or device string, no C1, no bidi."""
    for sequence in (
        b"\x1b]52",
        b"\x1b]0;",
        b"\x1b]8;;http://example",
        b"\x1bP+q",
        b"\x1b[2J\x1b[31m",
        b"\x1bc",
    ):
        assert sequence not in written, sequence
    assert not BIDI.search(written.decode("utf-8"))
