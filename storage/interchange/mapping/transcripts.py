"""Conversations that stand in one text: `Human: … Assistant: …`, and the markers of chat templates.

A text is a transcript only where it begins with a marker of the user or the system and a marker of the
assistant follows; one marker alone is ordinary text.
"""

from __future__ import annotations

import re
from dataclasses import dataclass

from storage.ids import Chat

ROLE_WORDS = {
    "human": "user",
    "user": "user",
    "prompter": "user",
    "instruction": "user",
    "customer": "user",
    "assistant": "assistant",
    "gpt": "assistant",
    "bot": "assistant",
    "model": "assistant",
    "response": "assistant",
    "chatgpt": "assistant",
    "ai": "assistant",
    "system": "system",
    "developer": "system",
    "tool": "tool",
    "ipython": "tool",
}


@dataclass(frozen=True)
class Markers:
    """`turn` finds the start of a turn, with the speaker as its first group; `end` is cut off."""

    name: str
    turn: re.Pattern[str]
    end: re.Pattern[str]
    start: tuple[str, ...]  # a text that begins with none of these is no such transcript


ALPACA = "Below is an instruc"  # … that describes a task: what Alpaca's template puts before all
_NOTHING = re.compile(r"(?!)")
FAMILIES: tuple[Markers, ...] = (
    Markers(
        "ChatML",
        re.compile(r"<\|im_start\|>\s*(\w+)[^\S\n]*\n?"),
        re.compile(r"\s*(<\|im_end\|>|<\|endoftext\|>)\s*$"),
        ("<|im_start|>", "<s><|im_start|>"),
    ),
    Markers(
        "Llama 3",
        re.compile(r"(?:<\|begin_of_text\|>)?<\|start_header_id\|>\s*(\w+)\s*<\|end_header_id\|>\n*"),
        re.compile(r"\s*(<\|eot_id\|>|<\|end_of_text\|>)\s*$"),
        ("<|begin_of_text|>", "<|start_header_id|>"),
    ),
    Markers(
        "Gemma",
        re.compile(r"(?:<bos>)?<start_of_turn>\s*(\w+)\n?"),
        re.compile(r"\s*(<end_of_turn>|<eos>)\s*$"),
        ("<bos>", "<start_of_turn>"),
    ),
    Markers(
        "Zephyr",
        re.compile(r"<\|(user|assistant|system)\|>\n?"),
        re.compile(r"\s*(</s>|<\|end\|>|<\|endoftext\|>)\s*$"),
        ("<|user|>", "<|system|>"),
    ),
    Markers(
        "headings",
        re.compile(
            r"(?:^|\n+)### ?(Human|User|Instruction|Assistant|Response|System):?[^\S\n]*\n?"
            r"|(?<=\S)### (Human|Assistant):[^\S\n]*\n?",  # OpenAssistant's Guanaco: without a new line
            re.IGNORECASE,
        ),
        _NOTHING,
        ("###", ALPACA),
    ),
    Markers("Human", re.compile(r"(?:^|\n\n)(Human|Assistant|System):"), _NOTHING, ("Human:", "System:")),
    Markers("User", re.compile(r"(?:^|\n+)(User|Assistant|System|Bot|AI):"), _NOTHING, ("User:", "System:")),
    Markers("lines", re.compile(r"(?:^|\n)(Human|Assistant):"), _NOTHING, ("Human:",)),
    Markers(
        "Vicuna",
        re.compile(r"(?:^|\s+|</s>)(USER|ASSISTANT|SYSTEM):"),
        re.compile(r"\s*</s>\s*$"),
        ("USER:", "SYSTEM:"),
    ),
)
_LLAMA2 = re.compile(r"^\s*(?:<s>)?\s*\[INST\]")


def transcript_of(text: str) -> Chat | None:
    """The turns of a transcript, or None where the text is something else.

    An assistant's turn without text at the end (`… Assistant:`) is where the answer goes, and is left out.
    """
    if "<extra_id_1>Assistant" in text:
        return _megatron(text)
    head = text.lstrip()[:24]
    if not head or head[0] not in "<#HUSB[":
        return None
    if _LLAMA2.match(text):
        return _llama2(text)
    for family in FAMILIES:
        if head.startswith(family.start):
            chat = _turns(text, family)
            if chat is not None:
                return chat
    return None


def _turns(text: str, family: Markers) -> Chat | None:
    turns = list(family.turn.finditer(text))
    if len(turns) < 2:
        return None
    before = family.end.sub("", text[: turns[0].start()]).replace("<s>", "").replace("<bos>", "").strip()
    chat: Chat = []
    if before.startswith(ALPACA):
        chat.append({"role": "system", "content": before})
    elif before:
        return None
    ends = [*(turn.start() for turn in turns[1:]), len(text)]
    for turn, end in zip(turns, ends, strict=True):
        who = next(group for group in turn.groups() if group is not None)
        said = text[turn.end() : end]
        role = ROLE_WORDS.get(who.lower())
        if role is None:
            return None
        chat.append({"role": role, "content": family.end.sub("", said).strip()})
    return _whole(chat)


def _megatron(text: str) -> Chat | None:
    """`… <extra_id_1>Assistant … <extra_id_1>User …`; the first turn, the user's, has no marker."""
    parts = re.split(r"\n?<extra_id_1>(User|Assistant)\n?", text)
    chat: Chat = [{"role": "user", "content": parts[0].strip()}]
    for who, said in zip(parts[1::2], parts[2::2], strict=True):
        chat.append({"role": who.lower(), "content": said.strip()})
    return _whole(chat)


def _llama2(text: str) -> Chat | None:
    chat: Chat = []
    for place, block in enumerate(re.split(r"(?:<s>)?\s*\[INST\]", text)[1:]):
        asked, closed, answer = block.partition("[/INST]")
        if not closed:
            return None
        if place == 0 and (system := re.match(r"\s*<<SYS>>(.*?)<</SYS>>(.*)", asked, re.DOTALL)):
            chat.append({"role": "system", "content": system[1].strip()})
            asked = system[2]
        chat.append({"role": "user", "content": asked.strip()})
        chat.append({"role": "assistant", "content": re.sub(r"\s*</s>\s*$", "", answer).strip()})
    return _whole(chat) if chat else None


def _whole(chat: Chat) -> Chat | None:
    roles = [turn["role"] for turn in chat]
    if "assistant" not in roles or "user" not in roles or roles[0] == "assistant":
        return None
    if chat[-1]["role"] == "assistant" and not chat[-1]["content"]:
        chat.pop()
    return chat
