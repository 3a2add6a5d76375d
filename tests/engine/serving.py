"""A server that speaks vLLM's completions protocol, in a thread of the test."""

from __future__ import annotations

import json
import threading
from collections.abc import Callable
from contextlib import suppress
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

Answer = tuple[int, Any]


def completion(asked: dict[str, Any]) -> Answer:
    """What vLLM answers: token 40 + n a response, the last one cut by its length."""
    choices = []
    for n in range(asked["n"]):
        tokens = [asked["prompt"][0], 40 + n]
        choices.append(
            {
                "index": n,
                "text": "ignored",
                "token_ids": tokens,
                "logprobs": {"token_logprobs": [-0.5 * (n + 1)] * len(tokens), "tokens": ["a", "b"]},
                "finish_reason": "length" if n == asked["n"] - 1 else "stop",
            }
        )
    return 200, {"choices": list(reversed(choices))}


class JsonHandler(BaseHTTPRequestHandler):
    """Answers with JSON, or with bytes as they are; says nothing of requests."""

    def send_json(self, status: int, content: Any) -> None:
        data = content if isinstance(content, bytes) else json.dumps(content).encode()
        with suppress(OSError):  # who asked may have gone
            self.send_response(status)
            self.send_header("Content-Length", str(len(data)))
            self.end_headers()
            self.wfile.write(data)

    def log_message(self, *_: object) -> None:
        pass


class ThreadServer:
    """A server on a free port of this machine, until `close`."""

    def _serve(self, handler: type[BaseHTTPRequestHandler]) -> None:
        self._server = ThreadingHTTPServer(("127.0.0.1", 0), handler)
        self._server.daemon_threads = True
        self.endpoint = f"http://127.0.0.1:{self._server.server_port}/v1"
        self._thread = threading.Thread(target=self._server.serve_forever, kwargs={"poll_interval": 0.01})
        self._thread.start()

    def close(self) -> None:
        self._server.shutdown()
        self._server.server_close()
        self._thread.join()


class Fake(ThreadServer):
    """A server in a thread."""

    def __init__(self) -> None:
        self.models: Any = {"data": [{"id": "mine", "max_model_len": 64}, {"id": "other"}]}
        self.answer: Callable[[dict[str, Any]], Answer] = completion
        self.asked: list[dict[str, Any]] = []
        self.keys: list[str | None] = []
        fake = self

        class Handler(JsonHandler):
            def do_GET(self) -> None:
                assert self.path == "/v1/models"
                self.send_json(200, fake.models)

            def do_POST(self) -> None:
                assert self.path == "/v1/completions"
                body = self.rfile.read(length := int(self.headers["Content-Length"]))
                if len(body) < length:  # who asked has gone
                    return
                asked = json.loads(body)
                fake.asked.append(asked)
                fake.keys.append(self.headers["Authorization"])
                self.send_json(*fake.answer(asked))

        self._serve(Handler)


class Replica(ThreadServer):
    """Says yes or no to adapters, and keeps what it was told."""

    def __init__(self, status: int = 200) -> None:
        self.told: list[tuple[str, str]] = []
        replica = self

        class Handler(JsonHandler):
            def do_POST(self) -> None:
                asked = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
                replica.told.append((self.path.rpartition("/")[2], asked["lora_name"]))
                self.send_json(status, b"Success" if status == 200 else {"error": {"message": "no room"}})

        self._serve(Handler)
