"""A server that speaks the chat-completions protocol, in a thread of the test."""

from __future__ import annotations

import json
import math
import time
from collections.abc import Callable
from contextlib import suppress
from http.server import BaseHTTPRequestHandler
from typing import Any

from tests.engine.serving import ThreadServer

Sent = tuple[int, dict[str, str], bytes]
"""Status, headers, content."""


def shorter(question: str) -> dict[str, float]:
    """Probabilities of a judge that prefers the shorter of the two responses between their marks."""
    mark = question.partition("with the mark ")[2].split(".")[0]
    first, second = (
        question.partition(f"\n{mark} response {label}\n")[2].partition(f"\n{mark}\n")[0] for label in "AB"
    )
    if len(first) == len(second):
        return {"A": 0.2, "B": 0.2, "C": 0.5}
    return {"A": 0.7, "B": 0.2} if len(first) < len(second) else {"A": 0.2, "B": 0.7}


def completion(asked: dict[str, Any], probabilities: dict[str, float]) -> dict[str, Any]:
    """The answer of a model with these probabilities of its first token, as OpenAI writes it."""
    assert asked["messages"][-1]["role"] == "user"
    likeliest = max(probabilities, key=lambda label: probabilities[label])
    ordered = sorted(probabilities.items(), key=lambda pair: -pair[1])
    top = [{"token": token, "logprob": math.log(p), "bytes": None} for token, p in ordered]
    logprobs = None
    if asked.get("logprobs"):
        assert asked["top_logprobs"] <= 20
        logprobs = {"content": [{**top[0], "top_logprobs": top}], "refusal": None}
    return {
        "id": "chatcmpl-1",
        "object": "chat.completion",
        "model": asked["model"],
        "choices": [
            {
                "index": 0,
                "message": {"role": "assistant", "content": likeliest, "refusal": None},
                "logprobs": logprobs,
                "finish_reason": "stop",
            }
        ],
        "usage": {"prompt_tokens": 100, "completion_tokens": 10, "total_tokens": 110},
    }


def ok(content: Any) -> Sent:
    data = content if isinstance(content, bytes) else json.dumps(content).encode()
    return 200, {}, data


def error(status: int, said: str, **headers: str) -> Sent:
    return status, headers, json.dumps({"error": {"message": said, "type": "x"}}).encode()


class ChatFake(ThreadServer):
    """A server in a thread: `answer` makes of each request what is sent."""

    def __init__(self) -> None:
        self.answer: Callable[[dict[str, Any]], Sent] = lambda asked: ok(
            completion(asked, shorter(asked["messages"][-1]["content"]))
        )
        self.asked: list[dict[str, Any]] = []
        self.times: list[float] = []
        self.keys: list[str | None] = []
        fake = self

        class Handler(BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"

            def do_POST(self) -> None:
                assert self.path == "/v1/chat/completions"
                asked = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
                fake.times.append(time.monotonic())
                fake.keys.append(self.headers["Authorization"])
                fake.asked.append(asked)
                status, headers, data = fake.answer(asked)
                with suppress(OSError):  # who asked may have gone
                    self.send_response(status)
                    for name, value in headers.items():
                        self.send_header(name.replace("_", "-"), value)
                    self.send_header("Content-Length", str(len(data)))
                    self.end_headers()
                    self.wfile.write(data)

            def log_message(self, *_: object) -> None:
                pass

        self._serve(Handler)
