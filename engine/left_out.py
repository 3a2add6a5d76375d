"""What a job cannot use and leaves out: counted, and named by its words, by which a person finds it again."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from engine.errors import UsageError
from engine.protocol.events import Message
from engine.wording import counted

if TYPE_CHECKING:
    from engine.text import Chat, TemplateName, Tokeniser

SHOWN = 60
"""Characters of a text that name it."""


def first_words(text: str, shown: int = SHOWN) -> str:
    """The beginning of a text on one line, “in quotation marks”; what does not print is dropped."""
    line = "".join(character for character in " ".join(text.split()) if character.isprintable())
    return f"“{line[: shown - 1].rstrip()}…”" if len(line) > shown else f"“{line}”"


def cut_words(count: int, limit: int) -> str:
    """What is said where texts are longer than is read of them."""
    were = counted(count, "response with its prompt is", "responses with their prompts are")
    return (
        f"{were} longer than {limit} tokens and cut: of the prompt the end is read, of the response the "
        "beginning."
    )


def name_of(messages: Chat) -> str:
    """A prompt by the first words of its last turn; one without words by its number of turns."""
    said = str(messages[-1].get("content") or "") if messages else ""
    return first_words(said) if said.strip() else f"a prompt of {len(messages)} empty turns"


@dataclass
class LeftOutTexts:
    """Prompts, or other texts, that were left out, by what is wrong with them."""

    what: str = "prompts"
    faults: dict[str, list[tuple[str, str]]] = field(default_factory=dict)
    """By kind of fault (“too long”): name and sentence of each."""

    def add(self, kind: str, name: str, sentence: str) -> None:
        """Note that the text `name` was left out for a fault of this kind; `sentence` says more."""
        self.faults.setdefault(kind, []).append((name, sentence))

    def __len__(self) -> int:
        return sum(map(len, self.faults.values()))

    def messages(self) -> Iterator[Message]:
        """A warning for each kind of fault, with the first text that has it."""
        for kind, items in self.faults.items():
            name, sentence = items[0]
            were = f"{len(items)} {self.what} were" if len(items) > 1 else f"1 of the {self.what} was"
            yield Message(level="warning", text=f"{were} left out as {kind}; the first is {name}: {sentence}")

    def nothing_left(self, then: str) -> UsageError:
        """The error where everything was left out."""
        if not self.faults:
            return UsageError(f"There are no {self.what}; {then}.")
        kinds = ", ".join(f"{len(items)} as {kind}" for kind, items in self.faults.items())
        name, sentence = next(iter(self.faults.values()))[0]
        return UsageError(
            f"None of the {len(self)} {self.what} can be used: {kinds}. The first is {name}: {sentence}"
        )


REFUSED = "refused by the chat template"


def check_template(tokeniser: Tokeniser, template: TemplateName) -> None:
    """Raises UsageError where the template wanted is not there at all: then no prompt can be used."""
    if template == "chat" and not tokeniser.has_chat_template:
        tokeniser.render([{"role": "user", "content": "?"}], "chat")  # says what to do about it


def encode_or_leave_out(
    tokeniser: Tokeniser, messages: Chat, template: TemplateName | None, left_out: LeftOutTexts
) -> list[int] | None:
    """The tokens of a prompt, or None when it cannot be encoded; it is then in `left_out`.

    Without a word on the template it is that of scoring: the chat template where there is one, else plain.
    """
    try:
        ids = tokeniser.encode_prompt(messages, template or tokeniser.score_template)
    except UsageError as error:
        left_out.add(REFUSED, name_of(messages), str(error))
        return None
    if not ids:
        left_out.add("empty", name_of(messages), "it has no tokens; give it some text.")
        return None
    return ids
