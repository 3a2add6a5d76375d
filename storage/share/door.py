"""The door before what is shared: limits on who may come in, with how much, and for how long.

DuckDB's Quack server takes bodies of any size, any number of idle connections, any Host and Origin.  It is
moved behind a socket in a private folder, and this door stands on the loopback address: HTTP by h11, one
thread with an event loop.  Who knows the token is asked by the server itself.  A question is answered before
it goes to the server (`storage.share.quack_answers`), and cancelled when its asker goes.
"""

from __future__ import annotations

import asyncio
import os
import socket
import stat
import threading
from collections.abc import AsyncGenerator, AsyncIterator, Awaitable, Callable
from concurrent.futures import ThreadPoolExecutor
from contextlib import aclosing, suppress
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

import h11

from storage.share import quack_messages

if TYPE_CHECKING:
    from storage.share.quack_answers import QuackAnswers

T = TypeVar("T")

HEAD_BYTES = 16 * 1024
BODY_BYTES = 2**20  # a SELECT is not longer
CONNECTIONS = 32
SILENCE_SECONDS = 60.0  # between two looks for sessions that have gone silent
HEAD_SECONDS = 10.0  # for a request to arrive, and between two of one connection
HOSTS = {"localhost", "127.0.0.1", "[::1]", "::1"}
SECRET_HEADERS = {
    b"access-control-allow-origin",
    b"access-control-allow-methods",
    b"access-control-allow-headers",
}
HOP_HEADERS = {b"connection", b"keep-alive", b"transfer-encoding"}


class TurnedAwayError(Exception):
    """What the other side did wrong, as an HTTP status and a sentence."""

    def __init__(self, status: int, sentence: str) -> None:
        super().__init__(sentence)
        self.status = status


class _Visitor:
    """One connection."""

    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.reader, self.writer = reader, writer
        self.http = h11.Connection(h11.SERVER, max_incomplete_event_size=HEAD_BYTES)
        self.busy = False
        self.task = asyncio.current_task()

    async def event(self) -> Any:
        while (event := self.http.next_event()) is h11.NEED_DATA:
            self.http.receive_data(await self.reader.read(65536))
        return event

    async def send(self, *events: Any) -> None:
        for event in events:
            data = self.http.send(event)
            if data:
                self.writer.write(data)
        await self.writer.drain()

    async def answer(self, status: int, body: bytes, kind: str = "text/plain; charset=utf-8") -> None:
        headers = [("Content-Type", kind), ("Content-Length", str(len(body)))]
        if status != 200:
            headers.append(("Connection", "close"))
        await self.send(
            h11.Response(status_code=status, headers=headers), h11.Data(data=body), h11.EndOfMessage()
        )

    async def gone(self) -> None:
        """Return when the other side has closed its end; what it sends meanwhile waits its turn."""
        while data := await self.reader.read(65536):
            self.http.receive_data(data)


