"""A judgement through the page of a browser: textual-serve, keys over its websocket, the study's store."""

from __future__ import annotations

import asyncio
import os
import re
import socket
import subprocess
import sys
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager, suppress
from pathlib import Path
from typing import Any

import pytest

from tests.workbench.services.test_serving import PROMPTS, Served

aiohttp = pytest.importorskip("aiohttp")
pytest.importorskip("textual_serve")
ROOT = Path(__file__).parents[2]
SECONDS = 90.0


def free_port() -> int:
    with socket.socket() as asked:
        asked.bind(("127.0.0.1", 0))
        return int(asked.getsockname()[1])


@asynccontextmanager
async def page(folder: Path, at: Path, token: str) -> AsyncIterator[str]:
    """The address of a page that docs/browser/page.py serves, with the token of one annotator."""
    (folder / "token").write_text(token)
    (folder / "token").chmod(0o600)
    program = folder / "bin" / "workbench"
    program.parent.mkdir()
    program.write_text(f'#!/bin/sh\nexec "{sys.executable}" -m workbench "$@"\n')
    program.chmod(0o700)
    port = free_port()
    address = f"http://127.0.0.1:{port}"
    paths = os.pathsep.join([str(program.parent), os.environ["PATH"]])
    places = {"STUDY_SOCKET": str(at), "STUDY_TOKEN": str(folder / "token")}
    listens = {"STUDY_HOST": "127.0.0.1", "STUDY_PORT": str(port)}
    environment = os.environ | {"PATH": paths, "PYTHONPATH": str(ROOT), **places, **listens}
    command = [sys.executable, str(ROOT / "docs" / "browser" / "page.py"), address]
    with (folder / "page.log").open("wb") as log:
        server = subprocess.Popen(command, env=environment, cwd=folder, stdout=log, stderr=log)
    try:
        yield address
    finally:
        server.terminate()
        server.wait(SECONDS)


async def index_of(session: Any, address: str) -> str:
    """The page, as soon as it is served."""
    for _ in range(int(SECONDS * 10)):
        try:
            async with session.get(address) as answer:
                return str(await answer.text())
        except aiohttp.ClientConnectorError:
            await asyncio.sleep(0.1)
    raise AssertionError("the page does not come")


async def drawn(websocket: Any, so_far: list[bytes], condition: Callable[[], bool]) -> None:
    """Take in what the application draws until a condition holds."""
    limit = asyncio.get_running_loop().time() + SECONDS
    while not condition():
        if asyncio.get_running_loop().time() > limit:
            raise AssertionError(f"not within {SECONDS} s: {b''.join(so_far)[-2000:]!r}")
        with suppress(TimeoutError):
            message = await websocket.receive(timeout=0.2)
            assert message.type in (aiohttp.WSMsgType.BINARY, aiohttp.WSMsgType.TEXT), message
            if message.type == aiohttp.WSMsgType.BINARY:
                so_far.append(message.data)


@pytest.mark.slow
async def test_a_judgement_of_a_browser_is_in_the_store(tmp_path: Path) -> None:
    served = Served(tmp_path, ("ada", "bo"))
    screen: list[bytes] = []

    def shows(text: str) -> bool:
        return text.encode() in b"".join(screen)

    try:
        async with (
            page(tmp_path, served.counter.path, served.tokens["ada"]) as address,
            aiohttp.ClientSession() as session,
        ):
            (url,) = re.findall(r'data-session-websocket-url="([^"]+)"', await index_of(session, address))
            async with session.ws_connect(f"{url}?width=80&height=24") as websocket:
                await drawn(websocket, screen, lambda: shows("answer") and shows("ada"))
                assert served.judged() == []
                for done in (1, 2):
                    for key in ("a", "b", "c", "\r"):
                        await websocket.send_json(["stdin", key])
                    await drawn(websocket, screen, lambda done=done: len(served.judged()) == done)
            assert {name for name, _ in served.judged()} == {"ada"}
            async with session.ws_connect(f"{url}?width=80&height=24") as websocket:  # who comes back
                screen.clear()
                await drawn(websocket, screen, lambda: shows("answer"))
                for _ in range(PROMPTS - 3):  # one still lies with the page that was closed
                    standing = len(served.judged())
                    for key in ("a", "b", "c", "\r"):
                        await websocket.send_json(["stdin", key])
                    await drawn(websocket, screen, lambda n=standing: len(served.judged()) > n)
    finally:
        served.close()
    assert "policy-" not in b"".join(screen).decode(errors="replace")
