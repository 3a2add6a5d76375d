"""A few conversations of several lengths, languages and forms, to hold one way of scoring against another."""

from __future__ import annotations

from engine.chat_template import Chat

PROMPTS: tuple[str, ...] = (
    "Why is the sky blue?",
    "Write a short poem about a lighthouse.",
    "What is 17 times 23? Show each step.",
    "Wie koche ich Reis, ohne dass er anbrennt?",
    "Explain what this does:\n\n```python\nfor i in range(3):\n    print(i ** 2)\n```",
    "Give me three names for a bakery.",
    "Is it safe to mix bleach and vinegar?",
    "用一句话解释什么是引力。",
)
ANSWERS: tuple[str, ...] = (
    "No.",
    "I am not sure, but I can try to find out if you tell me a little more about what you need.",
    "Sure! Here are some points:\n\n1. First, think about it.\n2. Then answer.\n3. Check the answer.",
    "17 × 23 = 17 × 20 + 17 × 3 = 340 + 51 = **391**.",
    "Das hängt vom Topf ab: bei kleiner Hitze, mit Deckel, und nach zwölf Minuten ruhen lassen.",
    "Sunlight is scattered by the molecules of the air, and blue light, whose waves are short, is scattered "
    "most; that is why the sky looks blue from everywhere but the direction of the sun itself.",
)


def probe_chats() -> list[tuple[Chat, str]]:
    """Prompts, one in three with earlier turns, and a response to each: 48 of them."""
    chats: list[tuple[Chat, str]] = []
    for number, prompt in enumerate(PROMPTS):
        for place, answer in enumerate(ANSWERS):
            before: Chat = []
            if (number + place) % 3 == 0:
                before = [
                    {"role": "user", "content": PROMPTS[number - 1]},
                    {"role": "assistant", "content": ANSWERS[place - 1]},
                ]
            chats.append(([*before, {"role": "user", "content": prompt}], answer))
    return chats