class Door:
    """Listens on the loopback address; `port` is where.  `close` from any thread."""

    def __init__(self, inner: Path | int, answers: QuackAnswers | None = None) -> None:
        self._inner = inner  # the socket of the server, or its port
        self._answers = answers
        self._visitors: dict[_Visitor, None] = {}
        self._loop = asyncio.new_event_loop()
        self._loop.set_default_executor(ThreadPoolExecutor(CONNECTIONS, "share-question"))
        self._closing = asyncio.Event()
        self._listening = socket.create_server(("127.0.0.1", 0), backlog=256)
        self.port: int = self._listening.getsockname()[1]
        self._thread = threading.Thread(target=self._run, name="share-door", daemon=True)
        self._thread.start()

    def close(self) -> None:
        """Stop listening and let every visitor go."""
        with suppress(RuntimeError):  # the loop has ended by itself
            self._loop.call_soon_threadsafe(self._closing.set)
        self._thread.join(timeout=10)

    def _run(self) -> None:
        asyncio.set_event_loop(self._loop)
        try:
            self._loop.run_until_complete(self._stand())
            self._loop.run_until_complete(self._loop.shutdown_default_executor())
        finally:
            self._listening.close()
            self._loop.close()

    async def _stand(self) -> None:
        """Take visitors in until the door closes, which may be before it has opened."""
        server = await asyncio.start_server(self._welcome, sock=self._listening)
        listening = asyncio.ensure_future(self._listen_for_silence())
        await self._closing.wait()
        listening.cancel()
        server.close()
        tasks = asyncio.all_tasks() - {asyncio.current_task()}
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)

    async def _welcome(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        if is_stranger(writer.get_extra_info("peername"), self.port):
            writer.transport.abort()
            return
        if not self._make_room():
            writer.transport.abort()
            return
        visitor = _Visitor(reader, writer)
        self._visitors[visitor] = None
        try:
            while await self._serve(visitor):
                visitor.http.start_next_cycle()
        except TurnedAwayError as refused:
            await self._say(visitor, refused.status, str(refused))
        except h11.RemoteProtocolError as error:
            await self._say(visitor, error.error_status_hint, "This is no HTTP that is understood here.")
        except (TimeoutError, OSError, asyncio.CancelledError, h11.LocalProtocolError):
            pass  # it was too slow, has gone, or made room
        finally:
            del self._visitors[visitor]
            writer.transport.abort()

    async def _say(self, visitor: _Visitor, status: int, sentence: str) -> None:
        with suppress(OSError, h11.LocalProtocolError):
            await visitor.answer(status, sentence.encode())

    def _make_room(self) -> bool:
        """Who has waited longest without asking anything goes first; nobody who is being answered does."""
        if len(self._visitors) < CONNECTIONS:
            return True
        idle = next((visitor for visitor in self._visitors if not visitor.busy and visitor.task), None)
        if idle is not None and idle.task is not None:
            idle.task.cancel()
            idle.task = None
        return idle is not None

    async def _serve(self, visitor: _Visitor) -> bool:
        """One request and its answer; whether another may follow."""
        async with asyncio.timeout(HEAD_SECONDS):
            request = await visitor.event()
            if not isinstance(request, h11.Request):
                return False
            headers = dict(request.headers)
            self._check(request, headers)
            body = bytearray()
            while isinstance(event := await visitor.event(), h11.Data):
                body += event.data
                if len(body) > BODY_BYTES:
                    raise TurnedAwayError(413, f"More than {BODY_BYTES} bytes are not taken.")
        message = quack_messages.read(bytes(body))
        if message is None or message.kind not in quack_messages.TAKEN:
            raise TurnedAwayError(400, "Only questions are answered here.")
        visitor.busy = True
        try:
            await self._while_there(visitor, self._answer(visitor, headers, bytes(body), message))
        except ConnectionResetError:
            await self._dismiss(message.session)
            raise
        finally:
            visitor.busy = False
        return visitor.http.our_state is h11.DONE and visitor.http.their_state is h11.DONE

    def _check(self, request: Any, headers: dict[bytes, bytes]) -> None:
        host = headers.get(b"host", b"").decode("latin-1").rsplit(":", 1)
        if host[0] not in HOSTS or host[1:] != [str(self.port)]:
            raise TurnedAwayError(403, "This Host is not served.")
        if b"origin" in headers:
            raise TurnedAwayError(403, "Pages of a browser are not served.")
        if request.method != b"POST" or request.target != b"/quack":
            raise TurnedAwayError(404, "There is nothing here.")
        if sum(len(name) + len(value) for name, value in headers.items()) > HEAD_BYTES:
            raise TurnedAwayError(431, f"More than {HEAD_BYTES} bytes of headers are not taken.")
        if int(headers.get(b"content-length", b"0")) > BODY_BYTES:
            raise TurnedAwayError(413, f"More than {BODY_BYTES} bytes are not taken.")

    async def _while_there(self, visitor: _Visitor, work: Awaitable[None]) -> None:
        """Do the work unless the visitor goes first."""
        doing = asyncio.ensure_future(work)
        watching = asyncio.ensure_future(visitor.gone())
        try:
            await asyncio.wait((doing, watching), return_when=asyncio.FIRST_COMPLETED)
            if not doing.done():
                raise ConnectionResetError
            await doing
        finally:
            for task in (doing, watching):
                task.cancel()
            await asyncio.gather(doing, watching, return_exceptions=True)

    async def _answer(
        self,
        visitor: _Visitor,
        headers: dict[bytes, bytes],
        body: bytes,
        message: quack_messages.QuackMessage,
    ) -> None:
        """A question is answered here, and the server gives what came."""
        if message.kind == quack_messages.PREPARE and self._answers is not None:
            asked = await self._answered(self._answers, message)
            body = body if asked is None else message.asking(asked)
        await self._pass_on(visitor, headers, body)
        if message.kind == quack_messages.DISCONNECT and self._answers is not None:
            await self._in_thread(self._answers.end, message.session)
        elif self._answers is not None:
            self._answers.heard(message.session)

    async def _answered(self, answers: QuackAnswers, message: quack_messages.QuackMessage) -> str | None:
        question = await self._in_thread(answers.question, message.session, message.sql)
        if question is None:
            return None
        try:
            return await self._in_thread(question.answer)
        except asyncio.CancelledError:
            question.cancel()
            raise

    async def _in_thread(self, work: Callable[..., T], *arguments: Any) -> T:
        return await self._loop.run_in_executor(None, work, *arguments)

    async def _listen_for_silence(self) -> None:
        """Let sessions go whose client has gone without a word."""
        while self._answers is not None:
            await asyncio.sleep(SILENCE_SECONDS)
            for session in self._answers.silent():
                await self._dismiss(session)

    async def _dismiss(self, session: str) -> None:
        """Say to the server that a session is over, in the place of a client that has gone."""
        if self._answers is None or not session:
            return
        with suppress(TurnedAwayError, OSError, h11.RemoteProtocolError):
            async for _ in self._asking_inside({}, quack_messages.farewell(session)):
                pass
        await self._in_thread(self._answers.end, session)

    async def _pass_on(self, visitor: _Visitor, headers: dict[bytes, bytes], body: bytes) -> None:
        """To the Quack server and back."""
        async with aclosing(self._asking_inside(headers, body)) as events:
            async for event in events:
                await visitor.send(_cleaned(event))

    async def _asking_inside(self, headers: dict[bytes, bytes], body: bytes) -> AsyncGenerator[Any]:
        """What the Quack server answers to one request."""
        try:
            if isinstance(self._inner, int):
                reader, writer = await asyncio.open_connection("127.0.0.1", self._inner)
            else:
                reader, writer = await asyncio.open_unix_connection(str(self._inner))
        except OSError:
            raise TurnedAwayError(502, "The store is shared no longer.") from None
        try:
            asking = h11.Connection(h11.CLIENT)
            passed_on = {
                name: value for name, value in headers.items() if name not in HOP_HEADERS | {b"host"}
            }
            passed_on |= {b"host": b"localhost", b"content-length": str(len(body)).encode()}
            request = h11.Request(method="POST", target="/quack", headers=list(passed_on.items()))
            for event in (request, h11.Data(data=body), h11.EndOfMessage()):
                writer.write(asking.send(event) or b"")
            await writer.drain()
            async for event in _events(asking, reader):
                yield event
        finally:
            writer.transport.abort()


async def _events(asking: h11.Connection, reader: asyncio.StreamReader) -> AsyncIterator[Any]:
    """Response, data and end of what a server answers."""
    while True:
        event = asking.next_event()
        if event is h11.NEED_DATA:
            asking.receive_data(await reader.read(65536))
            continue
        if isinstance(event, h11.Response | h11.Data | h11.EndOfMessage):
            yield event
        if isinstance(event, h11.EndOfMessage | h11.ConnectionClosed):
            return


def _cleaned(event: Any) -> Any:
    """A response without what invites pages of other origins."""
    if not isinstance(event, h11.Response):
        return event
    headers = [(k, v) for k, v in event.headers if k not in SECRET_HEADERS | HOP_HEADERS]
    return h11.Response(status_code=event.status_code, headers=headers)


def is_stranger(peer: Any, port: int) -> bool:
    """Whether another user of this machine has connected; False where the system does not say.

    Linux lists the owner of every connection in /proc/net/tcp: local and remote address in hexadecimal, the
    user's number in the eighth column.
    """
    try:
        theirs, ours = f":{peer[1]:04X}", f":{port:04X}"
        with open("/proc/net/tcp", encoding="ascii") as table:
            for line in table:
                fields = line.split()
                if len(fields) > 7 and fields[1].endswith(theirs) and fields[2].endswith(ours):
                    return int(fields[7]) not in (os.getuid(), os.geteuid())
    except (OSError, ValueError, TypeError, IndexError):
        pass
    return False


def behind_a_socket(port: int, folder: Path) -> Path | None:
    """Put a socket in `folder`, a private one, in the place of this process's listener on `port`; its path.

    The Quack server can listen on a port alone.  Its listener is a descriptor of this process, and another
    socket can be put under the same number; then nobody but this user reaches it.  None where that fails.
    """
    number = _listener(port)
    if number is None:
        return None
    path = folder / "quack"
    with socket.socket(socket.AF_UNIX) as private:
        private.bind(str(path))
        path.chmod(0o600)
        private.listen(64)
        os.dup2(private.fileno(), number, inheritable=False)
    with suppress(OSError), socket.create_connection(("127.0.0.1", port), timeout=1):
        pass  # the server waits on the old listener until somebody comes
    return path


def _listener(port: int) -> int | None:
    """The descriptor of this process that listens on `port`.

    Only sockets are looked at: a copy of a database's descriptor that is closed takes its lock with it.
    """
    for name in os.listdir("/dev/fd"):
        with suppress(OSError, ValueError):
            if not stat.S_ISSOCK(os.fstat(int(name)).st_mode):
                continue
            with socket.socket(fileno=os.dup(int(name))) as listener:
                listens = listener.getsockopt(socket.SOL_SOCKET, socket.SO_ACCEPTCONN)
                if listener.family == socket.AF_INET and listens and listener.getsockname()[1] == port:
                    return int(name)
    return None
