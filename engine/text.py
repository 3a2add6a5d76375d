"""Text to tokens: one convention for training, generation, export and scoring.  Torch-free.

A prompt is a chat, rendered by the model's own template up to the point where the assistant begins to speak,
or plain text.  A response is ordinary text: whatever it contains, it never becomes a special token.  The
score of a response is read at the token that ends its turn, in training as in scoring.

Padding is always masked by length.  `pad_id` is still never the end-of-sequence token, so that tools which
look for padding by its id (`AutoModelForSequenceClassification` does) find the last real token: it is an
unused special token, which no text can produce.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Literal, NamedTuple

from jinja2 import TemplateError
from tokenizers import Tokenizer
from tokenizers.decoders import DecodeStream

from engine import tokeniser_files as files
from engine.chat_template import Chat, check_messages, compile_template, plain
from engine.errors import ModelFilesError, UsageError

TemplateName = Literal["chat", "plain"]

TOKENISER_FILES = (
    "tokenizer.json",
    "tokenizer_config.json",
    "chat_template.jinja",
    "special_tokens_map.json",
    "generation_config.json",
)
"""What `Tokeniser.from_folder` reads; copied beside every model that is saved."""


SCORE_TOKENS = 2048
"""Longest prompt + response of a reward model that does not say its own: attention grows as T²."""

SCORE_LIMIT = "score_tokens"
"""Where a reward model's own limit stands in its config.json; an export copies the file."""

SCORE_READS, CONVERSATION = "score_reads", "conversation"
"""Where the config.json of a reward model from elsewhere says that it reads whole conversations."""

PROMPT_SHARE = 4
"""A prompt keeps this part of the limit at least (1 / PROMPT_SHARE), however long its response is."""


class ScoreTokens(NamedTuple):
    """The tokens of a prompt and its response; the score is read at the last one."""

    prompt: list[int]
    response: list[int]  # ends with the token that ends a response
    was_cut: bool  # the prompt lost tokens on the left, or the response lost some before its end
    response_cut: bool = False  # the response did

    @property
    def ids(self) -> list[int]:
        """Prompt and response end to end, as a reward model reads them."""
        return self.prompt + self.response


