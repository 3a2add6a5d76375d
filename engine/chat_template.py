"""Chat templates: compiled as transformers compiles them, in a sandbox; and the plain form.  Torch-free."""

from __future__ import annotations

import json
from datetime import datetime
from typing import Any

from jinja2 import Environment, Template, TemplateError
from jinja2.ext import Extension, loopcontrols
from jinja2.nodes import Node
from jinja2.parser import Parser
from jinja2.sandbox import ImmutableSandboxedEnvironment

from engine.errors import ModelFilesError, UsageError

Chat = list[dict[str, str]]


class _GenerationTag(Extension):
    """`{% generation %}` marks what an assistant said; it prints its contents."""

    tags = {"generation"}  # noqa: RUF012 - jinja2 declares it so

    def parse(self, parser: Parser) -> list[Node]:
        next(parser.stream)
        return parser.parse_statements(("name:endgeneration",), drop_needle=True)


def _environment() -> Environment:
    """The sandbox that transformers renders chat templates in (`utils/chat_template_utils.py`)."""

    def raise_exception(message: str) -> None:
        raise TemplateError(message)

    def tojson(value: Any, ensure_ascii: bool = False, indent: int | None = None, **options: Any) -> str:
        return json.dumps(value, ensure_ascii=ensure_ascii, indent=indent, **options)

    environment = ImmutableSandboxedEnvironment(
        trim_blocks=True, lstrip_blocks=True, extensions=[_GenerationTag, loopcontrols]
    )
    environment.filters["tojson"] = tojson
    environment.globals["raise_exception"] = raise_exception
    environment.globals["strftime_now"] = lambda form: datetime.now().strftime(form)
    return environment


def compile_template(source: str, name: str) -> Template:
    """A model's template, ready to render.  Raises ModelFilesError."""
    try:
        return _environment().from_string(source)
    except TemplateError as error:
        raise ModelFilesError(
            f"The chat template of {name} is broken ({error}); repair its chat_template.jinja."
        ) from error


_ENDED = "{# a conversation ends where its score is read #}"


def ending_with_turn(source: str, end: str, after: str) -> str:
    """The template with the token `end` behind the last answer and nothing more.

    after: what it writes there itself, with that token or without.  A prompt is rendered as before.  Doing it
    twice changes nothing.
    """
    if source.startswith(_ENDED):
        return source
    body = source.removesuffix("\n")  # which jinja drops at the end of a template, not within a block
    if body.startswith("\n"):
        body = "\n" + body  # which it drops at the beginning of a block
    token = json.dumps(end, ensure_ascii=False)
    if end in after:
        condition, ended = f"{token} in conversation", f"conversation.rpartition({token})[0] ~ {token}"
    else:
        condition = "messages[-1].role == 'assistant'"
        ended = f"conversation[:conversation | length - {len(after)}] ~ {token}"
    return (
        f"{_ENDED}{{% set conversation %}}{body}{{% endset %}}"
        f"{{{{ {ended} if not add_generation_prompt and {condition} else conversation }}}}"
    )


def check_messages(messages: Chat) -> None:
    """Raises UsageError for a prompt without messages, or with one that has no text."""
    if not messages:
        raise UsageError("A prompt needs at least one message; this one has none.")
    for number, message in enumerate(messages, 1):
        for key in ("role", "content"):
            if not isinstance(message.get(key), str):
                raise UsageError(f"Message {number} of the prompt has no text under “{key}”; give it one.")


def plain(messages: Chat) -> str:
    """The content of a single message; of several, paragraphs that say who speaks."""
    if len(messages) == 1:
        return messages[0]["content"]
    turns = [f"{message['role'].capitalize()}: {message['content']}" for message in messages]
    return "\n\n".join([*turns, "Assistant:"])
