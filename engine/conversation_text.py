"""Text to tokens for reward models from elsewhere: whole conversations as their templates write them.

transformers scores such a model at the last token that is not padding (`GenericForSequenceClassification`):
after the template's own last token, behind the end of the turn where it writes more there, and before it
where the model calls that token its padding.  Ids are those of `apply_chat_template` on prompt and answer
together; only where a text names a special token is it kept from becoming one.  Torch-free.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from engine import tokeniser_files as files
from engine.chat_template import Chat
from engine.errors import ModelFilesError, UsageError
from engine.text import PROMPT_SHARE, ScoreTokens, TemplateName, Tokeniser, encodable

IGNORED = "score_ignores"
"""Where config.json names the token that transformers takes for padding, wherever it stands at the end."""


class ConversationTokeniser(Tokeniser):
    """Tokens of a registered reward model."""

    reads_tokens = False
    _ignored: int | None = None
    _closing: int = 0

    @classmethod
    def from_folder(cls, folder: Path) -> ConversationTokeniser:
        """As `Tokeniser.from_folder`.  Raises ModelFilesError, too, where there is no chat template."""
        made = super().from_folder(folder)
        assert isinstance(made, ConversationTokeniser)
        if not made.has_chat_template:
            raise ModelFilesError(
                f"{made.name} has no chat template, so nothing says how it reads a prompt and a response; "
                "register it with the template that it was trained with."
            )
        ignored = files.read_json(Path(folder) / "config.json").get(IGNORED)
        made._ignored = ignored if isinstance(ignored, int) else None
        made._closing = len(made._read(made._encoded(made.after_answer or "")))
        return made

    def encode_for_score(
        self,
        messages: Chat,
        response: str,
        max_tokens: int | None = None,
        template: TemplateName | None = None,
    ) -> ScoreTokens:
        """All of the conversation; the prompt is what it shares with the prompt alone.

        What is too long is cut as elsewhere: a prompt on its left, down to a quarter of the limit, a response
        before what the template writes behind it.
        """
        ids = self._conversation([*messages, {"role": "assistant", "content": response}])
        prompt = self.encode_prompt(messages, "chat")
        shared = next((n for n, (a, b) in enumerate(zip(ids, prompt, strict=False)) if a != b), None)
        start = min(min(len(ids), len(prompt)) if shared is None else shared, len(ids) - 1)
        if max_tokens is None or len(ids) <= max_tokens:
            return ScoreTokens(ids[:start], ids[start:], False)
        at = max(len(ids) - self._closing, start)
        body, closing = ids[start:at], ids[at:][-max_tokens:]
        least = min(start, max(max_tokens // PROMPT_SHARE, 1))
        body_kept = body[: max(max_tokens - least - len(closing), 0 if closing else 1)]
        room = max(max_tokens - len(body_kept) - len(closing), 0)
        return ScoreTokens(
            prompt=ids[max(start - room, 0) : start] if room else [],
            response=[*body_kept, *closing],
            was_cut=True,
            response_cut=len(body_kept) < len(body),
        )

    def join_for_score(
        self,
        prompt: Sequence[int],
        response: Sequence[int],
        max_tokens: int | None = None,
        template: TemplateName | None = None,
    ) -> ScoreTokens:
        """Not possible: a template may write a text otherwise than its pieces.  Raises UsageError."""
        raise UsageError(
            f"{self.name} was trained elsewhere and reads whole conversations, so it cannot be trained "
            "further here; start from its base model."
        )

    def _conversation(self, chat: Chat) -> list[int]:
        """Ids up to the token that is scored.  Raises UsageError where there is none."""
        text = self.render(chat, complete=True)
        contents = [str(message["content"]) for message in chat]
        named = any(token in content for token in self._special_texts for content in contents)
        ids = self._read(self._in_pieces(text, contents) if named else self._encoded(text))
        if not ids:
            raise UsageError(
                f"The chat template of {self.name} writes nothing for this prompt; change its roles."
            )
        return ids

    def _in_pieces(self, text: str, contents: Sequence[str]) -> list[int]:
        """What the template writes with its special tokens, what was said as ordinary text."""
        ids: list[int] = []
        at = 0
        for content in contents:
            said = next((form for form in (content, content.strip()) if text.find(form, at) >= 0), None)
            if said is None:
                raise UsageError(
                    f"The chat template of {self.name} changes a text that names special tokens; "
                    "take them out."
                )
            begin = text.index(said, at)
            ids += self._encoded(text[at:begin]) + self.encode_response(said)
            at = begin + len(said)
        return ids + self._encoded(text[at:])

    def _encoded(self, text: str) -> list[int]:
        return list(self._with_specials.encode(encodable(text), add_special_tokens=False).ids)

    def _read(self, ids: list[int]) -> list[int]:
        """Without the tokens at the end that transformers takes for padding."""
        end = len(ids)
        while end and ids[end - 1] == self._ignored:
            end -= 1
        return ids[:end]

    @property
    def _special_texts(self) -> list[str]:
        added = self._with_specials.get_added_tokens_decoder()
        return [added[index].content for index in self._special_ids]