class Tokeniser:
    """Tokens of one model, read from its folder."""

    reads_tokens = True
    """Whether a prompt and a response may be scored as tokens of their own."""

    def __init__(
        self,
        tokenizer_json: str,
        *,
        special_tokens: dict[str, str],
        chat_template: str | None,
        stop_ids: Iterable[int] = (),
        max_positions: int | None = None,
        max_score_tokens: int | None = None,
        name: str = "the model",
    ) -> None:
        self.name = name
        self.max_positions = max_positions
        self._max_score_tokens = max_score_tokens
        self._with_specials = Tokenizer.from_str(tokenizer_json)
        self._without_specials = Tokenizer.from_str(tokenizer_json)
        self._without_specials.encode_special_tokens = True  # their text is then read as any other text
        for tokenizer in (self._with_specials, self._without_specials):
            tokenizer.no_truncation()
            tokenizer.no_padding()
        self._special_tokens = special_tokens
        added = self._with_specials.get_added_tokens_decoder()
        self._special_ids = frozenset(index for index, token in added.items() if token.special)
        self.chat_template = chat_template
        self._template = compile_template(chat_template, name) if chat_template is not None else None
        self.vocab_size: int = self._with_specials.get_vocab_size(with_added_tokens=True)
        stops = list(stop_ids)
        self.eos_id: int = self._find_eos(stops)
        self.after_answer = self._find_after_answer()
        self.turn_id: int = self._find_turn_end()
        self.stop_ids: frozenset[int] = frozenset([self.eos_id, self.turn_id, *stops])
        self.pad_id: int = self._choose_pad(chat_template or "")

    @classmethod
    def from_folder(cls, folder: Path) -> Tokeniser:
        """Read `tokenizer.json`, `tokenizer_config.json` and the chat template of a model folder.

        Raises ModelFilesError when a file is missing or cannot be read.
        """
        folder = Path(folder)
        path = folder / "tokenizer.json"
        if not path.is_file():
            raise ModelFilesError(
                f"{folder} has no tokenizer.json; a model folder needs tokenizer.json and "
                "tokenizer_config.json, which save_pretrained of a fast tokeniser writes."
            )
        config = files.read_json(folder / "tokenizer_config.json")
        special = files.special_tokens(files.read_json(folder / "special_tokens_map.json") | config)
        model = files.read_json(folder / "config.json")
        if model.get(SCORE_READS) == CONVERSATION and cls is Tokeniser:
            from engine.conversation_text import ConversationTokeniser

            return ConversationTokeniser.from_folder(folder)
        try:
            text = path.read_text(encoding="utf-8")
            return cls(
                text,
                special_tokens=special,
                chat_template=files.find_template(folder, config),
                stop_ids=files.stop_ids(folder),
                max_positions=files.positions(model),
                max_score_tokens=files.positive(model.get(SCORE_LIMIT)),
                name=folder.name,
            )
        except (OSError, UnicodeDecodeError) as error:
            raise ModelFilesError(f"{path} cannot be read ({error}); copy it again.") from error
        except (ModelFilesError, UsageError):
            raise
        except Exception as error:  # tokenizers raises bare Exception for a broken file
            raise ModelFilesError(f"{path} is not a tokeniser file ({error}); copy it again.") from error

    @property
    def has_chat_template(self) -> bool:
        """Whether the model brings a chat template; without one, turns are written as plain text."""
        return self._template is not None

    def end_of(self, template: TemplateName | None = None) -> int:
        """The token that ends a response: of a chat what its template writes there, else end-of-sequence."""
        return self.turn_id if (template or self.score_template) == "chat" else self.eos_id

    @property
    def score_tokens(self) -> int:
        """The longest prompt + response that is scored, in tokens: what the reward model was trained at."""
        return self.at_most(self._max_score_tokens or SCORE_TOKENS)

    @property
    def score_template(self) -> TemplateName:
        """How prompts are rendered for a score: by the chat template where there is one."""
        return "chat" if self.has_chat_template else "plain"

    def at_most(self, max_tokens: int) -> int:
        """`max_tokens`, or the positions of the model where it has fewer."""
        return min(max_tokens, self.max_positions or max_tokens)

    def render(self, messages: Chat, template: TemplateName = "chat", *, complete: bool = False) -> str:
        """The prompt as text, up to where the assistant begins; `complete`: a whole conversation.

        `plain`: a single message is its content; several are `User: …` / `Assistant: …` paragraphs that end
        with `Assistant:`.

        Raises UsageError when there is no chat template or it refuses the messages.
        """
        check_messages(messages)
        if template == "plain":
            return plain(messages)
        if self._template is None:
            raise UsageError(
                f"{self.name} has no chat template; choose the plain template, "
                "or a model that was tuned to chat."
            )
        try:
            return self._template.render(
                messages=messages,
                tools=None,
                documents=None,
                add_generation_prompt=not complete,
                **self._special_tokens,
            )
        except (TemplateError, TypeError, ValueError, KeyError) as error:
            raise UsageError(
                f"The chat template of {self.name} does not accept this prompt ({error}); "
                "change the prompt's roles or choose the plain template."
            ) from error

    def encode_prompt(self, messages: Chat, template: TemplateName = "chat") -> list[int]:
        """Token ids of a prompt, generation prompt included; the same as `apply_chat_template` gives.

        In a plain prompt the text of special tokens is ordinary text; a beginning-of-sequence token is added
        if the tokeniser adds one.
        """
        text = encodable(self.render(messages, template))
        if template == "chat":
            return list(self._with_specials.encode(text, add_special_tokens=False).ids)
        ids = list(self._without_specials.encode(text, add_special_tokens=True).ids)
        while ids and ids[-1] == self.eos_id:
            ids.pop()
        return ids

    def encode_response(self, text: str) -> list[int]:
        """Token ids of a response, without end-of-sequence; no text becomes a special token."""
        return list(self._without_specials.encode(encodable(text), add_special_tokens=False).ids)

    def encode_for_score(
        self,
        messages: Chat,
        response: str,
        max_tokens: int | None = None,
        template: TemplateName | None = None,
    ) -> ScoreTokens:
        """Tokens to score: the prompt, then the response and end-of-sequence.

        Beyond `max_tokens` a prompt keeps its end and a response its beginning: the prompt is cut on the
        left, down to a quarter of the limit, then the response before its end-of-sequence token.  Without a
        word on the template it is the chat template where there is one, else plain.
        """
        prompt = self.encode_prompt(messages, template or self.score_template)
        return self.join_for_score(prompt, self.encode_response(response), max_tokens, template)

    def join_for_score(
        self,
        prompt: Sequence[int],
        response: Sequence[int],
        max_tokens: int | None = None,
        template: TemplateName | None = None,
    ) -> ScoreTokens:
        """As `encode_for_score`, of tokens; a response may already end with a stop token."""
        body, end = list(response), self.end_of(template)
        if body and body[-1] in self.stop_ids & (self._special_ids | {self.eos_id}):
            body.pop()
        if max_tokens is None or len(prompt) + len(body) + 1 <= max_tokens:
            return ScoreTokens(list(prompt), [*body, end], False)
        least = min(len(prompt), max(max_tokens // PROMPT_SHARE, 1))
        shortened = body[: max(max_tokens - least - 1, 0)]
        room = max(max_tokens - len(shortened) - 1, 0)
        return ScoreTokens(
            prompt=list(prompt[max(len(prompt) - room, 0) :]) if room else [],
            response=[*shortened, end],
            was_cut=True,
            response_cut=len(shortened) < len(body),
        )

    def token(self, index: int) -> str | None:
        """The token of an id, as it is written; None for an id that the tokeniser does not know."""
        text = self._with_specials.id_to_token(index)
        return None if text is None else str(text)

    def decode(self, ids: Sequence[int]) -> str:
        """The text of tokens; special tokens have none."""
        return self._with_specials.decode(list(ids), skip_special_tokens=True)

    def response_text(self, ids: Sequence[int]) -> str:
        """What a response says: without the stop token at its end; a special token before it stands by name.

        Whoever reads the text, a person or a reward model, sees what was sampled; as text it is harmless.
        """
        body = list(ids[:-1] if ids and ids[-1] in self.stop_ids else ids)
        skip = not self.has_special(body)
        return self._with_specials.decode(body, skip_special_tokens=skip)

    def has_special(self, ids: Iterable[int]) -> bool:
        """Whether a special token is among them."""
        return not self._special_ids.isdisjoint(ids)

    def shares_tokens_with(self, other: Tokeniser) -> bool:
        """Whether the same ids stand for the same text."""
        mine, theirs = (one._with_specials.get_vocab(with_added_tokens=True) for one in (self, other))
        return self.reads_tokens and other.reads_tokens and mine == theirs

    def pieces(self, ids: Sequence[int]) -> list[str]:
        """One display string a token, special tokens by name.

        A character made of several tokens appears at its last one, the earlier ones being empty.
        """
        stream, pieces, pending = DecodeStream(skip_special_tokens=False), [], 0
        try:
            for token in ids:
                piece = stream.step(self._with_specials, int(token))
                pieces.append(piece or "")
                pending = 0 if piece else pending + 1
        except Exception:  # a sequence that does not decode as one text: show the tokens' own names
            return [self._with_specials.id_to_token(int(token)) or "�" for token in ids]
        if pending:
            pieces[-1] = self._with_specials.decode(list(ids)[-pending:], skip_special_tokens=False)
        return pieces

    def _find_after_answer(self) -> str | None:
        """What the template writes after what the assistant said; None where that is not known."""
        if self._template is None:
            return None
        said = "wvrk"  # a word that no template contains, and that trimming leaves alone
        chat = [{"role": "user", "content": "?"}, {"role": "assistant", "content": said}]
        try:
            text = self._template.render(
                messages=chat, tools=None, documents=None, add_generation_prompt=False, **self._special_tokens
            )
        except Exception:  # a template may refuse in any way; what it writes then is not known
            return None
        return text.rpartition(said)[2] if said in text else None

    def _find_turn_end(self) -> int:
        """The special token that the template writes after what the assistant said; eos where there is none.

        Gemma's is <end_of_turn>, Phi's <|end|>, that of a Qwen base model <|im_end|>, and their tokenisers
        name another token as end-of-sequence.
        """
        rest = (self.after_answer or "").lstrip()
        ids = self._with_specials.encode(encodable(rest), add_special_tokens=False).ids
        return int(ids[0]) if ids and ids[0] in self._special_ids else self.eos_id

    def _find_eos(self, stops: Sequence[int]) -> int:
        token = self._special_tokens.get("eos_token")
        eos = self._with_specials.token_to_id(token) if token else None
        if eos is None and stops:
            eos = stops[0]
        if eos is None:
            raise ModelFilesError(
                f"The tokeniser of {self.name} names no end-of-sequence token; "
                'set "eos_token" in its tokenizer_config.json.'
            )
        return int(eos)

    def _choose_pad(self, chat_template: str) -> int:
        """The declared pad if unused, else a reserved token, the last unused one, unk, any id but eos."""
        taken = set(self.stop_ids) | {
            self._with_specials.token_to_id(self._special_tokens.get("bos_token", ""))
        }
        added = self._with_specials.get_added_tokens_decoder()
        unused = {
            token.content: index
            for index, token in sorted(added.items())
            if token.special and index not in taken and token.content not in chat_template
        }
        declared = self._special_tokens.get("pad_token", "")
        if declared in unused:
            return int(unused[declared])
        unknown = self._special_tokens.get("unk_token", "")
        for word in ("pad", "reserved", "unused"):
            named = [index for content, index in unused.items() if word in content.lower()]
            if named:
                return int(named[0])
        rest = [index for content, index in unused.items() if content != unknown]
        if rest:
            return int(rest[-1])
        token_id = self._with_specials.token_to_id(unknown)
        if token_id is not None and token_id not in self.stop_ids:
            return int(token_id)
        return next(index for index in range(self.vocab_size) if index not in self.stop_ids)


def encodable(text: str) -> str:
    """Lone surrogates cannot be encoded; they become `?`."""
    return text.encode("utf-8", "replace").decode("utf-8")
