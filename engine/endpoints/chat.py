"""The part of the chat-completions protocol that is spoken here, as every compatible server speaks it."""

from __future__ import annotations

import re
from typing import Any

import msgspec

from engine.errors import EndpointError

# C0 but newline and tab, DEL, C1, the bidirectional controls, lone surrogates.
_UNSAFE = re.compile("[\x00-\x08\x0b-\x1f\x7f-\x9f\u061c\u200e\u200f\u202a-\u202e\u2066-\u2069\ud800-\udfff]")
PATH = "/chat/completions"


class TopLogprob(msgspec.Struct, frozen=True):
    """A token that might have stood at a place, with its log-probability in nats."""

    token: str
    logprob: float


class TokenLogprob(msgspec.Struct, frozen=True):
    """A token that was written, its log-probability in nats, and the likeliest tokens at its place."""

    token: str
    logprob: float
    top_logprobs: list[TopLogprob] = []


class ChoiceLogprobs(msgspec.Struct, frozen=True):
    """`choices[].logprobs` of the answer: one entry a token."""

    content: list[TokenLogprob] | None = None


class ChatMessage(msgspec.Struct, frozen=True):
    """`choices[].message` of the answer; what it has besides the text is not read."""

    content: str | None = None


class ChatChoice(msgspec.Struct, frozen=True):
    """One completion of the prompt, and why it ended."""

    message: ChatMessage
    finish_reason: str | None = None
    logprobs: ChoiceLogprobs | None = None


class Usage(msgspec.Struct, frozen=True):
    """What the server counted, and bills, of one request."""

    prompt_tokens: int = 0
    completion_tokens: int = 0


class ChatCompletion(msgspec.Struct, frozen=True):
    """The answer to a chat request, read as strictly as its fields are used: others are passed over."""

    choices: list[ChatChoice]
    usage: Usage | None = None

    @property
    def text(self) -> str:
        """What was written, without control characters."""
        text = self.choices[0].message.content or ""
        return _UNSAFE.sub("", text.replace("\r\n", "\n").replace("\r", "\n"))

    @property
    def tokens(self) -> list[TokenLogprob]:
        """The tokens written with their log-probabilities; empty where the server gives none."""
        logprobs = self.choices[0].logprobs
        return [] if logprobs is None else logprobs.content or []


_decoder = msgspec.json.Decoder(ChatCompletion)


def read_completion(content: bytes, endpoint: str) -> ChatCompletion:
    """The answer of `endpoint`.  Raises EndpointError when it is none."""
    try:
        completion = _decoder.decode(content)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as error:
        why = "".join(c for c in str(error) if c.isprintable())[:200]
        raise EndpointError(f"{endpoint} does not answer as a chat endpoint does: {why}.") from None
    if not completion.choices:
        raise EndpointError(f"{endpoint} does not answer as a chat endpoint does: it gave no choice.")
    return completion


def request(
    model: str, text: str | list[dict[str, str]], added: dict[str, Any], **settings: Any
) -> dict[str, Any]:
    """The body of a request; `added` is what the person adds, and null there drops a field."""
    messages = [{"role": "user", "content": text}] if isinstance(text, str) else text
    body = {"model": model, "messages": messages, **settings, **added}
    return {name: value for name, value in body.items() if value is not None}


def cost_of(usage: Usage | None, price_in: float, price_out: float) -> float | None:
    """What an answer cost, prices being those of a million tokens; None where the server does not count."""
    if usage is None:
        return None
    return (usage.prompt_tokens * price_in + usage.completion_tokens * price_out) / 1e6
