"""What a neighbour on the same machine can do to a store that is shared, with the token and without."""

from __future__ import annotations

import asyncio
import os
import socket
import subprocess
from pathlib import Path
from typing import Any

import pytest

from storage.share import door
from storage.share.door import Door
from storage.share.sharing import Share, share
from storage.store import Store
from tests.storage.builders import path_of
from tests.storage.remote_query import query_remote


def port_of(shared: Share) -> int:
    return int(shared.address.rsplit(":", 1)[1])


def connect(port: int) -> socket.socket:
    return socket.create_connection(("127.0.0.1", port), timeout=20)


def said(port: int, request: bytes) -> bytes:
    """All that is answered to the bytes of a request before the connection ends."""
    with connect(port) as connection:
        connection.sendall(request)
        answer = b""
        try:
            while data := connection.recv(65536):
                answer += data
        except ConnectionError:
            pass
        return answer


def request(
    port: int,
    *headers: str,
    method: str = "POST",
    target: str = "/quack",
    host: str = "",
    body: str = "nonsense",
) -> bytes:
    body = "nonsense"
    lines = [
        f"{method} {target} HTTP/1.1",
        f"Host: {host or f'localhost:{port}'}",
        f"Content-Length: {len(body)}",
        "Connection: close",
        *headers,
    ]
    return "\r\n".join(lines).encode() + b"\r\n\r\n" + body.encode()


def test_who_has_the_token_is_answered(shared: Share) -> None:
    assert query_remote(path_of(shared), "SELECT text FROM prompts") == [("shared",)]
    large = query_remote(path_of(shared), "SELECT range AS n, repeat('x', 100) AS x FROM range(50000)")
    assert len(large) == 50_000


@pytest.mark.parametrize(
    ("headers", "changes", "status"),
    [
        (["Origin: http://evil.example"], {}, 403),
        ([], {"host": "evil.example:1"}, 403),
        ([], {"host": "evil.example:PORT"}, 403),
        ([], {"host": "localhost"}, 403),
        ([], {"method": "GET"}, 404),
        ([], {"method": "OPTIONS"}, 404),
        ([], {"target": "/"}, 404),
        (["X: " + "x" * 20_000], {}, 431),
        (["Content-Length: 5"], {}, 400),
    ],
)
def test_others_are_turned_away(
    shared: Share, headers: list[str], changes: dict[str, str], status: int
) -> None:
    port = port_of(shared)
    changes = {name: value.replace("PORT", str(port)) for name, value in changes.items()}
    answer = said(port, request(port, *headers, **changes))
    assert answer.startswith(f"HTTP/1.1 {status}".encode())
    assert b"access-control" not in answer.lower()
    assert shared.store.rows("SELECT count(*) FROM prompts") == [(1,)]


def test_quack_invites_no_pages_of_browsers(shared: Share) -> None:
    port = port_of(shared)
    answer = said(port, request(port))
    assert answer.startswith(b"HTTP/1.1 ")
    assert b"access-control" not in answer.lower()


def test_a_large_body_is_not_taken(shared: Share) -> None:
    port = port_of(shared)
    head = f"POST /quack HTTP/1.1\r\nHost: localhost:{port}\r\n"
    announced = said(port, f"{head}Content-Length: 600000000\r\n\r\n".encode())
    assert announced.startswith(b"HTTP/1.1 413")
    part = b"10000\r\n" + b"x" * 65536 + b"\r\n"
    taken = 0
    with connect(port) as connection:
        connection.sendall(f"{head}Transfer-Encoding: chunked\r\n\r\n".encode())
        try:
            while taken < 2**26:
                connection.sendall(part)
                taken += 65536
        except OSError:
            pass
    assert taken < 2**25  # what the system's buffers hold, and no more


def test_idle_connections_keep_no_reader_out(shared: Share) -> None:
    idle = [connect(port_of(shared)) for _ in range(300)]
    try:
        for _ in range(3):
            assert query_remote(path_of(shared), "SELECT text FROM prompts") == [("shared",)]
    finally:
        for connection in idle:
            connection.close()


def test_a_request_that_never_comes_is_not_waited_for(shared: Share, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(door, "HEAD_SECONDS", 0.1)
    with connect(port_of(shared)) as connection:
        connection.sendall(b"POST /quack HTTP/1.1\r\nHost: loc")
        assert connection.recv(1) == b""


def test_the_server_behind_the_door_is_for_its_owner_alone(shared: Share) -> None:
    private = shared._socket
    assert private is not None
    assert private.stat().st_mode & 0o777 == 0o600
    assert private.parent.stat().st_mode & 0o777 == 0o700
    with pytest.raises(ConnectionRefusedError):
        connect(int(shared._answers.server.rsplit(":", 1)[1]))


def test_nothing_is_left_when_sharing_ends(tmp_path: Path) -> None:
    with Store.open(tmp_path / "a.duckdb") as store:
        serving = share(store)
        private = serving._socket
        serving.close()
        assert private is not None
        assert not private.parent.exists()
        with pytest.raises(ConnectionRefusedError):
            connect(port_of(serving))


def test_a_door_that_closes_before_it_has_opened_leaves_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    opening = asyncio.start_server

    async def slowly(*arguments: Any, **options: Any) -> asyncio.Server:
        await asyncio.sleep(0.2)
        return await opening(*arguments, **options)

    monkeypatch.setattr(asyncio, "start_server", slowly)
    closed = Door(9)
    closed.close()
    assert not closed._thread.is_alive()
    assert closed._loop.is_closed()
    with pytest.raises(ConnectionRefusedError):
        connect(closed.port)


@pytest.mark.skipif(os.geteuid() != 0, reason="another user can be played by root alone")
def test_another_user_is_turned_away(shared: Share) -> None:
    program = (
        "import socket, sys; c = socket.create_connection(('127.0.0.1', int(sys.argv[1])), timeout=20)\n"
        "try:\n c.sendall(b'POST /quack HTTP/1.1\\r\\n'); print(c.recv(9))\nexcept OSError:\n print(b'')"
    )
    command = ["/usr/bin/env", "python3", "-c", program, str(port_of(shared))]
    done = subprocess.run(
        command, user=65534, group=65534, capture_output=True, text=True, cwd="/", timeout=60
    )
    if done.returncode:
        pytest.skip("there is no Python that another user may run")
    assert done.stdout.strip() == "b''"
